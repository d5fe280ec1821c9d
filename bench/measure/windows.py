"""Every interval of every rank gets one reason: why it is, or is not, in the measured window.

Ranks of a synchronous job step together, so the search for the steady state runs on one series:
the median of the ranks' step times at each interval. What the log tells of (checkpoint, evaluation,
skipped steps) is taken out first, for all ranks, as all wait for the one that is busy.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from bench.measure.intervals import (
    CHECKPOINT,
    EVALUATION,
    OVERFLOW,
    STEADY,
    TAIL,
    WARM_UP,
    Interval,
)
from bench.measure.spikes import mark_spikes
from bench.measure.steady import MINIMUM_INTERVALS, SteadyState, detect_steady_state

COMPILE = "graph compile"
OUTLIER = "outlier"
UNSETTLED = "not steady"

REASONS = (COMPILE, WARM_UP, STEADY, CHECKPOINT, EVALUATION, OVERFLOW, OUTLIER, TAIL, UNSETTLED)
"""All reasons. Without a steady state every interval that carries no tag is :data:`UNSETTLED`."""
IN_WINDOW = frozenset({STEADY, OUTLIER})
"""Reasons of the intervals that are measured: a slow one now and then belongs to the speed."""
MEASURED = IN_WINDOW | {UNSETTLED}
"""The same, and what is left to go by where there is no steady state; the two never meet."""

_PLAIN = frozenset({STEADY, OUTLIER, UNSETTLED})
"""What the search itself decides; intervals that carry one of these are judged anew."""
_COMPILE_FACTOR = 1.5
# What a row of intervals is called when its ranks tell different things: the first that any says.
_TAG_ORDER = (OVERFLOW, EVALUATION, CHECKPOINT, COMPILE, WARM_UP, TAIL, UNSETTLED, OUTLIER)


@dataclass(frozen=True)
class Row:
    """The intervals of all ranks at the same steps.

    Attributes:
        intervals: index of the interval in each rank, None where the rank has none.
        step_seconds: median over the ranks of the mean step time.
        reason: the reason they all get.
    """

    intervals: Tuple[Optional[int], ...]
    step_seconds: float
    reason: str


@dataclass(frozen=True)
class Windows:
    """The classified intervals of a run.

    Attributes:
        ranks: intervals of each rank in order, each with its final reason.
        rows: the same, side by side.
        state: whether and where the run got steady; ``state.start`` counts the rows that carry no
            tag.
        first_row: index in ``rows`` of the first measured one, None for no steady state.
    """

    ranks: Tuple[Tuple[Interval, ...], ...]
    rows: Tuple[Row, ...]
    state: SteadyState
    first_row: Optional[int]

    def count(self, reason: str) -> int:
        """Rows with a reason."""
        return sum(1 for row in self.rows if row.reason == reason)

    @property
    def n_measured(self) -> int:
        """Rows in the steady window."""
        return sum(1 for row in self.rows if row.reason in IN_WINDOW)

    def describe(self) -> str:
        """The window in words: which intervals, and why these."""
        n = len(self.rows)
        if self.first_row is None:
            left = self.count(UNSETTLED)
            return f"NO STEADY STATE ({self.state.reason}); all {left} of {n} intervals untagged"
        first = next(
            self.ranks[rank][at]
            for rank, at in enumerate(self.rows[self.first_row].intervals)
            if at is not None
        )
        begin = f"interval {self.first_row + 1}"
        if first.end_step is not None and first.steps is not None:
            begin = f"step {max(1, first.end_step - first.steps + 1)}"
        return f"steady from {begin} on: {self.n_measured} of {n} intervals"


def classify_intervals(
    ranks: Sequence[Sequence[Interval]], minimum_intervals: int = MINIMUM_INTERVALS
) -> Windows:
    """Gives every interval its reason.

    Args:
        ranks: intervals of each rank in order; a reason other than :data:`STEADY` is what the log
            told and is kept, except that the first interval of a process becomes
            :data:`COMPILE` when it took half as long again as a steady one.
        minimum_intervals: a steady state has at least so many.
    """
    rows = align_ranks(ranks)
    plain = [index for index, row in enumerate(rows) if row.reason in _PLAIN]
    state = detect_steady_state([rows[index].step_seconds for index in plain], minimum_intervals)
    first_row = None if state.start is None else plain[state.start]
    reasons = [row.reason for row in rows]
    for index in plain:
        if first_row is None:
            reasons[index] = UNSETTLED
        elif index < first_row:
            reasons[index] = WARM_UP
    if state.start is not None:
        measured = plain[state.start :]
        series = np.log([rows[index].step_seconds for index in measured])
        for index, is_spike in zip(measured, mark_spikes(series)):
            if is_spike:
                reasons[index] = OUTLIER
        usual = float(np.exp(np.median(series)))
        if rows[0].reason == WARM_UP and rows[0].step_seconds > _COMPILE_FACTOR * usual:
            reasons[0] = COMPILE
    final = [replace(row, reason=reason) for row, reason in zip(rows, reasons)]
    classified = [list(intervals) for intervals in ranks]
    for row in final:
        for rank, at in enumerate(row.intervals):
            if at is not None:
                classified[rank][at] = replace(classified[rank][at], reason=row.reason)
    return Windows(tuple(map(tuple, classified)), tuple(final), state, first_row)


def align_ranks(ranks: Sequence[Sequence[Interval]]) -> List[Row]:
    """Puts the intervals of the ranks side by side.

    By the step at which they end where every interval has one, else by their order. A last interval
    with fewer steps than usual, and what at the end is missing in some ranks, is the tail.
    """
    by_step = all(item.end_step is not None for intervals in ranks for item in intervals) and all(
        len({item.end_step for item in intervals}) == len(intervals) for intervals in ranks
    )
    places: Dict[int, List[Optional[int]]] = {}
    for rank, intervals in enumerate(ranks):
        for index, item in enumerate(intervals):
            key = item.end_step if by_step and item.end_step is not None else index
            places.setdefault(key, [None] * len(ranks))[rank] = index
    usual = find_usual_steps(ranks)
    rows: List[Row] = []
    for key in sorted(places):
        indices = places[key]
        items = [ranks[rank][at] for rank, at in enumerate(indices) if at is not None]
        seconds = float(np.median([1.0 / item.steps_per_second for item in items]))
        told = {item.reason for item in items}
        reason = next((tag for tag in _TAG_ORDER if tag in told), STEADY)
        rows.append(Row(tuple(indices), seconds, reason))
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        last = index == len(rows) - 1
        short = any(
            usual and (ranks[rank][at].steps or usual) < usual
            for rank, at in enumerate(row.intervals)
            if at is not None
        )
        missing = any(at is None for rank, at in enumerate(row.intervals) if ranks[rank])
        if row.reason != STEADY or not (missing or (last and short)):
            break
        rows[index] = replace(row, reason=TAIL)
    return rows


def find_usual_steps(ranks: Sequence[Sequence[Interval]]) -> Optional[int]:
    """Most common number of steps in an interval; None where no interval tells it."""
    counts = collections.Counter(
        item.steps for intervals in ranks for item in intervals if item.steps
    )
    return counts.most_common(1)[0][0] if counts else None
