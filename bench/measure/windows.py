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

from bench.measure.intervals import CHECKPOINT, STEADY, WARM_UP, Interval
from bench.measure.spikes import mark_spikes
from bench.measure.steady import MINIMUM_INTERVALS, SteadyState, detect_steady_state

COMPILE = "graph compile"
EVALUATION = "evaluation"
OVERFLOW = "overflow-skipped"
OUTLIER = "outlier"
TAIL = "tail"

REASONS = (COMPILE, WARM_UP, STEADY, CHECKPOINT, EVALUATION, OVERFLOW, OUTLIER, TAIL)
"""All reasons. Without a steady state nothing ever left the warm-up."""
IN_WINDOW = frozenset({STEADY, OUTLIER})
"""Reasons of the intervals that are measured: a slow one now and then belongs to the speed."""

_COMPILE_FACTOR = 1.5
# What a row of intervals is called when its ranks tell different things: the first that any says.
_TAG_ORDER = (OVERFLOW, EVALUATION, CHECKPOINT, COMPILE, WARM_UP, TAIL)


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
        """Rows in the window."""
        return sum(1 for row in self.rows if row.reason in IN_WINDOW)


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
    plain = [index for index, row in enumerate(rows) if row.reason == STEADY]
    state = detect_steady_state([rows[index].step_seconds for index in plain], minimum_intervals)
    first_row = None if state.start is None else plain[state.start]
    reasons = [row.reason for row in rows]
    for index in plain:
        if first_row is None or index < first_row:
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
    usual = _find_usual_steps(ranks)
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
        if row.reason != STEADY or not (None in row.intervals or (last and short)):
            break
        rows[index] = replace(row, reason=TAIL)
    return rows


def _find_usual_steps(ranks: Sequence[Sequence[Interval]]) -> Optional[int]:
    counts = collections.Counter(
        item.steps for intervals in ranks for item in intervals if item.steps
    )
    return counts.most_common(1)[0][0] if counts else None
