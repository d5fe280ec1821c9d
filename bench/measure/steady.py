"""Where a run gets steady, or why it never does.

Works on one series: the logarithm of the step time of each interval, in which a change of a given
share looks the same at any speed. The series is cut into stretches (:mod:`bench.measure.segments`);
the steady state is the earliest start of a stretch from which on the whole rest

* holds enough intervals and passes the tests of :mod:`bench.measure.stationarity`: enough
  independent values, no wandering, no trend, no shift, no large trend that could hide;
* is no mere end piece: not shorter than the slope that leads into it, not the latest of several
  changes to and fro, not better explained as one line with what came before.

Its first interval is then placed exactly (:mod:`bench.measure.borders`). Lone slow intervals do not
end a steady state (:mod:`bench.measure.spikes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence

import numpy as np

from bench.measure.borders import SEARCH_REACH, place_step, refine_start
from bench.measure.segments import MAXIMUM_POINTS, Segment, find_segments, render_fit
from bench.measure.spikes import remove_spikes
from bench.measure.stationarity import (
    NEGLIGIBLE_DRIFT,
    NEGLIGIBLE_SHIFT,
    WindowTest,
    fit_line,
    judge_window,
)

MINIMUM_INTERVALS = 10
"""Fewer cannot be told from a trend by any test worth the name."""

_SETTLED_CHANCE = 0.05
_SHORTEST_LEVEL = 3
_SHORTEST_HELD = 5
_CLEARLY_FLAT = 8


@dataclass(frozen=True)
class SteadyState:
    """The answer.

    Attributes:
        start: index of the first steady interval of the series; None for no steady state.
        reason: how it was found, or why there is none; one line for people.
        n_intervals: intervals from ``start`` on, or of the whole series.
        test: figures of the window that was accepted, or of the last one that was refused.
    """

    start: Optional[int]
    reason: str
    n_intervals: int
    test: Optional[WindowTest] = None

    @property
    def found(self) -> bool:
        """Whether there is a steady state."""
        return self.start is not None


def detect_steady_state(
    step_seconds: Sequence[float], minimum_intervals: int = MINIMUM_INTERVALS
) -> SteadyState:
    """Finds the first interval from which on a run is steady to its end.

    Args:
        step_seconds: mean step time of each interval in order, [n]; intervals known to be special
            (checkpoint, evaluation, skipped steps) taken out.
        minimum_intervals: a steady state has at least so many; 3 at the least.

    Raises:
        ValueError: a time is not a positive finite number.
    """
    values = np.asarray(step_seconds, dtype=float)
    if values.size and not (np.isfinite(values).all() and values.min() > 0.0):
        raise ValueError("step times must be positive and finite")
    n = len(values)
    least = max(3, minimum_intervals)
    if n < least:
        return SteadyState(None, f"too short: {n} intervals, at least {least} are needed", n)
    raw = np.log(values)
    series = remove_spikes(raw)
    segments = _find_segments(series)
    residuals = series - render_fit(segments)
    test: Optional[WindowTest] = None
    objection: Optional[str] = None
    starts = [segment.start for segment in segments]
    while starts:
        start = starts.pop(0)
        if n - start < least:
            break
        n_cuts = sum(1 for segment in segments if segment.start > start)
        test = judge_window(series[start:], residuals[start:] if n_cuts else None, n_cuts)
        objection = test.objection or object_to_end(segments, series, start)
        if objection is None:
            flat = any(
                segment.end == start and segment.length >= _CLEARLY_FLAT and not segment.slope
                for segment in segments
            )
            start = place_step(raw, start) if flat else refine_start(raw, series, start)
            if n - start < least:
                break
            reason = f"steady from interval {start} on" if start else "steady from the start"
            return SteadyState(start, reason, n - start, test)
        # A shift so early that it was not worth a stretch of its own is a short warm-up.
        if 0 < test.shift_at <= SEARCH_REACH:
            starts = sorted({*starts, start + test.shift_at})
    if objection is None or segments[-1].length < least:
        objection = f"the level still changed {segments[-1].length} intervals before the end"
    return SteadyState(None, objection, n, test)


def object_to_end(segments: Sequence[Segment], series: np.ndarray, start: int) -> Optional[str]:
    """Says why a window that looks steady by itself is not, in view of what came before it.

    Args:
        segments: stretches of the whole series.
        series: log step times without spikes, [n].
        start: first index of the window.

    Returns:
        None for no objection.
    """
    n = len(series)
    window = series[start:]
    for segment in segments:
        part = segment.length
        if abs(segment.end - start) <= 3 and _leads_to(segment, window) and len(window) < part:
            return f"level for {len(window)} intervals only, after a slope of {part}"
        held = segment.end == start and part >= _SHORTEST_HELD and not segment.slope
        if held and _is_one_line(series[segment.start :], part):
            return f"drifts: from interval {segment.start} on a line fits as well as a step"
    # Would all these changes fall so early if they came at random over the whole run?
    n_changes = sum(1 for segment in segments if segment.end <= start)
    n_returns = count_returns(segments, series, start)
    if n_changes >= 3 and (start / n) ** n_changes > _SETTLED_CHANCE:
        return f"does not settle: {n_changes} changes of level up to {n - start} before the end"
    if n_returns and (start / n) ** n_returns > _SETTLED_CHANCE:
        return f"switches between levels, the last time {n - start} intervals before the end"
    return None


def count_returns(segments: Sequence[Segment], series: np.ndarray, start: int) -> int:
    """Changes of level before a window that came back to the level of the window.

    Args:
        segments: the stretches of the whole series.
        series: log step times, [n].
        start: first index of the window.

    Returns:
        0 unless the level was held before, left, and found again.
    """
    window = series[start:]
    level = float(np.median(window))
    noise = 1.4826 * float(np.median(np.abs(window - level)))
    alike: List[bool] = []
    for segment in segments:
        if segment.length >= _SHORTEST_LEVEL and segment.end <= start:
            apart = abs(float(np.median(series[segment.start : segment.end])) - level)
            alike.append(apart < max(NEGLIGIBLE_SHIFT, 2.0 * noise))
    if True not in alike:
        return 0
    since = [*alike[alike.index(True) :], True]
    return sum(1 for one, other in zip(since, since[1:]) if one != other)


def _leads_to(segment: Segment, window: np.ndarray) -> bool:
    """Whether a slope runs into the level of a window, so that the window may be its last part."""
    gap = abs(segment.level + segment.change - float(np.median(window)))
    return abs(segment.change) > NEGLIGIBLE_DRIFT and gap < 0.5 * abs(segment.change)


def _is_one_line(series: np.ndarray, place: int) -> bool:
    """Whether one sloping line explains a series better than a step at ``place``."""
    before, after = series[:place], series[place:]
    step = float(((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum())
    slope, left = fit_line(series)
    return abs(slope) * (len(series) - 1) > NEGLIGIBLE_DRIFT and float(left @ left) < step


def _find_segments(series: np.ndarray) -> List[Segment]:
    """The stretches of a series of any length; a long one is averaged in groups first.

    The cuts of a long series are then placed to the interval, within the group and its neighbours.
    """
    n = len(series)
    group = -(-n // MAXIMUM_POINTS)
    if group == 1:
        return find_segments(series)
    coarse = find_segments(series[: n - n % group].reshape(-1, group).mean(axis=1))
    cuts = [0]
    for segment in coarse[1:]:
        middle, reach = segment.start * group, MAXIMUM_POINTS // 2
        low, high = max(0, middle - reach), min(n, middle + reach)
        near = [low + fine.start for fine in find_segments(series[low:high]) if fine.start]
        place = min(near, key=lambda at: abs(at - middle), default=middle)
        place = place if abs(place - middle) <= 2 * group else middle
        if place > cuts[-1]:
            cuts.append(place)
    cuts.append(n)
    slopes = {segment.slope != 0.0 for segment in coarse}
    fitted = []
    for start, end in zip(cuts, cuts[1:]):
        part = series[start:end]
        sloping = slopes != {False} and any(
            segment.slope and abs(segment.start * group - start) <= 2 * group for segment in coarse
        )
        slope = fit_line(part)[0] if sloping and end - start > 1 else 0.0
        level = float(part.mean()) - slope * 0.5 * (end - start - 1)
        fitted.append(Segment(start, end, level, slope))
    return fitted
