"""LAMB's own traits; fifty steps beside its NumPy twin are in test_optimizers_against_numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.optimization.lamb import LambOptimizer
from bert.optimization.loss_scale import LossScale, LossScaleOptimizer
from bert.train_config import LossScaleConfig

START = np.array([[3.0, -4.0], [0.0, 12.0]])  # norm 13


def build_updates(gradient, name="w/kernel", start=START, wrap=lambda o: o, **numbers):
    """Returns (variable, global step, train op) of LAMB at rate 0.1 without decay."""
    variable = tf.get_variable(name, initializer=tf.constant(start, tf.float32))
    step = tf.train.get_or_create_global_step()
    numbers.setdefault("weight_decay", 0.0)
    optimizer = wrap(LambOptimizer(tf.constant(0.1), step, **numbers))
    return variable, step, optimizer.apply_gradients([(gradient, variable)], step)


def test_the_first_update_is_as_long_as_rate_times_norm():
    gradient = np.array([[1e-3, 2.0], [-5.0, 1e2]])
    variable, _, train = build_updates(tf.constant(gradient, tf.float32), epsilon=1e-12)
    slots = {v.op.name: v for v in tf.global_variables()}
    assert set(slots) == {"w/kernel", "w/kernel/adam_m", "w/kernel/adam_v", "global_step"}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train)
        moved = START - session.run(variable)
        first, second = session.run([slots["w/kernel/adam_m"], slots["w/kernel/adam_v"]])
    # Corrected moments of a first step are g and g², so every element of u is ±1, whatever its
    # size, and ‖w‖ / ‖u‖ is 13 / 2. Without the correction u would be 0.1 / √0.001 = 3.2.
    np.testing.assert_allclose(moved, 0.1 * 6.5 * np.sign(gradient), rtol=1e-4)
    np.testing.assert_allclose(first, 0.1 * gradient, rtol=1e-4)
    np.testing.assert_allclose(second, 0.001 * gradient**2, rtol=1e-4)


@pytest.mark.parametrize("done", [0, 3, 4000])
def test_the_corrected_update_at_any_step(done):
    # Elements of different size make the denominator's ε, and so the corrections, visible.
    gradient = np.array([0.3, -2.0, 7.0])
    variable, step, train = build_updates(
        tf.constant(gradient, tf.float32), start=np.array([1.0, 2.0, -2.0]), epsilon=0.5
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(tf.assign(step, done))
        before = session.run(variable)
        session.run(train)
        moved = before - session.run(variable)
    m = 0.1 * gradient / (1 - 0.9 ** (done + 1))
    v = 0.001 * gradient**2 / (1 - 0.999 ** (done + 1))
    update = m / (np.sqrt(v) + 0.5)
    np.testing.assert_allclose(moved, 0.1 * 3.0 / np.linalg.norm(update) * update, rtol=1e-4)


def test_a_skipped_step_does_not_count():
    fed = tf.placeholder(tf.float32, START.shape)

    def wrap(optimizer):
        return LossScaleOptimizer(optimizer, LossScale(LossScaleConfig("static", 1.0)))

    variable, step, train = build_updates(fed, wrap=wrap, epsilon=0.5)
    gradients = [np.full(START.shape, value) for value in (1.0, 2.0)]
    results = []
    with tf.Session() as session:
        for fault in (None, np.inf):
            session.run(tf.global_variables_initializer())
            for gradient in gradients:
                if fault:
                    session.run(train, {fed: fault * gradient})
                session.run(train, {fed: gradient})
            results.append(session.run([variable, step]))
    assert results[0][1] == results[1][1] == 2
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_a_weight_of_zero_moves_by_the_rate_alone():
    gradient = np.array([3.0, -0.2])
    variable, _, train = build_updates(
        tf.constant(gradient, tf.float32), start=np.zeros(2), epsilon=1e-12
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train)
        np.testing.assert_allclose(session.run(variable), -0.1 * np.sign(gradient), rtol=1e-4)


def test_no_gradient_and_no_decay_leave_a_weight_alone():
    variable, _, train = build_updates(tf.zeros(START.shape), epsilon=1e-6)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train)
        np.testing.assert_array_equal(session.run(variable), START)


@pytest.mark.parametrize("name", ["w/kernel", "w/bias", "w/LayerNorm/gamma"])
def test_the_ratio_is_not_clipped_and_decay_spares_biases_and_norms(name):
    # Update: nothing but the decay, and a ratio ‖w‖ / ‖λ w‖ = 1/λ far beyond any usual clip.
    variable, _, train = build_updates(
        tf.zeros(START.shape), name=name, weight_decay=1e-3, epsilon=1e-6
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train)
        wanted = 0.9 * START if name == "w/kernel" else START
        np.testing.assert_allclose(session.run(variable), wanted, rtol=1e-5)
