"""The report of the doctor, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Sequence

import bench
from bench.doctor.model import FAIL, SKIPPED, STATUSES, Finding, Patient

FORMAT = "ascend-bert doctor"
VERSION = 1
SCHEMA = Path(__file__).resolve().with_name("doctor-v1.json")

_MARKS = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}
_WIDTH = 100


def render_table(findings: Sequence[Finding]) -> str:
    """A line per finding, remedies below those that have one, and a line that sums up.

    What was skipped for one and the same reason stands in one line at the end.
    """
    skipped: Dict[str, List[str]] = {}
    for finding in findings:
        if finding.status == SKIPPED:
            skipped.setdefault(finding.figure, []).append(finding.name)
    shown = [finding for finding in findings if finding.status != SKIPPED]
    width = max((len(finding.name) for finding in shown), default=0)
    indent = " " * (width + 8)
    lines: List[str] = []
    for finding in shown:
        start = f"{finding.name:<{width}}  {_MARKS[finding.status]:<4}  "
        lines += _wrap(finding.figure, start, indent)
        if finding.remedy:
            lines += _wrap(finding.remedy, indent + "→ ", indent + "  ")
    for reason, names in skipped.items():
        lines += _wrap("{}: {}".format(", ".join(names), reason), "skipped: ", "         ")
    counts = count_statuses(findings)
    lines.append("")
    lines.append(", ".join(f"{counts[status]} {status}" for status in STATUSES))
    return "\n".join(lines)


def render_json(patient: Patient, backend_reason: str, findings: Sequence[Finding]) -> str:
    """The same as one JSON document; ``doctor-v1.json`` is its schema."""
    document: Dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "tool": {"name": "ascend-bert", "version": bench.__version__},
        "backend": patient.backend,
        "backend_reason": backend_reason,
        "checks": [
            {
                "name": finding.name,
                "status": finding.status,
                "figure": finding.figure,
                "remedy": finding.remedy or None,
            }
            for finding in findings
        ],
        "counts": count_statuses(findings),
        "passed": not any(finding.status == FAIL for finding in findings),
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def count_statuses(findings: Sequence[Finding]) -> Dict[str, int]:
    """Status → number of findings."""
    return {
        status: sum(1 for finding in findings if finding.status == status) for status in STATUSES
    }


def _wrap(text: str, first: str, rest: str) -> List[str]:
    return textwrap.wrap(
        " ".join(text.split()) or "-",
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
