"""The training step: gradients, average over ranks, clipping, update."""

from __future__ import annotations

from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

from bert.backends.base import Backend
from bert.optimization.accumulation import (
    AccumulatedOptimizer,
    Features,
    GradientsAndVariables,
    accumulate_gradients,
)
from bert.optimization.clipping import clip_by_global_norm, clip_each_by_norm
from bert.optimization.optimizers import build_optimizer
from bert.optimization.schedule import build_learning_rate
from bert.train_config import LossScaleConfig, OptimizerConfig


class TrainStep(NamedTuple):
    """One step of training.

    Attributes:
        train_op: runs the step.
        learning_rate: scalar float32 of this step's update.
        loss_scale: scalar float32, or None without scaling.
        gradient_norm: scalar float32 before clipping, or None when each is clipped by itself.
    """

    train_op: tf.Operation
    learning_rate: tf.Tensor
    loss_scale: Optional[tf.Tensor]
    gradient_norm: Optional[tf.Tensor]


def build_train_step(
    loss: tf.Tensor,
    variables: Sequence[tf.Variable],
    optimizer_config: OptimizerConfig,
    loss_scale_config: LossScaleConfig,
    backend: Backend,
) -> TrainStep:
    """Builds the step in the order that the field's trainers follow.

    scale the loss → backward pass → average over ranks → unscale → clip → update, or skip it
    where a gradient is not finite → next loss scale. The global step advances with the update.

    Args:
        loss: scalar of this rank.
        variables: what is trained.
        optimizer_config: optimiser, schedule and clipping.
        loss_scale_config: how the loss is scaled.
        backend: averages over ranks and brings the scaling optimiser.
    """
    loss_scale = _build_loss_scale(loss_scale_config, backend)
    return _build_step(loss, variables, None, optimizer_config, loss_scale, backend)


def build_accumulating_train_step(
    build_losses: Callable[[Features], Sequence[tf.Tensor]],
    features: Features,
    n_micro_batches: int,
    optimizer_config: OptimizerConfig,
    loss_scale_config: LossScaleConfig,
    backend: Backend,
) -> Tuple[TrainStep, List[tf.Tensor]]:
    """Builds the step that takes several micro-batches for one update.

    The backward pass of `build_train_step` becomes a loop; all else stands behind the loop, once
    per update. In particular ranks talk once per update.

    Args:
        build_losses: features of one micro-batch → scalar losses; their sum is minimised.
        features: name → [n · B, …], all micro-batches of the update.
        n_micro_batches: n, at least 2.
        optimizer_config, loss_scale_config, backend: as in `build_train_step`.

    Returns:
        The step, and the means of the losses over the micro-batches.
    """
    loss_scale = _build_loss_scale(loss_scale_config, backend)
    losses, gradients = accumulate_gradients(
        build_losses, features, n_micro_batches, None if loss_scale is None else loss_scale.value
    )
    variables = [variable for _, variable in gradients]
    step = _build_step(
        tf.add_n(losses), variables, gradients, optimizer_config, loss_scale, backend
    )
    return step, losses


def _build_loss_scale(config: LossScaleConfig, backend: Backend) -> Any:
    return None if config.mode == "off" else backend.build_loss_scale(config)


def _build_step(
    loss: tf.Tensor,
    variables: Sequence[tf.Variable],
    accumulated: Optional[GradientsAndVariables],
    optimizer_config: OptimizerConfig,
    loss_scale: Any,
    backend: Backend,
) -> TrainStep:
    global_step = tf.train.get_or_create_global_step()
    learning_rate = build_learning_rate(optimizer_config.schedule, global_step)
    optimizer = build_optimizer(optimizer_config, learning_rate, global_step)
    if accumulated is not None:
        optimizer = AccumulatedOptimizer(optimizer, accumulated)
    optimizer = backend.average_gradients(optimizer)
    if loss_scale is not None:
        optimizer = backend.scale_loss(optimizer, loss_scale)

    pairs = optimizer.compute_gradients(loss, var_list=list(variables))
    missing = [variable.op.name for gradient, variable in pairs if gradient is None]
    if missing:
        raise ValueError(f"no gradient reaches {', '.join(missing)}")
    gradients = [gradient for gradient, _ in pairs]
    norm = None
    if optimizer_config.clip_by_global_norm:
        gradients, norm = clip_by_global_norm(gradients, optimizer_config.clip_norm)
    else:
        gradients = clip_each_by_norm(gradients, optimizer_config.clip_norm)

    # No weight may change while a gradient is still being computed from its old value.
    with tf.control_dependencies(gradients):
        train_op = optimizer.apply_gradients(
            [(gradient, variable) for gradient, (_, variable) in zip(gradients, pairs)],
            global_step=global_step,
        )
    return TrainStep(
        train_op, learning_rate, None if loss_scale is None else loss_scale.value, norm
    )
