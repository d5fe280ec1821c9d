"""Verdicts, comparisons and calibrations, rendered for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Dict, List, Optional, Sequence

from tabulate import tabulate

from bench.catalogue import METRICS
from bench.judge.calibrate import CellNoise
from bench.judge.compare import Comparison
from bench.judge.evaluate import Outcome
from bench.judge.gate import decide_more_launches
from bench.judge.model import CellVerdict, Contrast
from bench.results.fingerprint import COMPARABLE, render_comparability
from bench.views.tables import format_figure

FORMATS = ("table", "markdown", "json")

CELL_HEADERS = ("cell", "change", "95 % interval", "margin", "launches", "verdict", "why")

_STYLES = {"table": "simple", "markdown": "github"}


def render_outcome(outcome: Outcome, form: str, explain: bool) -> str:
    """The verdict of a gate."""
    if form == "json":
        return json.dumps(outcome_to_dict(outcome), indent=2, allow_nan=False)
    gate = outcome.gate
    strong = "**" if form == "markdown" else ""
    lines = [f"{strong}{gate.verdict.upper()}{strong}: {escape_text(gate.reason, form)}"]
    if outcome.error:
        lines += ["", escape_text(outcome.error, form)]
    rows = [list_cells(item) for item in gate.cells]
    if rows:
        table = tabulate(
            [[escape_text(cell, form) for cell in row] for row in rows],
            CELL_HEADERS,
            tablefmt=_STYLES[form],
            disable_numparse=True,
            colalign=["left", "right", "right", "right", "right", "left", "left"],
        )
        lines += ["", table]
    bullet = "- " if form == "markdown" else ""
    remarks = list(gate.notes)
    more = 0 if outcome.error else decide_more_launches(gate)
    if more:
        remarks.append(f"{more} more launches of each undecided case are worth it: look again then")
    for item in gate.cells:
        remarks += [f"{item.cell.name}: {text}" for text in item.caveats]
    unique = list(dict.fromkeys(remarks))
    lines += [""] if unique else []
    lines += [bullet + escape_text(text, form) for text in unique]
    if explain:
        for item in gate.cells:
            lines += ["", *(_explain_line(text, form) for text in explain_cell(item, outcome))]
    return "\n".join(lines)


def explain_cell(item: CellVerdict, outcome: Outcome) -> List[str]:
    """Every number behind the verdict on a cell, one line each."""
    cell, contrast, plan = item.cell, item.contrast, outcome.gate.plan
    lines = [f"{cell.name}: {item.verdict}; {item.reason}"]
    nights = "; ".join(", ".join(f"{value:.6g}" for value in night) for night in cell.baseline)
    own = ", ".join(f"{value:.6g}" for value in cell.candidate)
    if cell.baseline or cell.candidate:
        unit = METRICS[cell.metric].unit
        lines.append(f"  baseline [{unit}], nights apart by semicolons: {nights or '-'}")
        lines.append(f"  candidate [{unit}]: {own or '-'}; look {cell.look}")
    if contrast is None:
        return lines
    share = plan.look_shares[cell.look - 1]
    lines += [
        _describe_contrast(contrast),
        f"  nothing lost: p {_p(item.p_loss)}; over this look's share {share:g} and Holm-corrected "
        f"{_p(item.p_loss_adjusted)}; a loss is shown at {plan.alpha:g} or less",
        f"  {_percent(cell.margin_ratio)} lost: p {_p(item.p_inferior)}; over the look's share "
        f"{_p(item.p_inferior_adjusted)}; ruled out at {plan.alpha_pass:g} or less",
    ]
    if item.detectable_ratio is not None:
        lines.append(
            f"  this comparison finds a true loss of {_percent(item.detectable_ratio)} with a "
            f"chance of {item.power:.0%}"
        )
    if contrast.separate:
        lines.append("  the candidate spreads more than the baseline: its own spread is used")
    return lines


def outcome_to_dict(outcome: Outcome) -> Dict[str, Any]:
    """Plain values for programs."""
    return {
        "verdict": outcome.gate.verdict,
        "exit_code": outcome.exit_code,
        "reason": outcome.gate.reason,
        "error": outcome.error,
        "plan": asdict(outcome.gate.plan),
        "notes": list(outcome.gate.notes),
        "cells": [asdict(item) for item in outcome.gate.cells],
        "environments": {
            name: {
                "level": item.level,
                "differences": [asdict(difference) for difference in item.differences],
            }
            for name, item in outcome.comparability.items()
        },
    }


def render_comparisons(comparisons: Sequence[Comparison], form: str) -> str:
    """Sides beside the reference."""
    if form == "json":
        return json.dumps([comparison_to_dict(item) for item in comparisons], indent=2)
    return "\n\n".join(_render_comparison(item, form) for item in comparisons)


def comparison_to_dict(comparison: Comparison) -> Dict[str, Any]:
    """Plain values for programs."""
    return {
        "reference": comparison.reference,
        "side": comparison.side,
        "ratios": [asdict(ratio) for ratio in comparison.ratios],
        "environments": {
            name: {
                "level": item.level,
                "differences": [asdict(difference) for difference in item.differences],
            }
            for name, item in comparison.environments.items()
        },
        "left_out": list(comparison.left_out),
    }


def _render_comparison(comparison: Comparison, form: str) -> str:
    rows = [
        [
            escape_text(ratio.case, form),
            METRICS[ratio.metric].header,
            format_figure(ratio.metric, ratio.reference),
            format_figure(ratio.metric, ratio.value),
            _signed(ratio.change_ratio),
            _interval(ratio.low_ratio, ratio.high_ratio),
            f"{ratio.n_reference}, {ratio.n_value}",
            ratio.word,
        ]
        for ratio in comparison.ratios
    ]
    headers = ["case", "figure", "reference", "side", "change", "95 % interval", "launches", ""]
    table = tabulate(
        rows,
        headers,
        tablefmt=_STYLES[form],
        disable_numparse=True,
        colalign=["left", "left", *["right"] * 5, "left"],
    )
    title = f"{comparison.side} against {comparison.reference}"
    lines = [escape_text(title, form), "", table, ""]
    bullet = "- " if form == "markdown" else ""
    for name, item in comparison.environments.items():
        text = "same environment" if item.level == COMPARABLE else render_comparability(item)
        lines.append(f"{bullet}{escape_text(name, form)}: {escape_text(text, form)}.")
    lines += [f"{bullet}{escape_text(text, form)}." for text in comparison.left_out]
    if any(ratio.low_ratio is None for ratio in comparison.ratios):
        lines.append(f"{bullet}One launch says nothing of how launches differ: no interval there.")
    return "\n".join(lines)


def render_noises(noises: Sequence[CellNoise], form: str) -> str:
    """What a calibration found."""
    if form == "json":
        return json.dumps([asdict(noise) for noise in noises], indent=2)
    rows = [
        [
            escape_text(noise.name, form),
            str(noise.n_launches),
            str(noise.n_nights),
            _percent(noise.launch_sd_ratio),
            _percent(noise.night_sd_ratio) if noise.n_nights > 1 else "not known",
            _percent(noise.margin_ratio),
        ]
        for noise in noises
    ]
    headers = ["cell", "launches", "nights", "launches differ", "nights differ", "margin"]
    return tabulate(
        rows,
        headers,
        tablefmt=_STYLES[form],
        disable_numparse=True,
        colalign=["left", *["right"] * 5],
    )


def list_cells(item: CellVerdict) -> List[str]:
    """The row of a cell, under :data:`CELL_HEADERS`."""
    verdict = f"{item.verdict} (waived)" if item.waiver else item.verdict
    n_baseline = sum(map(len, item.cell.baseline))
    return [
        item.cell.name,
        "-" if item.change_ratio is None else _signed(item.change_ratio),
        _interval(item.low_ratio, item.high_ratio),
        _percent(item.cell.margin_ratio),
        f"{len(item.cell.candidate)} vs {n_baseline}",
        verdict,
        item.waiver or item.reason.split("; ", 1)[-1],
    ]


def _describe_contrast(contrast: Contrast) -> str:
    return (
        f"  launches differ by {_percent(contrast.launch_sd_ratio)}, nights by "
        f"{_percent(contrast.night_sd_ratio)} more ({contrast.n_nights} night(s)); log difference "
        f"{contrast.difference:+.5f}, standard error {contrast.error:.5f}, "
        f"{contrast.degrees:.1f} degrees of freedom"
    )


def _explain_line(text: str, form: str) -> str:
    if form != "markdown":
        return text
    depth = "  " if text.startswith(" ") else ""
    return f"{depth}- {escape_text(text, form)}"


def escape_text(text: str, form: str) -> str:
    """One line of text; in markdown with what would be markup made harmless."""
    text = " ".join(text.split())
    if form != "markdown":
        return text
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "\\`")):
        text = text.replace(mark, safe)
    return text


def _interval(low: Optional[float], high: Optional[float]) -> str:
    return "-" if low is None or high is None else f"{_signed(low)} to {_signed(high)}"


def _signed(ratio: float) -> str:
    return f"{100.0 * ratio:+.2f} %"


def _percent(ratio: float) -> str:
    return f"{100.0 * ratio:.3g} %"


def _p(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.2g}"
