"""The result table: rows once, then rendered for terminals, documents, spreadsheets, programs."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from tabulate import tabulate

from bench.catalogue import METRICS
from bench.measure.scaling import compute_scaling_efficiency
from bench.results.model import RunResult

FORMATS = ("table", "markdown", "csv", "json")

_FIGURES = (
    "steps_per_second",
    "sequences_per_second",
    "sequences_per_second_per_card",
    "scaling_efficiency_ratio",
    "step_time_p50_seconds",
    "step_time_p95_seconds",
    "final_mlm_loss",
    "final_nsp_loss",
    "final_total_loss",
)
_IN_MILLISECONDS = {"step_time_p50_seconds", "step_time_p95_seconds"}

Row = Mapping[str, Any]


def build_rows(results: Sequence[RunResult]) -> List[Row]:
    """One row per run, in the order given.

    Efficiency compares runs of one session that differ in nothing but the card count; where a
    count was launched several times the first valid launch stands for it.
    """
    efficiency = _efficiencies(results)
    rows: List[Row] = []
    for result in results:
        row: Dict[str, Any] = {
            "run_id": result.run_id,
            "cards": result.n_cards,
            "global_batch": result.asked["batch_size"] * result.n_cards,
            "backend": result.found.get("backend"),
            "model": result.asked["model"],
            "simulated": result.simulated,
            "oversubscribed": bool(result.found.get("oversubscribed")),
            "state": result.state,
            "valid": result.valid,
            "validity": describe_validity(result),
        }
        for key in _FIGURES:
            row[key] = result.value(key)
        row["scaling_efficiency_ratio"] = efficiency[result.run_id]
        measured = result.summary.get("steps_per_second")
        row["intervals"] = 0 if measured is None else measured.n
        rows.append(row)
    return rows


def describe_validity(result: RunResult) -> str:
    """``VALID``, or what is wrong in a few words."""
    if result.state == "running":
        return "UNFINISHED"
    if result.failure is not None:
        return f"FAILED: {result.failure.kind}"
    failed = [check.name for check in result.validity if not check.passed]
    return "INVALID: {}".format(", ".join(failed)) if failed else "VALID"


def render_rows(rows: Sequence[Row], form: str) -> str:
    """Renders rows as one of :data:`FORMATS`, without a final newline."""
    if form == "json":
        return json.dumps([_finite(row) for row in rows], indent=2)
    if form == "csv":
        return _render_csv(rows)
    style = "github" if form == "markdown" else "simple"
    headers, cells = _build_cells(rows)
    if form == "table":
        # Narrow columns: the whole table should fit a terminal.
        headers = [header.replace(" ", "\n").replace("s/s", "s\n/s", 1) for header in headers]
    aligned = ["right"] * (len(headers) - 1) + ["left"]
    return tabulate(cells, headers, tablefmt=style, colalign=aligned, disable_numparse=True)


def render_report(results: Sequence[RunResult], form: str) -> str:
    """The table with its caption and notes; for programs just the rows."""
    rows = build_rows(results)
    table = render_rows(rows, form)
    if form in ("csv", "json"):
        return table
    return "\n".join([_caption(results), "", table, "", *_notes(results, rows)])


def _efficiencies(results: Sequence[RunResult]) -> Dict[str, Optional[float]]:
    cases: Dict[Tuple[Any, ...], List[RunResult]] = {}
    for result in results:
        asked = {key: repr(value) for key, value in result.asked.items() if key != "cards"}
        case = (result.session.get("id"), tuple(sorted(asked.items())))
        cases.setdefault(case, []).append(result)
    efficiency: Dict[str, Optional[float]] = {}
    for group in cases.values():
        throughput: Dict[int, Optional[float]] = {}
        for result in group:
            if result.valid and not throughput.get(result.n_cards):
                throughput[result.n_cards] = result.value("sequences_per_second")
            throughput.setdefault(result.n_cards, None)
        ratios = compute_scaling_efficiency(throughput)
        for result in group:
            efficiency[result.run_id] = ratios[result.n_cards] if result.valid else None
    return efficiency


def _build_cells(rows: Sequence[Row]) -> Tuple[List[str], List[List[str]]]:
    headers = ["cards", "global batch"] + [METRICS[key].header for key in _FIGURES] + ["validity"]
    cells = []
    for row in rows:
        cells.append(
            [
                "{}{}".format(row["cards"], "*" if row["oversubscribed"] else ""),
                str(row["global_batch"]),
                *(format_figure(key, row[key]) for key in _FIGURES),
                row["validity"] + (" (simulated)" if row["simulated"] else ""),
            ]
        )
    return headers, cells


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
        writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def _finite(row: Row) -> Dict[str, Any]:
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _caption(results: Sequence[RunResult]) -> str:
    first = results[0]
    facts = [
        "SIMULATED, no device was measured" if any(r.simulated for r in results) else "",
        "imported" if first.found.get("imported") else "",
        _told("{}", first.asked["model"]),
        _told("backend {}", first.found.get("backend")),
        _told("batch {} per card", first.asked["batch_size"]),
        _told("sequence length {}", first.asked["seq_length"]),
        _told("{} steps", first.asked["steps"]),
        _told("{}", first.asked["precision"]),
    ]
    if first.found.get("cores_per_card"):
        facts.append("{} core(s) per card".format(first.found["cores_per_card"]))
    return " · ".join(fact for fact in facts if fact)


def _is_quoted(result: RunResult) -> bool:
    """Whether the figures come from a summary of others, without intervals."""
    return bool(result.found.get("imported")) and not result.ranks


def _told(form: str, value: Any) -> str:
    """A fact of the caption; nothing where an imported source does not tell it."""
    return "" if value is None else form.format(value)


def _notes(results: Sequence[RunResult], rows: Sequence[Row]) -> List[str]:
    notes = []
    measured = [r for r in results if r.summary and not _is_quoted(r)]
    windows = sorted({r.summary["steps_per_second"].window for r in measured})
    if windows:
        counts = ", ".join(
            "{} at {} card(s)".format(row["intervals"], row["cards"]) for row in rows
        )
        notes.append(f"steps/s = steps ÷ time over {windows[0]}; intervals: {counts}.")
    for result in filter(_is_quoted, results):
        estimate = result.found["imported"]["estimate"]
        notes.append(f"{result.n_cards} card(s): not measured by us but quoted: {estimate}.")
    if any(row["oversubscribed"] for row in rows):
        notes.append("* more cards than cores: ranks share cores, rates do not compare.")
    for result in results:
        if result.failure is not None:
            notes.append(f"{result.n_cards} card(s): {result.failure.message}")
        for check in result.validity:
            if not check.passed:
                notes.append(
                    f"{result.n_cards} card(s): {check.name}: "
                    f"found {check.found}, wanted {check.wanted}"
                )
    if all(result.state == "finished" for result in results):
        notes.append("One launch per row: differences between launches are not measured here.")
    return notes
