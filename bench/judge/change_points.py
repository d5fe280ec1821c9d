"""Change points in a nightly series: where a level changed for good, or began to creep.

The series is read as nights came in: after each night only that night and earlier ones are looked
at. So what was reported once stays reported, and a run over the whole history gives the very
alarms that the nights gave. Nights without a value are not there; nothing is put in their place.

After each night the last ``w`` nights are held against all earlier ones of the same stretch, for
several ``w`` of at least three. Three nights have to be off, so that one or two odd ones are no
change. The distance of the two means
is measured by a standard error for dependent nights, an AR(1) with the correlation found in the
series and averaged with an assumed one, as few nights say little of it. Odd nights are pulled in
to the middle of their group first (a Huber-type mean), so that heavy tails count little on either
side; and when the last nights spread more than the earlier ones their own spread is used, so that
a machine that gets noisier is not called slower.

A creep moves the reference along, so a line is fitted to the stretch as well, with its error for
dependent nights. What is found either way is then described as a step or a drift, whichever leaves
less over. A known break (new driver, new hardware) ends a stretch without an alarm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from bench.measure.distributions import student_quantile

STEP = "step"
DRIFT = "drift"

WINDOWS = (3, 4, 5, 7, 10, 14, 21, 28)
CHANCE = 0.0008
"""Two-sided level of each single comparison."""

SMALLEST_RATIO = 0.01
"""Smaller changes are not reported, however sure they are."""

_SMALLEST_NOISE = 0.001
_CLIP = 2.5
_ASSUMED_CORRELATION = 0.25
_ASSUMED_NIGHTS = 10.0
_LARGEST_CORRELATION = 0.9
_LATE_NIGHTS = 8
_NOISIER = 1.5
_LEAST_BASE = 5
_LEAST_BASE_LATER = 3
_LEAST_DEGREES_LATER = 8.0
_LEAST_STAY = 7
_LEAST_LINE = 14
_LONGEST_LINE = 56
_LEAST_DRIFT_RATIO = 0.02


@dataclass(frozen=True)
class Change:
    """A change of level.

    Attributes:
        kind: :data:`STEP` or :data:`DRIFT`.
        index: position in the series of the first night after the change.
        found_at: position of the night after which it was found.
        change_ratio: new level over old minus 1; for a drift, over the nights from ``index`` to
            ``found_at``.
        before, after: levels on both sides, in the unit of the series.
        score: distance in standard errors, as found.
    """

    kind: str
    index: int
    found_at: int
    change_ratio: float
    before: float
    after: float
    score: float


@dataclass
class _Noise:
    """What finished stretches tell of the noise: sums over their pulled-in residuals."""

    squares: float = 0.0
    products: float = 0.0
    degrees: float = 0.0


@dataclass(frozen=True)
class _Base:
    """Level, spread of a night, correlation of neighbours, bound of the distance."""

    centre: float
    scale: float
    rho: float
    bound: float


def find_changes(
    values: Sequence[Optional[float]],
    breaks: Sequence[int] = (),
    days: Optional[Sequence[float]] = None,
    smallest_ratio: float = SMALLEST_RATIO,
) -> Tuple[Change, ...]:
    """Reads a series night by night.

    Args:
        values: one per night, positive; None or NaN where there is none.
        breaks: positions of the first nights after known changes of the machine.
        days: when each night was, in days, rising; default one a day.
        smallest_ratio: changes of level below this are not reported.

    Returns:
        In order of ``found_at``.

    Raises:
        ValueError: a value that is not positive, or days that do not fit or do not rise.
    """
    if days is None:
        days = range(len(values))
    if len(days) != len(values) or any(b <= a for a, b in zip(days, days[1:])):
        raise ValueError("days must rise, one for each night")
    there = [i for i, v in enumerate(values) if v is not None and not math.isnan(v)]
    kept = [float(values[i] or 0.0) for i in there]
    if any(not (value > 0.0 and math.isfinite(value)) for value in kept):
        raise ValueError("a series must have positive values")
    logs = np.log(np.array(kept)) if kept else np.zeros(0)
    times = np.array([float(days[i]) for i in there])
    starts = {int(np.searchsorted(there, position)) for position in breaks}
    changes: List[Change] = []
    noise = _Noise()
    # What the first so many nights of the stretch tell is the same on every later night.
    known: Dict[int, _Base] = {}
    start = 0
    for end in range(1, len(logs) + 1):
        if end - 1 in starts and end - 1 > start:
            _learn(noise, logs[start : end - 1])
            start, known = end - 1, {}
        stretch, when = logs[start:end], times[start:end]
        score = _score_step(stretch, noise, known, smallest_ratio)
        slope_score = _score_line(stretch, when)
        if score is None and slope_score is None:
            continue
        split, kind = _locate(stretch, when, is_line=score is None)
        change = _describe(kind, stretch, when, split, score or slope_score or 0.0)
        if kind == STEP and abs(change[0]) < smallest_ratio:
            continue
        changes.append(
            Change(kind, there[start + split], there[end - 1], change[0], change[1], change[2],
                   score or slope_score or 0.0)
        )  # fmt: skip
        if kind == STEP and split < _LEAST_STAY:
            # A level that did not stay is noise of another kind, and noise it shall be from now on.
            rest = stretch - stretch.mean()
            noise.squares += float(rest @ rest)
            noise.degrees += len(rest) - 1.0
        else:
            _learn(noise, stretch[:split])
        # A creep may go on: what comes next is held against where it has got to.
        start = start + split if kind == STEP else max(start + split, end - WINDOWS[0])
        known = {}
    return tuple(changes)


def _score_step(
    stretch: np.ndarray, noise: _Noise, known: Dict[int, _Base], smallest: float
) -> Optional[float]:
    """The largest distance over the windows that is beyond its bound; None for none."""
    best: Optional[float] = None
    for width in WINDOWS:
        n_base = len(stretch) - width
        if n_base < _LEAST_BASE_LATER:
            break
        if n_base < _LEAST_BASE and noise.degrees < _LEAST_DEGREES_LATER:
            continue
        if n_base not in known:
            known[n_base] = _measure_base(stretch[:n_base], noise)
        base, recent = known[n_base], stretch[n_base:]
        scale, rho = base.scale, base.rho
        middle = _centre(recent, scale)
        own = float(_pull_in(recent, scale, np.median(recent)).std(ddof=1))
        error = max(scale, own) * math.sqrt(
            _mean_variance(width, rho) + _mean_variance(n_base, rho)
        )
        gap = middle - base.centre
        distance = gap / error
        off = (recent - base.centre) * (1.0 if gap > 0.0 else -1.0) > scale
        is_sure = abs(distance) > base.bound and abs(gap) >= 0.7 * smallest
        is_sure = is_sure and int(off.sum()) >= WINDOWS[0]
        if is_sure and (best is None or abs(distance) > abs(best)):
            best = distance
    return best


def _score_line(stretch: np.ndarray, when: np.ndarray) -> Optional[float]:
    """Slope over its standard error when it is beyond its bound and large enough to matter."""
    stretch, when = stretch[-_LONGEST_LINE:], when[-_LONGEST_LINE:]
    n = len(stretch)
    if n < _LEAST_LINE:
        return None
    t = when - when.mean()
    slope, level = _fit_line(stretch, t)
    rest = stretch - level - slope * t
    scale = _scale(rest)
    # Once more without the odd nights.
    pulled = level + slope * t + _pull_in(rest, scale, 0.0)
    slope, level = _fit_line(pulled, t)
    rest = pulled - level - slope * t
    scale = max(_SMALLEST_NOISE, math.sqrt(float(rest @ rest) / (n - 2.0)))
    # Fitting a line takes about (2 + 4 rho) / n from the correlation.
    found = (n * _lag_one(rest) + 2.0) / (n - 4.0)
    rho = _average_correlation(found, n - 2.0)
    error = scale * math.sqrt((1.0 + rho) / (1.0 - rho) / float(t @ t))
    distance = slope / error
    n_effective = max(3.0, (n - 2.0) * (1.0 - rho) / (1.0 + rho))
    is_large = abs(slope) * (when[-1] - when[0]) >= _LEAST_DRIFT_RATIO
    return distance if is_large and abs(distance) > _bound(n_effective) else None


def _locate(stretch: np.ndarray, when: np.ndarray, is_line: bool) -> Tuple[int, str]:
    """Where the change was, and whether a step or a drift describes it better."""
    n = len(stretch)
    scale = _scale(stretch[: max(4, n - WINDOWS[0])] - np.median(stretch[: max(4, n - 3)]))
    best_step, step_at = math.inf, n - WINDOWS[0]
    for split in range(2, n - 1):
        left, right = stretch[:split], stretch[split:]
        rest = _sum_huber(left - _centre(left, scale), scale)
        rest += _sum_huber(right - _centre(right, scale), scale)
        if rest < best_step:
            best_step, step_at = rest, split
    best_drift, drift_at = math.inf, 0
    for split in range(n - 10):
        hinge = np.maximum(0.0, when - when[split])
        centred = hinge - hinge.mean()
        slope, level = _fit_line(stretch, centred)
        rest = _sum_huber(stretch - level - slope * centred, scale)
        if rest < best_drift:
            best_drift, drift_at = rest, split
    if best_drift < best_step or (is_line and math.isinf(best_step)):
        return max(1, drift_at), DRIFT
    return step_at, STEP


def _describe(
    kind: str, stretch: np.ndarray, when: np.ndarray, split: int, score: float
) -> Tuple[float, float, float]:
    """Change ratio, level before, level after."""
    if kind == STEP:
        before = _centre(stretch[:split], _scale(stretch[:split] - np.median(stretch[:split])))
        after = float(np.median(stretch[split:]))
    else:
        hinge = np.maximum(0.0, when - when[split])
        centred = hinge - hinge.mean()
        slope, level = _fit_line(stretch, centred)
        before = level + slope * float(centred[0])
        after = level + slope * float(centred[-1])
    return math.expm1(after - before), math.exp(before), math.exp(after)


def _measure_base(base: np.ndarray, noise: _Noise) -> _Base:
    """Level and noise of earlier nights, with those of finished stretches."""
    own = _Noise(noise.squares, noise.products, noise.degrees)
    _learn(own, base)
    scale = max(_SMALLEST_NOISE, math.sqrt(own.squares / own.degrees))
    found = own.products / own.squares if own.squares > 0.0 else 0.0
    count = own.degrees + 1.0
    corrected = (count * found + 1.0) / (count - 3.0) if count > 6.0 else found
    rho = _average_correlation(corrected, own.degrees)
    # Dependent nights tell less of their spread (Bayley and Hammersley 1946).
    degrees = own.degrees * (1.0 - rho * rho) / (1.0 + rho * rho)
    # Lately noisier than before: then lately is what counts.
    late = base[-_LATE_NIGHTS:]
    if len(base) > 2 * _LATE_NIGHTS:
        late_scale = float(_pull_in(late, _scale(late - np.median(late)), np.median(late)).std())
        if late_scale > _NOISIER * scale:
            scale, degrees = late_scale, _LATE_NIGHTS - 1.0
    return _Base(_centre(base, scale), scale, rho, _bound(degrees))


def _learn(noise: _Noise, stretch: np.ndarray) -> None:
    """Adds a stretch's residuals to the sums."""
    if len(stretch) < 2:
        return
    middle = float(np.median(stretch))
    scale = _scale(stretch - middle)
    rest = _pull_in(stretch, scale, middle)
    rest = rest - rest.mean()
    noise.squares += float(rest @ rest)
    noise.products += float(rest[1:] @ rest[:-1])
    noise.degrees += len(stretch) - 1.0


def _average_correlation(found: float, nights: float) -> float:
    weight = _ASSUMED_NIGHTS
    rho = (nights * found + weight * _ASSUMED_CORRELATION) / (nights + weight)
    # Half a standard error more: a correlation missed gives false alarms.
    rho += 0.5 * math.sqrt(max(0.0, 1.0 - rho * rho) / (nights + weight))
    return min(_LARGEST_CORRELATION, max(0.0, rho))


def _lag_one(rest: np.ndarray) -> float:
    squares = float(rest @ rest)
    return float(rest[1:] @ rest[:-1]) / squares if squares > 0.0 else 0.0


def _mean_variance(n: int, rho: float) -> float:
    """Variance of the mean of n neighbours of an AR(1) with variance 1."""
    if rho == 0.0:
        return 1.0 / n
    geometric = rho / (1.0 - rho)
    total = 1.0 + 2.0 * geometric - 2.0 * geometric * (1.0 - rho**n) / (n * (1.0 - rho))
    return total / n


def _scale(rest: np.ndarray) -> float:
    """Spread by the size that four of five stay below: two modes are not one and odd nights.

    A normal spread has 1.2816 standard deviations there.
    """
    sizes = sorted(abs(value) for value in rest.tolist())
    return max(_SMALLEST_NOISE, sizes[int(0.8 * (len(sizes) - 1))] / 1.2816)


def _pull_in(values: np.ndarray, scale: float, middle: float) -> np.ndarray:
    """Values no farther from the middle than the clip."""
    return np.clip(values, middle - _CLIP * scale, middle + _CLIP * scale)


def _centre(values: np.ndarray, scale: float) -> float:
    """Mean of the values pulled in to their median."""
    return float(_pull_in(values, scale, float(np.median(values))).mean())


def _sum_huber(rest: np.ndarray, scale: float) -> float:
    """Huber's loss: squares near 0, growing evenly beyond the clip."""
    size = np.abs(rest) / scale
    return float(np.where(size <= _CLIP, size * size, _CLIP * (2.0 * size - _CLIP)).sum())


def _fit_line(values: np.ndarray, t: np.ndarray) -> Tuple[float, float]:
    """Slope and mean for centred ``t``."""
    squares = float(t @ t)
    return (float(t @ values) / squares if squares > 0.0 else 0.0), float(values.mean())


def _bound(degrees: float) -> float:
    return _look_up_bound(max(2, int(degrees)))


@lru_cache(maxsize=None)
def _look_up_bound(degrees: int) -> float:
    return student_quantile(1.0 - 0.5 * CHANCE, float(degrees))
