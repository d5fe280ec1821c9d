"""Counts and reports the steps that loss scaling has skipped."""

from __future__ import annotations

import time
from typing import Any, Dict

import tensorflow.compat.v1 as tf


class SkippedStepHook(tf.train.SessionRunHook):
    """Writes one line for every call of the device in which steps were skipped.

    A skipped step is one that did not advance the global step. That holds on every device and
    with any adapter, and all ranks see the same. The line has the form of the field's trainers,
    with `isFinite = 0`, and the global step that the skipped update did not leave.

    Args:
        values: scalar tensors `global_step` (read after the update), `total_loss`,
            `learning_rate`, `loss_scale`, and of pre-training `mlm_loss` and `nsp_loss`.
        n_steps_per_run: steps that one call of the device takes.
        n_sequences_per_step: sequences of all ranks.
    """

    def __init__(
        self, values: Dict[str, tf.Tensor], n_steps_per_run: int, n_sequences_per_step: int
    ) -> None:
        self._values = values
        self._n_steps_per_run = n_steps_per_run
        self._n_sequences_per_run = n_sequences_per_step * n_steps_per_run
        self.n_skipped = 0

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Takes the step that training starts from."""
        self._step = int(session.run(tf.train.get_global_step()))

    def before_run(self, run_context: Any) -> tf.train.SessionRunArgs:
        """Asks for all values; they are scalars."""
        self._start_seconds = time.perf_counter()
        return tf.train.SessionRunArgs(self._values)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Writes the line if the global step is not where it should be."""
        seconds = time.perf_counter() - self._start_seconds
        found = run_values.results
        n_skipped = self._step + self._n_steps_per_run - int(found["global_step"])
        self._step = int(found["global_step"])
        if n_skipped > 0:
            self.n_skipped += n_skipped
            tf.logging.warning(
                "%s (%d of %d steps skipped: gradients not finite; %d so far)",
                render_skipped_line(found, self._n_sequences_per_run / seconds),
                n_skipped,
                self._n_steps_per_run,
                self.n_skipped,
            )

    def end(self, session: tf.Session) -> None:
        """Writes the count."""
        if self.n_skipped:
            tf.logging.info("skipped steps: %d", self.n_skipped)


def render_skipped_line(values: Dict[str, Any], sequences_per_second: float) -> str:
    """Returns the step line of the field's trainers, for a step that changed nothing."""
    total = values["total_loss"]
    parts = ""
    if "mlm_loss" in values:
        parts = f"MLM Loss = {values['mlm_loss']:10.4e} NSP Loss = {values['nsp_loss']:10.4e} "
    return (
        f"Step = {values['global_step']:6d} Throughput = {sequences_per_second:11.1f} {parts}"
        f"Loss = {total:9.6f} Average Loss = {total:9.6f} LR = {values['learning_rate']:6.4e} "
        f"Loss scale = {values['loss_scale']:6.4e} isFinite = {0:6d}"
    )
