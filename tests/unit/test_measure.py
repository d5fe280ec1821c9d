"""Intervals and figures from what logs say."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.estimate import (
    compute_weighted_quantile,
    estimate_final_losses,
)
from bench.measure.intervals import (
    CHECKPOINT,
    OVERFLOW,
    STEADY,
    WARM_UP,
    Interval,
    LossRecord,
    RankTrack,
    RateRecord,
    build_intervals,
)
from bench.measure.scaling import compute_scaling_efficiency
from bench.measure.summary import Sizes, summarise_launch
from bench.measure.validity import (
    check_exit_codes,
    check_losses_finite,
    check_ranks_seen,
    check_steps_reached,
)
from bench.measure.windows import classify_intervals


def _summarise(ranks, batch_size, seq_length, n_cards):
    tracks = [RankTrack(f"rank {index}") for index in range(len(ranks))]
    sizes = Sizes(batch_size, seq_length, n_cards)
    return summarise_launch(classify_intervals(ranks), tracks, sizes)


def _loss(line, step, seconds, total=1.0):
    return LossRecord(line, step, seconds, total, total, total)


def _log(loops, steps=10, rate_first=True):
    """A track as TensorFlow's hooks write it: rate and loss line per loop, in either order."""
    rates, losses, line = [], [_loss(1, steps, None)], 2
    for index, seconds in enumerate(loops):
        rate = RateRecord(line + (0 if rate_first else 1), steps / seconds)
        loss = _loss(line + (1 if rate_first else 0), steps * (index + 2), seconds)
        rates.append(rate)
        losses.append(loss)
        line += 2
    return RankTrack("train_0.log", rates=rates, losses=losses, saw_start=True)


@pytest.mark.parametrize("rate_first", [True, False])
def test_rates_find_the_loss_line_of_their_interval(rate_first):
    intervals = build_intervals(_log([5.0, 4.0, 4.1], rate_first=rate_first))
    assert [item.end_step for item in intervals] == [20, 30, 40]
    assert [item.steps for item in intervals] == [10, 10, 10]
    assert [item.seconds for item in intervals] == pytest.approx([5.0, 4.0, 4.1])
    assert [item.reason for item in intervals] == [WARM_UP, STEADY, STEADY]


def test_a_fragment_has_no_first_interval():
    track = RankTrack("7", rates=[RateRecord(1, 2.451)], losses=[_loss(2, 1323600, 81.6)])
    (interval,) = build_intervals(track)
    assert interval.reason == STEADY
    assert interval.steps == 200
    assert interval.end_step == 1323600


def test_lost_lines_leave_the_rest_paired():
    track = _log([4.0, 5.0, 6.0, 7.0])
    torn = RankTrack(
        track.label, rates=[track.rates[0], track.rates[2], track.rates[3]],
        losses=[track.losses[i] for i in (0, 1, 2, 4)], saw_start=True,
    )  # fmt: skip
    intervals = build_intervals(torn)
    # Loop 1 has a loss line alone, loop 2 a rate alone.
    assert [(item.end_step, item.seconds) for item in intervals] == [
        (20, pytest.approx(4.0)),
        (30, pytest.approx(5.0)),
        (None, pytest.approx(6.0)),
        (50, pytest.approx(7.0)),
    ]


def test_rates_alone_still_give_intervals():
    track = RankTrack("x", rates=[RateRecord(1, 2.0), RateRecord(2, 4.0)])
    intervals = build_intervals(track)
    assert [item.steps_per_second for item in intervals] == [2.0, 4.0]
    summary = _summarise([intervals], 8, None, 1)
    # Equal steps: 2 intervals of n steps take n/2 + n/4, so 2n steps in 0.75 n seconds.
    assert summary["steps_per_second"].value == pytest.approx(2 / 0.75)
    assert summary["sequences_per_second"].value == pytest.approx(8 * 2 / 0.75)


def test_an_interval_with_a_checkpoint_is_not_measured():
    track = _log([4.0, 4.0, 9.0, 4.0])
    saved = RankTrack(
        track.label, rates=track.rates, losses=track.losses,
        checkpoint_lines=[track.rates[2].line], saw_start=True,
    )  # fmt: skip
    assert [item.reason for item in build_intervals(saved)] == [
        WARM_UP,
        STEADY,
        CHECKPOINT,
        STEADY,
    ]


def test_a_restart_does_not_make_negative_steps():
    losses = [_loss(1, 10, None), _loss(2, 20, 4.0), _loss(3, 10, None), _loss(4, 20, 4.0)]
    intervals = build_intervals(RankTrack("x", losses=losses))
    assert [(item.end_step, item.steps) for item in intervals] == [(20, 10), (20, 10)]


def test_unusable_numbers_are_left_out():
    track = RankTrack("x", rates=[RateRecord(1, 0.0)], losses=[_loss(2, 10, 0.0)])
    assert build_intervals(track) == []


def test_throughput_is_sum_over_sum():
    intervals = [
        Interval(10 * (i + 1), 10, 10 / rate, rate, STEADY)
        for i, rate in enumerate((10.0, 10.0, 10.0, 1.0))
    ]
    summary = _summarise([intervals], 128, 128, 1)
    # The mean of the rates would be 7.75.
    assert summary["steps_per_second"].value == pytest.approx(40 / 13)
    assert summary["steps_per_second"].n == 4
    assert summary["tokens_per_second"].value == pytest.approx(40 / 13 * 128 * 128)


def test_nothing_measured_is_none_with_a_reason():
    summary = _summarise([[Interval(10, 10, 1.0, 10.0, WARM_UP)]], 8, 8, 1)
    assert summary["sequences_per_second"].value is None
    assert "no interval is left" in summary["sequences_per_second"].reason
    assert summary["step_time_p50_seconds"].value is None


def test_unknown_batch_leaves_sequences_unknown():
    summary = _summarise([[Interval(10, 10, 1.0, 10.0, STEADY)]], None, None, 2)
    assert summary["steps_per_second"].value == 10.0
    assert summary["sequences_per_second"].value is None
    assert summary["sequences_per_second"].reason == "size not known"


@given(
    st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20),
    st.integers(1, 8),
    st.integers(1, 1000),
)
def test_job_rate_is_that_of_its_equal_ranks(loops, n_ranks, steps):
    ranks = [build_intervals(_log([9.0, *loops], steps)) for _ in range(n_ranks)]
    value = _summarise(ranks, 4, 4, n_ranks)["steps_per_second"].value
    assert value == pytest.approx(steps * len(loops) / sum(loops))


def test_quantile_by_hand():
    pairs = [(3.0, 1.0), (1.0, 1.0), (2.0, 2.0)]
    assert compute_weighted_quantile(pairs, 0.25) == 1.0
    assert compute_weighted_quantile(pairs, 0.5) == 2.0
    assert compute_weighted_quantile(pairs, 0.95) == 3.0
    assert compute_weighted_quantile([], 0.5) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.1, 10)), min_size=1), st.floats(0, 1))
def test_quantile_is_one_of_the_values(pairs, share):
    value = compute_weighted_quantile(pairs, share)
    below = math.fsum(weight for item, weight in pairs if item <= value)
    whole = math.fsum(weight for _, weight in pairs)
    assert value in {item for item, _ in pairs}
    assert below >= share * whole * (1 - 1e-9)


def test_final_loss_is_the_mean_of_the_last_reports():
    losses = [_loss(i, i, 1.0, total=float(i)) for i in range(1, 31)]
    summary = estimate_final_losses([losses, losses])
    assert summary["final_mlm_loss"].value == pytest.approx(29.0)
    assert summary["final_mlm_loss"].n == 6
    assert summary["final_mlm_loss"].window == "the last 3 reports of each rank"
    assert estimate_final_losses([[]])["final_mlm_loss"].reason == "never reported"


def test_a_loss_that_became_nan_stays_nan():
    losses = [_loss(1, 1, None, 2.0), _loss(2, 2, 1.0, math.nan)]
    assert math.isnan(estimate_final_losses([losses])["final_total_loss"].value)
    assert not check_losses_finite([losses]).passed
    assert check_losses_finite([losses]).found == "1 not finite"


def test_efficiency():
    assert compute_scaling_efficiency({4: 100.0}) == {4: None}
    assert compute_scaling_efficiency({1: 100.0, 2: 180.0, 8: None}) == {1: 1.0, 2: 0.9, 8: None}
    assert compute_scaling_efficiency({2: None}) == {2: None}
    assert compute_scaling_efficiency({2: 100.0, 4: 150.0}) == {2: 1.0, 4: 0.75}


def test_checks_state_their_figures():
    assert check_ranks_seen(["a"], 2).found == "1"
    assert not check_ranks_seen(["a"], 2).passed
    assert check_steps_reached([100, 100], 100).passed
    assert check_steps_reached([100, 90], 100).found == "90, 100"
    assert not check_steps_reached([100, None], 100).passed
    assert not check_steps_reached([], None).passed
    assert check_steps_reached([5, 5], None).passed
    assert check_exit_codes({0: 0, 1: -9}).found == "rank 1: -9"


def test_where_losses_come_more_often_than_rates_they_are_the_intervals():
    seconds = [4.0, 5.0, 4.5, 4.2, 4.8, 5.2]
    losses = [_loss(1, 10, None)]
    losses += [_loss(10 * i + 10, 10 * (i + 2), value) for i, value in enumerate(seconds)]
    rates = [RateRecord(10 * i + 11, 20 / sum(seconds[i - 1 : i + 1])) for i in (1, 3, 5)]
    intervals = build_intervals(RankTrack("x", rates=rates, losses=losses))
    assert [(item.steps, item.seconds) for item in intervals] == [(10, s) for s in seconds]


def test_where_rates_come_more_often_than_losses_they_are_the_intervals():
    seconds = [4.0, 5.0, 4.5, 4.2, 4.8, 5.2]
    rates = [RateRecord(10 * i + 10, 10 / value) for i, value in enumerate(seconds)]
    losses = [_loss(1, 10, None)]
    losses += [_loss(10 * i + 11, 10 * (i + 2), sum(seconds[i - 1 : i + 1])) for i in (1, 3, 5)]
    intervals = build_intervals(RankTrack("x", rates=rates, losses=losses))
    assert [item.steps for item in intervals] == [10] * 6
    assert [item.seconds for item in intervals] == pytest.approx(seconds)


def test_a_rate_that_its_loss_line_belies_is_left_out():
    track = _log([4.0, 4.0, 4.0, 4.0])
    stamps = [None, 4.0, 4.0, 8.0, 8.0, 12.0, 12.0, 16.0, 16.0]

    def stamp(record):
        return replace(record, wall_seconds=stamps[record.line - 1])

    rates, losses = list(map(stamp, track.rates)), list(map(stamp, track.losses))
    # 2.5 was torn and the line ended there.
    rates[1] = replace(rates[1], steps_per_second=2.0)
    intervals = build_intervals(RankTrack("x", rates=rates, losses=losses))
    assert [(item.end_step, item.seconds) for item in intervals] == [
        (step, 4.0) for step in (20, 30, 40, 50)
    ]


def test_an_interval_without_a_step_forward_was_skipped():
    losses = [_loss(1, 10, None)]
    losses += [_loss(i + 2, step, 4.0) for i, step in enumerate((11, 12, 12, 13, 14))]
    track = RankTrack("x", losses=losses, loss_scales=[65536.0])
    assert [item.reason for item in build_intervals(track)] == [
        STEADY,
        STEADY,
        OVERFLOW,
        STEADY,
        STEADY,
    ]
