"""Change points: a series cut into stretches that are level or change at a constant rate.

All optimal cuts for a range of penalties are found by dynamic programming (optimal partitioning,
Jackson et al. 2005). Which of them is right is decided by an information criterion on what each
leaves over, where the left-over may be autocorrelated: slow noise is then explained as noise, and
only what noise cannot explain as changes. That idea is from asv's step detection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Sequence, Set, Tuple

import numpy as np

from bench.measure.spikes import SMALLEST_NOISE

MAXIMUM_POINTS = 512
"""Longer series are averaged in groups first; the work grows with the square."""

_SLOPE_MINIMUM_LENGTH = 4
_PENALTY_FACTORS = 2.0 ** np.arange(1, 11)
_CORRELATIONS = np.arange(20) * 0.05


@dataclass(frozen=True)
class Segment:
    """A stretch ``[start, end)`` of a series with its fitted line.

    Attributes:
        start: first index.
        end: index after the last.
        level: fitted value at ``start``.
        slope: change of the fitted value per index; 0 for a level stretch.
    """

    start: int
    end: int
    level: float
    slope: float = 0.0

    @property
    def length(self) -> int:
        """Number of values."""
        return self.end - self.start

    @property
    def change(self) -> float:
        """What the fitted value gains from the first to the last value."""
        return self.slope * (self.length - 1)


def estimate_noise(values: np.ndarray) -> float:
    """Standard deviation of the fast part of the noise, blind to levels and slopes.

    From the second differences, whose median size is 0.6745 sqrt(6) standard deviations for
    independent normal noise.
    """
    if len(values) < 4:
        return 0.0
    second = values[2:] - 2.0 * values[1:-1] + values[:-2]
    return float(np.median(np.abs(second))) / (0.6745 * math.sqrt(6.0))


def find_segments(values: np.ndarray, smallest: float = SMALLEST_NOISE) -> List[Segment]:
    """Cuts a series into level and sloping stretches.

    Args:
        values: the series, [n], n at least 1 and at most :data:`MAXIMUM_POINTS`.
        smallest: differences below this do not matter; it bounds the assumed noise from below.

    Returns:
        The stretches in order; together they cover the series.
    """
    n = len(values)
    unit = math.log(max(n, 3))
    noise = max(estimate_noise(values), smallest)
    level_cost, slope_cost = _compute_costs(values / noise)
    penalties = _PENALTY_FACTORS * unit
    best: Tuple[float, Sequence[Segment]] = (math.inf, ())
    for cuts in {(0, n)} | _partition(level_cost, slope_cost, penalties):
        for segments in _fit(values, cuts, level_cost, slope_cost, unit):
            score = _score(values, segments, smallest)
            if score < best[0]:
                best = (score, segments)
    return list(best[1])


def _compute_costs(values: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Squared error of the best level and of the best line on [start, end), [n + 1, n + 1].

    Infinite where end - start is too short.
    """
    n = len(values)
    centred = values - np.median(values)
    t = np.arange(n) - 0.5 * (n - 1)
    sums = [
        np.concatenate([[0.0], np.cumsum(x)])
        for x in (centred, centred * centred, t * centred, t, t * t)
    ]
    s_y, s_yy, s_ty, s_t, s_tt = (x[None, :] - x[:, None] for x in sums)
    length = np.arange(n + 1)[None, :] - np.arange(n + 1)[:, None]
    count = np.maximum(length, 1)
    level = np.maximum(s_yy - s_y * s_y / count, 0.0)
    spread = np.maximum(s_tt - s_t * s_t / count, 1e-9)
    covariance = s_ty - s_t * s_y / count
    slope = np.maximum(level - covariance * covariance / spread, 0.0)
    level[length < 1] = np.inf
    slope[length < _SLOPE_MINIMUM_LENGTH] = np.inf
    return level, slope


def _partition(
    level_cost: np.ndarray, slope_cost: np.ndarray, penalties: np.ndarray
) -> Set[Tuple[int, ...]]:
    """Optimal cuts for each penalty: the bounds of the stretches, 0 and n included."""
    n = len(level_cost) - 1
    total = np.zeros((n + 1, len(penalties)))
    source = np.zeros((n + 1, len(penalties)), dtype=int)
    total[0] = -penalties
    columns = np.arange(len(penalties))
    for end in range(1, n + 1):
        cost = np.minimum(
            level_cost[:end, end, None], slope_cost[:end, end, None] + 0.5 * penalties
        )
        candidates = total[:end] + cost
        source[end] = np.argmin(candidates, axis=0)
        total[end] = candidates[source[end], columns] + penalties
    found = set()
    for column in columns:
        cuts = [n]
        while cuts[-1] > 0:
            cuts.append(int(source[cuts[-1], column]))
        found.add(tuple(reversed(cuts)))
    return found


def _fit(
    values: np.ndarray,
    cuts: Tuple[int, ...],
    level_cost: np.ndarray,
    slope_cost: np.ndarray,
    unit: float,
) -> List[List[Segment]]:
    """Fits the stretches between cuts: all level, and with lines where they are worth it."""
    level: List[Segment] = []
    mixed: List[Segment] = []
    for start, end in zip(cuts, cuts[1:]):
        part = values[start:end]
        flat = Segment(start, end, float(part.mean()))
        level.append(flat)
        if level_cost[start, end] - slope_cost[start, end] > unit:
            t = np.arange(end - start) - 0.5 * (end - start - 1)
            slope = float(t @ part / (t @ t))
            first = float(part.mean()) - slope * 0.5 * (end - start - 1)
            mixed.append(Segment(start, end, first, slope))
        else:
            mixed.append(flat)
    return [level] if mixed == level else [level, mixed]


def render_fit(segments: Sequence[Segment]) -> np.ndarray:
    """The fitted values of all stretches, [n]."""
    return np.concatenate(
        [segment.level + segment.slope * np.arange(segment.length) for segment in segments]
    )


def _score(values: np.ndarray, segments: Sequence[Segment], smallest: float) -> float:
    """Information criterion: 2 n log(mean size of the AR(1) innovations) + penalties.

    A level costs its value and its place (3 log n together, as places are searched for), a slope
    2 log n more.
    """
    n = len(values)
    residuals = values - render_fit(segments)
    innovations = residuals[1:] - _CORRELATIONS[:, None] * residuals[:-1]
    sizes = np.sqrt(1.0 - _CORRELATIONS**2) * abs(residuals[0]) + np.abs(innovations).sum(axis=1)
    size = max(float(sizes.min()) / n, 0.8 * smallest)
    n_sloping = sum(1 for segment in segments if segment.slope)
    parameters = 3.0 * (len(segments) - 1) + 2.0 * n_sloping
    return 2.0 * n * math.log(size) + parameters * math.log(max(n, 3))
