"""Learning rate: linear warm-up, then polynomial decay to zero."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from bert.train_config import ScheduleConfig


def decay_start(schedule: ScheduleConfig) -> float:
    """Returns the rate from which the decay starts in step 0.

    The decay runs over all steps, so a decay from `learning_rate` has already lost the share
    W/N of it when the warm-up of W of N steps ends, and the rate drops there. With
    `continuous` the decay starts higher, at lr / (1 - W/N)^power, and meets the warm-up's end.
    """
    if not schedule.continuous or schedule.n_warmup_steps == 0:
        return schedule.learning_rate
    left_ratio = 1.0 - schedule.n_warmup_steps / schedule.n_train_steps
    return schedule.learning_rate / left_ratio**schedule.power


def build_learning_rate(schedule: ScheduleConfig, global_step: tf.Tensor) -> tf.Tensor:
    """Returns the learning rate of the update that `global_step` updates precede.

    With t the global step before the update, W warm-up steps, N steps in all:
    lr · t / W for t < W, else start · (1 - min(t, N)/N)^power. The first update of a warm-up
    has rate 0.

    Args:
        schedule: the numbers.
        global_step: scalar integer.

    Returns:
        Scalar float32.
    """
    step = tf.cast(global_step, tf.float32)
    total = float(schedule.n_train_steps)
    left_ratio = 1.0 - tf.minimum(step, total) / total
    decayed = decay_start(schedule) * tf.pow(left_ratio, schedule.power)
    if schedule.n_warmup_steps == 0:
        return decayed
    warmup = float(schedule.n_warmup_steps)
    return tf.where_v2(step < warmup, schedule.learning_rate * step / warmup, decayed)


def render_schedule_line(schedule: ScheduleConfig) -> str:
    """Returns the log line that tells where the decay starts and what it is at the crossover."""
    start = decay_start(schedule)
    left_ratio = 1.0 - schedule.n_warmup_steps / schedule.n_train_steps
    return (
        f"decayed_learning_rate_at_crossover_point = {start * left_ratio**schedule.power:e}, "
        f"adjusted_init_lr = {start:e}"
    )
