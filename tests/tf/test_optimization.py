"""Schedule, optimiser, clipping and loss scale against NumPy twins written from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.optimization.adamw import AdamWeightDecayOptimizer, is_decayed
from bert.optimization.clipping import clip_by_global_norm, clip_each_by_norm
from bert.optimization.loss_scale import LossScale, LossScaleOptimizer
from bert.optimization.schedule import build_learning_rate, render_schedule_line
from bert.optimization.train_op import build_train_step
from bert.train_config import LossScaleConfig, ScheduleConfig
from bert.training.model_fn import build_model_fn
from tests.tf.graphs import as_tensors, small_backend, small_batch, small_config


def learning_rates(schedule, steps):
    step = tf.placeholder(tf.int64, [])
    rate = build_learning_rate(schedule, step)
    with tf.Session() as session:
        return np.array([session.run(rate, {step: s}) for s in steps], np.float64)


def test_warmup_is_linear_from_zero_and_decay_ends_at_zero():
    schedule = ScheduleConfig(1e-4, n_warmup_steps=10, n_train_steps=50)
    rates = learning_rates(schedule, range(52))
    np.testing.assert_allclose(rates[:10], 1e-5 * np.arange(10), rtol=1e-6)
    wanted = 1e-4 / 0.8 * (1 - np.arange(10, 51) / 50)
    np.testing.assert_allclose(rates[10:51], wanted, rtol=1e-5, atol=1e-12)
    assert rates[10] == pytest.approx(1e-4, rel=1e-6)
    assert rates[50] == rates[51] == 0.0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_rate_is_continuous_where_the_warmup_ends(power):
    schedule = ScheduleConfig(1e-4, n_warmup_steps=400, n_train_steps=1000, power=power)
    before, at = learning_rates(schedule, [399, 400])
    assert at == pytest.approx(1e-4, rel=1e-5)
    assert abs(at - before) < 1e-4 / 300


def test_the_jump_of_the_original_is_there_by_name():
    schedule = ScheduleConfig(1e-4, n_warmup_steps=400, n_train_steps=1000, continuous=False)
    before, at = learning_rates(schedule, [399, 400])
    assert before == pytest.approx(1e-4 * 399 / 400, rel=1e-5)
    assert at == pytest.approx(1e-4 * 0.6, rel=1e-5)


def test_no_warmup_starts_at_the_full_rate():
    rates = learning_rates(ScheduleConfig(2e-3, 0, 10), [0, 5])
    np.testing.assert_allclose(rates, [2e-3, 1e-3], rtol=1e-6)


def test_the_schedule_line_tells_the_crossover():
    line = render_schedule_line(ScheduleConfig(1e-4, 10000, 500000, continuous=False))
    assert line == (
        "decayed_learning_rate_at_crossover_point = 9.800000e-05, adjusted_init_lr = 1.000000e-04"
    )
    line = render_schedule_line(ScheduleConfig(1e-4, 10000, 500000))
    assert line == (
        "decayed_learning_rate_at_crossover_point = 1.000000e-04, adjusted_init_lr = 1.020408e-04"
    )


def test_decay_leaves_out_biases_and_layer_norms():
    assert is_decayed("bert/encoder/layer_0/output/dense/kernel")
    assert is_decayed("cls/seq_relationship/output_weights")
    assert not is_decayed("bert/encoder/layer_0/output/dense/bias")
    assert not is_decayed("bert/embeddings/LayerNorm/gamma")
    assert not is_decayed("cls/predictions/output_bias")


def test_adam_follows_its_numpy_twin_for_fifty_steps():
    random = np.random.RandomState(0)
    start = {"w/kernel": random.randn(5, 3), "w/bias": random.randn(7)}
    gradients = [{n: random.randn(*v.shape) for n, v in start.items()} for _ in range(50)]
    variables = {
        name: tf.get_variable(name, initializer=tf.constant(v, tf.float32))
        for name, v in start.items()
    }
    fed = {name: tf.placeholder(tf.float32, v.shape) for name, v in start.items()}
    step = tf.train.get_or_create_global_step()
    rate = 0.01 / (1.0 + tf.cast(step, tf.float32))
    optimizer = AdamWeightDecayOptimizer(rate, weight_decay=0.1, epsilon=1e-3)
    train = optimizer.apply_gradients([(fed[n], variables[n]) for n in start], step)
    slots = {v.op.name: v for v in tf.global_variables()}
    assert {"w/kernel/adam_m", "w/kernel/adam_v", "w/bias/adam_m", "w/bias/adam_v"} < set(slots)
    assert len(slots) == 7

    w = {n: v.copy() for n, v in start.items()}
    m = {n: np.zeros_like(v) for n, v in start.items()}
    v2 = {n: np.zeros_like(v) for n, v in start.items()}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for t, gradient in enumerate(gradients):
            session.run(train, {fed[n]: g for n, g in gradient.items()})
            lr = 0.01 / (1.0 + t)
            for n, g in gradient.items():
                m[n] = 0.9 * m[n] + 0.1 * g
                v2[n] = 0.999 * v2[n] + 0.001 * g * g
                update = m[n] / (np.sqrt(v2[n]) + 1e-3)
                if n == "w/kernel":
                    update = update + 0.1 * w[n]
                w[n] = w[n] - lr * update
        for n in start:
            np.testing.assert_allclose(session.run(variables[n]), w[n], rtol=2e-5, atol=1e-6)
            first, second = session.run([slots[n + "/adam_m"], slots[n + "/adam_v"]])
            np.testing.assert_allclose(first, m[n], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(second, v2[n], rtol=1e-4)
        assert session.run(step) == 50


@pytest.mark.parametrize("size", [0.1, 10.0])
def test_clipping_together_and_one_by_one(size):
    random = np.random.RandomState(1)
    arrays = [size * random.randn(*shape) for shape in ((3, 4), (5,), (2, 2))]
    tensors = [tf.constant(a, tf.float32) for a in arrays]
    together, norm = clip_by_global_norm(tensors, 1.5)
    apart = clip_each_by_norm(tensors, 1.5)
    with tf.Session() as session:
        together, norm, apart = session.run([together, norm, apart])
    wanted_norm = np.sqrt(sum((a**2).sum() for a in arrays))
    assert norm == pytest.approx(wanted_norm, rel=1e-5)
    for found_together, found_apart, array in zip(together, apart, arrays):
        wanted = array * min(1.0, 1.5 / wanted_norm)
        np.testing.assert_allclose(found_together, wanted, rtol=1e-5)
        own = np.sqrt((array**2).sum())
        np.testing.assert_allclose(found_apart, array * min(1.0, 1.5 / own), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_does_not_hide_what_is_not_finite(bad):
    clipped, _ = clip_by_global_norm([tf.constant([1.0, bad]), tf.constant([2.0])], 1.0)
    with tf.Session() as session:
        assert all(np.isnan(value).all() for value in session.run(clipped))


def scale_twin(scale, outcomes, grow, shrink):
    """The published rule, step by step: (scale, good, bad) after each outcome."""
    good = bad = 0
    for finite in outcomes:
        if finite:
            good += 1
            if good >= grow:
                scale, good, bad = scale * 2, 0, 0
        else:
            bad += 1
            if bad >= shrink:
                scale, good, bad = max(1.0, scale * 0.5), 0, 0
            else:
                good = 0
        yield scale, good, bad


def test_the_dynamic_scale_follows_its_rule_and_skips_bad_steps():
    config = LossScaleConfig("dynamic", 4.0, grow_every_n_steps=3, shrink_every_n_bad=2)
    weight = tf.get_variable("w/kernel", initializer=tf.constant([1.0, 2.0]))
    factor = tf.placeholder(tf.float32, [])
    loss_scale = LossScale(config)
    optimizer = LossScaleOptimizer(AdamWeightDecayOptimizer(tf.constant(0.1)), loss_scale)
    step = tf.train.get_or_create_global_step()
    pairs = optimizer.compute_gradients(tf.reduce_sum(weight) * factor, [weight])
    train = optimizer.apply_gradients(pairs, step)
    by_name = {v.op.name: v for v in tf.global_variables()}
    state = [by_name.pop(name) for name in ("loss_scale", "good_steps", "bad_steps")]
    watched = list(by_name.values())
    outcomes = [True] * 7 + [False, True, False, False, False, False, False] + [True] * 4
    n_finite = 0
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for finite, wanted in zip(outcomes, scale_twin(4.0, outcomes, 3, 2)):
            before = session.run(watched)
            session.run(train, {factor: 3.0 if finite else np.inf})
            after = session.run(watched)
            n_finite += finite
            same = all(np.array_equal(a, b) for a, b in zip(before, after))
            assert same == (not finite)
            assert tuple(session.run(state)) == wanted
        assert session.run(step) == n_finite
        assert np.isfinite(session.run(weight)).all()


def test_scaled_gradients_come_back_unscaled():
    weight = tf.get_variable("w/kernel", initializer=tf.constant([1.0, 2.0]))
    optimizer = LossScaleOptimizer(
        AdamWeightDecayOptimizer(tf.constant(0.1)), LossScale(LossScaleConfig("static", 1024.0))
    )
    ((gradient, _),) = optimizer.compute_gradients(tf.reduce_sum(weight * weight), [weight])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(gradient), [2.0, 4.0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"npu_bert_clip_by_global_norm": False},
        {"npu_bert_loss_scale": 0},
        {"npu_bert_loss_scale": 16, "manual_fp16": True},
        {"manual_fp16": True, "use_fp16_cls": False, "optimizer_type": "lamb"},
        {"manual_fp16": False, "use_fp16_cls": True, "num_accumulation_steps": 2},
        {"npu_bert_fused_gelu": False, "npu_gather": False},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_one_step_changes_every_parameter(tmp_path, changes):
    config = small_config(tmp_path, **changes)
    n_rows = config.input.n_sequences_per_step
    features = as_tensors(small_batch(small_config(tmp_path, train_batch_size=n_rows)))
    step = tf.train.create_global_step()
    spec = build_model_fn(config, small_backend(config))(features, None, "train")
    variables = tf.trainable_variables()
    slots = {v.op.name for v in tf.global_variables()}
    assert all(f"{v.op.name}/adam_{moment}" in slots for v in variables for moment in "mv")
    assert all(v.dtype.base_dtype == tf.float32 for v in variables)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(variables)
        session.run(spec.train_op)
        after = session.run(variables)
        assert session.run(step) == 1
    same = [v.op.name for v, a, b in zip(variables, before, after) if np.array_equal(a, b)]
    assert same == []


def test_a_variable_that_nothing_reaches_is_an_error(tmp_path):
    config = small_config(tmp_path)
    used = tf.get_variable("used", initializer=tf.constant(1.0))
    lonely = tf.get_variable("lonely", initializer=tf.constant(1.0))
    with pytest.raises(ValueError, match="no gradient reaches lonely"):
        build_train_step(
            used * 2.0, [used, lonely], config.optimizer, config.loss_scale, small_backend(config)
        )


def test_named_tensors_of_the_field_are_in_the_graph(tmp_path):
    config = small_config(tmp_path)
    tf.train.create_global_step()
    build_model_fn(config, small_backend(config))(as_tensors(small_batch(config)), None, "train")
    graph = tf.get_default_graph()
    for name in ("global_step", "total_loss", "learning_rate", "nsp_loss", "mlm_loss"):
        assert graph.get_tensor_by_name(f"{name}:0").shape.as_list() == []
