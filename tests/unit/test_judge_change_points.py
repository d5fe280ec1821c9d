"""Change points by example: what trips, what does not, and that the past stays as reported."""

import numpy as np
import pytest

from bench.judge.change_points import DRIFT, STEP, find_changes

RNG_SEED = 11


def _noise(n, sd=0.01, seed=RNG_SEED):
    return 100.0 * np.exp(sd * np.random.RandomState(seed).standard_normal(n))


def test_a_step_is_found_within_three_nights_and_named():
    values = _noise(40)
    values[30:] *= 0.95
    (change,) = find_changes(list(values))
    assert (change.kind, change.index) == (STEP, 30)
    assert change.found_at <= 32
    assert change.change_ratio == pytest.approx(-0.05, abs=0.012)
    assert change.before == pytest.approx(100.0, rel=0.01)


def test_a_gain_is_found_as_well():
    values = _noise(40)
    values[25:] *= 1.06
    assert [change.change_ratio > 0.0 for change in find_changes(list(values))] == [True]


@pytest.mark.parametrize("size", [0.3, 0.8, 0.95, 1.2, 5.0])
@pytest.mark.parametrize("nights", [(20,), (39,), (10, 20, 30), (20, 24)])
def test_single_odd_nights_do_not_trip(size, nights):
    values = _noise(40)
    values[list(nights)] *= size
    assert find_changes(list(values)) == ()


def test_a_dip_of_two_nights_does_not_trip():
    values = _noise(40)
    values[20:22] *= 0.9
    assert find_changes(list(values)) == ()


def test_a_creep_is_a_drift_of_the_right_size():
    values = _noise(70)
    values[28:] *= 0.99 ** (np.arange(42) / 7.0)
    changes = find_changes(list(values))
    assert changes
    assert changes[0].kind == DRIFT
    assert changes[0].found_at < 70
    assert all(change.change_ratio < 0.0 for change in changes)


def test_missing_nights_are_left_out_and_positions_stay():
    values = list(_noise(60))
    for index in range(45, 60):
        values[index] *= 0.94
    for index in (3, 17, 30, 46, 50):
        values[index] = None
    values[31] = float("nan")
    (change,) = find_changes(values)
    assert change.index == 45
    # 45, 47 and 48 are the first three nights with a value.
    assert change.found_at <= 48


def test_days_without_a_run_make_a_creep_no_steeper():
    rng = np.random.RandomState(3)
    days = np.cumsum(rng.randint(1, 4, 60)).astype(float)
    values = 100.0 * np.exp(0.005 * rng.standard_normal(60) - 0.01 * days / 7.0)
    changes = find_changes(list(values), days=list(days))
    assert changes[0].kind == DRIFT


def test_a_known_break_is_no_alarm_but_what_follows_is():
    values = _noise(60)
    values[20:] *= 0.9
    values[45:] *= 0.95
    assert [change.index for change in find_changes(list(values))] == [20, 45]
    assert [change.index for change in find_changes(list(values), breaks=[20])] == [45]


def test_the_past_stays_as_it_was_reported():
    """Night by night gives what one run over all nights gives."""
    rng = np.random.RandomState(5)
    values = 100.0 * np.exp(0.02 * rng.standard_normal(60))
    values[20:] *= 0.92
    values[45:] *= 1.08
    whole = find_changes(list(values))
    assert len(whole) >= 2
    for end in range(1, 61):
        part = find_changes(list(values[:end]))
        assert part == tuple(change for change in whole if change.found_at < end)


def test_small_changes_do_not_matter_however_sure():
    values = _noise(60, sd=0.0005)
    values[30:] *= 0.996
    assert find_changes(list(values)) == ()
    assert len(find_changes(list(values), smallest_ratio=0.002)) == 1


@pytest.mark.parametrize("n", range(8))
def test_few_nights_say_nothing(n):
    assert find_changes(list(_noise(n))) == ()


def test_a_constant_series_is_quiet_and_its_step_is_found():
    assert find_changes([7.0] * 30) == ()
    assert [c.index for c in find_changes([7.0] * 30 + [6.0] * 3)] == [30]


@pytest.mark.parametrize(
    ("values", "days"), [([1.0, -1.0], None), ([1.0, 2.0], [0, 0]), ([1.0], [0, 1])]
)
def test_nonsense_is_refused(values, days):
    with pytest.raises(ValueError, match="positive|rise"):
        find_changes(values, days=days)
