"""Figures of history: nightly series with their change points and breaks."""

from __future__ import annotations

import math
from typing import List, Tuple

import numpy as np

from bench.catalogue import METRICS
from bench.history.annotations import describe_change
from bench.history.series import Series
from bench.judge.change_points import DRIFT, Change
from bench.report.plot import Line, Mark, Plot

_TO_MILLISECONDS = "s"


def plot_series(series: Series) -> Plot:
    """Every night, the level of each stretch, and a mark where a stretch begins."""
    values = np.array(
        [math.nan if night.value is None else night.value for night in series.nights], dtype=float
    )
    metric = METRICS[series.metric]
    factor, unit = (1e3, "ms") if metric.unit == _TO_MILLISECONDS else (1.0, metric.unit)
    places = np.arange(1.0, len(values) + 1.0)
    finite = np.isfinite(values)
    lines = [
        Line("", places[finite], factor * values[finite], 0, "faint"),
        Line("a night", places[finite], factor * values[finite], 0, "points"),
    ]
    levels = _draw_levels(series, places, factor * values)
    lines += levels
    marks = [
        Mark(_describe_mark(series, change), x=change.index + 0.5, row=row)
        for row, change in enumerate(series.changes)
    ]
    marks += [Mark("known break", x=item.position + 0.5, row=3) for item in series.breaks]
    told = [describe_change(series, change) for change in series.changes]
    missing = int(np.count_nonzero(~finite))
    caption = f"{len(values)} night(s)."
    if missing:
        caption += f" {missing} without a value; nothing is drawn for them."
    return Plot(
        title=series.name + (" (simulated)" if series.simulated else ""),
        caption=caption + " The axis does not begin at 0.",
        description="; ".join(told) or "No changes.",
        x_label="night",
        y_label=f"{metric.header.split(' [')[0]} [{unit}]",
        lines=lines,
        marks=marks,
        x_range=(0.5, len(values) + 0.5),
        x_ticks=_choose_nights(series),
    )


def _describe_mark(series: Series, change: Change) -> str:
    ratio = change.change_ratio
    word = "drift" if change.kind == DRIFT else "step"
    direction = "worse" if series.is_worse(change) else "better"
    return f"{word} {100.0 * ratio:+.1f} % {direction}"


def _draw_levels(series: Series, places: np.ndarray, values: np.ndarray) -> List[Line]:
    """Median of each stretch between changes and breaks."""
    cuts = sorted(
        {0, len(values)}
        | {change.index for change in series.changes}
        | {item.position for item in series.breaks}
    )
    x: List[float] = []
    y: List[float] = []
    for start, end in zip(cuts, cuts[1:]):
        part = values[start:end]
        part = part[np.isfinite(part)]
        if len(part):
            level = float(np.median(part))
            # A value that is not finite breaks the line between two stretches.
            x += [places[start] - 0.5, places[end - 1] + 0.5, places[end - 1] + 0.5]
            y += [level, level, math.nan]
    return [Line("median of a stretch", np.array(x), np.array(y), 1)] if len(cuts) > 2 else []


def _choose_nights(series: Series) -> List[Tuple[float, str]]:
    count = len(series.nights)
    step = max(1, -(-count // 6))
    return [(place + 1.0, series.nights[place].started_at[5:10]) for place in range(0, count, step)]
