"""Every interval gets one reason; what is computed from the windows, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.bootstrap import build_launch_series
from bench.measure.intervals import CHECKPOINT, STEADY, WARM_UP, Interval
from bench.measure.overheads import (
    count_skipped_steps,
    estimate_checkpoint_overhead,
    estimate_time_to_first_step,
)
from bench.measure.steptimes import estimate_step_times
from bench.measure.stragglers import find_stragglers
from bench.measure.windows import (
    COMPILE,
    EVALUATION,
    IN_WINDOW,
    OUTLIER,
    OVERFLOW,
    REASONS,
    TAIL,
    UNSETTLED,
    classify_intervals,
)

N = 40


def _rank(step_seconds, reasons=None, steps=10, first_step=10, with_steps=True):
    """Intervals of one rank from mean step times."""
    reasons = reasons or {}
    return [
        Interval(
            first_step + steps * (index + 1) if with_steps else None,
            steps,
            steps * value,
            1.0 / value,
            reasons.get(index, STEADY),
        )
        for index, value in enumerate(step_seconds)
    ]


def _times(n=N, seed=1, sd=0.01):
    return 0.5 * (1.0 + sd * np.random.RandomState(seed).standard_normal(n))


def _reasons(windows, rank=0):
    return [item.reason for item in windows.ranks[rank]]


def test_reasons_of_a_run_with_everything():
    times = _times()
    times[0], times[1:4], times[20], times[25], times[30] = 30.0, 0.8, 0.9, 1.4, 1.3
    tags = {0: WARM_UP, 20: CHECKPOINT, 25: EVALUATION, 33: OVERFLOW}
    windows = classify_intervals([_rank(times, tags), _rank(times, {0: WARM_UP})])
    expected = [COMPILE, *[WARM_UP] * 3, *[STEADY] * 36]
    expected[20], expected[25], expected[30], expected[33] = (
        CHECKPOINT, EVALUATION, OUTLIER, OVERFLOW,
    )  # fmt: skip
    assert _reasons(windows) == expected
    # All ranks wait for the one that saves.
    assert _reasons(windows, 1) == expected
    assert windows.first_row == 4
    assert windows.n_measured == 33
    assert windows.count(OUTLIER) == 1
    assert windows.state.found


def test_without_a_steady_state_nothing_is_called_steady():
    times = _times() * (1.0 + 0.5 * np.arange(N) / N)
    windows = classify_intervals([_rank(times, {7: CHECKPOINT})])
    assert windows.first_row is None
    assert windows.n_measured == 0
    assert set(_reasons(windows)) == {UNSETTLED, CHECKPOINT}
    assert "drifts" in windows.state.reason
    assert windows.describe().startswith("NO STEADY STATE (drifts")
    # What there is to go by, for who wants a figure all the same.
    assert len(build_launch_series(windows).steps) == N - 1


def test_a_short_last_interval_is_the_tail():
    times = _times()
    rank = _rank(times)
    last = rank[-1]
    rank[-1] = Interval(last.end_step - 7, 3, 1.5, 2.0, STEADY)
    assert _reasons(classify_intervals([rank]))[-1] == TAIL


def test_what_only_some_ranks_reached_is_the_tail():
    times = _times()
    windows = classify_intervals([_rank(times), _rank(times[:-2])])
    assert _reasons(windows)[-3:] == [STEADY, TAIL, TAIL]
    assert _reasons(windows, 1)[-1] == STEADY


def test_ranks_are_aligned_by_step_when_lines_were_lost():
    times = _times()
    full, torn = _rank(times), _rank(times)
    del torn[5:8]
    windows = classify_intervals([full, torn])
    assert len(windows.rows) == N
    assert windows.rows[5].intervals == (5, None)
    assert windows.rows[8].intervals == (8, 5)
    unnumbered = classify_intervals([_rank(times, with_steps=False)] * 2)
    assert len(unnumbered.rows) == N


def test_no_ranks_and_empty_ranks():
    assert classify_intervals([]).n_measured == 0
    windows = classify_intervals([[], []])
    assert windows.rows == ()
    assert windows.state.start is None


@given(
    st.lists(
        st.lists(st.tuples(st.floats(1e-3, 1e3), st.sampled_from(REASONS)), max_size=25),
        max_size=3,
    )
)
def test_every_interval_keeps_its_place_and_gets_a_known_reason(ranks):
    given_ranks = [
        _rank([value for value, _ in rank], {i: reason for i, (_, reason) in enumerate(rank)})
        for rank in ranks
    ]
    windows = classify_intervals(given_ranks)
    for before, after in zip(given_ranks, windows.ranks):
        assert [item.steps_per_second for item in before] == [
            item.steps_per_second for item in after
        ]
        assert {item.reason for item in after} <= set(REASONS)
    if windows.first_row is None:
        assert not any(item.reason in IN_WINDOW for rank in windows.ranks for item in rank)


def test_the_series_of_a_launch_adds_the_ranks_up():
    times = _times()
    windows = classify_intervals([_rank(times), _rank(2.0 * times)])
    series = build_launch_series(windows)
    assert len(series.steps) == windows.n_measured == N
    assert series.steps.tolist() == [20.0] * N
    assert series.rate == pytest.approx(20.0 * N / float((30.0 * times).sum()))


def test_the_overhead_of_checkpoints_by_hand():
    times = np.full(N, 0.5)
    times[10], times[20] = 0.8, 0.9
    windows = classify_intervals([_rank(times, {10: CHECKPOINT, 20: CHECKPOINT})])
    overhead = estimate_checkpoint_overhead(windows)
    # 10 steps each: 3 s and 4 s more than 5 s; 38 steady intervals of 5 s, and 8 s and 9 s.
    assert overhead.n == 2
    assert overhead.seconds_each == pytest.approx(3.5)
    assert overhead.share == pytest.approx(7.0 / 207.0)


def test_no_checkpoints_no_overhead():
    overhead = estimate_checkpoint_overhead(classify_intervals([_rank(_times())]))
    assert (overhead.n, overhead.seconds_each, overhead.share) == (0, None, None)


def test_time_to_first_step():
    assert estimate_time_to_first_step(100.0, 160.0, 1, None) == 60.0
    assert estimate_time_to_first_step(100.0, 160.0, 101, 0.25) == pytest.approx(35.0)
    assert estimate_time_to_first_step(100.0, 160.0, 101, None) is None
    assert estimate_time_to_first_step(100.0, 99.0, 1, None) is None


def _overflowing(gains, usual=100, told=()):
    """Intervals of a rank by how far the global step moved; short ones tell of an overflow."""
    items, end = [], 100
    for index, gained in enumerate(gains):
        end += gained
        reason = OVERFLOW if gained < usual or index in told else STEADY
        items.append(Interval(end, gained or usual, 10.0, (gained or usual) / 10.0, reason))
    return items


def test_skipped_steps_are_counted_not_intervals():
    gains = [100] * 40
    gains[5], gains[20] = 98, 99
    found = count_skipped_steps(classify_intervals([_overflowing(gains)] * 2))
    assert (found.skipped, found.steps, found.n_intervals) == (3, 4000, 2)
    # The global step may move all the same: at least one step.
    told = count_skipped_steps(classify_intervals([_overflowing([100] * 40, told=(7,))]))
    assert (told.skipped, told.n_intervals) == (1, 1)
    stalled = count_skipped_steps(classify_intervals([_overflowing([100] * 9 + [0] + [100] * 9)]))
    assert (stalled.skipped, stalled.steps) == (100, 1900)
    assert count_skipped_steps(classify_intervals([])).share == 0.0


def test_of_intervals_of_unknown_length_each_counts_once():
    reasons = [OVERFLOW if index == 3 else STEADY for index in range(20)]
    rank = [Interval(None, None, None, 10.0, reason) for reason in reasons]
    assert count_skipped_steps(classify_intervals([rank])).share == 0.05


def test_step_times_say_what_they_are_of():
    times = _times(200)
    found = estimate_step_times(classify_intervals([_rank(times, steps=100)]))
    assert found.basis == "means of 100 steps"
    assert found.n == 200
    assert found.quantiles_seconds[0.5] == pytest.approx(float(np.median(times)), rel=0.01)
    assert found.quantiles_seconds[0.99] is not None
    few = estimate_step_times(classify_intervals([_rank(_times(19), steps=1)]))
    assert few.basis == "single steps"
    assert few.quantiles_seconds[0.5] is not None
    assert few.quantiles_seconds[0.95] is None
    assert few.quantiles_seconds[0.99] is None


def test_stragglers():
    times = _times()
    ranks = [_rank(times * factor) for factor in (1.0, 1.002, 0.999, 1.3, 1.001)]
    found = find_stragglers(classify_intervals(ranks))
    assert found.slowest == 3
    assert found.outlying == (3,)
    assert found.index == pytest.approx(1.3 / 1.001)
    assert not found.lockstep
    alike = find_stragglers(classify_intervals([_rank(times), _rank(times * 1.0004)]))
    assert alike.lockstep
    assert alike.outlying == ()


def test_no_window_no_straggler():
    found = find_stragglers(classify_intervals([_rank(_times(3), dict.fromkeys(range(3), TAIL))]))
    assert (found.slowest, found.index, found.step_seconds) == (None, None, (None,))
