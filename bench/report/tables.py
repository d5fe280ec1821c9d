"""Tables of a report: results, cells of the gate, checks, problems, environment, runs."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Sequence, Tuple

from bench.judge.evaluate import Outcome
from bench.judge.model import PASS, REGRESSION
from bench.measure.figures import Check
from bench.report.markup import Content, Markup, element, join, render_details, render_table
from bench.results.model import RunResult
from bench.views.rows import CaseView, Row, describe_launch
from bench.views.tables import build_cells
from bench.views.verdicts import CELL_HEADERS, explain_cell, list_cells

MOST_LINES_OF_LOG = 40
MOST_TEXT = 600

_WORDS = {True: ("good", "✓ passed"), False: ("bad", "✗ failed"), None: ("open", "? not checked")}


def render_results(rows: Sequence[Row]) -> Markup:
    """The table over card counts."""
    headers, cells = build_cells(rows)
    lead = headers.index("cards") + 1
    texts: List[List[Content]] = []
    for row, plain in zip(cells, rows):
        word = render_word("good" if plain["valid"] else "bad", row[-1])
        # A wide table scrolls: what is wrong with a row must be in sight.
        texts.append([*row[:lead], word, *row[lead:-1]])
    numeric = [place for place in range(len(headers)) if place != lead]
    ordered = [*headers[:lead], headers[-1], *headers[lead:-1]]
    return render_table(ordered, texts, "Results", numeric)


def render_word(kind: str, text: str) -> Markup:
    """A verdict in its colour; the word tells it, too."""
    return element("span", text, class_=kind)


def render_cells(outcome: Outcome) -> Markup:
    """What the gate found in each cell, and every number behind it."""
    kinds = {PASS: "good", REGRESSION: "bad"}
    signs = {PASS: "✓", REGRESSION: "✗"}
    rows: List[List[Content]] = []
    for item in outcome.gate.cells:
        cells: List[Content] = list(list_cells(item))
        kind = "open" if item.waiver else kinds.get(item.verdict, "open")
        cells[5] = render_word(kind, f"{signs.get(item.verdict, '?')} {cells[5]}")
        rows.append(cells)
    explained = "\n\n".join("\n".join(explain_cell(x, outcome)) for x in outcome.gate.cells)
    return join(
        [
            render_table(CELL_HEADERS, rows, "Verdict of each cell", range(1, 5)),
            render_details("Every number behind each verdict", element("pre", explained)),
        ]
    )


def render_checks(views: Sequence[CaseView], names: Sequence[str]) -> Markup:
    """What was checked of each launch: what failed or is open in sight, the rest folded away."""
    parts: List[Content] = []
    rows = []
    for view, name in zip(views, names):
        for place, launch in enumerate(view.case.launches):
            label = name if len(view.case.launches) == 1 else f"{name}, launch {place + 1}"
            failed = [check for check in launch.checks if check.passed is False]
            rows += [[label, *_list_check(check)] for check in failed]
    headers = ["launch", "check", "", "found", "wanted"]
    if rows:
        parts.append(render_table(headers, rows, "Checks that failed"))
    else:
        parts.append(element("p", "No check failed."))
    for view, name in zip(views, names):
        counts = [_count(launch.checks) for launch in view.case.launches]
        told = (
            f"{name}: {sum(c[0] for c in counts)} passed, {sum(c[1] for c in counts)} failed, "
            f"{sum(c[2] for c in counts)} not checked"
        )
        table = render_table(
            headers,
            [
                [str(place + 1), *_list_check(check)]
                for place, launch in enumerate(view.case.launches)
                for check in launch.checks
            ],
            f"Checks, {name}",
        )
        parts.append(render_details(told, table))
    return join(parts)


def _count(checks: Sequence[Check]) -> Tuple[int, int, int]:
    states = [check.passed for check in checks]
    return states.count(True), states.count(False), states.count(None)


def _list_check(check: Check) -> List[Content]:
    kind, word = _WORDS[check.passed]
    if check.passed is False and not check.required:
        kind, word = "open", "✗ failed, not required"
    return [check.name, render_word(kind, word), check.found, check.wanted]


def render_problems(results: Sequence[RunResult], remarks: Sequence[str]) -> Markup:
    """Failures, and what of the logs could not be read or was doubtful."""
    parts: List[Content] = [element("p", remark) for remark in remarks]
    failures = [
        [result.run_id, result.failure.kind, result.failure.message]
        for result in results
        if result.failure is not None
    ]
    if failures:
        parts.append(render_table(["run", "kind", "what happened"], failures, "Failures"))
    counted: List[List[Content]] = []
    lines: List[str] = []
    for result in results:
        for rank in result.ranks:
            counts = rank.problems.get("counts") or {}
            if counts:
                told = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
                counted.append([result.run_id, rank.label, told])
            for item in rank.problems.get("first") or []:
                lines.append(f"{rank.label}: {_describe_line(item)}")
    if counted:
        table = render_table(["run", "log", "problems"], counted[:200], "Problems of logs")
        told = f"{len(counted)} log(s) with lines that were damaged or doubtful"
        parts.append(render_details(told, table))
        shown = lines[:MOST_LINES_OF_LOG]
        if len(lines) > len(shown):
            shown.append(f"... and {len(lines) - len(shown)} more; see the result files.")
        parts.append(element("pre", "\n".join(_cut(line) for line in shown)))
    return join(parts or [element("p", "None: no run failed and every line was read.")])


def _describe_line(item: Any) -> str:
    if isinstance(item, dict):
        return "line {}, {}: {}".format(
            item.get("line_number", "?"), item.get("kind", "?"), item.get("text", "")
        )
    return str(item)


def render_environment(results: Sequence[RunResult]) -> Markup:
    """Every fact; where the runs differ each value with the number of runs that have it."""
    facts: Dict[str, Dict[str, int]] = {}
    absent: Dict[str, str] = {}
    for result in results:
        found = result.found.get("environment") or {}
        for key, value in (found.get("facts") or {}).items():
            text = "" if value is None else _render_value(value)
            counts = facts.setdefault(key, {})
            counts[text] = counts.get(text, 0) + 1
        absent.update({key: str(why) for key, why in (found.get("absent") or {}).items()})
    if not facts:
        return element("p", "Not known: no run has recorded its environment.")
    known, unknown, differing = [], [], []
    for key, counts in facts.items():
        name = key.replace("_", " ")
        if set(counts) == {""}:
            unknown.append([name, absent.get(key, "not known")])
        elif len(counts) == 1:
            known.append([name, next(iter(counts))])
        else:
            told = "; ".join(f"{text or 'not known'} ({n} runs)" for text, n in counts.items())
            differing.append([name, _cut(told)])
    parts: List[Content] = []
    if differing:
        parts.append(element("h3", "Not the same in all runs"))
        parts.append(render_table(["fact", "values"], differing, "Facts that differ", (), "facts"))
    table = render_table(["fact", "value"], known, "Environment", (), "facts")
    parts.append(render_details(f"{len(known)} facts", table))
    if unknown:
        table = render_table(["fact", "why"], unknown, "Facts that are not known", (), "facts")
        parts.append(render_details(f"{len(unknown)} facts that are not known, and why", table))
    return join(parts)


def _render_value(value: Any) -> str:
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, dict):
        return _cut(", ".join(f"{key}: {_render_value(item)}" for key, item in value.items()))
    if isinstance(value, list):
        return _cut(", ".join(map(_render_value, value)))
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"


def render_runs(results: Sequence[RunResult], views: Sequence[CaseView]) -> Markup:
    """Identity, time and state of each run."""
    states: Dict[str, str] = {}
    for view in views:
        for launch, result in zip(view.case.launches, view.results):
            kind: Optional[str] = None if result.failure is None else result.failure.kind
            states[result.run_id] = describe_launch(launch, kind)
    rows: List[List[Content]] = [
        [
            result.run_id,
            result.started_at,
            result.ended_at or "-",
            str(result.found.get("backend") or "-"),
            render_word(
                "good" if states.get(result.run_id, "").startswith("VALID") else "bad",
                states.get(result.run_id, result.state),
            ),
        ]
        for result in results
    ]
    return render_table(["run", "started", "ended", "backend", "validity"], rows, "Runs")
