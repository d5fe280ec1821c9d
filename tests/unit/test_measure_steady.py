"""Where the steady state begins, on traces whose answer is plain, and at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.segments import find_segments, render_fit
from bench.measure.spikes import mark_spikes, remove_spikes
from bench.measure.steady import MINIMUM_INTERVALS, detect_steady_state
from tests.simulation.traces import generate_noise

N = 120


def _noise(seed=1, n=N, sd=0.01):
    return 1.0 + sd * np.random.RandomState(seed).standard_normal(n)


@pytest.mark.parametrize("n", range(MINIMUM_INTERVALS))
def test_few_intervals_are_never_steady(n):
    state = detect_steady_state(_noise(n=n))
    assert state.start is None
    assert state.reason == f"too short: {n} intervals, at least 10 are needed"


@pytest.mark.parametrize("n", [10, 30, 500, 2000])
@pytest.mark.parametrize("value", [1e-4, 0.4081632653061224, 3600.0])
def test_constant_series_are_steady(n, value):
    assert detect_steady_state(np.full(n, value)).start == 0
    printed = [1.0 / float(f"{1.0 / value:.6g}")] * n
    assert detect_steady_state(printed).start == 0


@pytest.mark.parametrize("k", [1, 2, 5, 20, 60])
@pytest.mark.parametrize("factor", [0.8, 1.1, 30.0])
def test_steps_are_found(k, factor):
    series = _noise() * np.where(np.arange(N) < k, factor, 1.0)
    state = detect_steady_state(series)
    assert state.found
    assert abs(state.start - k) <= 1
    assert state.n_intervals == N - state.start


def test_a_ramp_ends_where_it_ends():
    series = _noise() * (1.0 + 1.5 * np.clip(1.0 - np.arange(N) / 25.0, 0.0, None))
    assert abs(detect_steady_state(series).start - 25) <= 1


def test_a_first_interval_with_the_compilation_in_it():
    series = _noise()
    series[0] = 250.0
    assert detect_steady_state(series).start == 1


@pytest.mark.parametrize("period", [5, 12, 40])
def test_slow_intervals_now_and_then_end_no_steady_state(period):
    spikes = np.arange(N) % period == period - 1
    state = detect_steady_state(_noise() * np.where(spikes, 2.5, 1.0))
    assert state.start == 0


def test_two_modes_in_any_order_are_steady():
    slow = np.random.RandomState(7).uniform(size=N) < 0.4
    assert detect_steady_state(_noise() * np.where(slow, 1.3, 1.0)).start == 0


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        (1.0 + 0.2 * np.arange(N) / N, "drifts"),
        (1.0 - 0.2 * np.arange(N) / N, "drifts"),
        (1.0 + 0.5 * np.exp(-np.arange(N) / 80.0), "drifts"),
        (np.where(np.arange(N) < N - 4, 1.0, 2.0), "changed"),
        (np.where((np.arange(N) // 20) % 2, 1.2, 1.0), "level"),
        (1.0 + 0.1 * np.sin(2.0 * np.pi * np.arange(N) / N), None),
    ],
)
def test_what_never_settles_is_not_steady_and_says_why(shape, word):
    state = detect_steady_state(_noise() * shape)
    assert state.start is None
    assert word is None or word in state.reason


def test_a_level_that_was_left_and_found_again_may_be_left_again():
    index = np.arange(N)
    there_and_back = np.where((index >= 50) & (index < 80), 1.2, 1.0)
    state = detect_steady_state(_noise() * there_and_back)
    assert state.reason == "switches between levels, the last time 40 intervals before the end"
    early = np.where((index >= 5) & (index < 15), 1.2, 1.0)
    assert detect_steady_state(_noise() * early).start == 15


def test_the_latest_of_many_levels_is_not_the_steady_one():
    levels = np.repeat([1.0, 1.2, 1.1, 1.3], 30)
    state = detect_steady_state(_noise() * levels)
    assert state.reason == "does not settle: 3 changes of level up to 30 before the end"
    early = np.repeat([1.3, 1.2, 1.1, 1.0], [8, 8, 8, 96])
    assert abs(detect_steady_state(_noise() * early).start - 24) <= 1


def test_a_random_walk_wanders():
    steps = 0.02 * np.random.RandomState(3).standard_normal(300)
    assert detect_steady_state(np.exp(np.cumsum(steps))).start is None


def test_noise_that_could_hide_a_drift_is_refused():
    state = detect_steady_state(1.0 + generate_noise(np.random.RandomState(0), 24, 0.5, 0.05))
    assert state.start is None
    assert "hide" in state.reason


def test_autocorrelated_noise_is_no_change_of_level():
    for seed in range(10):
        rng = np.random.RandomState(seed)
        assert detect_steady_state(1.0 + generate_noise(rng, 200, 0.6, 0.01)).start == 0


@pytest.mark.parametrize("n", [600, 2000, 20_000])
def test_long_series_keep_their_boundary(n):
    k = n // 9
    series = _noise(n=n) * np.where(np.arange(n) < k, 1.2, 1.0)
    assert abs(detect_steady_state(series).start - k) <= 1


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_times_must_be_times(bad):
    with pytest.raises(ValueError, match="positive and finite"):
        detect_steady_state([1.0] * 20 + [bad])


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 60.0])
def test_the_unit_of_time_changes_nothing(unit):
    series = _noise() * np.where(np.arange(N) < 17, 1.4, 1.0)
    assert detect_steady_state(unit * series).start == detect_steady_state(series).start == 17


@given(st.lists(st.floats(1e-6, 1e6), min_size=0, max_size=60))
def test_any_series_has_an_answer(series):
    state = detect_steady_state(series)
    assert state.reason
    assert state.start is None or 0 <= state.start <= len(series) - MINIMUM_INTERVALS


@given(st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=80))
def test_segments_cover_the_series(values):
    segments = find_segments(np.array(values))
    assert segments[0].start == 0
    assert segments[-1].end == len(values)
    assert all(a.end == b.start for a, b in zip(segments, segments[1:]))
    assert len(render_fit(segments)) == len(values)


def test_spikes_are_neither_edges_nor_ramps():
    series = np.concatenate([np.full(30, 2.0), np.linspace(2.0, 1.0, 20), np.full(30, 1.0)])
    assert not mark_spikes(series).any()
    series[60] = 1.5
    assert np.flatnonzero(mark_spikes(series)).tolist() == [60]
    assert remove_spikes(series)[60] == 1.0
