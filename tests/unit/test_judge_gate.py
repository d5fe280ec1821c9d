"""Verdicts from plain numbers: three of them, Holm's correction, looks, and what they promise."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.gate import (
    ONE_NIGHT,
    adjust_holm,
    compute_margin,
    decide_more_launches,
    judge_cells,
)
from bench.judge.model import NO_VERDICT, PASS, REGRESSION, Cell, Plan
from tests.stored_nights import STEADY, scale

NIGHTS = (STEADY, tuple(reversed(STEADY)), STEADY)


def _cell(factor=1.0, name="a", better="higher", nights=NIGHTS, **options):
    candidate = tuple(scale(STEADY, factor))
    return Cell(name, "sequences_per_second", better, 0.03, nights, candidate, **options)


def _judge(*cells, plan=None):
    return judge_cells(cells, plan or Plan())


def test_unchanged_passes_and_says_what_is_ruled_out():
    found = _judge(_cell())
    (item,) = found.cells
    assert (found.verdict, item.verdict) == (PASS, PASS)
    assert "a loss of 3 % is ruled out" in item.reason
    assert item.low_ratio < 0.0 < item.high_ratio
    assert 0.0 < item.detectable_ratio < 0.02
    assert item.caveats == ()


@pytest.mark.parametrize(("better", "factor"), [("higher", 0.96), ("lower", 1.04)])
def test_a_loss_of_four_percent_is_a_regression_in_either_direction(better, factor):
    found = _judge(_cell(factor, better=better))
    assert found.verdict == REGRESSION
    assert found.cells[0].change_ratio == pytest.approx(factor - 1.0, abs=1e-3)
    assert found.reason == "slower: a"


@pytest.mark.parametrize(("better", "factor"), [("higher", 1.2), ("lower", 0.8)])
def test_faster_passes(better, factor):
    assert _judge(_cell(factor, better=better)).verdict == PASS


def test_a_small_loss_that_is_sure_passes_within_the_margin():
    found = _judge(_cell(0.99))
    assert found.verdict == PASS
    assert "worse, but shown to lose less than 3 %" in found.cells[0].reason


def test_noise_gives_no_verdict():
    noisy = (100.0, 109.0, 92.0, 104.0, 96.0)
    found = _judge(Cell("a", "m", "higher", 0.03, (noisy,), noisy))
    assert found.verdict == NO_VERDICT
    assert found.reason == "not decided: a"


def test_few_launches_give_no_verdict_however_clear():
    found = _judge(Cell("a", "m", "higher", 0.03, NIGHTS, (50.0, 50.1)))
    assert found.verdict == NO_VERDICT
    assert "at least 3" in found.cells[0].reason
    assert decide_more_launches(found) == 0


def test_nothing_judged_is_never_a_pass():
    assert _judge().verdict == NO_VERDICT


def test_one_night_is_said():
    assert _judge(_cell(nights=(STEADY,))).cells[0].caveats == (ONE_NIGHT,)


def test_one_regression_outweighs_everything():
    found = _judge(_cell(name="a"), _cell(0.9, name="b"), _cell(name="c"))
    assert found.verdict == REGRESSION
    assert [item.verdict for item in found.cells] == [PASS, REGRESSION, PASS]


def test_many_cells_need_more_evidence_than_one():
    """The same figures, alone and among twenty: Holm's correction asks for more."""
    nights = ((100.0, 101.5, 98.5, 100.5, 99.5),)
    loss = tuple(scale(nights[0], 0.965))
    alone = _judge(Cell("x", "m", "higher", 0.03, nights, loss))
    others = [Cell(f"n{i}", "m", "higher", 0.03, nights, nights[0]) for i in range(19)]
    among = _judge(Cell("x", "m", "higher", 0.03, nights, loss), *others)
    assert among.cells[0].p_loss == alone.cells[0].p_loss
    assert among.cells[0].p_loss_adjusted == pytest.approx(20.0 * alone.cells[0].p_loss_adjusted)


def test_later_looks_have_their_share_only():
    first, later = _judge(_cell(0.98)), _judge(_cell(0.98, look=3))
    ratio = Plan().look_shares[0] / Plan().look_shares[2]
    assert later.cells[0].p_loss_adjusted == pytest.approx(ratio * first.cells[0].p_loss_adjusted)
    assert later.cells[0].p_inferior_adjusted == pytest.approx(
        min(1.0, ratio * first.cells[0].p_inferior_adjusted)
    )


def test_more_launches_while_looks_are_left():
    noisy = (100.0, 109.0, 92.0, 104.0, 96.0)
    for look, more in ((1, 5), (2, 5), (3, 5), (4, 0)):
        found = _judge(Cell("a", "m", "higher", 0.03, (noisy,), noisy, look=look))
        assert decide_more_launches(found) == more
    assert decide_more_launches(_judge(_cell())) == 0
    assert decide_more_launches(_judge(_cell(0.9))) == 0
    assert Plan().most_launches == 20


def test_the_shares_of_the_looks_do_not_exceed_the_whole():
    assert sum(Plan().look_shares) <= 1.0


def test_holm_by_hand():
    assert adjust_holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_holm_lies_between_the_plain_value_and_bonferroni(values):
    plain = {str(index): value for index, value in enumerate(values)}
    for name, adjusted in adjust_holm(plain).items():
        assert plain[name] <= adjusted <= min(1.0, len(plain) * max(plain[name], min(values))) or (
            adjusted <= 1.0 and adjusted >= plain[name]
        )
    order = sorted(plain, key=plain.get)
    found = adjust_holm(plain)
    assert [found[name] for name in order] == sorted(found.values())


def test_margin_of_a_time_that_rises_and_of_a_rate_that_falls():
    assert compute_margin(0.03, "lower") == pytest.approx(0.0295588, abs=1e-6)
    assert compute_margin(0.03, "higher") == pytest.approx(0.0304592, abs=1e-6)


@pytest.mark.parametrize(
    "cells",
    [
        (_cell(), _cell()),
        (replace(_cell(), margin_ratio=0.0),),
        (_cell(look=5),),
        (_cell(look=0),),
    ],
)
def test_nonsense_is_refused(cells):
    with pytest.raises(ValueError, match=r"same name|between 0 and 1|looks"):
        _judge(*cells)
