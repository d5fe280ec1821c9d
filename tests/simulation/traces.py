"""Traces of step times with a known answer: where the steady state begins, or that there is none.

Every kind draws its own sizes, so that no two traces of a kind are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Tuple

import numpy as np


@dataclass(frozen=True)
class Trace:
    """A series of interval times with its truth.

    Attributes:
        seconds: time of each interval, [n].
        boundary: index of the first steady interval; None when the trace never gets steady.
        tagged: True where the log tells of a checkpoint, [n].
    """

    seconds: np.ndarray
    boundary: Optional[int]
    tagged: np.ndarray


def generate_noise(rng: np.random.RandomState, n: int, rho: float, sd: float) -> np.ndarray:
    """Stationary AR(1) noise with standard deviation ``sd``, [n]."""
    draws = rng.standard_normal(n) * sd
    draws[1:] *= np.sqrt(1.0 - rho * rho)
    for index in range(1, n):
        draws[index] += rho * draws[index - 1]
    return draws


def _draw_noise(rng: np.random.RandomState, n: int) -> Tuple[np.ndarray, float]:
    """Noise of 0.2 to 3 %, a third of it autocorrelated, a quarter heavy-tailed; and its size."""
    sd = float(np.exp(rng.uniform(np.log(0.002), np.log(0.03))))
    kind = rng.uniform()
    if kind < 0.34:
        return generate_noise(rng, n, rng.uniform(0.2, 0.6), sd), sd
    if kind < 0.59:
        return sd * rng.standard_t(4, n) / np.sqrt(2.0), sd
    return sd * rng.standard_normal(n), sd


def _build(
    rng: np.random.RandomState,
    shape: np.ndarray,
    noise: np.ndarray,
    boundary: Optional[int],
    tagged: Optional[np.ndarray] = None,
) -> Trace:
    base = float(np.exp(rng.uniform(np.log(0.05), np.log(100.0))))
    seconds = base * np.exp(shape + noise)
    # A log prints the rate with six digits.
    rates = np.array([float(f"{1.0 / value:.6g}") for value in seconds])
    none = np.zeros(len(shape), dtype=bool)
    return Trace(1.0 / rates, boundary, none if tagged is None else tagged)


def build_stationary(rng: np.random.RandomState) -> Trace:
    """Steady from the first interval."""
    n = rng.randint(40, 301)
    noise, _ = _draw_noise(rng, n)
    return _build(rng, np.zeros(n), noise, 0)


def build_step(rng: np.random.RandomState) -> Trace:
    """Slower by a fixed share at first, then steady."""
    n = rng.randint(40, 301)
    k = rng.randint(1, max(2, n // 3))
    noise, sd = _draw_noise(rng, n)
    size = max(0.02, 5.0 * sd) * np.exp(rng.uniform(0.0, 1.5))
    return _build(rng, np.where(np.arange(n) < k, size, 0.0), noise, k)


def build_linear_ramp(rng: np.random.RandomState) -> Trace:
    """Gets faster evenly in seconds, then steady."""
    n = rng.randint(40, 301)
    k = rng.randint(3, max(4, n // 4))
    noise, sd = _draw_noise(rng, n)
    slope = max(0.004, 3.0 * sd) * np.exp(rng.uniform(0.0, 1.0))
    return _build(rng, np.log1p(slope * np.clip(k - np.arange(n), 0, None)), noise, k)


def build_rate_ramp(rng: np.random.RandomState) -> Trace:
    """The rate, not the time, gets up evenly; then steady."""
    n = rng.randint(60, 301)
    noise, sd = _draw_noise(rng, n)
    first = rng.uniform(0.3, 0.7)
    k = rng.randint(3, int(min(n / 4.0, (1.0 - first) / (2.0 * sd))) + 4)
    rate = first + (1.0 - first) * np.minimum(np.arange(n) / k, 1.0)
    return _build(rng, -np.log(rate), noise, k)


def build_exponential_ramp(rng: np.random.RandomState) -> Trace:
    """Approaches its level exponentially; steady from where less than a noise (0.5 %) is left."""
    n = rng.randint(60, 301)
    noise, sd = _draw_noise(rng, n)
    decay = rng.uniform(0.5, 2.0)
    size = max(0.1, 8.0 * sd) * np.exp(rng.uniform(0.0, 1.5))
    shape = size * np.exp(-np.arange(n) / decay)
    k = int(np.argmax(shape < max(0.005, sd)))
    return _build(rng, shape, noise, k)


def build_bimodal(rng: np.random.RandomState) -> Trace:
    """A step, then a stationary mixture of a fast and a slow mode, drawn anew each interval."""
    n = rng.randint(60, 301)
    noise, sd = _draw_noise(rng, n)
    share = rng.uniform(0.1, 0.5)
    gap = max(0.03, 4.0 * sd) * np.exp(rng.uniform(0.0, 1.0))
    modes = gap * (rng.uniform(size=n) < share)
    k = rng.randint(3, n // 3)
    size = 2.0 * gap * np.exp(rng.uniform(0.0, 1.0))
    return _build(rng, np.where(np.arange(n) < k, size, modes), noise, k)


def build_switch(rng: np.random.RandomState) -> Trace:
    """One change of regime in mid-run, either way; steady from there."""
    n = rng.randint(60, 301)
    k = rng.randint(n // 4, n * 2 // 3)
    noise, sd = _draw_noise(rng, n)
    size = max(0.02, 5.0 * sd) * np.exp(rng.uniform(0.0, 1.0)) * rng.choice([-1.0, 1.0])
    return _build(rng, np.where(np.arange(n) < k, size, 0.0), noise, k)


def build_tagged_checkpoints(rng: np.random.RandomState) -> Trace:
    """A step; every so many intervals a checkpoint of which the log tells."""
    return _build_checkpoints(rng, tagged=True)


def build_untagged_checkpoints(rng: np.random.RandomState) -> Trace:
    """The same without a word in the log."""
    return _build_checkpoints(rng, tagged=False)


def _build_checkpoints(rng: np.random.RandomState, tagged: bool) -> Trace:
    n = rng.randint(60, 301)
    k = rng.randint(3, n // 3)
    noise, sd = _draw_noise(rng, n)
    size = max(0.02, 5.0 * sd) * np.exp(rng.uniform(0.0, 1.0))
    index = np.arange(n)
    period = rng.randint(5, 31)
    checkpoints = index % period == period - 1
    shape = np.where(index < k, size, 0.0) + checkpoints * rng.uniform(0.1, 1.0)
    # A tagged interval on the boundary belongs to neither side: move the boundary behind it.
    while tagged and checkpoints[k]:
        k += 1
    return _build(rng, shape, noise, int(k), checkpoints if tagged else None)


def build_drift(rng: np.random.RandomState) -> Trace:
    """Slows down or speeds up evenly to the end: never steady."""
    n = rng.randint(40, 301)
    noise, sd = _draw_noise(rng, n)
    total = max(0.03, 5.0 * sd) * np.exp(rng.uniform(0.0, 1.5)) * rng.choice([-1.0, 1.0])
    return _build(rng, total * np.arange(n) / n, noise, None)


def build_late_ramp(rng: np.random.RandomState) -> Trace:
    """A ramp, even or exponential, that has not ended when the log does: never steady."""
    n = rng.randint(40, 301)
    noise, sd = _draw_noise(rng, n)
    total = max(0.1, 15.0 * sd) * np.exp(rng.uniform(0.0, 1.0))
    index = np.arange(n) / n
    shape = total * (1.0 - index) if rng.uniform() < 0.5 else total * np.exp(-index / 0.6)
    return _build(rng, shape, noise, None)


def build_wander(rng: np.random.RandomState) -> Trace:
    """A random walk: never steady."""
    n = rng.randint(60, 301)
    noise, sd = _draw_noise(rng, n)
    walk = np.cumsum(rng.standard_normal(n)) * max(0.003, sd * rng.uniform(1.0, 3.0))
    return _build(rng, walk, noise, None)


def build_slow_switching(rng: np.random.RandomState) -> Trace:
    """Goes to and fro between two regimes a few times: no regime can be called the steady one."""
    n = rng.randint(100, 301)
    noise, sd = _draw_noise(rng, n)
    n_switches = rng.randint(4, 8)
    gap = max(0.03, 6.0 * sd) * np.exp(rng.uniform(0.0, 1.0))
    period = n / (n_switches + 1.0)
    places = np.arange(1, n_switches + 1) * period + rng.uniform(-0.2, 0.2, n_switches) * period
    regime = np.searchsorted(places.astype(int), np.arange(n), side="right") % 2
    return _build(rng, gap * regime, noise, None)


def build_short(rng: np.random.RandomState) -> Trace:
    """Too few intervals to say anything."""
    n = rng.randint(1, 9)
    noise, _ = _draw_noise(rng, n)
    return _build(rng, np.zeros(n), noise, None)


Builder = Callable[[np.random.RandomState], Trace]

STEADY_FROM: Dict[str, Builder] = {
    "steady from the start": build_stationary,
    "step": build_step,
    "linear ramp": build_linear_ramp,
    "linear ramp of the rate": build_rate_ramp,
    "exponential ramp": build_exponential_ramp,
    "bimodal mixture": build_bimodal,
    "change of regime": build_switch,
    "checkpoints, tagged": build_tagged_checkpoints,
    "checkpoints, not tagged": build_untagged_checkpoints,
}
NEVER_STEADY: Dict[str, Builder] = {
    "drift": build_drift,
    "ramp without end": build_late_ramp,
    "slow switching": build_slow_switching,
    "few intervals": build_short,
}
WANDERING: Dict[str, Builder] = {"random walk": build_wander}
"""Hard to tell from autocorrelated noise, which is steady."""
