"""Whether a stretch of intervals is steady as a whole: the tests and their figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from bench.measure.autocorrelation import count_effective, estimate_long_run_variance
from bench.measure.distributions import normal_cdf, student_quantile
from bench.measure.spikes import SMALLEST_NOISE

NEGLIGIBLE_SHIFT = 0.005
"""A shift of level by this share is left alone."""
NEGLIGIBLE_DRIFT = 0.01
"""A drift by this share over the whole window is left alone: the mean is within half of it."""
HIDDEN_DRIFT = 0.05
"""A drift of this share must not go unseen, or three noises of an interval if that is more."""

_HIDDEN_NOISES = 3.0
_HIDDEN_CONFIDENCE = 0.95
_SIGNIFICANCE = 0.001
_SIGNIFICANCE_OF_CUTS = 1e-6
_WANDER_CRITICAL = 1.17
_CLIP_SPREADS = 2.0
_SHORTEST_END = 10
_FEW_CUTS = 7


@dataclass(frozen=True)
class WindowTest:
    """What the tests of a window say.

    Attributes:
        objection: why the window is not steady; None if it is.
        n_effective: independent intervals that its intervals are worth.
        drift_ratio: estimated change of the step time over the window.
        drift_bound_ratio: what it could be at most (95 %, one side).
        noise_ratio: standard deviation of the step time of an interval around the trend.
        shift_at: index of the first value after the shift that is objected to, else 0.
    """

    objection: Optional[str]
    n_effective: float
    drift_ratio: float
    drift_bound_ratio: float
    noise_ratio: float
    shift_at: int = 0


def judge_window(
    series: np.ndarray, residuals: Optional[np.ndarray] = None, n_cuts: int = 0
) -> WindowTest:
    """Tests whether a series has one level from its first to its last value.

    In this order: it has no trend; it is worth enough independent values and does not wander
    (KPSS); it has no shift of level; and the trend that it could hide is small. Trends and shifts
    too small to matter pass whatever their significance.

    Args:
        series: log step times without spikes, [n], n at least 3.
        residuals: what is left of ``series`` after changes of level or slope were fitted to it,
            [n]; None when none were.
        n_cuts: how many changes. After a few, shifts are held against ``residuals``, after many,
            which may be those of a second mode, against what the shift itself leaves; in both
            cases at a much stricter level of significance, as the changes were searched for.
    """
    n = len(series)
    slope, around = fit_line_robustly(series)
    drift = slope * (n - 1)
    noise = max(float(around.std()) * math.sqrt(n / (n - 2.0)), 1e-12)
    n_effective = count_effective(around)
    degrees = max(1.0, n_effective - 2.0)
    # The line's change over the window has 12 times the variance of the mean.
    error = math.sqrt(12.0 * max(estimate_long_run_variance(around), SMALLEST_NOISE**2) / n)
    bound = abs(drift) + student_quantile(_HIDDEN_CONFIDENCE, degrees) * error

    def answer(objection: Optional[str], shift_at: int = 0) -> WindowTest:
        return WindowTest(objection, n_effective, drift, bound, noise, shift_at)

    critical = student_quantile(1.0 - 0.5 * _SIGNIFICANCE, degrees)
    if abs(drift) > max(NEGLIGIBLE_DRIFT, critical * error):
        return answer(f"drifts: {drift:+.1%} over the last {n} intervals")
    worth = min(n_effective, count_effective(series))
    if worth < min(12.0, n / 5.0) and noise > SMALLEST_NOISE:
        return answer(f"wanders: {n} intervals are worth only {worth:.1f} independent ones")
    quarters = [float(part.mean()) for part in np.array_split(series, 4) if len(part)]
    moved = max(quarters) - min(quarters)
    if moved > NEGLIGIBLE_DRIFT and compute_wander(series) > _WANDER_CRITICAL:
        return answer(f"wanders: the level moves all along the last {n} intervals")
    shift, place, chance = find_largest_shift(
        series, residuals if n_cuts <= _FEW_CUTS else None, n_cuts > 0
    )
    limit = _SIGNIFICANCE_OF_CUTS if n_cuts else _SIGNIFICANCE
    if abs(shift) > NEGLIGIBLE_SHIFT and chance < limit and n - place >= _SHORTEST_END:
        text = f"the level shifts by {shift:+.1%}, {n - place} intervals before the end"
        return answer(text, place)
    if bound > max(HIDDEN_DRIFT, _HIDDEN_NOISES * noise):
        return answer(f"too few or too noisy: {n} intervals could hide a drift of {bound:.1%}")
    return answer(None)


def compute_wander(series: np.ndarray) -> float:
    """KPSS statistic: how far the running sum strays from that of a series with one level.

    ``Σ S_t² / (n² σ²)`` with S_t the sum of the first t deviations from the mean and σ² the
    long-run variance (Kwiatkowski et al. 1992; 0.74 is exceeded in 1 %, 1.17 in 0.1 % of cases).
    A random walk would hide behind its own long-run variance, so that is bounded: noise with a
    longer memory than the bound allows counts as wandering.

    Args:
        series: [n], n at least 3.
    """
    n = len(series)
    sums = np.cumsum(series - series.mean())
    memory = min(9.0, max(3.5, n / 20.0)) * float(series.var(ddof=1))
    variance = max(min(estimate_long_run_variance(series), memory), SMALLEST_NOISE**2)
    return float(sums @ sums) / (n * n * variance)


def find_largest_shift(
    series: np.ndarray, residuals: Optional[np.ndarray] = None, is_cut: bool = False
) -> Tuple[float, int, float]:
    """The most likely single change of level in a series.

    Every place is tried; the standard error is that of means of autocorrelated values, and the
    chance is corrected for the number of places (Bonferroni).

    Args:
        series: [n], n at least 3.
        residuals: the noise to hold it against, [n]; None for what the shift leaves.
        is_cut: changes of level are known to be there; if not, what a line leaves is the noise when
            it is more.

    Returns:
        Size of the shift, index of its first value, chance to find one so clear in mere noise.
    """
    n = len(series)
    before = np.arange(1, n)
    sums = np.cumsum(series)
    means_before = sums[:-1] / before
    means_after = (sums[-1] - sums[:-1]) / (n - before)
    gain = (means_after - means_before) ** 2 * before * (n - before)
    place = int(np.argmax(gain)) + 1
    shift = float(means_after[place - 1] - means_before[place - 1])
    if residuals is None:
        step = np.where(np.arange(n) < place, means_before[place - 1], means_after[place - 1])
        noises = [series - step] if is_cut else [series - step, fit_line(series)[1]]
    else:
        noises = [residuals]
    variance = max(SMALLEST_NOISE**2, *(estimate_long_run_variance(noise) for noise in noises))
    z = abs(shift) / math.sqrt(variance * (1.0 / place + 1.0 / (n - place)))
    return shift, place, min(1.0, 2.0 * count_effective(noises[0]) * normal_cdf(-z))


def fit_line(series: np.ndarray) -> Tuple[float, np.ndarray]:
    """Least squares: slope per index and what is left, [n]."""
    t = np.arange(len(series)) - 0.5 * (len(series) - 1)
    slope = float(t @ series / (t @ t))
    return slope, series - series.mean() - slope * t


def fit_line_robustly(series: np.ndarray) -> Tuple[float, np.ndarray]:
    """Like :func:`fit_line`, but far values pull no harder than two standard deviations (Huber)."""
    slope, around = fit_line(series)
    for _ in range(3):
        limit = _CLIP_SPREADS * 1.4826 * float(np.median(np.abs(around)))
        if limit <= 0.0:
            break
        pulled_in = series - around + np.clip(around, -limit, limit)
        slope, left = fit_line(pulled_in)
        around = series - (pulled_in - left)
    return slope, around
