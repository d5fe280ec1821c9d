"""One training step of NumPy float64: loss scale, accumulation, clipping, skipping and update.

The order is that of mixed-precision training: gradients of the scaled loss, unscale, test for
overflow, mean over the micro-batches, clip, update; then the scale is adapted. A step with an
overflow changes no weight, no moment, and not the step counter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Callable, Optional, Sequence, Tuple, Union

import numpy as np

from tests.reference.numpy_loss_scale import DynamicLossScale, StaticLossScale
from tests.reference.numpy_optimizers import (
    Arrays,
    Hyperparameters,
    Moments,
    adamw,
    clip_by_global_norm,
    clip_each_by_norm,
    lamb,
)

OPTIMIZERS = {"adam": adamw, "lamb": lamb}


@dataclass(frozen=True)
class Settings:
    """Choices of a training run.

    Attributes:
        optimizer: "adam" or "lamb".
        parameters: of the optimiser.
        rate: learning rate as a function of the step counter.
        clip_norm: limit of the norm; None for no clipping.
        clip_globally: all gradients together, or each by itself.
    """

    optimizer: str
    parameters: Hyperparameters
    rate: Callable[[int], float]
    clip_norm: Optional[float] = 1.0
    clip_globally: bool = True


@dataclass(frozen=True)
class State:
    """Everything that a step changes."""

    weights: Arrays
    moments: Moments = field(default_factory=Moments)
    global_step: int = 0
    skipped_steps: int = 0
    loss_scale: Union[StaticLossScale, DynamicLossScale] = StaticLossScale(1.0)


def step(settings: Settings, state: State, scaled_gradients: Sequence[Arrays]) -> State:
    """The state after one update, or one skipped update.

    Args:
        settings: of the run.
        state: before the step.
        scaled_gradients: one dict for each micro-batch: gradients of that micro-batch's loss times
            the loss scale, perhaps with infinities or NaN.

    Returns:
        The new state.
    """
    finite = all(
        bool(np.isfinite(value).all()) for micro in scaled_gradients for value in micro.values()
    )
    next_scale = state.loss_scale.updated(finite)
    if not finite:
        return replace(state, skipped_steps=state.skipped_steps + 1, loss_scale=next_scale)
    weights, moments = _update(settings, state, _mean(scaled_gradients, state.loss_scale.scale))
    return replace(
        state,
        weights=weights,
        moments=moments,
        global_step=state.global_step + 1,
        loss_scale=next_scale,
    )


def _mean(scaled_gradients: Sequence[Arrays], scale: float) -> Arrays:
    """Mean over the micro-batches of the unscaled gradients."""
    return {
        name: sum(micro[name] for micro in scaled_gradients) / (len(scaled_gradients) * scale)
        for name in scaled_gradients[0]
    }


def _update(settings: Settings, state: State, gradients: Arrays) -> Tuple[Arrays, Moments]:
    if settings.clip_norm is not None:
        clip = clip_by_global_norm if settings.clip_globally else clip_each_by_norm
        gradients = clip(gradients, settings.clip_norm)
    return OPTIMIZERS[settings.optimizer](
        state.weights,
        gradients,
        state.moments,
        settings.rate(state.global_step),
        settings.parameters,
    )
