"""The page: verdict first, then tables and figures, in one file that asks for nothing else.

A policy in the page itself forbids every request and every script; the one style sheet is let in
by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

import bench
from bench.judge.model import PASS, REGRESSION
from bench.report import machine, nights, speed, tables, training
from bench.report.gather import Report
from bench.report.markup import Content, Markup, element, join, raw, render_details, render_list
from bench.report.plot import Plot, render_figure
from bench.results.model import RunResult
from bench.views.history import render_remarks
from bench.views.notes import list_notes, name_case
from bench.views.rows import CaseView, build_rows, order_by_cards, view_results
from bench.views.tables import describe_runs

MOST_LAUNCHES = 24
"""Throughput is drawn of so many launches; the tables have all."""

_STYLE = Path(__file__).resolve().parent / "page.css"

# Colour and shape of the hatch of each reason, see the style sheet.
_HATCHES: Tuple[Tuple[str, str, str], ...] = (
    ("compile", "c3", "M0 0L8 8M-2 6L2 10M6 -2L10 2"),
    ("warm-up", "c1", "M0 8L8 0M-2 2L2 -2M6 10L10 6"),
    ("checkpoint", "c2", "M4 0V8"),
    ("evaluation", "c5", "M0 4H8"),
    ("overflow", "c6", "M4 0V8M0 4H8"),
    ("outlier", "c4", "M2 0V8M6 0V8"),
    ("tail", "c7", "M4 4h0.1"),
    ("unsettled", "c7", "M0 4H3"),
)

_Section = Tuple[str, str, Markup]


def render_page(report: Report) -> str:
    """The whole page as text, ending in a line end."""
    style = _STYLE.read_text(encoding="utf-8")
    views = sorted(view_results(report.results), key=order_by_cards)
    names = [name_case(view, views) for view in views]
    sections = list(_build_sections(report, views, names))
    navigation = element(
        "nav",
        element(
            "ul",
            *[element("li", element("a", title, href=f"#{key}")) for key, title, _ in sections],
        ),
        aria_label="Sections",
    )
    simulated = any(result.simulated for result in report.results)
    title = f"{describe_runs(report.results)} · ascend-bert"
    body = element(
        "body",
        _render_hatches(),
        element(
            "header",
            element("h1", "ascend-bert: benchmark report"),
            element("p", describe_runs(report.results), class_="soft"),
            element("p", "SIMULATED: no device was measured.", class_="simulated")
            if simulated
            else None,
            _render_verdict(report),
            navigation,
        ),
        element(
            "main",
            *[
                element(
                    "section",
                    element("h2", heading, id=f"{key}-title"),
                    content,
                    id=key,
                    aria_labelledby=f"{key}-title",
                )
                for key, heading, content in sections
            ],
        ),
        _render_footer(report.results),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=build_policy(style)),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", name_="referrer", content="no-referrer"),
        element("title", title),
        # Without an icon of its own a browser asks the server for one.
        element("link", rel="icon", href="data:,"),
        element("style", raw(style)),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def build_policy(style: str) -> str:
    """Content Security Policy: nothing is loaded or run but the style sheet with this very text."""
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _render_hatches() -> Markup:
    patterns = [
        raw(
            f'<pattern id="hatch-{key}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="var(--{colour})" fill-opacity="0.12"/>'
            f'<path d="{d}" stroke="var(--{colour})" stroke-width="1.4" stroke-opacity="0.6" '
            'stroke-linecap="round" fill="none"/></pattern>'
        )
        for key, colour, d in _HATCHES
    ]
    return element("svg", element("defs", *patterns), class_="hatches", aria_hidden="true")


def _render_verdict(report: Report) -> Markup:
    kind, word, lines = _judge(report)
    return element(
        "div",
        element("p", word, class_="word"),
        *[element("p", line) for line in lines],
        class_=f"verdict {kind}",
        role="status",
    )


def _judge(report: Report) -> Tuple[str, str, List[str]]:
    """Style, word and reasons: of the gate where there is one, else whether the runs are valid."""
    outcome = report.outcome
    if outcome is not None:
        kind, sign = {PASS: ("good", "✓"), REGRESSION: ("bad", "✗")}.get(
            outcome.gate.verdict, ("open", "?")
        )
        lines = [outcome.gate.reason, *([outcome.error] if outcome.error else [])]
        lines.append(f"Held against {report.baseline}; exit code of the gate {outcome.exit_code}.")
        return kind, f"{sign} {outcome.gate.verdict.upper()}", lines
    results = report.results
    n_valid = sum(1 for result in results if result.valid)
    lines = [f"{n_valid} of {len(results)} run(s) finished and passed every required check."]
    lines += _tell_first_problem(results)
    lines.append("Held against no baseline: this says nothing of faster or slower.")
    if n_valid == len(results):
        return "good", "✓ VALID", lines
    if any(result.failure is not None for result in results):
        return "bad", "✗ FAILED", lines
    running = any(result.state == "running" for result in results)
    return ("open", "? UNFINISHED", lines) if running else ("bad", "✗ NOT VALID", lines)


def _tell_first_problem(results: Sequence[RunResult]) -> List[str]:
    """Why the first run that is not valid is not."""
    for result in results:
        failed = [check.name for check in result.validity if check.fatal]
        if result.failure is not None:
            return [f"{result.n_cards} card(s): {result.failure.message}"]
        if failed:
            return [f"{result.n_cards} card(s): {', '.join(failed)}"]
    return []


def _build_sections(
    report: Report, views: Sequence[CaseView], names: Sequence[str]
) -> Iterator[_Section]:
    number = _Numbers()
    rows = build_rows(views)
    notes = render_list(list_notes(views, rows))
    yield "results", "Results", join([tables.render_results(rows), notes])
    if report.outcome is not None:
        remarks = render_list(list(dict.fromkeys(report.outcome.gate.notes)))
        yield "gate", "Gate", join([tables.render_cells(report.outcome), remarks])
    yield from _build_throughput(views, names, number)
    scaling = speed.plot_scaling(views)
    yield from _section("scaling", "Scaling", scaling, number)
    steps = [speed.plot_step_times(view, name) for view, name in zip(views, names)]
    yield from _section("step-times", "Step times", steps, number)
    first = [
        (name, next((run for run in view.results if run.valid), view.results[0]))
        for view, name in zip(views, names)
        if view.results
    ]
    losses: List[Optional[Plot]] = [*training.plot_losses(first), training.plot_loss_scales(first)]
    yield from _section("training", "Training", losses, number)
    measured = [
        plot
        for view, name in zip(views, names)
        for run in view.results
        if run.run_id in report.telemetry
        for plot in machine.plot_telemetry(report.telemetry[run.run_id], name)
    ]
    yield from _section("telemetry", "Telemetry", measured, number)
    if report.series:
        history = [nights.plot_series(series) for series in report.series]
        told = render_list(render_remarks(report.series)) or element("p", "No changes.")
        yield from _section("history", "History", history, number, told)
    yield "checks", "Validity checks", tables.render_checks(views, names)
    yield "problems", "Problems", tables.render_problems(report.results, report.remarks)
    yield "environment", "Environment", tables.render_environment(report.results)
    yield "runs", "Runs", tables.render_runs(report.results, views)


class _Numbers:
    """Counts the figures of a page."""

    def __init__(self) -> None:
        self.last = 0

    def take(self) -> int:
        self.last += 1
        return self.last


def _section(
    key: str,
    title: str,
    plots: Sequence[Optional[Plot]],
    number: _Numbers,
    before: Content = None,
) -> Iterator[_Section]:
    """A section of figures; none where there is nothing to draw."""
    figures = _render_figures(plots, number)
    if figures is not None:
        yield key, title, join([before, figures])


def _render_figures(plots: Sequence[Optional[Plot]], number: _Numbers) -> Optional[Markup]:
    figures = [render_figure(plot, number.take()) for plot in plots if plot is not None]
    return element("div", *figures, class_="figures") if figures else None


def _build_throughput(
    views: Sequence[CaseView], names: Sequence[str], number: _Numbers
) -> Iterator[_Section]:
    """The first launch of each case in sight, further ones folded away."""
    firsts = [
        speed.plot_throughput(view.results[0], _name_launch(view, name, 0))
        for view, name in zip(views, names)
        if view.results
    ]
    parts: List[Content] = [_render_figures(firsts[:MOST_LAUNCHES], number)]
    left = MOST_LAUNCHES - len(firsts)
    for view, name in zip(views, names):
        shown = range(1, min(len(view.results), 1 + max(0, left)))
        left -= len(shown)
        plots = [
            speed.plot_throughput(view.results[at], _name_launch(view, name, at)) for at in shown
        ]
        if any(plot is not None for plot in plots):
            told = f"{len(shown)} more of {len(view.results)} launches, {name}"
            parts.append(render_details(told, _render_figures(plots, number)))
    if any(part for part in parts):
        yield "throughput", "Throughput", join(parts)


def _name_launch(view: CaseView, name: str, place: int) -> str:
    count = len(view.results)
    return f"{name}, launch {place + 1} of {count}" if count > 1 else name


def _render_footer(results: Sequence[RunResult]) -> Markup:
    tools = sorted({f"{run.tool.get('name')} {run.tool.get('version')}" for run in results})
    return element(
        "footer",
        element(
            "p",
            f"Measured by {', '.join(tools)}, page made by ascend-bert {bench.__version__}. "
            "This file makes no request and runs no script.",
        ),
    )
