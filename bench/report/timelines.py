"""The intervals of a stored run as arrays, ready to be drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from bench.measure.windows import IN_WINDOW, MEASURED
from bench.results.model import RankRecord


@dataclass(frozen=True)
class Timeline:
    """One rank.

    Attributes:
        rank: global id.
        label: how the log names it.
        ends: time at the end of each interval since the start of the first, s, [n].
        rates: steps/s in each, [n].
        steps: in each, [n]; 1 where the log does not say.
        reasons: why each is or is not measured, [n].
    """

    rank: int
    label: str
    ends: np.ndarray
    rates: np.ndarray
    steps: np.ndarray
    reasons: Tuple[str, ...]

    @property
    def starts(self) -> np.ndarray:
        """Time at the start of each interval, s, [n]."""
        return np.concatenate([[0.0], self.ends[:-1]]) if len(self.ends) else self.ends

    @property
    def measured(self) -> np.ndarray:
        """Whether each interval is measured, [n]."""
        return np.array([reason in MEASURED for reason in self.reasons], dtype=bool)


def build_timelines(ranks: Sequence[RankRecord]) -> List[Timeline]:
    """The ranks that have intervals."""
    return [_build_timeline(record) for record in ranks if record.intervals.get("reason")]


def _build_timeline(record: RankRecord) -> Timeline:
    columns = record.intervals
    rates = _to_array(columns["steps_per_second"])
    steps = _to_array(columns["steps"])
    steps = np.where(np.isfinite(steps) & (steps > 0.0), steps, 1.0)
    seconds = _to_array(columns["seconds"])
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds = np.where(np.isfinite(seconds), seconds, steps / rates)
    seconds = np.where(np.isfinite(seconds) & (seconds > 0.0), seconds, 0.0)
    return Timeline(
        rank=record.rank,
        label=record.label,
        ends=np.cumsum(seconds),
        rates=rates,
        steps=steps,
        reasons=tuple(map(str, columns["reason"])),
    )


def _to_array(values: Sequence[Any]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def find_spans(timeline: Timeline) -> Dict[str, List[Tuple[float, float]]]:
    """Stretches of time outside the window, by reason; neighbours of one reason are one."""
    spans: Dict[str, List[Tuple[float, float]]] = {}
    before = ""
    for start, end, reason in zip(
        timeline.starts.tolist(), timeline.ends.tolist(), timeline.reasons
    ):
        # An outlier belongs to the speed, but who reads the plot wants to see it.
        if reason not in IN_WINDOW or reason == "outlier":
            found = spans.setdefault(reason, [])
            if reason == before:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
        before = reason
    return spans


def merge_spans(spans: Sequence[Tuple[float, float]], width: float) -> List[Tuple[float, float]]:
    """Joins stretches that no drawing keeps apart: gaps below ``width`` are closed."""
    merged: List[Tuple[float, float]] = []
    for start, end in spans:
        if merged and start - merged[-1][1] < width:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def resample(timelines: Sequence[Timeline], columns: int) -> Tuple[np.ndarray, np.ndarray]:
    """Rates of all ranks over common stretches of time.

    Args:
        timelines: at least one.
        columns: stretches.

    Returns:
        Middles of the stretches, s, [columns]; steps/s of each rank as steps over time, so that no
        step is lost, [ranks, columns]; NaN where a rank has ended.
    """
    last = max(float(item.ends[-1]) for item in timelines)
    edges = np.linspace(0.0, last, columns + 1)
    table = np.full((len(timelines), columns), math.nan)
    for row, item in enumerate(timelines):
        times = np.concatenate([[0.0], item.ends])
        done = np.concatenate([[0.0], np.cumsum(item.steps)])
        sums = np.interp(edges, times, done)
        rates = np.diff(sums) / (edges[1] - edges[0])
        table[row] = np.where(edges[1:] <= item.ends[-1] + 1e-9 * last, rates, math.nan)
    return 0.5 * (edges[:-1] + edges[1:]), table
