"""How the loss scale changes."""

import abc

import tensorflow.compat.v1 as tf

from npu_bridge._native import record

_LARGEST = 3.4e38


class LossScaleManager(abc.ABC):
    """What a loss scaling optimiser asks."""

    @abc.abstractmethod
    def get_loss_scale(self):
        """Returns the scale, a scalar float32."""

    @abc.abstractmethod
    def update_loss_scale(self, finite_grads):
        """Returns the operation that adapts the scale after a step."""


class FixedLossScaleManager(LossScaleManager):
    """A scale that stays."""

    def __init__(self, loss_scale):
        if loss_scale < 1:
            raise ValueError("loss_scale must be at least 1")
        record.write("FixedLossScaleManager", loss_scale=loss_scale)
        self._loss_scale = tf.convert_to_tensor(loss_scale, dtype=tf.float32)

    def get_loss_scale(self):
        """Returns the scale."""
        return self._loss_scale

    def update_loss_scale(self, finite_grads):
        """Returns an operation without effect."""
        return tf.no_op()


class ExponentialUpdateLossScaleManager(LossScaleManager):
    """Grows after finite steps in a row, shrinks after non-finite ones, in a row or not."""

    def __init__(
        self,
        init_loss_scale,
        incr_every_n_steps,
        decr_every_n_nan_or_inf=2,
        incr_ratio=2,
        decr_ratio=0.8,
    ):
        record.write(
            "ExponentialUpdateLossScaleManager",
            init_loss_scale=init_loss_scale,
            incr_every_n_steps=incr_every_n_steps,
            decr_every_n_nan_or_inf=decr_every_n_nan_or_inf,
            incr_ratio=incr_ratio,
            decr_ratio=decr_ratio,
        )
        self._incr_every_n_steps = incr_every_n_steps
        self._decr_every_n_nan_or_inf = decr_every_n_nan_or_inf
        self._incr_ratio = incr_ratio
        self._decr_ratio = decr_ratio
        self._loss_scale = tf.Variable(
            tf.constant(init_loss_scale, tf.float32), trainable=False, name="loss_scale"
        )
        self._good = tf.Variable(0, trainable=False, dtype=tf.int32, name="good_steps")
        self._bad = tf.Variable(0, trainable=False, dtype=tf.int32, name="bad_steps")

    def get_loss_scale(self):
        """Returns the variable."""
        return self._loss_scale

    def update_loss_scale(self, finite_grads):
        """Returns the operation that applies the rule."""

        def set_state(scale, good, bad):
            return tf.group(
                tf.assign(self._loss_scale, scale),
                tf.assign(self._good, good),
                tf.assign(self._bad, bad),
            )

        def after_finite():
            scale = self._loss_scale.read_value()
            good = self._good + 1
            grown = tf.where(scale < _LARGEST / self._incr_ratio, scale * self._incr_ratio, scale)
            return tf.cond(
                good >= self._incr_every_n_steps,
                lambda: set_state(grown, 0, 0),
                lambda: tf.group(tf.assign(self._good, good)),
            )

        def after_overflow():
            shrunk = tf.maximum(1.0, self._loss_scale * self._decr_ratio)
            bad = self._bad + 1
            return tf.cond(
                bad >= self._decr_every_n_nan_or_inf,
                lambda: set_state(shrunk, 0, 0),
                lambda: tf.group(tf.assign(self._bad, bad), tf.assign(self._good, 0)),
            )

        return tf.cond(finite_grads, after_finite, after_overflow)
