"""The result table, rendered for terminals, documents, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

from tabulate import tabulate

from bench.catalogue import METRICS
from bench.results.model import RunResult
from bench.spec_downstream import CLASSIFIER, NER, PREDICT, PRETRAIN, READING
from bench.views.notes import list_notes
from bench.views.rows import EFFICIENCY, CaseView, Row, build_rows, view_results

FORMATS = ("table", "markdown", "csv", "json")

_RATES = (
    "steps_per_second",
    "sequences_per_second",
    "sequences_per_second_per_card",
    EFFICIENCY,
    "step_time_p50_seconds",
    "step_time_p95_seconds",
)
_LOSSES = ("final_mlm_loss", "final_nsp_loss", "final_total_loss")
_OF_TASK = {
    PREDICT: ("step_time_p99_seconds",),
    CLASSIFIER: ("final_total_loss", "final_metric", "time_to_target_seconds"),
}
_IN_MILLISECONDS = {
    "step_time_p50_seconds",
    "step_time_p95_seconds",
    "step_time_p99_seconds",
}


def render_rows(rows: Sequence[Row], form: str) -> str:
    """Renders rows as one of :data:`FORMATS`, without a final newline."""
    if form == "json":
        return json.dumps([_finite(row) for row in rows], indent=2)
    if form == "csv":
        return _render_csv(rows)
    style = "github" if form == "markdown" else "simple"
    headers, cells = build_cells(rows)
    if form == "table":
        # Narrow columns: the whole table should fit a terminal.
        headers = [header.replace(" ", "\n").replace("s/s", "s\n/s", 1) for header in headers]
    aligned = ["right"] * (len(headers) - 1) + ["left"]
    return tabulate(cells, headers, tablefmt=style, colalign=aligned, disable_numparse=True)


def render_report(results: Sequence[RunResult], form: str) -> str:
    """The table of stored runs with its caption and notes; for programs just the rows."""
    return render_views(view_results(results), describe_runs(results), form)


def render_views(views: Sequence[CaseView], caption: str, form: str) -> str:
    """The table of some cases with a caption and notes; for programs just the rows."""
    rows = build_rows(views)
    table = render_rows(rows, form)
    if form in ("csv", "json"):
        return table
    return "\n".join([caption, "", table, "", *list_notes(views, rows)])


def build_cells(rows: Sequence[Row]) -> Tuple[List[str], List[List[str]]]:
    """Headers, and cells of each row, as text for people."""
    builds = any(row["build"] for row in rows)
    repeated = any(row["launches"] > 1 for row in rows)
    figures = _list_figures(rows)
    headers = ["build"] if builds else []
    headers += ["cards", "global batch", *(["launches"] if repeated else [])]
    for key in figures:
        headers.append(METRICS[key].header)
        if key == "sequences_per_second":
            headers.append("±")
        elif key == EFFICIENCY and repeated:
            headers.append("95 % of efficiency")
    cells = []
    for row in rows:
        line = [row["build"] or ""] if builds else []
        line.append("{}{}".format(row["cards"], "*" if row["oversubscribed"] else ""))
        line.append("-" if row["global_batch"] is None else str(row["global_batch"]))
        if repeated:
            line.append(str(row["launches"]))
        for key in figures:
            line.append(format_figure(key, row[key]))
            if key == "sequences_per_second":
                line.append(format_half_width(row, key))
            elif key == EFFICIENCY and repeated:
                line.append(_format_limits(row))
        line.append(row["validity"] + (" (simulated)" if row["simulated"] else ""))
        cells.append(line)
    return [*headers, "validity"], cells


def _list_figures(rows: Sequence[Row]) -> Tuple[str, ...]:
    """The columns that suit what was trained."""
    tasks = {row["task"] for row in rows}
    if tasks == {PREDICT}:
        return (*_RATES, *_OF_TASK[PREDICT])
    if tasks <= {CLASSIFIER, NER, READING}:
        return (*_RATES, *_OF_TASK[CLASSIFIER])
    return (*_RATES, *_LOSSES)


def format_half_width(row: Row, key: str) -> str:
    """Half the width of a confidence interval in percent of the figure; ``-`` without one."""
    value, low, high = row[key], row[key + "_low"], row[key + "_high"]
    if not value or low is None or high is None:
        return "-"
    return f"{100.0 * 0.5 * (high - low) / value:.2g} %"


def _format_limits(row: Row) -> str:
    low, high = row[EFFICIENCY + "_low"], row[EFFICIENCY + "_high"]
    return "-" if low is None or high is None else f"{100.0 * low:.1f} to {100.0 * high:.1f} %"


def format_figure(key: str, value: Optional[float]) -> str:
    """A figure rounded to the digits of its catalogue row; ``-`` where there is none."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    digits = METRICS[key].digits
    if key.endswith("_ratio"):
        return f"{100.0 * value:.1f} %"
    if key in _IN_MILLISECONDS:
        value *= 1000.0
    if value == 0.0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return "{:.{}f}".format(value, min(places, 10))


def _render_csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: " ".join(v) if isinstance(v, list) else v for key, v in row.items()}
            for row in rows
        )
    return out.getvalue().rstrip("\n")


def _finite(row: Row) -> Dict[str, Any]:
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def describe_runs(results: Sequence[RunResult]) -> str:
    """What runs have in common, in one line."""
    first = results[0]
    task = first.asked.get("task")
    facts = [
        "SIMULATED, no device was measured" if any(r.simulated for r in results) else "",
        "imported" if first.found.get("imported") else "",
        _told("{}", first.asked["model"]),
        "" if task in (None, PRETRAIN) else f"task {task}",
        _told("backend {}", first.found.get("backend")),
        _told("batch {} per card", first.asked["batch_size"])
        if len({r.asked["batch_size"] for r in results}) == 1
        else "",
        _told("sequence length {}", first.asked["seq_length"]),
        _told(
            "{} batches" if first.asked.get("task") == PREDICT else "{} steps", first.asked["steps"]
        ),
        _told("{}", first.asked["precision"]),
    ]
    if first.found.get("cores_per_card"):
        facts.append("{} core(s) per card".format(first.found["cores_per_card"]))
    return " · ".join(fact for fact in facts if fact)


def _told(form: str, value: Any, *more: str) -> str:
    """A fact of the caption; nothing where an imported source does not tell it."""
    return "" if value is None else form.format(value, *more)
