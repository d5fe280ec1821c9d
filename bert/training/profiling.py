"""Traces of single training steps, to be opened in chrome://tracing or Perfetto."""

from __future__ import annotations

import os
import tempfile
from typing import Any, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.client import timeline

from bert.errors import OutputError


class ProfileHook(tf.train.SessionRunHook):
    """Writes `<directory>/step_<n>.json`, a Chrome trace, for each step of a list.

    Step n is the one that brings the global step to n. Tracing slows it down, so its line in the
    log is left to the reader's judgement.

    Args:
        steps: which steps.
        directory: made when the first trace is written.
        reached: the global step, read after the update.
    """

    def __init__(self, steps: Sequence[int], directory: str, reached: tf.Tensor) -> None:
        self._steps = frozenset(steps)
        self._directory = directory
        self._reached = reached

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Takes the step that training starts from."""
        self._step = int(session.run(tf.train.get_global_step()))

    def before_run(self, run_context: Any) -> tf.train.SessionRunArgs:
        """Asks for a trace when the coming step is on the list."""
        options = None
        if self._step + 1 in self._steps:
            # The next level would also look for a GPU's tracer, and complain.
            options = tf.RunOptions(trace_level=tf.RunOptions.SOFTWARE_TRACE)
        return tf.train.SessionRunArgs(self._reached, options=options)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Writes the trace; that of a skipped step gives way to that of the next try."""
        traced = self._step + 1
        self._step = int(run_values.results)
        if traced in self._steps:
            path = os.path.join(self._directory, f"step_{traced}.json")
            write_trace(run_values.run_metadata.step_stats, path)
            tf.logging.info("profile of step %d: %s", traced, path)


def write_trace(step_stats: Any, path: str) -> None:
    """Writes a StepStats as Chrome trace JSON, under a temporary name first.

    Raises:
        OutputError: if it cannot be written.
    """
    trace = timeline.Timeline(step_stats).generate_chrome_trace_format()
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=directory, prefix=".step_", delete=False
        ) as stream:
            stream.write(trace)
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
