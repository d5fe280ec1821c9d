"""Hooks of a training session: when lines are written, and when training ends."""

from __future__ import annotations

from typing import Any, Dict, Optional

import tensorflow.compat.v1 as tf


class StepMultipleTimer(tf.train.SecondOrStepTimer):
    """Triggers when the step passes a multiple of `every_steps`.

    TensorFlow's own timer triggers in the first step and then counts from there, so lines fall
    on steps 1, 101, 201. Here they fall on 100, 200, 300, as they do on a device that takes
    100 steps per call, and rates of a resumed run cover the same steps as those of a whole one.
    """

    def __init__(self, every_steps: int) -> None:
        super().__init__(every_steps=every_steps)
        self._n_steps = every_steps
        self.start_step = 0

    def should_trigger_for_step(self, step: int) -> bool:
        """Tells whether a multiple lies in (last triggered step, step]."""
        last = self.last_triggered_step()
        last = self.start_step if last is None else last
        return step // self._n_steps > last // self._n_steps


class StepRateHook(tf.train.StepCounterHook):
    """Writes TensorFlow's line `global_step/sec: …` on multiples of `every_n_steps`."""

    def __init__(self, every_n_steps: int, output_dir: Optional[str]) -> None:
        super().__init__(every_n_steps=every_n_steps, output_dir=output_dir)
        self._timer = StepMultipleTimer(every_n_steps)

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Takes the step that training starts from."""
        self._timer.start_step = int(session.run(tf.train.get_global_step()))


class LossLineHook(tf.train.LoggingTensorHook):
    """Writes `tag = value, …  (… sec)` on multiples of `every_n_steps`, tags sorted.

    The first line of a run carries no seconds, as there is no line before it to count from.
    """

    def __init__(self, tensors: Dict[str, tf.Tensor], every_n_steps: int, n_steps_per_run: int):
        super().__init__(tensors, every_n_iter=every_n_steps)
        self._n_steps_per_run = n_steps_per_run
        self._timer = StepMultipleTimer(every_n_steps)

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Counts the steps from the one that training starts from."""
        start = int(session.run(tf.train.get_global_step()))
        self._timer.start_step = start
        # The base class asks the timer about, and writes down, this number: the step that the
        # coming run ends with.
        self._iter_count = start + self._n_steps_per_run

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Writes the line if it is due."""
        super().after_run(run_context, run_values)
        self._iter_count += self._n_steps_per_run - 1


class LossScaleHook(tf.train.SessionRunHook):
    """Writes `loss_scale:[65536.0]` on multiples of `every_n_steps`."""

    def __init__(self, loss_scale: tf.Tensor, every_n_steps: int, n_steps_per_run: int) -> None:
        self._loss_scale = loss_scale
        self._every_n_steps = every_n_steps
        self._n_steps_per_run = n_steps_per_run

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Counts the steps from the one that training starts from."""
        self._step = int(session.run(tf.train.get_global_step()))

    def before_run(self, run_context: Any) -> Optional[tf.train.SessionRunArgs]:
        """Asks for the scale when the line is due."""
        before, self._step = self._step, self._step + self._n_steps_per_run
        if self._step // self._every_n_steps > before // self._every_n_steps:
            return tf.train.SessionRunArgs(self._loss_scale)
        return None

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Writes the line."""
        if run_values.results is not None:
            tf.logging.info("loss_scale:[%s]", run_values.results)


class StopAtStep(tf.train.StopAtStepHook):
    """Ends training at a global step, and takes no step at all if it is already reached.

    The estimator's own check reads the checkpoint directory, which only rank 0 has; all ranks
    must decide alike, so this looks at the step after rank 0 has broadcast it.
    """

    def __init__(self, last_step: int) -> None:
        super().__init__(last_step=last_step)
        self._is_reached = False

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Looks where training starts from."""
        super().after_create_session(session, coord)
        step = int(session.run(tf.train.get_global_step()))
        self._is_reached = step >= self._last_step
        if self._is_reached:
            tf.logging.warning(
                "nothing to train: global step %d has reached num_train_steps %d",
                step,
                self._last_step,
            )

    def before_run(self, run_context: Any) -> Any:
        """Ends the session cleanly before a step that would be one too many."""
        if self._is_reached:
            raise StopIteration
        return super().before_run(run_context)
