"""Loss scaling: gradients of float16 are kept away from zero by a factor on the loss.

A step whose gradients are not finite changes no weight and does not advance the global step.
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import tensorflow.compat.v1 as tf

from bert.train_config import LossScaleConfig

_GROW_RATIO = 2.0
_SHRINK_RATIO = 0.5
_LARGEST = 3.4e38

GradientsAndVariables = List[Tuple[Optional[tf.Tensor], tf.Variable]]


class LossScale:
    """The scale and the rule by which it changes.

    With the dynamic rule three variables are saved in checkpoints: `loss_scale` (float32),
    `good_steps` and `bad_steps` (int32). After `grow_every_n_steps` finite steps in a row the
    scale doubles; after `shrink_every_n_bad` non-finite ones, which finite steps between them do
    not clear, it halves, but not below 1.
    """

    def __init__(self, config: LossScaleConfig) -> None:
        self._config = config
        self._is_dynamic = config.mode == "dynamic"
        if self._is_dynamic:

            def make(name: str, value: Any) -> tf.Variable:
                return tf.get_variable(name, initializer=value, trainable=False)

            self._scale = make("loss_scale", tf.constant(config.initial, tf.float32))
            self._good = make("good_steps", tf.constant(0, tf.int32))
            self._bad = make("bad_steps", tf.constant(0, tf.int32))
            # A value of its own: an identity shares the variable's memory, and whoever fetches
            # it would see the scale of this step or of the next one by chance.
            self.value = tf.maximum(self._scale, 1.0)
        else:
            self.value = tf.constant(config.initial, tf.float32)

    def update(self, is_finite: tf.Tensor) -> tf.Operation:
        """Returns the operation that applies the rule after a step.

        Args:
            is_finite: scalar bool, whether all gradients of the step were finite.
        """
        if not self._is_dynamic:
            return tf.no_op()
        good = tf.where_v2(is_finite, self._good + 1, 0)
        bad = tf.where_v2(is_finite, self._bad + 0, self._bad + 1)
        grow = good >= self._config.grow_every_n_steps
        shrink = bad >= self._config.shrink_every_n_bad
        scale = self.value
        can_grow = tf.logical_and(grow, scale < _LARGEST / _GROW_RATIO)
        scale = tf.where_v2(can_grow, scale * _GROW_RATIO, scale)
        scale = tf.where_v2(shrink, tf.maximum(1.0, scale * _SHRINK_RATIO), scale)
        reset = tf.logical_or(grow, shrink)
        # All three are computed from the old values before any is assigned.
        with tf.control_dependencies([good, bad, scale, reset]):
            return tf.group(
                tf.assign(self._scale, scale),
                tf.assign(self._good, tf.where_v2(reset, 0, good)),
                tf.assign(self._bad, tf.where_v2(reset, 0, bad)),
            )


class LossScaleOptimizer(tf.train.Optimizer):
    """Wraps an optimiser: scales the loss, unscales the gradients, skips non-finite steps.

    Ranks need no agreement of their own: they test averaged gradients, which are the same
    everywhere and not finite as soon as those of one rank are not. The test comes after clipping,
    which keeps what is not finite.
    """

    def __init__(self, optimizer: tf.train.Optimizer, loss_scale: LossScale) -> None:
        super().__init__(use_locking=False, name="LossScaleOptimizer")
        self._optimizer = optimizer
        self._loss_scale = loss_scale

    def compute_gradients(self, loss: tf.Tensor, var_list: Any = None, **kwargs: Any) -> Any:
        """Returns (gradient, variable) pairs of the unscaled loss."""
        pairs = self._optimizer.compute_gradients(
            loss * self._loss_scale.value, var_list=var_list, **kwargs
        )
        inverse = 1.0 / self._loss_scale.value
        return [(None if g is None else g * inverse, v) for g, v in pairs]

    def apply_gradients(
        self, grads_and_vars: GradientsAndVariables, global_step: Any = None, name: Any = None
    ) -> tf.Operation:
        """Applies finite gradients; else leaves weights, slots and global step alone."""
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        is_finite = tf.reduce_all([tf.reduce_all(tf.is_finite(g)) for g, _ in pairs])

        def apply() -> tf.Operation:
            return self._optimizer.apply_gradients(pairs, global_step=global_step)

        applied = tf.cond(is_finite, lambda: tf.group(apply()), tf.no_op)
        with tf.control_dependencies([applied]):
            return tf.group(self._loss_scale.update(is_finite), name=name)
