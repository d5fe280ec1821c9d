"""A night in the forms that CI reads: JUnit XML, and markdown for a pull request or a job page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from bench.catalogue import METRICS
from bench.history.annotations import describe_change
from bench.history.series import Series
from bench.judge.change_points import Change
from bench.judge.evaluate import Outcome
from bench.judge.model import NO_VERDICT, REGRESSION
from bench.results.model import RunResult
from bench.views.history import render_remarks
from bench.views.rows import build_rows, order_by_cards, view_results
from bench.views.tables import describe_runs, render_rows
from bench.views.verdicts import escape_text, explain_cell, render_outcome

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_TIME = "1970-01-01T00:00:00"


@dataclass(frozen=True)
class Night:
    """What a night gave.

    Attributes:
        exit_code: of the night.
        outcome: of the gate; None where it could not judge.
        problem: why it could not, or what else went wrong, one line; None when all went well.
        results: runs of the night.
        series: nightly series of its cases.
        fail_on_change: a change for the worse that was found this night makes it red.
        files: what was written beside, names with what they are.
    """

    exit_code: int
    outcome: Optional[Outcome]
    problem: Optional[str]
    results: Tuple[RunResult, ...]
    series: Tuple[Series, ...]
    fail_on_change: bool = False
    files: Tuple[Tuple[str, str], ...] = ()


def list_fresh_changes(all_series: Sequence[Series]) -> List[Tuple[Series, Change]]:
    """Changes for the worse that were found on the last night of their series."""
    return [
        (series, change)
        for series in all_series
        for change in series.changes
        if series.is_worse(change) and change.found_at == len(series.nights) - 1
    ]


def render_markdown(night: Night) -> str:
    """Verdict, cells, results and changes, without a final line end."""
    parts = ["## Benchmark: " + _get_headline(night)]
    if any(result.simulated for result in night.results):
        parts.append("**SIMULATED: no device was measured.**")
    if night.problem is not None:
        parts.append(escape_text(night.problem, "markdown"))
    if night.outcome is not None:
        parts.append(render_outcome(night.outcome, "markdown", False))
    if night.results:
        rows = [
            {**row, "validity": escape_text(str(row["validity"]), "markdown")}
            for row in build_rows(sorted(view_results(night.results), key=order_by_cards))
        ]
        parts += [
            "### Results",
            escape_text(describe_runs(night.results), "markdown"),
            render_rows(rows, "markdown"),
        ]
    if night.series:
        remarks = [f"- {escape_text(text, 'markdown')}" for text in render_remarks(night.series)]
        count = max(len(series.nights) for series in night.series)
        text = "\n".join(remarks) or f"No changes in {count} night(s)."
        parts += ["### History", text]
    if night.files:
        told = "\n".join(f"- `{name}`: {what}" for name, what in night.files)
        parts += ["### Files", told]
    return "\n\n".join(parts)


def _get_headline(night: Night) -> str:
    verdict = night.outcome.gate.verdict.upper() if night.outcome is not None else "NO VERDICT"
    red = list_fresh_changes(night.series) if night.fail_on_change else []
    if red and night.exit_code == 1 and verdict != REGRESSION.upper():
        verdict = "CHANGE FOR THE WORSE"
    return f"{verdict} (exit code {night.exit_code})"


def render_junit(night: Night) -> str:
    """JUnit XML in the strict form of Apache Ant, which all readers take.

    A suite for the runs (a test per run: finished and valid), one for the gate (a test per cell: a
    regression is a failure, no verdict an error, a waived cell skipped) and one for the history
    (a test per series).
    """
    suites = [_Suite("ascend-bert.bench", night)]
    for result in night.results:
        failed = [check.name for check in result.validity if check.fatal]
        message = result.failure.message if result.failure is not None else ", ".join(failed)
        kind = result.failure.kind if result.failure is not None else "invalid"
        problem = None if result.valid else ("error", kind, message or result.state, "")
        suites[0].add(f"{result.n_cards} cards", result.run_id, problem)
    if night.problem is not None:
        suites[0].add("night", "problem", ("error", "night", night.problem, ""))
    gate = _Suite("ascend-bert.gate", night)
    for item in night.outcome.gate.cells if night.outcome is not None else ():
        assert night.outcome is not None
        text = "\n".join(explain_cell(item, night.outcome))
        problem = None
        if item.waiver:
            problem = ("skipped", "", item.waiver, "")
        elif item.verdict == REGRESSION:
            problem = ("failure", REGRESSION, item.reason, text)
        elif item.verdict == NO_VERDICT:
            problem = ("error", NO_VERDICT, item.reason, text)
        gate.add(item.cell.name.split(", ", 1)[-1], METRICS[item.cell.metric].header, problem)
    if night.outcome is not None and night.outcome.error is not None:
        gate.add("night", "verdict", ("error", NO_VERDICT, night.outcome.error, ""))
    elif night.outcome is None:
        gate.add("night", "verdict", ("error", NO_VERDICT, night.problem or "not judged", ""))
    suites.append(gate)
    if night.series:
        suites.append(_build_history(night))
    root = ElementTree.Element("testsuites")
    for number, suite in enumerate(suites):
        root.append(suite.build(number))
    text = ElementTree.tostring(root, encoding="unicode")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text


def _build_history(night: Night) -> _Suite:
    suite = _Suite("ascend-bert.history", night)
    fresh = list_fresh_changes(night.series)
    for series in night.series:
        told = [describe_change(series, change) for change in series.changes]
        red = night.fail_on_change and any(other is series for other, _ in fresh)
        problem = ("failure", "change", told[-1], "\n".join(told)) if red else None
        suite.add(series.name.split(", ", 1)[-1], METRICS[series.metric].header, problem)
        suite.lines += told
    return suite


class _Suite:
    """A suite in the making."""

    def __init__(self, name: str, night: Night) -> None:
        first = night.results[0] if night.results else None
        environment = (first.found.get("environment") or {}) if first is not None else {}
        facts = environment.get("facts") or {}
        self.name = name
        self.host = str(facts.get("host_name") or "unknown")
        self.time = first.started_at[:19] if first is not None else _NO_TIME
        self.cases: List[ElementTree.Element] = []
        self.counts = {"failure": 0, "error": 0, "skipped": 0}
        self.lines: List[str] = []

    def add(self, class_name: str, name: str, problem: Optional[Tuple[str, str, str, str]]) -> None:
        """A test; ``problem`` is its tag, type, message and text."""
        case = ElementTree.Element(
            "testcase",
            classname=_clean(f"{self.name}.{class_name}"),
            name=_clean(name),
            time="0",
        )
        if problem is not None:
            tag, kind, message, text = problem
            self.counts[tag] += 1
            attributes = {"message": _clean(message), **({"type": _clean(kind)} if kind else {})}
            child = ElementTree.SubElement(case, tag, attributes)
            child.text = _clean(text) or None
        self.cases.append(case)

    def build(self, number: int) -> ElementTree.Element:
        """The suite as XML."""
        suite = ElementTree.Element(
            "testsuite",
            {
                "name": self.name,
                "package": "ascend-bert",
                "id": str(number),
                "timestamp": self.time,
                "hostname": _clean(self.host),
                "tests": str(len(self.cases)),
                "failures": str(self.counts["failure"]),
                "errors": str(self.counts["error"]),
                "skipped": str(self.counts["skipped"]),
                "time": "0",
            },
        )
        ElementTree.SubElement(suite, "properties")
        suite.extend(self.cases)
        ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(self.lines))
        ElementTree.SubElement(suite, "system-err").text = ""
        return suite


def _clean(text: str) -> str:
    """Text that XML can hold."""
    return _NOT_XML.sub("\ufffd", text)
