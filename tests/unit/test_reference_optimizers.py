"""The NumPy twins of schedule, optimisers, clipping and step, against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.numpy_loss_scale import DynamicLossScale, StaticLossScale
from tests.reference.numpy_optimizers import (
    Hyperparameters,
    Moments,
    adamw,
    clip_by_global_norm,
    clip_each_by_norm,
    global_norm,
    is_decayed,
    lamb,
    learning_rate,
)
from tests.reference.numpy_training import Settings, State, step

KERNEL = "bert/pooler/dense/kernel"
BIAS = "bert/pooler/dense/bias"


def test_schedule_by_hand():
    rate = [learning_rate(step, 0.1, 20, 4) for step in range(23)]
    assert rate[:5] == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1])
    assert rate[12] == pytest.approx(0.1 * (8 / 20) / (16 / 20))
    assert rate[20:] == pytest.approx([0.0, 0.0, 0.0])
    jump = [learning_rate(step, 0.1, 20, 4, crossover="jump") for step in (3, 4, 12)]
    assert jump == pytest.approx([0.075, 0.08, 0.04])
    assert learning_rate(0, 0.1, 20, 0) == pytest.approx(0.1)
    assert learning_rate(15, 0.1, 20, 0, power=0.5) == pytest.approx(0.05)


@given(
    base=st.floats(1e-6, 1.0),
    train_steps=st.integers(2, 1000),
    share=st.floats(0.0, 0.9),
    power=st.floats(0.2, 3.0),
)
def test_continuous_schedule_peaks_at_the_base_rate(base, train_steps, share, power):
    warmup = int(share * train_steps)
    rates = [learning_rate(step, base, train_steps, warmup, power) for step in range(train_steps)]
    assert rates[warmup] == pytest.approx(base)
    assert max(rates) == pytest.approx(base)
    decay = rates[warmup:]
    assert all(later <= earlier for earlier, later in zip(decay, decay[1:]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (KERNEL, True),
        ("bert/embeddings/word_embeddings", True),
        ("cls/seq_relationship/output_weights", True),
        (BIAS, False),
        ("cls/predictions/output_bias", False),
        ("bert/encoder/layer_0/output/LayerNorm/gamma", False),
        ("bert/encoder/layer_0/output/layer_norm/beta", False),
    ],
)
def test_which_variables_are_decayed(name, expected):
    assert is_decayed(name) is expected


def test_adamw_by_hand():
    """m = 0.2, v = 0.004, so the update is 0.2 / (0.0632456 + 0.1), plus decay for the kernel."""
    weights = {KERNEL: np.array([3.0]), BIAS: np.array([3.0])}
    gradients = {KERNEL: np.array([2.0]), BIAS: np.array([2.0])}
    parameters = Hyperparameters(epsilon=0.1)
    weights, moments = adamw(weights, gradients, Moments(), 0.5, parameters)
    assert moments.first[KERNEL] == pytest.approx([0.2])
    assert moments.second[KERNEL] == pytest.approx([0.004])
    assert weights[BIAS] == pytest.approx([3.0 - 0.5 * 1.2251482], abs=1e-6)
    assert weights[KERNEL] == pytest.approx([3.0 - 0.5 * (1.2251482 + 0.03)], abs=1e-6)
    _, moments = adamw(weights, gradients, moments, 0.5, parameters)
    assert moments.first[KERNEL] == pytest.approx([0.38])
    assert moments.second[KERNEL] == pytest.approx([0.007996])


def test_lamb_by_hand():
    """The bias correction makes the first update g / (|g| + eps), whatever the gradient's size."""
    weights = {KERNEL: np.array([3.0, 4.0]), BIAS: np.array([3.0, 4.0])}
    gradients = {KERNEL: np.array([0.2, -5.0]), BIAS: np.array([0.2, -5.0])}
    parameters = Hyperparameters(epsilon=0.0)
    updated, moments = lamb(weights, gradients, Moments(), 0.1, parameters)
    # |w| = 5 and |u| = sqrt(2).
    ratio = 5 / np.sqrt(2)
    assert updated[BIAS] == pytest.approx([3.0 - 0.1 * ratio, 4.0 + 0.1 * ratio])
    update = np.array([1.03, -0.96])
    ratio = 5 / np.linalg.norm(update)
    assert updated[KERNEL] == pytest.approx(np.array([3.0, 4.0]) - 0.1 * ratio * update)
    # With a constant gradient the corrected moments stay what they are.
    again, moments = lamb(weights, gradients, moments, 0.1, parameters)
    assert moments.updates == 2
    assert again[BIAS] == pytest.approx(updated[BIAS])


def test_lamb_moves_a_variable_that_is_zero():
    updated, _ = lamb(
        {BIAS: np.zeros(2)}, {BIAS: np.array([1.0, -1.0])}, Moments(), 0.1, Hyperparameters()
    )
    assert updated[BIAS] == pytest.approx([-0.1, 0.1], rel=1e-3)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6), st.floats(0.1, 10))
def test_clipping_keeps_direction_and_bounds_the_norm(values, limit):
    gradients = {"a": np.array(values[:1]), "b": np.array(values[1:])}
    together = clip_by_global_norm(gradients, limit)
    assert global_norm(together) == pytest.approx(min(global_norm(gradients), limit))
    for name, clipped in clip_each_by_norm(gradients, limit).items():
        norm = np.linalg.norm(gradients[name])
        assert np.linalg.norm(clipped) == pytest.approx(min(norm, limit))
        for found in (clipped, together[name]):
            assert found @ gradients[name] == pytest.approx(np.linalg.norm(found) * norm, abs=1e-9)


def test_dynamic_loss_scale_by_hand():
    state = DynamicLossScale(scale=8.0, growth_interval=3)
    seen = []
    for finite in (True, False, True, True, False, True, True, True, False, False):
        state = state.updated(finite)
        seen.append((state.scale, state.good_steps, state.bad_steps))
    assert seen == [
        (8.0, 1, 0),
        (8.0, 0, 1),
        (8.0, 1, 1),
        (8.0, 2, 1),
        (4.0, 0, 0),  # the second overflow counts although finite steps came between
        (4.0, 1, 0),
        (4.0, 2, 0),
        (8.0, 0, 0),
        (8.0, 0, 1),
        (4.0, 0, 0),
    ]


def test_dynamic_loss_scale_stays_in_range():
    smallest = DynamicLossScale(scale=1.5, shrink_interval=1).updated(False)
    assert smallest.scale == 1.0
    assert smallest.updated(False).scale == 1.0
    largest = DynamicLossScale(scale=2.0**127, growth_interval=1).updated(True)
    assert largest.scale == 2.0**127
    assert StaticLossScale(4.0).updated(False).scale == 4.0


def settings_for(optimizer: str = "adam", **changes) -> Settings:
    return Settings(optimizer, Hyperparameters(), rate=lambda _: 0.1, **changes)


@pytest.mark.parametrize("optimizer", ["adam", "lamb"])
def test_scale_and_accumulation_do_not_change_the_update(optimizer):
    """Powers of two cancel without rounding; two halves of a batch are the batch."""
    random = np.random.RandomState(0)
    weights = {KERNEL: random.standard_normal((3, 2)), BIAS: random.standard_normal(2)}
    micro = [{name: random.standard_normal(w.shape) for name, w in weights.items()} for _ in "ab"]
    mean = {name: (micro[0][name] + micro[1][name]) / 2 for name in weights}
    scaled = [{name: 1024.0 * value for name, value in one.items()} for one in micro]
    plain = step(settings_for(optimizer), State(weights), [mean])
    other = step(
        settings_for(optimizer), State(weights, loss_scale=StaticLossScale(1024.0)), scaled
    )
    assert plain.global_step == other.global_step == 1
    for name, before in weights.items():
        np.testing.assert_allclose(other.weights[name], plain.weights[name], rtol=1e-14)
        assert (plain.weights[name] != before).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_overflow_in_one_micro_batch_skips_the_step(bad):
    weights = {BIAS: np.ones(2)}
    good = {BIAS: np.ones(2)}
    overflow = {BIAS: np.array([1.0, bad])}
    state = State(weights, loss_scale=DynamicLossScale(scale=4.0, shrink_interval=1))
    state = step(settings_for(), state, [good, good])
    after = step(settings_for(), state, [good, overflow])
    assert after.weights is state.weights
    assert after.moments is state.moments
    assert (after.global_step, after.skipped_steps, after.loss_scale.scale) == (1, 1, 2.0)


def test_clipping_comes_after_the_unscaled_mean():
    """Means of 3 and 4: together of norm 5, each by itself above 1."""
    weights = {KERNEL: np.zeros(1), BIAS: np.zeros(1)}
    scaled = [
        {KERNEL: np.array([2.0 * 8]), BIAS: np.array([1.0 * 8])},
        {KERNEL: np.array([4.0 * 8]), BIAS: np.array([7.0 * 8])},
    ]
    state = State(weights, loss_scale=StaticLossScale(8.0))
    together = step(settings_for(), state, scaled)
    assert together.moments.first[KERNEL] == pytest.approx([0.06])
    assert together.moments.first[BIAS] == pytest.approx([0.08])
    each = step(settings_for(clip_globally=False), state, scaled)
    assert each.moments.first[KERNEL] == pytest.approx([0.1])
    assert each.moments.first[BIAS] == pytest.approx([0.1])
    free = step(settings_for(clip_norm=None), state, scaled)
    assert free.moments.first[BIAS] == pytest.approx([0.4])
