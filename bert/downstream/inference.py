"""The outputs of a model for all sequences of a file, each exactly once, and what they cost."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from bert.data.input_pipeline import InputFn, build_share_input_fn
from bert.data.record_files import FileShare


class Measured(NamedTuple):
    """Outputs and times.

    Attributes:
        outputs: name → [N, …], in the order of the file.
        seconds: of each batch that counts, in order.
        n_examples: sequences of each of these batches, without those that fill up the last one.
    """

    outputs: Dict[str, np.ndarray]
    seconds: List[float]
    n_examples: List[int]


class TimeHook(tf.train.SessionRunHook):
    """Takes the time of every call of the device, data included."""

    def __init__(self) -> None:
        self.seconds: List[float] = []

    def before_run(self, run_context: Any) -> Optional[tf.train.SessionRunArgs]:
        """Starts the clock."""
        self._start = time.perf_counter()
        return None

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Stops it."""
        self.seconds.append(time.perf_counter() - self._start)


def build_ordered_input(
    path: str,
    batch_size: int,
    lengths: Mapping[str, int],
    n_warmup_batches: int = 0,
    n_rounds: int = 1,
) -> InputFn:
    """Returns all records in order, in batches of static shape; rows of zeros fill up the last.

    Args:
        path: TFRecord file.
        batch_size: B.
        lengths: feature name → values per record.
        n_warmup_batches: how often the first batch comes before all others.
        n_rounds: how often the whole file comes.
    """
    read = build_share_input_fn(
        [FileShare(path, 1, 0)],
        batch_size,
        lengths,
        shuffle=False,
        repeat=False,
        drop_remainder=False,
    )

    def fill_up(features: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
        filled = {}
        for name, value in features.items():
            filled[name] = tf.pad(value, [[0, batch_size - tf.shape(value)[0]], [0, 0]])
            filled[name].set_shape([batch_size, value.shape[1].value])
        return filled

    def input_fn(params: Any = None) -> tf.data.Dataset:
        batches = read({}).map(fill_up)
        dataset = batches.repeat(n_rounds)
        if n_warmup_batches:
            dataset = batches.take(1).repeat(n_warmup_batches).concatenate(dataset)
        return dataset.prefetch(2)

    return input_fn


def run_model(
    estimator: tf.estimator.Estimator,
    checkpoint: str,
    path: str,
    n_rows: int,
    batch_size: int,
    lengths: Mapping[str, int],
    n_warmup_batches: int = 0,
    n_rounds: int = 1,
) -> Measured:
    """Computes the outputs for all records of a file, in order.

    Args:
        estimator: whose model function gives predictions [B, …].
        checkpoint: path without suffix.
        path: TFRecord file.
        n_rows: N, its number of records.
        batch_size: B.
        lengths: feature name → values per record.
        n_warmup_batches, n_rounds: as in `build_ordered_input`; neither changes the outputs.
    """
    timer = TimeHook()
    input_fn = build_ordered_input(path, batch_size, lengths, n_warmup_batches, n_rounds)
    n_batches = -(-n_rows // batch_size)
    kept: List[Dict[str, np.ndarray]] = []
    batches = estimator.predict(
        input_fn, hooks=[timer], checkpoint_path=checkpoint, yield_single_examples=False
    )
    for number, batch in enumerate(batches):
        if n_warmup_batches <= number < n_warmup_batches + n_batches:
            kept.append(batch)
    outputs = {name: np.concatenate([batch[name] for batch in kept])[:n_rows] for name in kept[0]}
    last = n_rows - (n_batches - 1) * batch_size
    counts = ([batch_size] * (n_batches - 1) + [last]) * n_rounds
    seconds = timer.seconds[n_warmup_batches:]
    # The call that finds the end of the data has no outputs, and is no batch.
    return Measured(outputs, seconds[: len(counts)], counts)


def render_time_lines(
    seconds: Sequence[float], n_examples: Sequence[int], batch_size: int
) -> List[str]:
    """Returns one line per batch, and one that sums up."""
    lines = [
        f"predict: batch = {number}, examples = {count}, seconds = {value:.6f}"
        for number, (value, count) in enumerate(zip(seconds, n_examples), 1)
    ]
    total, n_total = sum(seconds), sum(n_examples)
    p50, p95, p99 = (1e3 * q for q in np.percentile(seconds, [50, 95, 99]))
    lines.append(
        f"predict: batch_size = {batch_size}, batches = {len(seconds)}, examples = {n_total}, "
        f"seconds = {total:.6f}, examples/sec = {n_total / total:.3f}, latency p50 = {p50:.3f} ms, "
        f"p95 = {p95:.3f} ms, p99 = {p99:.3f} ms"
    )
    return lines
