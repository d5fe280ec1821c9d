"""Prints the table of all series, from the table in code that the exporter reads."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.series import ALL_SERIES, GROUPS, PREFIX  # noqa: E402

TITLES = {
    "run": "Run",
    "rank": "Ranks",
    "card": "Cards",
    "host": "Host",
    "result": "Results",
    "judged": "Verdicts and changes",
    "exporter": "Exporter",
}


def render_tables() -> str:
    """The document, markdown."""
    lines = [
        "# Series",
        "",
        f"Every Prometheus series of `ascend-bert`; all names start with `{PREFIX}`. Made by "
        "`scripts/generate-dashboards` from `bench/series.py`; a test holds it there.",
    ]
    for group, meaning in GROUPS.items():
        lines += ["", f"## {TITLES[group]}", "", meaning[0].upper() + meaning[1:] + ".", ""]
        lines += ["| series | type | labels | what it is |", "|---|---|---|---|"]
        for series in ALL_SERIES:
            if series.group == group:
                labels = ", ".join(series.labels)
                lines.append(f"| `{series.key}` | {series.type} | {labels} | {series.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_tables())
