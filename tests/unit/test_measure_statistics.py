"""The reduced form of scripts/prove-statistics: every promise kept, and a broken one seen."""

import pytest

from tests.simulation.experiments import EXPERIMENTS, Row
from tests.simulation.prove import render_rows

SEED = 7
SIZES = {
    "boundaries": 25,
    "false steady": 40,
    "coverage": 100,
    "scaling": 200,
    "power": 20_000,
    "stopping": 25,
}


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_promises_are_kept(name):
    rows = list(EXPERIMENTS[name](SIZES[name], SEED))
    assert [row for row in rows if not row.kept] == []


def test_a_broken_promise_is_seen():
    assert Row("coverage", 950, 1000, 0.93, 0.97).kept
    assert not Row("coverage", 890, 1000, 0.93, 0.97).kept
    assert not Row("coverage", 1000, 1000, 0.93, 0.97).kept
    assert Row("false", 1, 60, at_most=0.01).kept
    assert not Row("false", 6, 60, at_most=0.01).kept
    assert Row("nothing promised", 60, 60).kept


def test_the_table_shows_share_and_promise():
    text = render_rows([Row("a", 9, 10, at_least=0.95), Row("b", 0, 1000, 0.5), Row("c", 1, 2)])
    lines = text.splitlines()
    assert "| a      | 10   | 0.900   | >= 0.95    | yes    |" in lines
    assert "| b      | 1000 | 0.000   | >= 0.5     | NO     |" in lines
    assert "| c      | 2    | 0.500   | -          | yes    |" in lines
