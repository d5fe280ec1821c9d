"""Adam with decoupled weight decay, without bias correction, as BERT was trained with."""

from __future__ import annotations

import re
from typing import Any, List

import tensorflow.compat.v1 as tf
from tensorflow.python.training import training_ops

# Layer normalisation and biases are not decayed (Devlin et al., appendix A.2). The search also
# takes in cls/predictions/output_bias, which is a bias by name and by nature.
_NOT_DECAYED = re.compile("LayerNorm|layer_norm|bias")


def is_decayed(variable_name: str) -> bool:
    """Tells whether weight decay applies to the variable of this name."""
    return _NOT_DECAYED.search(variable_name) is None


class AdamWeightDecayOptimizer(tf.train.Optimizer):
    """Adam (Kingma and Ba, arXiv:1412.6980) with decoupled decay (arXiv:1711.05101).

    m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,
    w ← w - lr (m / (√v + ε) + λ w).

    There is no bias correction. Slots are named `<variable>/adam_m` and `<variable>/adam_v`,
    the names of public BERT checkpoints.
    """

    def __init__(
        self,
        learning_rate: tf.Tensor,
        weight_decay: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-4,
        name: str = "AdamWeightDecayOptimizer",
    ) -> None:
        super().__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
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
        self._decay = self._rate * self._weight_decay

    def _apply_dense(self, grad: tf.Tensor, var: tf.Variable) -> tf.Operation:
        # The decay is w ← w - (lr λ) w: gradient descent along w itself, one pass in place. The
        # Adam term does not read w, so it makes no difference that it comes second.
        control: List[Any] = []
        if self._weight_decay and is_decayed(var.op.name):
            control.append(
                training_ops.apply_gradient_descent(var, self._decay, var, use_locking=False)
            )
        with tf.control_dependencies(control):
            # With both powers 0 the kernel's own bias correction, √(1 - β₂ᵗ)/(1 - β₁ᵗ), is 1.
            return training_ops.apply_adam(
                var,
                self.get_slot(var, "m"),
                self.get_slot(var, "v"),
                beta1_power=0.0,
                beta2_power=0.0,
                lr=self._rate,
                beta1=self._beta1,
                beta2=self._beta2,
                epsilon=self._epsilon,
                grad=grad,
                use_locking=False,
            ).op
