"""What simulated cards do: every effect has the size that its setting says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.devices.simulation import compute_true_step_seconds, simulate_course, simulate_loops
from bench.devices.truth import build_truth, find_first_steady_loop
from bench.errors import UsageError
from bench.spec import build_spec, for_cards

QUIET = {"noise_ratio": 0.0, "compile_seconds": 0.0, "steps_per_second": 2.0}


def build(steps=1000, cards=1, save=0, seed=42, **simulated):
    asked = {
        "cards": cards,
        "steps": steps,
        "save_checkpoints_steps": save,
        "random_seed": seed,
        "warmup_steps": 0,
    }
    asked.update({f"simulated.{key}": value for key, value in simulated.items()})
    return for_cards(build_spec([("test", asked)]), cards)


def course_of(loop=10, rank=0, **options):
    return simulate_course(build(**options), rank, loop)


def excess_of(**options):
    """Extra step time of each loop, without noise."""
    course = course_of(**{**QUIET, **options})
    return course.seconds * 2.0 / (course.steps + course.skipped) - 1.0


def test_without_effects_every_loop_takes_the_true_time():
    course = course_of(**QUIET)
    assert course.seconds == pytest.approx(np.full(100, 5.0))
    assert course.end_step.tolist() == list(range(10, 1001, 10))


def test_cards_cost_a_share_for_each_doubling():
    assert compute_true_step_seconds(build(cards=8, parallel_cost_ratio=0.1)) == pytest.approx(
        1.3 / 2.451
    )


def test_compilation_is_in_the_first_loop_only():
    extra = course_of(**{**QUIET, "compile_seconds": 30.0}).seconds - 5.0
    assert extra[0] == pytest.approx(30.0)
    assert not extra[1:].any()


def test_slow_start_ends_at_its_step():
    extra = excess_of(slow_start_steps=50, slow_start_ratio=0.2)
    assert extra[:5] == pytest.approx(np.full(5, 0.2))
    assert extra[5:] == pytest.approx(np.zeros(95))


def test_ramp_falls_in_a_straight_line_to_none():
    extra = excess_of(ramp_steps=100, ramp_ratio=0.5)
    assert extra[:10] == pytest.approx(0.5 * (1.0 - (np.arange(10) + 0.5) / 10))
    assert extra[10:] == pytest.approx(np.zeros(90))


def test_shift_holds_for_the_rest():
    extra = excess_of(shift_step=500, shift_ratio=-0.1)
    assert extra[:50] == pytest.approx(np.zeros(50))
    assert extra[50:] == pytest.approx(np.full(50, -0.1))


def test_drift_reaches_its_ratio_at_the_end():
    extra = excess_of(drift_ratio=0.2)
    assert extra == pytest.approx(0.2 * (np.arange(100) + 0.5) / 100)


def test_two_modes_share_the_time_and_dwell():
    extra = excess_of(steps=40000, bimodal_ratio=0.3, bimodal_dwell=5.0)
    slow = extra > 0.15
    assert sorted({round(value, 9) for value in extra}) == [0.0, 0.3]
    assert slow.mean() == pytest.approx(0.5, abs=0.05)
    switches = np.count_nonzero(np.diff(slow.astype(int)))
    assert 4000 / switches == pytest.approx(5.0, rel=0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_noise_has_its_size_and_correlation(correlation):
    noise = excess_of(steps=200000, noise_ratio=0.02, noise_correlation=correlation)
    assert noise.std() == pytest.approx(0.02, rel=0.08)
    assert np.corrcoef(noise[:-1], noise[1:])[0, 1] == pytest.approx(correlation, abs=0.03)


def test_outliers_have_their_share_and_a_heavy_tail():
    extra = excess_of(steps=100000, outlier_share=0.02, outlier_ratio=0.5)
    far = extra[extra > 0.0]
    assert len(far) / len(extra) == pytest.approx(0.02, rel=0.25)
    assert far.min() >= 0.5
    # Pareto with index 1.5: one in eight of them is beyond four times the least.
    assert np.mean(far > 2.0) == pytest.approx(0.125, abs=0.05)


def test_checkpoints_cost_their_time_where_they_are():
    course = course_of(save=250, checkpoint_seconds=7.0, **QUIET)
    assert np.flatnonzero(course.checkpoint).tolist() == [24, 49, 74, 99]
    assert course.seconds[course.checkpoint] == pytest.approx(np.full(4, 12.0))


def test_a_straggler_holds_up_everybody_in_lockstep_only():
    options = {
        "cards": 4,
        "parallel_cost_ratio": 0.0,
        "straggler_rank": 2,
        "straggler_ratio": 0.25,
    }
    together = [course_of(rank=rank, **QUIET, **options).seconds.sum() for rank in range(4)]
    assert together == pytest.approx([625.0] * 4)
    alone = [
        course_of(rank=rank, lockstep=False, **QUIET, **options).seconds.sum() for rank in range(4)
    ]
    assert alone == pytest.approx([500.0, 500.0, 625.0, 500.0])


def test_the_loss_scale_of_the_seed_costs_32_steps():
    # From 2^32 to 65536 there are 16 halvings, each after two overflows.
    course = course_of(loss_scale_start=2.0**32, loss_scale_limit=65536.0, steps=900)
    assert course.skipped.sum() == 32
    assert course.steps.sum() == 900
    assert course.loss_scale[-1] == 65536.0
    assert not course.is_finite[0]
    assert course.is_finite[-1]


def test_the_loss_scale_grows_after_a_thousand_good_steps_and_falls_back():
    course = course_of(loss_scale_limit=65536.0, steps=3000)
    assert course.loss_scale.max() == 131072.0
    assert course.skipped.sum() == 4


@given(st.integers(1, 400), st.integers(1, 30), st.floats(0.0, 0.5))
def test_a_run_ends_at_its_last_step_whatever_overflows(steps, loop, share):
    course = course_of(loop, steps=steps, overflow_share=share)
    assert course.end_step[-1] == (steps if share else steps // loop * loop)
    assert ((course.steps + course.skipped)[:-1] == loop).all()


def test_jitter_moves_time_between_loops_and_makes_none():
    spec = build(jitter_seconds=0.2, **QUIET)
    seconds = [loop.seconds for loop in simulate_loops(spec, 0, 10)]
    assert min(seconds) >= 0.0
    assert math.fsum(seconds) == pytest.approx(500.0, abs=1.0)
    assert np.std(seconds) > 0.05
    other = [loop.seconds for loop in simulate_loops(spec, 1, 10)]
    assert other != seconds


def test_each_effect_draws_from_its_own_stream():
    plain = course_of(noise_ratio=0.01)
    both = course_of(noise_ratio=0.01, outlier_share=0.1)
    assert (plain.seconds[~both.outlier] == both.seconds[~both.outlier]).all()


def test_the_same_seed_gives_the_same_run_on_every_version():
    seconds = course_of(seed=7, noise_ratio=0.1, bimodal_ratio=0.2, outlier_share=0.3).seconds
    expected = [
        34.05869414055735,
        4.025043518747621,
        3.987773379695197,
        6.589711637045054,
        4.189201437343769,
    ]
    assert seconds[: len(expected)] == pytest.approx(expected, rel=1e-12)
    assert course_of(seed=8, noise_ratio=0.1).seconds[1] != seconds[1]


TRUTH_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "noise_ratio": st.floats(0.0, 0.2),
        "ramp_steps": st.integers(0, 300),
        "slow_start_steps": st.integers(0, 300),
        "bimodal_ratio": st.floats(0.0, 1.0),
        "outlier_share": st.floats(0.0, 0.3),
        "overflow_share": st.floats(0.0, 0.2),
        "checkpoint_seconds": st.floats(0.0, 20.0),
        "lockstep": st.booleans(),
        "straggler_rank": st.integers(0, 3),
        "jitter_seconds": st.floats(0.0, 0.1),
    },
)


@settings(max_examples=60)
@given(TRUTH_OPTIONS, st.sampled_from([0, 100]))
def test_truth_is_what_the_loops_add_up_to(options, save):
    spec = build(cards=3, steps=400, save=save, **options)
    truth = build_truth(spec, 10)
    steps = seconds = 0.0
    for rank in range(3):
        course = simulate_course(spec, rank, 10)
        begin = 0
        for index in range(len(course)):
            settled = begin >= max(options.get("ramp_steps", 0), options.get("slow_start_steps", 0))
            begin = course.end_step[index]
            if index and settled and not course.checkpoint[index] and not course.skipped[index]:
                steps += course.steps[index]
                seconds += course.seconds[index]
    if truth["steps_per_second"] is None:
        assert steps == 0
    else:
        assert truth["steps_per_second"] == pytest.approx(steps / seconds)
        assert truth["sequences_per_second"] == pytest.approx(steps / seconds * 48)
    assert truth["loops"] == len(course)


def test_truth_tells_what_is_not_steady():
    assert build_truth(build(), 10)["steady"] is True
    drift = build_truth(build(drift_ratio=0.1), 10)
    assert (drift["steady"], drift["expected_steps_per_second"]) == (False, None)
    short = build_truth(build(ramp_steps=2000), 10)
    assert (short["steady"], short["steps_per_second"]) == (False, None)
    assert build_truth(build(bimodal_ratio=0.5, bimodal_dwell=50.0), 10)["steady"] is None
    assert build_truth(build(bimodal_ratio=0.5, bimodal_dwell=2.0), 10)["steady"] is True


@pytest.mark.parametrize(
    ("options", "loop", "step"),
    [
        ({}, 1, 10),
        ({"slow_start_steps": 50}, 5, 50),
        ({"ramp_steps": 55}, 6, 60),
        ({"shift_step": 500, "ramp_steps": 50}, 50, 500),
    ],
)
def test_truth_says_where_the_steady_part_begins(options, loop, step):
    spec = build(**options)
    truth = build_truth(spec, 10)
    assert (truth["steady_first_loop"], truth["steady_first_step"]) == (loop, step)
    assert find_first_steady_loop(spec, simulate_course(spec, 0, 10)) == loop


@pytest.mark.parametrize(
    "options",
    [
        {"noise_ratio": 0.02, "noise_correlation": 0.8},
        {"bimodal_ratio": 0.4},
        {"straggler_rank": 1, "straggler_ratio": 0.2},
        {"straggler_rank": 1, "straggler_ratio": 0.2, "lockstep": False},
        {"shift_step": 100, "shift_ratio": 0.3},
    ],
)
def test_the_expected_rate_is_that_of_a_long_run(options):
    truth = build_truth(build(cards=2, steps=200000, **options), 10)
    # Rates of ranks that do not wait are weighted by their time, a little off the mean of times.
    assert truth["steps_per_second"] == pytest.approx(truth["expected_steps_per_second"], rel=0.015)


@pytest.mark.parametrize(
    ("key", "value"), [("noise_correlation", 1.0), ("torn_share", 1.5), ("bimodal_dwell", 0.5)]
)
def test_impossible_settings_are_refused(key, value):
    with pytest.raises(UsageError, match=f"simulated.{key} must be at"):
        build(**{key: value})
