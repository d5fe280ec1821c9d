"""The exact interval at which a warm-up ends, once it is known about where."""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np

from bench.measure.segments import MAXIMUM_POINTS
from bench.measure.spikes import SMALLEST_NOISE, mark_spikes
from bench.measure.stationarity import NEGLIGIBLE_SHIFT

SEARCH_REACH = 10
"""The border is looked for so many intervals to either side."""

_RAMP_REACH = 30
_MISFIT = 0.15
_DECAYS = tuple(0.3 * 100.0 ** (index / 23.0) for index in range(24))
# Over a short piece all ramps look alike: one that is not even in time must be clearly so.
_EXPONENTIAL_MARGIN = 3.0
_RATE_MARGIN = 8.0
_WIDTH_NOISES = 0.7
_DIFFUSE_SHARE = 0.3
_START_GAIN = 4.0


def refine_start(raw: np.ndarray, series: np.ndarray, start: int) -> int:
    """Places the first steady interval.

    Of three shapes of warm-up the one that fits the step times best decides: a step
    (:func:`place_step`); an even ramp, which ends in a kink; an exponential approach, which ends
    where no more than the noise of an interval (or :data:`NEGLIGIBLE_SHIFT`) is left of it.

    Args:
        raw: log step times, [n].
        series: the same without spikes, [n].
        start: a place near the border; the values behind it are mostly steady.

    Returns:
        Index of the first steady interval.
    """
    step = place_step(raw, start)
    low, high = max(0, step - _RAMP_REACH), min(len(raw), step + _RAMP_REACH)
    if step - low < 2 or step >= len(raw):
        return step
    t = np.arange(low, high, dtype=float)
    apart = series[low:high] - series[step:].mean()
    noise = max(float(np.std(series[step:])), SMALLEST_NOISE)
    # Shares of the steady time, and of the steady rate: a ramp may be even in the one or the other.
    time, rate = np.expm1(apart), -np.expm1(-apart)
    # No shape is exact: far from the level a misfit in proportion is allowed.
    weights = 1.0 / (noise**2 + (_MISFIT * time) ** 2)
    warm = t < step
    before = float(weights[warm] @ time[warm] / weights[warm].sum())
    best = (float(weights @ (time - np.where(warm, before, 0.0)) ** 2), step)
    for kink in np.arange(step - 3.0, step + 8.25, 0.25):
        shape = np.maximum(kink - t, 0.0)
        if shape.any():
            best = min(best, (_fit_shape(time, shape, weights)[0], math.ceil(kink)))
            best = min(best, (_fit_rate(rate, shape, noise) + _RATE_MARGIN, math.ceil(kink)))
    for decay in _DECAYS:
        shape = np.exp(-(t - step) / decay)
        error, size = _fit_shape(time, shape, weights)
        remains = math.copysign(size, size * before) / max(NEGLIGIBLE_SHIFT, noise)
        if remains > 1.0:
            border = math.ceil(step + decay * math.log(remains))
            best = min(best, (error + _EXPONENTIAL_MARGIN, border))
    return min(max(best[1], low), high - 1)


def _fit_rate(rate: np.ndarray, shape: np.ndarray, noise: float) -> float:
    """Squared error of a shape of the rate."""
    return _fit_shape(rate, shape, 1.0 / (noise**2 + (_MISFIT * rate) ** 2))[0]


def _fit_shape(values: np.ndarray, shape: np.ndarray, weights: np.ndarray) -> Tuple[float, float]:
    """Weighted least squares of one multiple of a shape: squared error and the multiple."""
    weighted = weights * shape
    size = float(weighted @ values / (weighted @ shape))
    return float(weights @ (values - size * shape) ** 2), size


def place_step(raw: np.ndarray, start: int) -> int:
    """Places the border between warm-up and steady state by likelihood.

    Each interval is either one of the steady ones, with the density of the values from ``start``
    on and a share of outliers as seen there; or one of the warm-up, with the density of the values
    before ``start``, mixed with an even one over the whole side of the warm-up. The most likely
    border is taken. A warm-up at the very start, where no change of level was found, must make its
    point clearly.

    Args:
        raw: log step times, [n].
        start: a place near the border; the values behind it are mostly steady.

    Returns:
        Index of the first steady interval.
    """
    low, high = max(0, start - SEARCH_REACH), min(len(raw), start + SEARCH_REACH)
    sample = raw[start : start + MAXIMUM_POINTS]
    earlier = raw[max(0, start - _RAMP_REACH) : start]
    near = raw[low:high]
    middle = float(np.median(sample))
    spread = 1.4826 * float(np.median(np.abs(sample - middle)))
    noise = max(SMALLEST_NOISE, min(float(sample.std()), spread))
    side = 1.0 if float(np.median(near[: max(1, start - low)])) >= middle else -1.0
    span = max(float((side * (raw - middle)).max()), 10.0 * noise)
    outliers = (float(mark_spikes(sample).sum()) + 0.5) / (len(sample) + 1.0)
    own = np.arange(low, high) >= start
    width = _WIDTH_NOISES * noise
    steady = (1.0 - outliers) * _estimate_density(near, sample, own, width) + outliers / span
    warm = np.full(len(near), 1.0 / span)
    if len(earlier) >= 4:
        alike = _estimate_density(near, earlier, ~own, width)
        warm = _DIFFUSE_SHARE * warm + (1.0 - _DIFFUSE_SHARE) * alike
    gain = np.log(steady / warm)
    # On the other side of the level there is no warm-up.
    gain = np.where(side * (near - middle) < 0.0, np.maximum(gain, 0.0), gain)
    # sums[i] is what is gained by taking everything from low + i on as steady.
    sums = np.concatenate([np.cumsum(gain[::-1])[::-1], [0.0]])
    if start == 0 and float(sums.max()) < float(sums[0]) + _START_GAIN:
        return 0
    return low + int(np.argmax(sums))


def _estimate_density(
    at: np.ndarray, sample: np.ndarray, is_own: np.ndarray, width: float
) -> np.ndarray:
    """Kernel density of a sample; a value of the sample is no evidence for itself.

    Args:
        at: where, [m].
        sample: [k].
        is_own: whether each place is one of the sample, [m].
        width: standard deviation of the kernel.
    """
    kernels = np.exp(-0.5 * ((at[:, None] - sample[None, :]) / width) ** 2)
    counts = np.maximum(len(sample) - is_own, 1.0)
    return (kernels.sum(axis=1) - is_own) / (counts * width * math.sqrt(2.0 * math.pi)) + 1e-300
