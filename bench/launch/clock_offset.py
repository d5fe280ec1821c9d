"""How far the clock of another host is ahead of ours, from messages that passed between them.

A message that one side stamps when it sends and the other when it sees it bounds the difference of
the clocks from one direction; one in each direction bound it from both, however slow the way is:

    sent by us at H, seen there at A      →  offset ≤ A − H
    sent from there at A', seen by us at H' →  offset ≥ A' − H'

Bounds of many exchanges are intersected, so the uncertainty is that of the luckiest ones. This is
the interval form of Cristian's algorithm (Distributed Computing 3, 1989); Marzullo's intersection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

_RESOLUTION_SECONDS = 1e-6
DRIFT_RATIO = 1e-4
"""Bounds age: a clock that a daemon slews runs up to 500 ppm off for minutes, mostly far less."""


@dataclass(frozen=True)
class ClockOffset:
    """The other clock minus ours.

    Attributes:
        seconds: middle of the bounds.
        uncertainty_seconds: half their distance; the truth is no farther away.
        steps: how often bounds contradicted each other: a clock was set while the run went.
    """

    seconds: float
    uncertainty_seconds: float
    steps: int = 0


class OffsetBounds:
    """Intersection of the bounds so far."""

    def __init__(self) -> None:
        self._low = -math.inf
        self._high = math.inf
        self._steps = 0
        self._updated_seconds: Optional[float] = None

    def add(self, low: float, high: float, now_seconds: float) -> None:
        """Takes one exchange into account.

        Args:
            low: the offset is at least this, seconds.
            high: at most this.
            now_seconds: our monotonic clock, by which older bounds are widened for drift.
        """
        if high < low <= high + _RESOLUTION_SECONDS:
            low, high = high, low
        if low > high:
            # The clock was set between the two directions of this very exchange.
            self._steps += 1
            return
        if self._updated_seconds is not None:
            age = max(0.0, now_seconds - self._updated_seconds)
            self._low -= age * DRIFT_RATIO
            self._high += age * DRIFT_RATIO
        self._updated_seconds = now_seconds
        if high < self._low or low > self._high:
            self._steps += 1
            self._low, self._high = low, high
        else:
            self._low, self._high = max(self._low, low), min(self._high, high)

    def get(self) -> Optional[ClockOffset]:
        """The offset, None before the first exchange in both directions."""
        if math.isinf(self._low) or math.isinf(self._high):
            return None
        return ClockOffset((self._low + self._high) / 2, (self._high - self._low) / 2, self._steps)
