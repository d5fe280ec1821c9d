"""Which rank is slow, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np

from bench.measure.windows import MEASURED, Windows

OUTLYING_SPREADS = 4.0
SMALLEST_SPREAD_RATIO = 0.001
"""Ranks of a synchronous job that differ by less do so by the rounding of their log lines."""


@dataclass(frozen=True)
class Stragglers:
    """Speed of the ranks against each other.

    Attributes:
        step_seconds: mean step time of each rank in the window, None where it has no interval.
        slowest: index of the slowest rank; None without a window.
        index: step time of the slowest rank over that of the median one, at least 1.
        outlying: ranks more than four robust standard deviations slower than the median.
        lockstep: all ranks take the same time to within a thousandth, as they must when each waits
            for all others; the index then says nothing about which card is slow, and only the time
            before the all-reduce could.
    """

    step_seconds: Tuple[Optional[float], ...]
    slowest: Optional[int]
    index: Optional[float]
    outlying: Tuple[int, ...]
    lockstep: bool


def find_stragglers(windows: Windows) -> Stragglers:
    """Compares the ranks over the measured intervals.

    Args:
        windows: the classified intervals of a run.
    """
    times: List[Optional[float]] = []
    for intervals in windows.ranks:
        measured = [item for item in intervals if item.reason in MEASURED]
        steps = sum(item.steps or 1 for item in measured)
        seconds = sum((item.steps or 1) / item.steps_per_second for item in measured)
        times.append(seconds / steps if measured else None)
    known = np.array([time for time in times if time is not None])
    if not len(known):
        return Stragglers(tuple(times), None, None, (), False)
    middle = float(np.median(known))
    spread = max(1.4826 * float(np.median(np.abs(known - middle))), SMALLEST_SPREAD_RATIO * middle)
    slowest = max(range(len(times)), key=lambda rank: times[rank] or 0.0)
    outlying = tuple(
        rank
        for rank, time in enumerate(times)
        if time is not None and time - middle > OUTLYING_SPREADS * spread
    )
    lockstep = float(known.max() - known.min()) <= SMALLEST_SPREAD_RATIO * middle
    return Stragglers(tuple(times), slowest, float(known.max()) / middle, outlying, lockstep)
