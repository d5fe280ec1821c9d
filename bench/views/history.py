"""Nightly series and what changed in them, rendered."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Dict, List, Sequence

from tabulate import tabulate

from bench.catalogue import METRICS
from bench.history.annotations import describe_change
from bench.history.series import Series
from bench.views.tables import format_figure
from bench.views.verdicts import escape_text

FORMATS = ("table", "markdown", "json")


def render_history(all_series: Sequence[Series], form: str, show_nights: bool) -> str:
    """A line for each series, then changes and breaks; with every night if asked."""
    if form == "json":
        return json.dumps([series_to_dict(series) for series in all_series], indent=2)
    style = "github" if form == "markdown" else "simple"
    bullet = "- " if form == "markdown" else ""
    rows = [_list_cells(series, form) for series in all_series]
    headers = ["series", "unit", "nights", "first", "last", "latest", "changes"]
    parts = [
        tabulate(
            rows,
            headers,
            tablefmt=style,
            disable_numparse=True,
            colalign=["left", "left", "right", "left", "left", "right", "right"],
        )
    ]
    remarks = [bullet + escape_text(text, form) for text in render_remarks(all_series)]
    parts.append("\n".join(remarks) if remarks else "No changes.")
    if show_nights:
        parts += [_render_nights(series, style, form) for series in all_series]
    return "\n\n".join(parts)


def render_remarks(all_series: Sequence[Series]) -> List[str]:
    """A line for each change and each known break."""
    remarks = [
        describe_change(series, change) for series in all_series for change in series.changes
    ]
    for series in all_series:
        for item in series.breaks:
            effect = (
                "" if item.change_ratio is None else f", level {100.0 * item.change_ratio:+.1f} %"
            )
            night = series.nights[item.position].started_at[:10]
            remarks.append(f"{series.name}: known break on {night}{effect}: {item.reason}")
    return remarks


def series_to_dict(series: Series) -> Dict[str, Any]:
    """Plain values for programs."""
    plain = asdict(series)
    for change, item in zip(plain["changes"], series.changes):
        change["worse"] = series.is_worse(item)
        change["since"] = series.nights[item.index].started_at
        change["session"] = series.nights[item.index].session
    return plain


def _list_cells(series: Series, form: str) -> List[str]:
    name = series.name + (" (simulated)" if series.simulated else "")
    measured = [night for night in series.nights if night.value is not None]
    latest = measured[-1].value if measured else None
    return [
        escape_text(name, form),
        METRICS[series.metric].unit,
        f"{len(measured)} of {len(series.nights)}",
        series.nights[0].started_at[:10],
        series.nights[-1].started_at[:10],
        format_figure(series.metric, latest),
        str(len(series.changes)),
    ]


def _render_nights(series: Series, style: str, form: str) -> str:
    starts = {change.index: change for change in series.changes}
    found = {change.found_at for change in series.changes}
    broken = {item.position for item in series.breaks}
    rows = []
    for position, night in enumerate(series.nights):
        marks = ["break"] if position in broken else []
        if position in starts:
            marks.append(f"{starts[position].kind} begins")
        if position in found:
            marks.append("found")
        rows.append(
            [
                night.started_at[:10],
                night.session,
                format_figure(series.metric, night.value),
                str(night.n_launches),
                ", ".join(marks) or escape_text(night.problem or "", form),
            ]
        )
    headers = ["night", "session", METRICS[series.metric].header, "launches", ""]
    table = tabulate(rows, headers, tablefmt=style, disable_numparse=True)
    return f"{escape_text(series.name, form)}\n\n{table}"
