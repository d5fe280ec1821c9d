"""Training and evaluation from one frozen configuration."""

from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, List

import tensorflow.compat.v1 as tf

from bert.backends.base import Backend, build_backend
from bert.backends.rank import RankEnvironment
from bert.errors import DataError, OutputError, TrainerError
from bert.optimization.schedule import render_schedule_line
from bert.train_config import TrainConfig
from bert.training.batch_counter import read_start_batch
from bert.training.failures import map_failure
from bert.training.inputs import build_eval_input, build_train_input, list_files
from bert.training.model_fn import build_model_fn


def train_and_evaluate(config: TrainConfig, rank: RankEnvironment) -> None:
    """Trains, then lets rank 0 evaluate, as the configuration asks.

    Raises:
        TrainerError: of the class that says what went wrong; nothing else is raised.
    """
    try:
        backend = build_backend(config, rank)
        backend.check()
        if backend.saves:
            check_output_directory(config.output_dir)
        if config.do_train:
            train(config, backend)
        if config.do_eval and rank.is_root:
            evaluate(config, backend)
        backend.close()
    except TrainerError:
        raise
    except Exception as error:
        raise map_failure(error, _list_files_in_use(config), rank.rank_id) from error


def train(config: TrainConfig, backend: Backend) -> None:
    """Trains until the global step reaches num_train_steps."""
    rank = backend.rank
    start_batch = read_start_batch(config.output_dir)
    input_fn = build_train_input(config, rank, start_batch)
    tf.logging.info("RANK_SIZE= %d  RANK_ID= %d", rank.rank_size, rank.rank_id)
    tf.logging.info("***** Running training *****")
    tf.logging.info("  Batch size = %d", config.input.train_batch_size)
    tf.logging.info("%s", render_schedule_line(config.optimizer.schedule))
    backend.start()
    model_fn = build_model_fn(config, backend, start_batch)
    backend.build_train_estimator(model_fn).train(input_fn)
    backend.finish()


def evaluate(config: TrainConfig, backend: Backend) -> Dict[str, Any]:
    """Evaluates the newest checkpoint and writes eval_results.txt.

    Returns:
        Metric name → value.
    """
    input_fn = build_eval_input(config)
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Batch size = %d", config.input.eval_batch_size)
    if tf.train.latest_checkpoint(config.output_dir) is None:
        raise DataError(f"--do_eval: {config.output_dir} holds no checkpoint to evaluate")
    estimator = backend.build_eval_estimator(build_model_fn(config, backend))
    result = estimator.evaluate(input_fn, steps=config.max_eval_steps)
    tf.logging.info("***** Eval results *****")
    lines = [f"{name} = {result[name]}" for name in sorted(result)]
    for line in lines:
        tf.logging.info("  %s", line)
    write_eval_results(os.path.join(config.output_dir, "eval_results.txt"), lines)
    return result


def write_eval_results(path: str, lines: List[str]) -> None:
    """Writes one metric per line under a temporary name, then renames it over `path`.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=os.path.dirname(path), prefix=".eval_results.", delete=False
        ) as stream:
            stream.write("\n".join(lines) + "\n")
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def check_output_directory(path: str) -> None:
    """Makes the directory and checks that files can be made in it.

    Raises:
        OutputError: if not.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".write_check."):
            pass
    except OSError as error:
        raise OutputError(
            f"--output_dir={path} cannot be written: {error.strerror or error}"
        ) from error


def _list_files_in_use(config: TrainConfig) -> List[str]:
    """The data files of the run, for a message; empty rather than a second failure."""
    files: List[str] = []
    for directories in (config.input.train_directories, config.input.eval_directories):
        try:
            files.extend(list_files(directories) if directories else [])
        except TrainerError:
            continue
    return files
