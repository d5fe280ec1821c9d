"""Candidate against baseline: worked examples, directions, and what nights and spreads do."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.contrast import build_contrast
from bench.judge.model import NightSpread

NONE = NightSpread(0.0, 0.0)
rates = st.lists(st.floats(90.0, 110.0), min_size=2, max_size=6)


def test_one_night_is_the_pooled_t_test():
    """By hand: logs -0.01, 0, 0.01 against -0.03, -0.02, -0.01."""
    baseline = [math.exp(x) for x in (-0.01, 0.0, 0.01)]
    candidate = [math.exp(x) for x in (-0.03, -0.02, -0.01)]
    found = build_contrast([baseline], candidate, "higher", NONE)
    assert found.difference == pytest.approx(-0.02)
    assert found.error == pytest.approx(0.01 * math.sqrt(2.0 / 3.0))
    assert found.degrees == pytest.approx(4.0)
    assert found.launch_sd_ratio == pytest.approx(0.01)
    assert (found.n_baseline, found.n_candidate, found.n_nights) == (3, 3, 1)


def test_lower_is_better_turns_the_sign():
    up = build_contrast([[1.0, 1.01, 0.99]], [1.05, 1.06, 1.04], "lower", NONE)
    down = build_contrast([[1.0, 1.01, 0.99]], [1.05, 1.06, 1.04], "higher", NONE)
    assert up.difference == pytest.approx(-down.difference)
    assert up.difference < 0.0


def test_nights_that_differ_widen_the_error():
    """Ten nights, each of them tight, 1 % apart: the launch spread alone would promise too much."""
    nights = [[math.exp(0.01 * (-1) ** i + d) for d in (-1e-3, 0.0, 1e-3)] for i in range(10)]
    found = build_contrast(nights, [1.0, 1.001, 0.999], "higher", NightSpread())
    assert found.night_sd_ratio == pytest.approx(0.0105, rel=0.02)
    assert found.error == pytest.approx(0.0105 * math.sqrt(1.1), rel=0.02)
    assert found.degrees < 12.0


def test_nights_that_differ_no_more_than_launches_cost_nothing():
    nights = [[0.99, 1.0, 1.01]] * 4
    found = build_contrast(nights, [0.99, 1.0, 1.01], "higher", NightSpread())
    assert found.night_sd_ratio == 0.0
    assert found.error == pytest.approx(0.01 * math.sqrt(1 / 3 + 1 / 12), rel=0.01)


def test_a_known_night_spread_counts_with_one_night_too():
    found = build_contrast([[0.99, 1.0, 1.01]], [0.99, 1.0, 1.01], "higher", NightSpread(0.02, 9))
    assert found.night_sd_ratio == pytest.approx(0.02)
    assert found.error > 0.02 * math.sqrt(2.0)


def test_one_launch_a_night_is_the_prediction_of_one_more():
    nights = [[1.0], [1.02], [0.98], [1.01], [0.99]]
    found = build_contrast(nights, [1.0], "higher", NightSpread())
    logs = [math.log(night[0]) for night in nights]
    mean = sum(logs) / 5
    sd = math.sqrt(sum((x - mean) ** 2 for x in logs) / 4)
    assert found.error == pytest.approx(sd * math.sqrt(1.2), rel=1e-3)
    assert found.degrees == pytest.approx(4.0, rel=0.01)


def test_a_noisy_candidate_is_measured_by_its_own_spread():
    quiet = [[1.0, 1.001, 0.999, 1.0005, 0.9995]] * 3
    found = build_contrast(quiet, [1.0, 1.0, 1.0, 0.8, 0.8], "higher", NightSpread())
    assert found.separate
    assert found.error > 0.04


def test_identical_launches_do_not_divide_by_zero():
    found = build_contrast([[5.0] * 3], [5.0] * 3, "higher", NightSpread())
    assert found.difference == 0.0
    assert 0.0 < found.error < 1e-3


@pytest.mark.parametrize(
    ("baseline", "candidate", "words"),
    [
        ([[]], [1.0], "at least one launch"),
        ([[1.0]], [1.0], "repeat them"),
        ([[1.0, 0.0]], [1.0], "not positive"),
        ([[1.0, 2.0]], [math.inf], "not positive"),
    ],
)
def test_what_cannot_be_judged_is_refused(baseline, candidate, words):
    with pytest.raises(ValueError, match=words):
        build_contrast(baseline, candidate, "higher", NightSpread())


@given(st.lists(rates, min_size=1, max_size=4), rates, st.floats(0.01, 100.0))
def test_the_unit_does_not_matter(nights, candidate, factor):
    one = build_contrast(nights, candidate, "higher", NightSpread())
    other = build_contrast(
        [[v * factor for v in night] for night in nights],
        [v * factor for v in candidate],
        "higher",
        NightSpread(),
    )
    assert other.difference == pytest.approx(one.difference, abs=1e-9)
    assert other.error == pytest.approx(one.error, rel=1e-6)
