"""What a run spends outside of steady steps: the start, checkpoints, skipped updates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Sequence

from bench.measure.intervals import CHECKPOINT
from bench.measure.windows import MEASURED, OVERFLOW, Windows, find_usual_steps


@dataclass(frozen=True)
class CheckpointOverhead:
    """Time that checkpoints took beyond that of the steps in their intervals.

    Attributes:
        n: intervals with a checkpoint; a checkpoint that the log does not tell of is not among
            them, it stands as an outlier in the window.
        seconds_each: mean; None without checkpoints or without a steady state. May be negative
            when a checkpoint costs less than the noise of an interval.
        share: of the time of all intervals.
    """

    n: int
    seconds_each: Optional[float]
    share: Optional[float]


def estimate_checkpoint_overhead(windows: Windows) -> CheckpointOverhead:
    """Compares the intervals with a checkpoint with the steady ones.

    ``extra = time of the interval − its steps × steady step time``; the job waits for the rank that
    writes, so the median over the ranks stands for the job.

    Args:
        windows: the classified intervals of a run.
    """
    steady_steps = steady_seconds = total = extra = 0.0
    checkpoints = []
    for row in windows.rows:
        steps = _get_steps(windows, row.intervals)
        seconds = steps * row.step_seconds
        total += seconds
        if row.reason in MEASURED:
            steady_steps += steps
            steady_seconds += seconds
        elif row.reason == CHECKPOINT:
            checkpoints.append((steps, seconds))
    if not checkpoints or not steady_steps:
        return CheckpointOverhead(len(checkpoints), None, None)
    per_step = steady_seconds / steady_steps
    extra = math.fsum(seconds - steps * per_step for steps, seconds in checkpoints)
    return CheckpointOverhead(len(checkpoints), extra / len(checkpoints), extra / total)


def _get_steps(windows: Windows, intervals: Sequence[Optional[int]]) -> float:
    known = [windows.ranks[r][at].steps for r, at in enumerate(intervals) if at is not None]
    return float(max((count for count in known if count), default=1))


def estimate_time_to_first_step(
    start_seconds: float,
    first_report_seconds: float,
    steps_before_report: int,
    step_seconds: Optional[float],
) -> Optional[float]:
    """Time from the launch to the end of the first step.

    The first report may come after many steps; those after the first are taken off at the steady
    step time.

    Args:
        start_seconds: when the process was launched.
        first_report_seconds: when the first step report was written, same clock.
        steps_before_report: steps done until then, at least 1.
        step_seconds: steady step time; None if there is none, and then only a report after the
            first step can be used.

    Returns:
        Seconds; None when it cannot be told or the clocks contradict each other.
    """
    later = steps_before_report - 1
    if later and step_seconds is None:
        return None
    elapsed = first_report_seconds - start_seconds - later * (step_seconds or 0.0)
    return elapsed if elapsed >= 0.0 else None


@dataclass(frozen=True)
class SkippedSteps:
    """Steps whose update was skipped for overflow.

    Attributes:
        skipped: steps; at least one for each interval that tells of any, more where the global
            step, which does not move for them, says so. Where no interval tells its steps, each
            counts as one step.
        steps: all steps, those skipped included.
        n_intervals: intervals that tell of any.
    """

    skipped: int
    steps: int
    n_intervals: int

    @property
    def share(self) -> float:
        """0 to 1; a lower bound where the global step moves for skipped updates, too."""
        return self.skipped / self.steps if self.steps else 0.0


def count_skipped_steps(windows: Windows, first_row: int = 0) -> SkippedSteps:
    """Counts the steps skipped for overflow.

    Args:
        windows: the classified intervals.
        first_row: where to begin.
    """
    usual = find_usual_steps(windows.ranks) or 1
    skipped = steps = n_intervals = 0
    for index in range(first_row, len(windows.rows)):
        row = windows.rows[index]
        gained = _get_gained(windows, row.intervals, usual)
        missing = 0
        if row.reason == OVERFLOW:
            # The last interval may be short because the run ended in it.
            is_last = index == len(windows.rows) - 1
            missing = max(1, 0 if is_last else usual - gained)
            n_intervals += 1
        skipped += missing
        steps += max(gained + missing, 1) if gained < usual else gained
    return SkippedSteps(skipped, steps, n_intervals)


def _get_gained(windows: Windows, intervals: Sequence[Optional[int]], usual: int) -> int:
    """Steps by which the global step moved in a row of intervals."""
    for items, at in zip(windows.ranks, intervals):
        if at is None:
            continue
        end = items[at].end_step
        if at and end is not None and end == items[at - 1].end_step:
            return 0
        return items[at].steps or usual
    return usual
