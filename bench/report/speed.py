"""Figures of speed: throughput over time, step times, scaling."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from bench.measure.scaling import ScalingTable
from bench.measure.windows import MEASURED, REASONS
from bench.report.plot import Area, Line, Mark, Plot, Shade, Whisker
from bench.report.timelines import (
    Timeline,
    build_timelines,
    find_spans,
    merge_spans,
    resample,
)
from bench.results.model import RunResult
from bench.views.notes import name_case
from bench.views.rows import CaseView
from bench.views.tables import format_figure

MOST_RANK_LINES = 8
"""With more ranks the plot shows their range, the middle one, the fastest and the slowest."""

_STYLE_OF_REASON = {
    "graph compile": "compile",
    "warm-up": "warm-up",
    "checkpoint": "checkpoint",
    "evaluation": "evaluation",
    "overflow-skipped": "overflow",
    "outlier": "outlier",
    "tail": "tail",
    "not steady": "unsettled",
}
_COLUMNS = 320
_QUANTILES = (
    ("p50", "step_time_p50_seconds"),
    ("p95", "step_time_p95_seconds"),
    ("p99", "step_time_p99_seconds"),
)


def plot_throughput(result: RunResult, name: str) -> Optional[Plot]:
    """sequences/s of each rank over time, what is not measured shaded by its reason."""
    timelines = build_timelines(result.ranks)
    if not timelines:
        return None
    batch = int(result.asked["batch_size"])
    lines, areas, told = _draw_ranks(timelines, batch)
    last = max(float(item.ends[-1]) for item in timelines)
    spans = find_spans(max(timelines, key=lambda item: len(item.ends)))
    shades = [
        Shade(reason, _STYLE_OF_REASON.get(reason, "tail"), merge_spans(found, last / 600.0))
        for reason, found in sorted(spans.items(), key=lambda pair: _order(pair[0]))
    ]
    low, high = _find_limits(timelines, batch) if not areas else _widen(areas[0].low, areas[0].high)
    drawn = np.concatenate([item.rates if not areas else [] for item in timelines]) * batch
    outside = int(np.count_nonzero((drawn < low) | (drawn > high)))
    caption = f"{told} Shaded intervals are not measured"
    exceptions = [f"'{reason}'" for reason in spans if reason in MEASURED]
    caption += f", but for {' and '.join(exceptions)}." if exceptions else "."
    if low > 0.0:
        caption += " The axis does not begin at 0."
    if outside:
        caption += f" {outside} of {len(drawn)} intervals lie beyond the axis."
    return Plot(
        title=f"Throughput, {name}",
        caption=caption,
        description=_describe_rates(timelines, batch),
        x_label="time since the first interval [s]",
        y_label="sequences/s per rank",
        lines=lines,
        areas=areas,
        shades=shades,
        x_range=(0.0, last or 1.0),
        y_range=(low, high),
    )


def _order(reason: str) -> int:
    return REASONS.index(reason) if reason in REASONS else len(REASONS)


def _draw_ranks(timelines: Sequence[Timeline], batch: int) -> Tuple[List[Line], List[Area], str]:
    if len(timelines) <= MOST_RANK_LINES:
        lines = [
            Line(f"rank {item.rank}", *_draw_steps(item, batch), place, "step")
            for place, item in enumerate(timelines)
        ]
        return lines, [], "One line per rank."
    middles, table = resample(timelines, _COLUMNS)
    table = table * batch
    means = [_average(item) for item in timelines]
    known = np.isfinite(table).any(axis=0)
    middles, table = middles[known], table[:, known]
    slowest, fastest = int(np.argmin(means)), int(np.argmax(means))
    lines = []
    if means[fastest] > means[slowest]:
        lines = [
            Line(f"slowest, rank {timelines[slowest].rank}", middles, table[slowest], 1),
            Line(f"fastest, rank {timelines[fastest].rank}", middles, table[fastest], 2),
        ]
    lines.append(Line("median of the ranks", middles, np.nanmedian(table, axis=0), 0))
    area = Area(
        f"range of {len(timelines)} ranks",
        middles,
        np.nanmin(table, axis=0),
        np.nanmax(table, axis=0),
        0,
    )
    return lines, [area], f"{len(timelines)} ranks, averaged over stretches of equal time."


def _draw_steps(item: Timeline, batch: int) -> Tuple[np.ndarray, np.ndarray]:
    """Corners of a line that holds each rate for the time of its interval."""
    rates = item.rates * batch
    return np.append(item.starts, item.ends[-1]), np.append(rates, rates[-1])


def _average(item: Timeline) -> float:
    """Steps over time of the measured intervals; of all where none is."""
    kept = item.measured & (item.rates > 0.0)
    kept = kept if kept.any() else item.rates > 0.0
    if not kept.any():
        return 0.0
    return float(item.steps[kept].sum() / (item.steps[kept] / item.rates[kept]).sum())


def _find_limits(timelines: Sequence[Timeline], batch: int) -> Tuple[float, float]:
    """Ends of the axis: all measured rates, and as much room again below them."""
    rates = np.concatenate([item.rates[item.measured] for item in timelines])
    rates = rates[np.isfinite(rates)]
    if not len(rates):
        rates = np.concatenate([item.rates for item in timelines])
        rates = rates[np.isfinite(rates)]
    if not len(rates):
        return 0.0, 1.0
    return _widen(rates * batch, rates * batch)


def _widen(lows: np.ndarray, highs: np.ndarray) -> Tuple[float, float]:
    """Most of the values, and as much room again; a slow start must not flatten the rest."""
    low, high = float(np.quantile(lows, 0.002)), float(np.quantile(highs, 0.998))
    span = max(high - low, 0.02 * high) or 1.0
    return max(0.0, low - 0.5 * span), high + 0.25 * span


def _describe_rates(timelines: Sequence[Timeline], batch: int) -> str:
    means = [batch * _average(item) for item in timelines]
    n_measured = sum(int(item.measured.sum()) for item in timelines)
    n_all = sum(len(item.ends) for item in timelines)
    return (
        f"{len(timelines)} rank(s), {n_measured} of {n_all} intervals measured; mean sequences/s "
        f"of a rank from {min(means):.4g} to {max(means):.4g}."
    )


def plot_step_times(view: CaseView, name: str) -> Optional[Plot]:
    """Histogram of step time over the measured intervals of all launches of a case."""
    seconds: List[np.ndarray] = []
    weights: List[np.ndarray] = []
    for result in view.results:
        for item in build_timelines(result.ranks):
            kept = item.measured & (item.rates > 0.0)
            seconds.append(1.0 / item.rates[kept])
            weights.append(item.steps[kept])
    if not seconds or not sum(map(len, seconds)):
        return None
    times = 1e3 * np.concatenate(seconds)
    steps = np.concatenate(weights)
    top = float(np.quantile(times, 0.995))
    low, high = float(times.min()), max(top, float(times.min()) * 1.001)
    inside = times <= high
    bins = int(min(60, max(8, math.sqrt(len(times)))))
    counts, edges = np.histogram(times[inside], bins=bins, range=(low, high), weights=steps[inside])
    shares = 100.0 * counts / steps.sum()
    marks = []
    for row, (label, key) in enumerate(_QUANTILES):
        figure = view.case.summary.get(key)
        if figure is not None and figure.value is not None:
            value = 1e3 * figure.value
            marks.append(Mark(f"{label} {value:.4g}", x=value, row=row))
    least, most = int(steps.min()), int(steps.max())
    basis = "single steps" if most == 1 else f"means of {_range(least, most)} steps"
    caption = f"{len(times)} intervals of all ranks and launches, {basis}, weighted by steps; "
    caption += "the dotted lines are the figures of the table"
    caption += ", means over the launches." if len(view.case.used) > 1 else "."
    beyond = int(np.count_nonzero(~inside))
    if beyond:
        caption += f" {beyond} above {high:.4g} ms are not drawn (longest {times.max():.4g} ms)."
    return Plot(
        title=f"Step time, {name}",
        caption=caption,
        description="; ".join(mark.label + " ms" for mark in marks) or f"from {low:.4g} ms on",
        x_label="step time [ms]",
        y_label="share of steps [%]",
        bars=[(float(a), float(b), float(h)) for a, b, h in zip(edges, edges[1:], shares)],
        marks=marks,
        y_range=(0.0, max(1e-9, 1.15 * float(shares.max()))),
    )


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def plot_scaling(views: Sequence[CaseView]) -> List[Plot]:
    """Throughput beside the ideal line, and efficiency with its interval, of each scaling table."""
    tables: List[Tuple[ScalingTable, str]] = []
    for view in views:
        if view.scaling is not None and all(view.scaling is not item for item, _ in tables):
            tables.append((view.scaling, name_case(view, views).rsplit(", ", 1)[0]))
    several = len(tables) > 1
    plots: List[Plot] = []
    for table, name in tables:
        title = f", {name}" if several and "card(s)" not in name else ""
        plots += [_plot_speed(table, title), _plot_efficiency(table, title)]
    return plots


def _ticks(table: ScalingTable) -> List[Tuple[float, str]]:
    return [(float(row.n_cards), str(row.n_cards)) for row in table.rows]


def _ends(table: ScalingTable) -> Tuple[float, float]:
    counts = [row.n_cards for row in table.rows]
    return min(counts) / 1.25, max(counts) * 1.25


def _plot_speed(table: ScalingTable, title: str) -> Plot:
    rows = [row for row in table.rows if row.throughput]
    base = next(row for row in rows if row.n_cards == table.base)
    cards = np.array([row.n_cards for row in rows], dtype=float)
    per_card = float(base.throughput or 0.0) / base.n_cards
    measured = np.array([row.throughput for row in rows], dtype=float)
    told = ", ".join(
        f"{row.n_cards} cards {format_figure('sequences_per_second', row.throughput)}"
        for row in rows
    )
    ends = np.array([cards.min(), cards.max()])
    return Plot(
        title=f"Throughput by card count{title}",
        caption=f"{table.kind.capitalize()} scaling; the ideal line is {table.base} card(s) "
        "times the cards.",
        description=f"sequences/s: {told}.",
        x_label="cards (logarithmic)",
        y_label="sequences/s of all cards (logarithmic)",
        lines=[
            Line("measured", cards, measured, 0),
            Line("ideal", ends, per_card * ends, 7),
            Line("", cards, measured, 0, "points"),
        ],
        x_range=_ends(table),
        x_ticks=_ticks(table),
        x_log=True,
        y_log=True,
        y_range=(
            0.7 * min(float(measured.min()), per_card * float(cards.min())),
            1.3 * max(float(measured.max()), per_card * float(cards.max())),
        ),
    )


def _plot_efficiency(table: ScalingTable, title: str) -> Plot:
    rows = [row for row in table.rows if row.efficiency is not None]
    whiskers = []
    told: Dict[int, str] = {}
    for row in rows:
        value = 100.0 * float(row.efficiency or 0.0)
        low = value if row.low is None else 100.0 * row.low
        high = value if row.high is None else 100.0 * row.high
        whiskers.append(Whisker(float(row.n_cards), value, low, high, 0))
        told[row.n_cards] = f"{value:.1f} %" + (
            f" ({low:.1f} to {high:.1f})" if row.low is not None else ""
        )
    least = min([item.low for item in whiskers] + [100.0])
    limits = any(item.high > item.low for item in whiskers)
    return Plot(
        title=f"Scaling efficiency{title}",
        caption=(
            f"sequences/s/card relative to {table.base} card(s). "
            + (
                f"Whiskers: {table.level:.0%} interval over launches."
                if limits
                else "One launch per card count: no interval."
            )
            + (" The axis does not begin at 0." if least > 20.0 else "")
        ),
        description="; ".join(f"{n} cards {text}" for n, text in told.items()),
        x_label="cards (logarithmic)",
        y_label="efficiency [%]",
        lines=[
            Line(
                "measured",
                np.array([item.x for item in whiskers]),
                np.array([item.y for item in whiskers]),
                0,
            )
        ],
        whiskers=whiskers,
        marks=[Mark("ideal 100 %", y=100.0)],
        x_range=_ends(table),
        x_ticks=_ticks(table),
        x_log=True,
        y_range=(
            max(0.0, least - 0.15 * max(5.0, 100.0 - least)) if least > 20.0 else 0.0,
            max([104.0] + [1.02 * item.high for item in whiskers]),
        ),
    )
