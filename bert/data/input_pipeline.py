"""The training input: TFRecord files to batches of int32 features, one share per rank.

Batches are made of serialised records first and decoded as one (`parse_example`), which costs a
fraction of decoding record by record. Nothing here depends on the wall clock or on thread timing:
the same files, seed and rank give the same batches.

Shapes: B = batch size, S = sequence length, P = predictions per sequence.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import tensorflow as tf

from bert.data import records
from bert.data.record_files import (
    FileShare,
    build_file_shares,
    check_first_record,
    check_share_holds_records,
    find_record_files,
    read_file_size_bytes,
)
from bert.data.records import CorruptRecordError
from bert.data.schema import PRETRAINING_FEATURES
from bert.errors import DataError, UsageError

__all__ = ["build_input_fn", "build_share_input_fn", "find_corruption", "find_record_files"]

InputFn = Callable[[Dict[str, Any]], tf.data.Dataset]

# Records held back for shuffling: about 10 MB at sequence length 128.
SHUFFLE_RECORDS = 10000
READ_BUFFER_BYTES = 1 << 20


def build_input_fn(
    files: Sequence[str],
    batch_size: int,
    seq_length: int,
    max_predictions: int,
    rank: int = 0,
    size: int = 1,
    seed: Optional[int] = None,
    shuffle: bool = True,
    repeat: bool = True,
    drop_remainder: bool = True,
    skip_corrupt: int = 0,
    parallel_calls: int = 2,
    start_batch: int = 0,
) -> InputFn:
    """Builds the Estimator input of pre-training, after checking that the files suit it.

    Args:
        files: TFRecord files; empty ones are left out.
        batch_size: B, per rank.
        seq_length: S; must be that of the files.
        max_predictions: P; must be that of the files.
        rank: this rank, 0..size-1.
        size: number of ranks that share the files.
        seed: makes file order and shuffling reproducible; None draws a fresh order each time.
        shuffle: shuffle files and records; otherwise they come in the order of the files.
        repeat: go on for ever, in a new order each time; otherwise one pass.
        drop_remainder: leave out a last batch that is not full; batches then have a static B.
        skip_corrupt: number of damaged places, over all files, to leave out instead of failing.
        parallel_calls: batches decoded at once.
        start_batch: number of batches to leave out at the start. With a seed, what follows is what
            follows them in a run from the start; only the records of one epoch are read for that.

    Returns:
        input_fn(params) giving a dataset of int32 `input_ids`, `input_mask`, `segment_ids` [B, S],
        `masked_lm_positions`, `masked_lm_ids` [B, P], `next_sentence_labels` [B, 1] and float32
        `masked_lm_weights` [B, P].

    Raises:
        UsageError: a size is below 1, or the rank is not within the size.
        DataError: a file is unreadable, its features are absent or of other lengths than asked
            for, more places are damaged than tolerated, or there are fewer records than ranks.
    """
    for name, value in (
        ("batch_size", batch_size),
        ("max_seq_length", seq_length),
        ("max_predictions_per_seq", max_predictions),
    ):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    files = [path for path in files if read_file_size_bytes(path) > 0]
    if not files:
        raise DataError("all data files are empty; make the data again")
    damaged = _find_damage(files, skip_corrupt) if skip_corrupt else False
    for path in files:
        check_first_record(path, seq_length, max_predictions, tolerant=damaged)
    # Every rank checks every rank, so that all stop with the same message and none waits.
    for every_rank in range(size):
        check_share_holds_records(files, every_rank, size)
    lengths = {
        feature.name: feature.length(seq_length, max_predictions)
        for feature in PRETRAINING_FEATURES
    }
    float_names = [feature.name for feature in PRETRAINING_FEATURES if feature.is_float]
    return build_share_input_fn(
        build_file_shares(files, rank, size),
        batch_size,
        lengths,
        float_names,
        seed=seed,
        shuffle=shuffle,
        repeat=repeat,
        drop_remainder=drop_remainder,
        damaged=damaged,
        parallel_calls=parallel_calls,
        start_batch=start_batch,
    )


def build_share_input_fn(
    shares: Sequence[FileShare],
    batch_size: int,
    lengths: Mapping[str, int],
    float_names: Sequence[str] = (),
    seed: Optional[int] = None,
    shuffle: bool = True,
    repeat: bool = True,
    drop_remainder: bool = True,
    damaged: bool = False,
    parallel_calls: int = 2,
    start_batch: int = 0,
) -> InputFn:
    """Builds an Estimator input of records with any features, without looking at the files.

    Args:
        shares: what this rank reads.
        batch_size: B, per rank.
        lengths: feature name → number of values M in each record.
        float_names: features that are float32; all others are int32.
        damaged: whether damaged records are to be left out.
        seed, shuffle, repeat, drop_remainder, parallel_calls, start_batch: as in `build_input_fn`.

    Returns:
        input_fn(params) giving a dataset of features [B, M].
    """
    parse_batch = _build_batch_parser(lengths, float_names)
    start_epoch, n_skipped = 0, start_batch * batch_size
    if start_batch and repeat:
        start_epoch, n_skipped = divmod(n_skipped, _count_share_records(shares, damaged))

    def build_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        dataset = _build_serialized_dataset(shares, _mix(seed, epoch, 0), shuffle, damaged)
        if shuffle:
            dataset = dataset.shuffle(
                SHUFFLE_RECORDS, seed=_mix(seed, epoch, 1), reshuffle_each_iteration=False
            )
        return dataset

    def input_fn(params: Optional[Dict[str, Any]] = None) -> tf.data.Dataset:
        if repeat:
            # Each epoch by its number, so that a run can start with any of them.
            epochs = tf.data.experimental.Counter(start=start_epoch)
            dataset = epochs.flat_map(build_epoch)
        else:
            dataset = build_epoch(tf.constant(0, tf.int64))
        if n_skipped:
            dataset = dataset.skip(n_skipped)
        dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
        dataset = dataset.map(parse_batch, num_parallel_calls=parallel_calls)
        return dataset.prefetch(parallel_calls + 1)

    return input_fn


def find_corruption(files: Sequence[str]) -> Optional[CorruptRecordError]:
    """Reads the files until a damaged record turns up: names file and offset, or None.

    For the moment after TensorFlow has raised DataLossError, whose message names neither.
    """
    for path in files:
        try:
            records.check_record_file(path)
        except CorruptRecordError as error:
            return error
    return None


def _find_damage(files: Sequence[str], tolerated: int) -> bool:
    """Reads every record; returns whether some are damaged.

    Raises:
        CorruptRecordError: more places are damaged than tolerated; names the first one beyond.
    """
    n_damaged = 0
    for path in files:
        for offset_bytes, reason in records.scan_record_file(path).problems:
            n_damaged += 1
            tf.compat.v1.logging.warning(
                "left out a damaged record: %s: %s at byte offset %d", path, reason, offset_bytes
            )
            if n_damaged > tolerated:
                raise CorruptRecordError(path, offset_bytes, reason)
    return n_damaged > 0


def _count_share_records(shares: Sequence[FileShare], damaged: bool) -> int:
    """Returns the number of records in one epoch of a rank."""
    if damaged:
        return sum(1 for _ in _iterate_share_records(shares))
    return sum(
        len(range(share.share, records.count_records(share.path), share.n_shares))
        for share in shares
    )


def _build_serialized_dataset(
    shares: Sequence[FileShare], seed: Optional[tf.Tensor], shuffle: bool, damaged: bool
) -> tf.data.Dataset:
    """Serialised records of the shares; several files at a time when shuffling."""
    if damaged:
        return tf.data.Dataset.from_generator(
            lambda: _iterate_share_records(shares), tf.string, tf.TensorShape([])
        )
    dataset = tf.data.Dataset.from_tensor_slices(
        (
            tf.constant([share.path for share in shares]),
            tf.constant([share.n_shares for share in shares], tf.int64),
            tf.constant([share.share for share in shares], tf.int64),
        )
    )
    if shuffle:
        dataset = dataset.shuffle(len(shares), seed=seed, reshuffle_each_iteration=False)
    return dataset.interleave(
        _read_share, cycle_length=min(4, len(shares)) if shuffle else 1, block_length=16
    )


def _read_share(path: tf.Tensor, n_shares: tf.Tensor, share: tf.Tensor) -> tf.data.Dataset:
    dataset = tf.data.TFRecordDataset(path, buffer_size=READ_BUFFER_BYTES)
    return dataset.shard(n_shares, share)


def _iterate_share_records(shares: Sequence[FileShare]):
    for share in shares:
        for i, payload in enumerate(records.iterate_intact_records(share.path, [])):
            if i % share.n_shares == share.share:
                yield payload


def _build_batch_parser(
    lengths: Mapping[str, int], float_names: Sequence[str]
) -> Callable[[tf.Tensor], Dict[str, tf.Tensor]]:
    specification = {
        name: tf.io.FixedLenFeature([length], tf.float32 if name in float_names else tf.int64)
        for name, length in lengths.items()
    }

    def parse_batch(serialized: tf.Tensor) -> Dict[str, tf.Tensor]:
        features = tf.io.parse_example(serialized, specification)
        return {
            # Accelerators have no fast int64 gather, and ids fit int32.
            name: tf.cast(value, tf.int32) if value.dtype == tf.int64 else value
            for name, value in features.items()
        }

    return parse_batch


def _mix(seed: Optional[int], epoch: tf.Tensor, place: int) -> Optional[tf.Tensor]:
    """Returns the seed of one shuffle of one epoch, a scalar int64.

    tf.data takes two equal seeds for two equal orders; the shuffles must not follow each other.
    """
    if seed is None:
        return None
    return (epoch * 2 + place + seed * 1000003) % (1 << 31)
