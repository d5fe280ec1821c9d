"""Writes the dashboards: build.py FOLDER. scripts/generate-dashboards calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from live_boards import build_npus, build_ranks, build_run_overview
from stored_boards import build_harness, build_nightly

BOARDS = {
    "run-overview": build_run_overview,
    "ranks": build_ranks,
    "npus": build_npus,
    "nightly": build_nightly,
    "harness": build_harness,
}


MARKS = {
    "step": "60s",
    "tagKeys": "metric,kind,effect,verdict",
    "textFormat": "{{case}} {{metric}} {{kind}} {{effect}} {{verdict}} {{session}}",
    "titleFormat": "ascend-bert",
    "useValueForTime": True,
}
"""What Grafana's Prometheus source reads of an annotation and the SDK has no names for: the value
is the time of the mark, its text is made of labels."""


def render_board(name: str) -> str:
    """The JSON of a board, with panel ids in order of place."""
    board = BOARDS[name]().build()
    for number, panel in enumerate(board.panels or [], start=1):
        panel.id_val = number
    plain = json.loads(JSONEncoder().encode(board))
    for variable in plain["templating"]["list"]:
        # The SDK gives them to every variable, Grafana's schema to intervals alone.
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key, None)
    for mark in plain["annotations"].get("list", []):
        mark.update(MARKS)
    return json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes every board into the folder given."""
    folder = Path(sys.argv[1])
    for name in BOARDS:
        (folder / f"{name}.json").write_text(render_board(name), encoding="utf-8")


if __name__ == "__main__":
    main()
