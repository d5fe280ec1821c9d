"""Reads the dashboards, as tests and the preview need them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docker" / "grafana" / "dashboards"
NAMES = ("harness", "npus", "nightly", "ranks", "run-overview")


class PanelQuery(NamedTuple):
    """A query of a panel."""

    board: str
    panel: str
    expr: str
    instant: bool


def read_board(name: str) -> Dict[str, Any]:
    """The JSON of a board."""
    board: Dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return board


def list_panels(board: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Panels but rows, those of collapsed rows included."""
    found = []
    for panel in board["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


def list_queries(name: str) -> Iterator[PanelQuery]:
    """Every query of a board."""
    for panel in list_panels(read_board(name)):
        for target in panel.get("targets", []):
            yield PanelQuery(
                name, panel["title"], target["expr"], bool(target.get("instant", False))
            )


def fill_in(expr: str, values: Mapping[str, str]) -> str:
    """A query with Grafana's variables replaced.

    Raises:
        ValueError: a variable has no value.
    """
    for name, value in values.items():
        expr = re.sub(rf"\${name}\b", value, expr)
    if "$" in expr:
        raise ValueError(f"a variable is left in {expr}")
    return expr
