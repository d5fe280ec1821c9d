"""Training and evaluation input: TFRecords by `bert.data`, or random ids in memory."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from bert.backends.rank import RankEnvironment
from bert.config import BertConfig, check_vocabulary
from bert.data.input_pipeline import build_input_fn, find_record_files
from bert.data.record_files import build_file_shares, read_file_size_bytes, render_shares
from bert.errors import DataError
from bert.flags import render_flag_line
from bert.train_config import InputConfig, TrainConfig
from bert.training.record_ids import check_record_ids

InputFn = Callable[[Dict[str, Any]], tf.data.Dataset]

_N_SYNTHETIC_BATCHES = 8


def list_files(directories: Sequence[str]) -> List[str]:
    """Returns the TFRecords of some directories, sorted.

    Raises:
        DataError: if a directory is absent or holds none.
    """
    return find_record_files(",".join(directories))


def build_train_input(config: TrainConfig, rank: RankEnvironment, start_batch: int = 0) -> InputFn:
    """Returns this rank's endless, shuffled share of the training data.

    Args:
        config: the run.
        rank: this process among the ranks.
        start_batch: number of batches to leave out at the start, as they were taken already.

    Raises:
        DataError: if files are absent, corrupt or do not fit the model.
    """
    wanted = config.input
    if wanted.synthetic:
        return build_synthetic_input(
            wanted,
            config.bert,
            wanted.n_sequences_per_step,
            config.random_seed + rank.rank_id,
            start_batch,
        )
    files = list_files(wanted.train_directories)
    check_vocabularies(wanted.train_directories, config.bert)
    input_fn = build_input_fn(
        files,
        wanted.n_sequences_per_step,
        wanted.max_seq_length,
        wanted.max_predictions_per_seq,
        rank=rank.rank_id,
        size=rank.rank_size,
        seed=config.random_seed,
        shuffle=wanted.shuffle,
        skip_corrupt=wanted.skip_corrupt,
        start_batch=start_batch,
    )
    tolerant = wanted.skip_corrupt > 0
    check_record_ids(files, config.bert, wanted.max_seq_length, tolerant)
    full = [path for path in files if read_file_size_bytes(path) > 0]
    shares = build_file_shares(full, rank.rank_id, rank.rank_size)
    tf.logging.info("%s", render_flag_line("input_shares", render_shares(shares)))
    return input_fn


def build_eval_input(config: TrainConfig) -> InputFn:
    """Returns all evaluation data once, in order.

    The last batch is filled up with rows of zeros: shapes stay static, and rows whose input_mask
    is 0 throughout do not count in any metric.

    Raises:
        DataError: if files are absent, corrupt or do not fit the model.
    """
    wanted = config.input
    if wanted.synthetic:
        return build_synthetic_input(
            wanted, config.bert, wanted.eval_batch_size, config.random_seed - 1
        )
    files = list_files(wanted.eval_directories)
    check_vocabularies(wanted.eval_directories, config.bert)
    batch_size = wanted.eval_batch_size
    read = build_input_fn(
        files,
        batch_size,
        wanted.max_seq_length,
        wanted.max_predictions_per_seq,
        shuffle=False,
        repeat=False,
        drop_remainder=False,
        skip_corrupt=wanted.skip_corrupt,
    )
    tolerant = wanted.skip_corrupt > 0
    check_record_ids(files, config.bert, wanted.max_seq_length, tolerant)

    def fill_up(features: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
        filled = {}
        for name, value in features.items():
            n_missing = batch_size - tf.shape(value)[0]
            filled[name] = tf.pad(value, [[0, n_missing], [0, 0]])
            filled[name].set_shape([batch_size, value.shape[1].value])
        return filled

    return lambda params=None: read({}).map(fill_up)


def check_vocabularies(directories: Sequence[str], bert: BertConfig) -> None:
    """Checks the vocab.txt that data directories, or those above them, bring along.

    Raises:
        DataError: if one has more entries than the model has embeddings.
    """
    for directory in directories:
        for place in (directory, os.path.dirname(os.path.abspath(directory))):
            path = os.path.join(place, "vocab.txt")
            if not os.path.isfile(path):
                continue
            try:
                with open(path, "rb") as stream:
                    n_entries = sum(1 for line in stream if line.strip())
            except OSError as error:
                raise DataError(f"cannot read {path}: {error.strerror}") from error
            check_vocabulary(bert, n_entries, path)
            break


def build_synthetic_batch(
    wanted: InputConfig, bert: BertConfig, batch_size: int, random: np.random.RandomState
) -> Dict[str, np.ndarray]:
    """Returns one batch of random ids: full sequences, all predictions in use.

    Shapes and types are those of `bert.data.input_pipeline.build_input_fn`.
    """
    length, n_predictions = wanted.max_seq_length, wanted.max_predictions_per_seq
    n_masked = min(n_predictions, length)
    ids = random.randint(0, bert.vocab_size, size=(batch_size, length))
    positions = np.zeros((batch_size, n_predictions), np.int32)
    label_ids = np.zeros((batch_size, n_predictions), np.int32)
    weights = np.zeros((batch_size, n_predictions), np.float32)
    for row in range(batch_size):
        chosen = np.sort(random.permutation(length)[:n_masked])
        positions[row, :n_masked] = chosen
        label_ids[row, :n_masked] = ids[row, chosen]
        weights[row, :n_masked] = 1.0
    segments = (np.arange(length) >= length // 2).astype(np.int32)
    segments = np.minimum(segments, bert.type_vocab_size - 1)
    return {
        "input_ids": ids.astype(np.int32),
        "input_mask": np.ones((batch_size, length), np.int32),
        "segment_ids": np.tile(segments, (batch_size, 1)),
        "masked_lm_positions": positions,
        "masked_lm_ids": label_ids,
        "masked_lm_weights": weights,
        "next_sentence_labels": random.randint(0, 2, size=(batch_size, 1)).astype(np.int32),
    }


def build_synthetic_input(
    wanted: InputConfig, bert: BertConfig, batch_size: int, seed: int, start_batch: int = 0
) -> InputFn:
    """Returns an endless input that costs nothing per step, to time a device without a disk."""
    random = np.random.RandomState(seed % (1 << 32))
    batches = [
        build_synthetic_batch(wanted, bert, batch_size, random) for _ in range(_N_SYNTHETIC_BATCHES)
    ]
    stacked = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

    def input_fn(params: Any = None) -> tf.data.Dataset:
        dataset = tf.data.Dataset.from_tensor_slices(stacked).repeat()
        return dataset.skip(start_batch % _N_SYNTHETIC_BATCHES)

    return input_fn
