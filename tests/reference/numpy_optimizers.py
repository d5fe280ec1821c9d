"""AdamW, LAMB, learning-rate schedule and clipping in NumPy float64.

Sources: arXiv:1711.05101 (decoupled weight decay), arXiv:1904.00962 (LAMB, algorithm 2), the
training settings of arXiv:1810.04805. Weights and gradients are dicts by variable name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Sequence, Tuple

import numpy as np

Array = np.ndarray
Arrays = Dict[str, Array]

# Variables that match one of these anywhere in their name are not decayed.
NOT_DECAYED = ("LayerNorm", "layer_norm", "bias")


@dataclass(frozen=True)
class Hyperparameters:
    """What both optimisers share; epsilon is the one default that is AdamW's of the seed."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-4
    weight_decay_rate: float = 0.01
    not_decayed: Tuple[str, ...] = NOT_DECAYED


@dataclass(frozen=True)
class Moments:
    """First and second moments of the gradients, and how many updates made them."""

    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)
    updates: int = 0


def learning_rate(
    step: int,
    base: float,
    train_steps: int,
    warmup_steps: int,
    power: float = 1.0,
    crossover: str = "continuous",
) -> float:
    """Linear warm-up from 0, then polynomial decay to 0 at `train_steps`.

    Args:
        step: updates done before this one.
        base: rate at the end of the warm-up.
        train_steps: N.
        warmup_steps: W.
        power: of the polynomial.
        crossover: "continuous": the decay starts at base / (1 - W/N)^power, so that its value at
            step W is base; "jump": it starts at base, and is base * (1 - W/N)^power at step W.

    Returns:
        The rate of the update number step + 1.
    """
    if step < warmup_steps:
        return base * step / warmup_steps
    start = base
    if crossover == "continuous":
        start = base / (1.0 - warmup_steps / train_steps) ** power
    return start * (1.0 - min(step, train_steps) / train_steps) ** power


def is_decayed(name: str, patterns: Sequence[str] = NOT_DECAYED) -> bool:
    """Whether weight decay applies to the variable of this name."""
    return not any(re.search(pattern, name) for pattern in patterns)


def global_norm(gradients: Arrays) -> float:
    """Euclidean norm of all gradients together."""
    return float(np.sqrt(sum(float((value * value).sum()) for value in gradients.values())))


def clip_by_global_norm(gradients: Arrays, limit: float) -> Arrays:
    """Scales all gradients by one factor, so that their common norm is at most `limit`."""
    factor = limit / max(global_norm(gradients), limit)
    return {name: value * factor for name, value in gradients.items()}


def clip_each_by_norm(gradients: Arrays, limit: float) -> Arrays:
    """Scales each gradient by itself, so that its own norm is at most `limit`."""
    return {
        name: value * (limit / max(float(np.sqrt((value * value).sum())), limit))
        for name, value in gradients.items()
    }


def adamw(
    weights: Arrays,
    gradients: Arrays,
    moments: Moments,
    rate: float,
    parameters: Hyperparameters,
) -> Tuple[Arrays, Moments]:
    """One update of Adam with decoupled weight decay, without bias correction, as BERT's.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate * (m / (sqrt(v) + eps) + decay * w).
    """
    moments = _updated_moments(gradients, moments, parameters)
    result = {}
    for name, weight in weights.items():
        update = moments.first[name] / (np.sqrt(moments.second[name]) + parameters.epsilon)
        result[name] = weight - rate * _with_decay(update, weight, name, parameters)
    return result, moments


def lamb(
    weights: Arrays,
    gradients: Arrays,
    moments: Moments,
    rate: float,
    parameters: Hyperparameters,
) -> Tuple[Arrays, Moments]:
    """One update of LAMB, with bias correction and the trust ratio of each variable.

    u = mhat / (sqrt(vhat) + eps) + decay * w, with mhat = m / (1 - b1^k) and vhat = v / (1 - b2^k)
    for the k-th update; w -= rate * (|w| / |u|) * u, the ratio being 1 where a norm is 0.
    """
    moments = _updated_moments(gradients, moments, parameters)
    first_correction = 1.0 - parameters.beta_1**moments.updates
    second_correction = 1.0 - parameters.beta_2**moments.updates
    result = {}
    for name, weight in weights.items():
        first = moments.first[name] / first_correction
        second = moments.second[name] / second_correction
        update = first / (np.sqrt(second) + parameters.epsilon)
        update = _with_decay(update, weight, name, parameters)
        weight_norm, update_norm = np.linalg.norm(weight), np.linalg.norm(update)
        ratio = weight_norm / update_norm if weight_norm > 0 and update_norm > 0 else 1.0
        result[name] = weight - rate * ratio * update
    return result, moments


def _updated_moments(gradients: Arrays, moments: Moments, parameters: Hyperparameters) -> Moments:
    beta_1, beta_2 = parameters.beta_1, parameters.beta_2
    first, second = {}, {}
    for name, gradient in gradients.items():
        first[name] = beta_1 * moments.first.get(name, 0.0) + (1.0 - beta_1) * gradient
        second[name] = beta_2 * moments.second.get(name, 0.0) + (1.0 - beta_2) * gradient**2
    return Moments(first, second, moments.updates + 1)


def _with_decay(update: Array, weight: Array, name: str, parameters: Hyperparameters) -> Array:
    if not is_decayed(name, parameters.not_decayed):
        return update
    return update + parameters.weight_decay_rate * weight
