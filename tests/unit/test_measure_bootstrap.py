"""Rates with intervals, detectable effects, the order of launches and when to stop."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.bootstrap import BETWEEN, WITHIN, LaunchSeries, estimate_rate, resample_rates
from bench.measure.distributions import student_quantile
from bench.measure.power import (
    ONE_LAUNCH,
    compute_detectable_effect,
    compute_power,
    count_launches_needed,
    estimate_detectable_effect,
)
from bench.measure.repeats import decide_next_launch, plan_launches


def _launch(seconds, steps=10.0):
    return LaunchSeries(np.full(len(seconds), steps), np.asarray(seconds, dtype=float))


def test_the_rate_is_a_sum_over_a_sum():
    # 10, 10, 10 and 1 steps/s for 10 steps each: the mean of the rates would be 7.75.
    found = estimate_rate([_launch([1.0, 1.0, 1.0, 10.0])])
    assert found.value == pytest.approx(40.0 / 13.0)
    assert found.covers == WITHIN
    assert found.n_intervals == 4


def test_one_interval_has_no_confidence_interval():
    found = estimate_rate([_launch([2.0])])
    assert (found.value, found.low, found.high, found.half_width_ratio) == (5.0, None, None, None)


def test_launches_give_the_interval_of_student():
    rng = np.random.RandomState(1)
    launches = [_launch(np.full(30, 1.0 + 0.01 * rng.standard_normal())) for _ in range(5)]
    found = estimate_rate(launches, n_resamples=20_000)
    rates = np.array([launch.rate for launch in launches])
    spread = float(rates.std(ddof=1) / rates.mean())
    assert found.covers == BETWEEN
    assert found.launch_sd_ratio == pytest.approx(spread, rel=0.02)
    expected = student_quantile(0.975, 4.0) * spread / np.sqrt(5.0)
    assert found.half_width_ratio == pytest.approx(expected, rel=0.1)
    assert found.low < found.value < found.high


def test_same_data_and_seed_same_limits():
    launches = [_launch(1.0 + 0.1 * np.random.RandomState(s).uniform(size=40)) for s in range(3)]
    one, two = (estimate_rate(launches, seed=4) for _ in range(2))
    assert (one.low, one.high) == (two.low, two.high)


def test_identical_launches_leave_no_doubt():
    found = estimate_rate([_launch([1.0] * 12)] * 3)
    assert found.low == pytest.approx(found.value) == pytest.approx(found.high)
    assert found.launch_sd_ratio == pytest.approx(0.0, abs=1e-12)


def test_resampling_keeps_the_mean():
    rng = np.random.RandomState(5)
    launches = [_launch(1.0 + 0.2 * rng.uniform(size=n)) for n in (17, 30)]
    rates = resample_rates(launches, (4, 7), np.random.RandomState(0), 4000)
    total = sum(launch.steps.sum() for launch in launches)
    rate = total / sum(launch.seconds.sum() for launch in launches)
    assert rates.mean() == pytest.approx(rate, rel=2e-3)
    assert rates.std() > 0.0


@pytest.mark.parametrize("launches", [[], [_launch([])], [_launch([1.0]), _launch([])]])
def test_launches_need_intervals(launches):
    with pytest.raises(ValueError, match="at least one measured interval"):
        estimate_rate(launches)


@pytest.mark.parametrize(
    ("sd", "effect", "expected"), [(0.01, 0.02, 10), (0.02, 0.05, 7), (0.005, 0.01, 10)]
)
def test_launches_needed_is_the_inverse_of_the_detectable_effect(sd, effect, expected):
    count = count_launches_needed(effect, sd)
    assert count == expected
    assert compute_detectable_effect(sd, count, count) <= effect
    assert compute_detectable_effect(sd, count - 1, count - 1) > effect


def test_power_is_alpha_without_an_effect_and_grows():
    powers = [compute_power(effect, 5, 5) for effect in (0.0, 1.0, 2.0, 4.0)]
    assert powers[0] == pytest.approx(0.01, abs=1e-4)
    assert powers == sorted(powers)


def test_an_estimated_spread_costs_detectability():
    known = compute_detectable_effect(0.01, 5, 5)
    assert estimate_detectable_effect(0.01, 5).ratio > 1.3 * known


def test_one_launch_detects_nothing():
    effect = estimate_detectable_effect(None, 1)
    assert (effect.ratio, effect.reason) == (None, ONE_LAUNCH)
    assert count_launches_needed(0.0001, 0.5, most=20) is None
    with pytest.raises(ValueError, match="no degree of freedom"):
        compute_detectable_effect(0.01, 1, 1)


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=6, unique=True),
    st.integers(1, 9),
    st.integers(0, 10_000),
)
def test_launch_order_is_balanced(cases, repeats, seed):
    order = plan_launches(cases, repeats, seed)
    assert collections.Counter(order) == dict.fromkeys(cases, repeats)
    assert order == plan_launches(cases, repeats, seed)
    # In each pair of rounds all cases have the same mean place: a drift hits them alike.
    width = len(cases)
    for start in range(0, (repeats // 2) * 2 * width, 2 * width):
        pair = order[start : start + 2 * width]
        assert len({sum(i for i, case in enumerate(pair) if case == x) for x in cases}) == 1


def test_launch_order_is_drawn():
    assert len({tuple(plan_launches("abcd", 2, seed)) for seed in range(30)}) > 10


@pytest.mark.parametrize(("cases", "repeats"), [("aa", 1), ("ab", 0)])
def test_bad_launch_plans(cases, repeats):
    with pytest.raises(ValueError, match="once only|at least 1"):
        plan_launches(cases, repeats, 0)


def test_launching_goes_on_until_the_interval_is_narrow():
    rng = np.random.RandomState(3)
    launches = [_launch(np.full(12, 1.0 + 0.01 * rng.standard_normal())) for _ in range(30)]
    choices = [decide_next_launch(launches[:n], 0.005) for n in range(31)]
    assert choices[0].estimate is None
    assert all(choice.needed for choice in choices[:5])
    assert choices[4].reason == "4 of at least 5 launches"
    stop = next(n for n, choice in enumerate(choices) if choice.met)
    assert 5 < stop < 30
    assert choices[stop].estimate.half_width_ratio <= 0.005
    # Less error than the 5 % that are allowed, to make up for stopping when it is narrow.
    assert choices[stop].estimate.level == pytest.approx(0.965)
    assert not choices[30].needed


def test_launching_ends_at_the_limit():
    launches = [_launch([1.0 + 0.2 * (n % 3)] * 12) for n in range(6)]
    choice = decide_next_launch(launches, 0.001, maximum=6)
    assert (choice.needed, choice.met) == (False, False)
    assert "limit" in choice.reason
    with pytest.raises(ValueError, match="minimum <= maximum"):
        decide_next_launch(launches, 0.01, minimum=8, maximum=7)
