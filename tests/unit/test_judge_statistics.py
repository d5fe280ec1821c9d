"""The reduced form of what scripts/prove-statistics shows of gate and history."""

from dataclasses import replace

import numpy as np
import pytest

from bench.judge.model import REGRESSION
from tests.simulation.experiments import Row
from tests.simulation.judging import (
    JUDGING_EXPERIMENTS,
    PLAN,
    alarm_by_share,
    judge_by_sigma,
    judge_by_threshold,
    judge_night,
)
from tests.simulation.nights import WORLDS, NightMaker

SEED = 7
SIZES = {"gate false alarms": 40, "gate power": 40, "history": 2}


@pytest.mark.parametrize("name", sorted(JUDGING_EXPERIMENTS))
def test_promises_are_kept(name):
    rows = list(JUDGING_EXPERIMENTS[name](SIZES[name], SEED))
    assert [row for row in rows if not row.kept] == []


def test_a_gate_without_correction_would_break_its_promise():
    """The experiment can fail: at the plain level of 1 % per cell it does."""
    careless = replace(PLAN, alpha=9 * PLAN.alpha, look_shares=(1.0,))
    world = WORLDS["CV 1 %, margin 0.3 %"]
    for plan, promise_kept in ((PLAN, True), (careless, False)):
        rng = np.random.RandomState(SEED)
        red = sum(
            judge_night(NightMaker(world, rng, (0.0, 0.0, 0.0)), plan)[0] == REGRESSION
            for _ in range(300)
        )
        assert Row("red", red, 300, at_most=0.01).kept == promise_kept


def test_plain_rules_by_example():
    rng = np.random.RandomState(1)
    _, _, cells = judge_night(NightMaker(WORLDS["CV 1 %"], rng, (0.1, 0.0, 0.0)))
    assert judge_by_threshold(cells)
    assert judge_by_sigma(cells)
    assert alarm_by_share(np.log([1.0] * 10 + [0.9, 0.9, 1.0, 0.9])) == [10, 13]
