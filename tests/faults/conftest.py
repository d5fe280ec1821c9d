"""The table of the fault matrix, printed when all of its tests are over."""

from __future__ import annotations

from typing import List, Tuple

import pytest
from tabulate import tabulate

_ROWS: List[Tuple[object, ...]] = []
_HEADERS = ("fault", "ended after", "verdict", "exit code", "steps kept", "orphans")


@pytest.fixture()
def matrix() -> List[Tuple[object, ...]]:
    """Rows of the table; each test adds its own."""
    return _ROWS


def pytest_terminal_summary(terminalreporter):
    """Shows the table whatever the verbosity."""
    if _ROWS:
        terminalreporter.section("fault matrix")
        terminalreporter.write_line(tabulate(_ROWS, headers=_HEADERS))
