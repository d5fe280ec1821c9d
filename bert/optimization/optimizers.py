"""Optimisers by name, each with the settings that go with it."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from bert.optimization.adamw import AdamWeightDecayOptimizer
from bert.optimization.lamb import LambOptimizer
from bert.train_config import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, learning_rate: tf.Tensor, global_step: tf.Variable
) -> tf.train.Optimizer:
    """Returns the optimiser that `config.kind` names.

    Args:
        config: its numbers.
        learning_rate: scalar float32 of this step's update.
        global_step: number of updates before this one.
    """
    numbers = {
        "weight_decay": config.weight_decay,
        "beta1": config.beta1,
        "beta2": config.beta2,
        "epsilon": config.epsilon,
    }
    if config.kind == "lamb":
        tf.logging.info("Initializing LAMB Optimizer")
        return LambOptimizer(learning_rate, global_step, **numbers)
    tf.logging.info("Initializing ADAM Weight Decay Optimizer")
    return AdamWeightDecayOptimizer(learning_rate, **numbers)
