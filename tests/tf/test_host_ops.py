"""Operators that only the CPU backend has: dropout that can be repeated, a product's gradient."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends.cpu import CpuBackend
from bert.backends.ops import host_product, plain_dropout
from bert.backends.rank import RankEnvironment
from bert.backends.step_dropout import StepDropout
from tests.tf.graphs import small_config


def drop(values, rate=0.3, seed=7, batch=0, place=0):
    with tf.Graph().as_default(), tf.Session() as session:
        dropout = StepDropout(seed, tf.constant(batch, tf.int64))
        for _ in range(place):
            dropout(tf.zeros([2]), 0.5)
        return session.run(dropout(tf.constant(values), rate))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_expectation(rate):
    values = np.ones((300, 401), np.float32)
    dropped = drop(values, rate)
    error = np.sqrt(rate * (1 - rate) / values.size)
    assert (dropped == 0).mean() == pytest.approx(rate, abs=5 * error)
    assert dropped.max() == pytest.approx(1 / (1 - rate), rel=2e-4)
    assert len(np.unique(dropped)) == 2
    # Neighbours share a draw of the generator; they must not share their fate.
    zeros = (dropped == 0).ravel()
    both = (zeros[0:-1:2] & zeros[1::2]).mean()
    assert both == pytest.approx(rate**2, abs=5 * rate * np.sqrt(2 / values.size))


def test_masks_follow_seed_batch_and_place_alone():
    values = np.arange(1, 1004, dtype=np.float32)  # an odd number of elements
    first = drop(values)
    np.testing.assert_array_equal(first, drop(values))
    masks = [first != 0] + [drop(values, **{k: 1}) != 0 for k in ("seed", "batch", "place")]
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            # Unlike masks agree where both keep or both drop: 0.7² + 0.3² of the places.
            assert (mask == other).mean() == pytest.approx(0.58, abs=0.08)


def test_the_gradient_has_the_mask_of_the_value():
    x = tf.constant(np.random.RandomState(1).rand(11, 13) + 1, tf.float16)
    y = StepDropout(3, tf.constant(5))(x, 0.4)
    (gradient,) = tf.gradients(y, x, grad_ys=tf.ones_like(x))
    assert y.dtype == gradient.dtype == tf.float16
    with tf.Session() as session:
        x, y, gradient = session.run([x, y, gradient])
    np.testing.assert_allclose(y, x * gradient, rtol=2e-3)
    assert (gradient == 0).any()


@pytest.mark.parametrize("rate", [0.0, 1e-6])
def test_no_rate_worth_its_name_drops_nothing(rate):
    x = tf.zeros([3])
    assert StepDropout(3, tf.constant(5))(x, rate) is x


def test_ranks_and_seeds_drop_other_elements(tmp_path):
    seeds = set()
    for random_seed in (42, 43):
        config = small_config(tmp_path, random_seed=random_seed)
        for rank_id in range(3):
            rank = RankEnvironment(rank_id=rank_id, rank_size=3)
            seeds.add(CpuBackend(config, rank).build_ops(tf.constant(0)).dropout._seed)
    assert len(seeds) == 6
    assert CpuBackend(config, RankEnvironment()).build_ops().dropout is plain_dropout


@pytest.mark.parametrize("shape", [(11, 5, 3), (11, 3, 5), (11, 4, 4)])
def test_the_product_has_the_gradients_of_the_plain_one(shape):
    n_rows, n_inputs, n_units = shape
    random = np.random.RandomState(2)
    x = tf.constant(random.randn(n_rows, n_inputs), tf.float32)
    kernel = tf.constant(random.randn(n_inputs, n_units), tf.float32)
    dy = tf.constant(random.randn(n_rows, n_units), tf.float32)
    results = []
    for product in (host_product, tf.matmul):
        y = product(x, kernel)
        results.append([y, *tf.gradients(y, [x, kernel], grad_ys=dy)])
    with tf.Session() as session:
        for found, wanted in zip(*session.run(results)):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
