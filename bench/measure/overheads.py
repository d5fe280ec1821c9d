"""What a run spends outside of steady steps: the start, checkpoints, skipped updates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Sequence

from bench.measure.intervals import CHECKPOINT
from bench.measure.windows import MEASURED, Windows


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


def compute_skipped_share(
    loss_scales: Sequence[float], skipped_reports: Optional[int], n_reports: int
) -> Optional[float]:
    """Share of reports that tell of an update skipped for overflow.

    Args:
        loss_scales: dynamic loss scale at each report, in order; a fall means that at least one
            step since the report before was skipped.
        skipped_reports: reports that say so themselves (``isFinite``); None where the trainer does
            not print it, and then the falls of the loss scale are counted.
        n_reports: reports in all.

    Returns:
        0 to 1, a lower bound where a report covers many steps; None without any report.
    """
    if skipped_reports is None:
        if len(loss_scales) < 2:
            return None
        pairs = zip(loss_scales, loss_scales[1:])
        return sum(1 for before, after in pairs if after < before) / (len(loss_scales) - 1.0)
    return skipped_reports / n_reports if n_reports else None
