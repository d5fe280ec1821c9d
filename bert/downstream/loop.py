"""The one loop of fine-tuning: train on all ranks, score and predict on rank 0."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from typing import Any, Dict, Iterator, Mapping, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from bert.backends.base import Backend, build_backend
from bert.backends.rank import RankEnvironment
from bert.data.input_pipeline import build_share_input_fn
from bert.data.record_files import FileShare
from bert.downstream.checkpoint_choice import (
    check_fine_tuned,
    choose_checkpoint,
    list_checkpoints,
    read_best,
    read_step,
)
from bert.downstream.finetune_config import FineTuneConfig, resolve_steps
from bert.downstream.inference import Measured, render_time_lines, run_model
from bert.downstream.model_fn import build_model_fn
from bert.downstream.results import (
    TEST_RESULTS_NAME,
    Scored,
    remove_results,
    render_results,
    write_best,
    write_results,
)
from bert.downstream.sequences import write_rows
from bert.downstream.task import Encoded, Task
from bert.errors import DataError, OutputError, TrainerError
from bert.flags import render_flag_line
from bert.optimization.schedule import render_schedule_line
from bert.train_config import render_resolved_line
from bert.training.batch_counter import read_start_batch
from bert.training.failures import map_failure
from bert.training.run import check_output_directory

Examples = Mapping[str, Sequence[Any]]


@dataclasses.dataclass
class Loop:
    """One run in progress.

    Attributes:
        task: what is learned.
        config: the run; its numbers of steps are known once training data are counted.
        backend: of this rank.
        directory: of feature files, removed when the run ends.
    """

    task: Task
    config: FineTuneConfig
    backend: Backend
    directory: str


def run_task(task: Task, examples: Examples, rank: RankEnvironment) -> None:
    """Trains, scores and predicts, as the task's configuration asks.

    Rank 0 alone scores and predicts, so every example counts once whatever the number of ranks.

    Args:
        task: prepared.
        examples: split → examples, for the splits that the run needs.
        rank: this process among the ranks.

    Raises:
        TrainerError: of the class that says what went wrong; nothing else is raised.
    """
    config = task.config
    try:
        backend = build_backend(config.train, rank)
        backend.check()
        if backend.saves:
            check_output_directory(config.train.output_dir)
        with feature_directory(config.train.output_dir, rank) as directory:
            loop = Loop(task, config, backend, directory)
            if config.do_train:
                train(loop, examples["train"])
            else:
                tf.logging.info("%s", render_resolved_line(config.train))
            if rank.is_root:
                _use(loop, examples)
        backend.close()
    except TrainerError:
        raise
    except Exception as error:
        raise map_failure(error, [], rank.rank_id) from error


@contextlib.contextmanager
def feature_directory(output_dir: str, rank: RankEnvironment) -> Iterator[str]:
    """Makes this rank's directory of feature files below the output, and removes it at the end.

    What an earlier run that was killed has left there goes away first.

    Raises:
        OutputError: it cannot be made.
    """
    path = os.path.join(output_dir, f".features_rank_{rank.rank_id}")
    try:
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
    except OSError as error:
        raise OutputError(f"cannot make {path}: {error.strerror or error}") from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def train(loop: Loop, examples: Sequence[Any]) -> None:
    """Trains until the global step reaches the number of steps.

    Raises:
        DataError: there are fewer sequences than ranks.
    """
    task, backend = loop.task, loop.backend
    rank, output_dir = backend.rank, loop.config.train.output_dir
    path = os.path.join(loop.directory, "train.tfrecord")
    n_rows = _write_train_rows(loop, examples, path)
    loop.config = resolve_steps(loop.config, n_rows, rank.rank_size)
    config = backend.config = loop.config.train
    if backend.saves:
        task.write_state(output_dir)
    start_batch = read_start_batch(output_dir)
    input_fn = build_share_input_fn(
        [FileShare(path, 1, 0)],
        config.input.n_sequences_per_step,
        task.feature_lengths,
        seed=config.random_seed,
        shuffle=config.input.shuffle,
        start_batch=start_batch,
    )
    schedule = config.optimizer.schedule
    tf.logging.info("%s", render_resolved_line(config))
    shares = f"sequences:{rank.rank_id}/{rank.rank_size}"
    tf.logging.info("%s", render_flag_line("input_shares", shares))
    tf.logging.info("RANK_SIZE= %d  RANK_ID= %d", rank.rank_size, rank.rank_id)
    tf.logging.info("***** Running training *****")
    tf.logging.info("  Num examples = %d, sequences = %d", len(examples), n_rows)
    tf.logging.info("  Batch size = %d", config.input.train_batch_size)
    tf.logging.info(
        "  Num steps = %d, of which warm-up = %d, checkpoints every %d",
        schedule.n_train_steps,
        schedule.n_warmup_steps,
        config.save_checkpoints_steps,
    )
    tf.logging.info("%s", render_schedule_line(schedule))
    if config.init_checkpoint is None:
        tf.logging.warning("no --init_checkpoint: training starts from random weights")
    backend.start()
    model_fn = build_model_fn(task.head, config, backend, start_batch)
    backend.build_train_estimator(model_fn).train(input_fn)
    backend.finish()


def _write_train_rows(loop: Loop, examples: Sequence[Any], path: str) -> int:
    """Writes this rank's share of the sequences, and returns how many all ranks have together.

    Examples are shuffled before they are dealt, or a file that is sorted by label would give
    each rank, and each stretch of the training, other labels.
    """
    config, rank = loop.config.train, loop.backend.rank
    ordered = list(examples)
    if config.input.shuffle:
        order = np.random.RandomState(config.random_seed % (1 << 32)).permutation(len(ordered))
        ordered = [ordered[i] for i in order]
    n_rows = 0

    def deal() -> Iterator[Any]:
        nonlocal n_rows
        for row in loop.task.iterate_train_rows(ordered):
            if n_rows % rank.rank_size == rank.rank_id:
                yield row
            n_rows += 1

    write_rows(path, deal(), loop.task.feature_lengths)
    if n_rows < rank.rank_size:
        raise DataError(
            f"the training data give {n_rows} sequences for {rank.rank_size} ranks; "
            "give more data or use fewer ranks"
        )
    return n_rows


def _use(loop: Loop, examples: Examples) -> None:
    """Scores checkpoints and predicts, as far as the run asks for it."""
    config = loop.config
    if config.do_eval:
        score(loop, examples["dev"])
    if config.do_predict:
        predict(loop, examples["test"])


def score(loop: Loop, examples: Sequence[Any]) -> None:
    """Scores checkpoints on all held-out examples, and writes the results and which is best."""
    config, output_dir = loop.config, loop.config.train.output_dir
    checkpoints = list_checkpoints(output_dir) if config.scores_all else []
    if not checkpoints:
        checkpoints = [choose_checkpoint(output_dir, config.train.init_checkpoint)]
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Num examples = %d", len(examples))
    tf.logging.info("  Batch size = %d", config.eval_batch_size)
    encoded = loop.task.encode(examples)
    path = _write_encoded(loop, encoded, "eval")
    scored = []
    for checkpoint in checkpoints:
        tf.logging.info(
            "Starting evaluation at %s", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        )
        measured = _run_model(loop, checkpoint, path, len(encoded.rows), config.eval_batch_size)
        result = _score_outputs(loop, examples, encoded, measured, checkpoint)
        tf.logging.info(
            "Finished evaluation at %s", time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime())
        )
        tf.logging.info(
            "Saving dict for global step %d: %s", result.step, render_results(result, ", ")
        )
        scored.append(result)
    headline = loop.task.headline
    best = write_results(output_dir, config.task_name, headline, scored)
    if config.scores_all:
        write_best(output_dir, headline, best)
    tf.logging.info("***** Eval results *****")
    for line in render_results(best, "\n").split("\n"):
        tf.logging.info("  %s", line)
    tf.logging.info(
        "best checkpoint: %s, %s = %s", best.checkpoint, headline, best.metrics[headline]
    )


def predict(loop: Loop, examples: Sequence[Any]) -> None:
    """Predicts all examples by the best checkpoint known, and writes the prediction files."""
    config, output_dir = loop.config, loop.config.train.output_dir
    # A best one that was chosen before this training is not the best any longer.
    best = None if config.do_train and not config.do_eval else read_best(output_dir)
    checkpoint = best or choose_checkpoint(output_dir, config.train.init_checkpoint)
    tf.logging.info("***** Running prediction *****")
    tf.logging.info("  Num examples = %d", len(examples))
    tf.logging.info("  Batch size = %d", config.predict_batch_size)
    tf.logging.info("  Checkpoint = %s", checkpoint)
    encoded = loop.task.encode(examples)
    path = _write_encoded(loop, encoded, "predict")
    n_per_round = -(-len(encoded.rows) // config.predict_batch_size)
    measured = _run_model(
        loop,
        checkpoint,
        path,
        len(encoded.rows),
        config.predict_batch_size,
        config.n_warmup_batches,
        max(config.n_rounds, -(-config.n_batches // n_per_round)),
    )
    for line in render_time_lines(measured.seconds, measured.n_examples, config.predict_batch_size):
        tf.logging.info("%s", line)
    written = loop.task.write_predictions(output_dir, examples, encoded, measured.outputs)
    if config.predict_has_labels:
        result = _score_outputs(loop, examples, encoded, measured, checkpoint)
        # Not under the name of a training loss: readers of logs take each for a step of training.
        values = {f"test_{name}": value for name, value in result.metrics.items()}
        line = render_results(result._replace(metrics=values), ", ")
        tf.logging.info("test results: %s", line)
        write_results(output_dir, config.task_name, loop.task.headline, [result], TEST_RESULTS_NAME)
    else:
        remove_results(output_dir, TEST_RESULTS_NAME)
    tf.logging.info("predictions: %s", ", ".join(written))


def _write_encoded(loop: Loop, encoded: Encoded, name: str) -> str:
    path = os.path.join(loop.directory, f"{name}.tfrecord")
    write_rows(path, encoded.rows, loop.task.feature_lengths)
    return path


def _run_model(
    loop: Loop, checkpoint: str, path: str, n_rows: int, batch_size: int, *timing: int
) -> Measured:
    head, config = loop.task.head, loop.config.train
    check_fine_tuned(checkpoint, head, config.bert)
    estimator = loop.backend.build_eval_estimator(build_model_fn(head, config, loop.backend))
    lengths = loop.task.feature_lengths
    return run_model(estimator, checkpoint, path, n_rows, batch_size, lengths, *timing)


def _score_outputs(
    loop: Loop, examples: Sequence[Any], encoded: Encoded, measured: Measured, checkpoint: str
) -> Scored:
    outputs = measured.outputs
    weights = outputs["weight"].astype(np.float64)
    loss = float((outputs["loss"] * weights).sum() / max(weights.sum(), 1.0))
    metrics: Dict[str, Any] = dict(loop.task.score(examples, encoded, outputs))
    return Scored(checkpoint, read_step(checkpoint), {**metrics, "loss": loss})
