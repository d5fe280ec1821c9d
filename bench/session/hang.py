"""Whether a run still makes progress: a clock per rank, fed with what the logs report."""

from __future__ import annotations

import collections
import statistics
from dataclasses import dataclass, field
from typing import Callable, Deque, Dict, List, Optional, Sequence

from bench.spec_limits import LimitsSpec

COMPILE, RUN, END = "compile", "run", "end"
_KEPT_INTERVALS = 64


@dataclass(frozen=True)
class RankProgress:
    """What is known of a rank when it is asked for.

    Attributes:
        rank: global rank id.
        reports: moments at which its log said something of the training.
        last_step: last global step seen, None before the first.
        silent_seconds: since the last report, or since the start.
        limit_seconds: how long it may be silent.
        phase: ``"compile"``, ``"run"`` or ``"end"``.
    """

    rank: int
    reports: int
    last_step: Optional[int]
    silent_seconds: float
    limit_seconds: float
    phase: str


@dataclass(frozen=True)
class Hang:
    """A run without progress.

    Attributes:
        first: the rank that fell silent first.
        ranks: all that still run.
    """

    first: RankProgress
    ranks: Sequence[RankProgress]

    def describe(self) -> str:
        """One line for people."""
        first = self.first
        if first.phase == COMPILE:
            told = "no report" if not first.reports else "only one report"
            return (
                f"rank {first.rank} gave {told} within {first.limit_seconds:g} s "
                "(limits.compile_seconds)"
            )
        where = "" if first.last_step is None else f" after step {first.last_step}"
        if first.phase == END:
            return (
                f"rank {first.rank} did not end within {first.limit_seconds:g} s{where}, its last "
                "(limits.end_seconds)"
            )
        return (
            f"rank {first.rank} fell silent first{where}: no report for "
            f"{first.silent_seconds:.1f} s, allowed are {first.limit_seconds:.1f} s"
        )


@dataclass
class _Clock:
    reports: int = 0
    last_seconds: float = 0.0
    last_step: Optional[int] = None
    intervals: Deque[float] = field(
        default_factory=lambda: collections.deque(maxlen=_KEPT_INTERVALS)
    )


class ProgressClock:
    """Knows when each rank last made progress.

    A rank counts as silent when it has reported at least twice and then says nothing for longer
    than ``max(hang_seconds, hang_intervals × the median of its intervals)``. Until its second
    report it is held to ``compile_seconds``; a rank that never reports, as in trainers where only
    rank 0 writes, is held to nothing while any other does.

    Args:
        limits: how long is too long.
        ranks: all ranks of the run.
        last_step: the step at which a rank is done.
        now_seconds: monotonic time of the start.
    """

    def __init__(
        self, limits: LimitsSpec, ranks: Sequence[int], last_step: int, now_seconds: float
    ) -> None:
        self._limits = limits
        self._target = last_step
        self._started = now_seconds
        self._clocks: Dict[int, _Clock] = {rank: _Clock() for rank in ranks}

    def note(
        self, rank: int, now_seconds: float, step: Optional[int] = None, reports: int = 1
    ) -> None:
        """A rank reported something of its training.

        Args:
            rank: which.
            now_seconds: monotonic time at which it was read.
            step: the last global step it told, None if it told none.
            reports: how many were read at once.
        """
        clock = self._clocks[rank]
        if clock.reports:
            clock.intervals.append((now_seconds - clock.last_seconds) / reports)
        clock.reports += reports
        clock.last_seconds = now_seconds
        if step is not None:
            clock.last_step = step

    def find_hang(self, now_seconds: float, is_running: Callable[[int], bool]) -> Optional[Hang]:
        """Whether the run hangs, and where it began.

        Args:
            now_seconds: monotonic time.
            is_running: whether the process of a rank lives.
        """
        if not self._may_hang(now_seconds):
            return None
        running = [rank for rank in self._clocks if is_running(rank)]
        some_report = any(clock.reports >= 2 for clock in self._clocks.values())
        known = [self._measure(rank, now_seconds, some_report) for rank in running]
        late = [one for one in known if 0.0 < one.limit_seconds < one.silent_seconds]
        if not late:
            return None
        # The others wait for the first one: it did fewest steps, or was heard of longest ago.
        watched = [one for one in known if one.reports >= 2] or known
        first = min(watched, key=lambda one: (one.last_step or 0, -one.silent_seconds, one.rank))
        return Hang(first if first in late else late[0], known)

    def _may_hang(self, now_seconds: float) -> bool:
        """A cheap answer for the usual case: with thousands of ranks the whole one costs."""
        limits = [self._limits.hang_seconds, self._limits.compile_seconds, self._limits.end_seconds]
        shortest = min((limit for limit in limits if limit > 0.0), default=None)
        if shortest is None:
            return False
        reported = [clock.last_seconds for clock in self._clocks.values() if clock.reports]
        return now_seconds - min(reported, default=self._started) > shortest

    def _measure(self, rank: int, now_seconds: float, some_report: bool) -> RankProgress:
        clock, limits = self._clocks[rank], self._limits
        since = clock.last_seconds if clock.reports else self._started
        phase = RUN
        if clock.reports < 2:
            # Nobody knows yet how long an interval is; in the first, graphs are compiled.
            phase = COMPILE
            limit = 0.0 if some_report and not clock.reports else limits.compile_seconds
        elif clock.last_step is not None and clock.last_step >= self._target:
            phase, limit = END, limits.end_seconds
        else:
            usual = statistics.median(clock.intervals) if clock.intervals else 0.0
            limit = max(limits.hang_seconds, limits.hang_intervals * usual)
            limit = limit if limits.hang_seconds > 0.0 else 0.0
        return RankProgress(rank, clock.reports, clock.last_step, now_seconds - since, limit, phase)


def list_silent(hang: Hang) -> List[int]:
    """Ranks beyond their limit, the first one in front."""
    late = [one.rank for one in hang.ranks if 0.0 < one.limit_seconds < one.silent_seconds]
    return sorted(late, key=lambda rank: rank != hang.first.rank)
