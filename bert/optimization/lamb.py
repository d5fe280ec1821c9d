"""LAMB: Adam whose step is made as long, in every tensor by itself, as the tensor's own norm."""

from __future__ import annotations

import math
from typing import List

import tensorflow.compat.v1 as tf
from tensorflow.python.training import training_ops

from bert.optimization.adamw import is_decayed


class LambOptimizer(tf.train.Optimizer):
    """LAMB (You et al., arXiv:1904.00962, algorithm 2).

    m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,
    u = m / (1 - β₁ᵏ) / (√(v / (1 - β₂ᵏ)) + ε) + λ w,  r = ‖w‖ / ‖u‖,  w ← w - lr r u,

    with k = global step + 1, the number of this update: a skipped step does not count, and a
    resumed training goes on with its own k. r is 1 where a norm is 0, and is not clipped. The
    same variables as in AdamW are left out of the decay λ w; r holds for all.

    Slots are named `<variable>/adam_m` and `<variable>/adam_v` as those of AdamW.
    """

    def __init__(
        self,
        learning_rate: tf.Tensor,
        global_step: tf.Tensor,
        weight_decay: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        name: str = "LambOptimizer",
    ) -> None:
        super().__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
        # Read here and now: the update that this optimiser makes advances the step.
        self._update_number = tf.cast(global_step, tf.float32) + 1.0
        self._weight_decay = weight_decay
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon

    def _create_slots(self, var_list: List[tf.Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "m", "adam_m")
            self._zeros_slot(variable, "v", "adam_v")

    def _prepare(self) -> None:
        self._rate = tf.convert_to_tensor(self._learning_rate, dtype=tf.float32)
        correction1 = _bias_correction(self._beta1, self._update_number)
        correction2 = _bias_correction(self._beta2, self._update_number)
        # m/c₁ / (√(v/c₂) + ε) = m / (√v · c₁/√c₂ + ε c₁): the corrections cost scalars alone.
        self._root_factor = correction1 / tf.sqrt(correction2)
        self._root_offset = self._epsilon * correction1

    def _apply_dense(self, grad: tf.Tensor, var: tf.Variable) -> tf.Operation:
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        # One kernel for both moments: with a rate of 0 it leaves the variable as it is.
        moments = training_ops.apply_adam(
            var,
            m,
            v,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=0.0,
            beta1=self._beta1,
            beta2=self._beta2,
            epsilon=1.0,
            grad=grad,
            use_locking=False,
        )
        with tf.control_dependencies([moments]):
            weights = var.read_value()
            root = tf.sqrt(v.read_value()) * self._root_factor + self._root_offset
            update = m.read_value() / root
        if self._weight_decay and is_decayed(var.op.name):
            update += self._weight_decay * weights
        rate = self._rate * _trust_ratio(weights, update)
        return training_ops.apply_gradient_descent(var, rate, update, use_locking=False).op


def _bias_correction(beta: float, update_number: tf.Tensor) -> tf.Tensor:
    """1 - βᵏ; a difference of float32 would lose three digits where βᵏ is close to 1."""
    if beta == 0.0:
        return tf.ones([])
    return -tf.math.expm1(update_number * math.log(beta))


def _trust_ratio(weights: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
    """‖w‖ / ‖u‖, or 1 where one of them is 0."""
    # Halves of both squares: their quotient is the same.
    of_weights, of_update = tf.nn.l2_loss(weights), tf.nn.l2_loss(update)
    both = tf.logical_and(of_weights > 0.0, of_update > 0.0)
    ratio = tf.sqrt(of_weights / tf.where_v2(both, of_update, 1.0))
    return tf.where_v2(both, ratio, 1.0)
