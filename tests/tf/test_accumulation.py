"""Gradient accumulation: the update of several micro-batches is that of one large batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.optimization.accumulation import accumulate_gradients
from bert.optimization.train_op import build_accumulating_train_step
from bert.training.model_fn import build_model_fn
from tests.tf.graphs import SMALL_MODEL, as_tensors, small_backend, small_batch, small_config


def train(tmp_path, batch, n_steps, **changes):
    """Returns losses and all variables after some steps on one batch, from fixed weights."""
    path = tmp_path / "shallow.json"
    path.write_text(json.dumps(dict(SMALL_MODEL, num_hidden_layers=1)), encoding="utf-8")
    config = small_config(tmp_path, bert_config_file=path, **changes)
    random = np.random.RandomState(8)
    with tf.Graph().as_default():
        tf.train.create_global_step()
        spec = build_model_fn(config, small_backend(config))(as_tensors(batch), None, "train")
        losses = [tf.get_default_graph().get_tensor_by_name(f"{n}_loss:0") for n in ("mlm", "nsp")]
        variables = {v.op.name: v for v in tf.global_variables()}
        with tf.Session() as session:
            start = {
                variable.initializer.inputs[1]: 0.05 * random.randn(*variable.shape.as_list())
                for variable in tf.trainable_variables()
            }
            session.run(tf.global_variables_initializer(), start)
            found = [session.run([*losses, spec.train_op])[:2] for _ in range(n_steps)]
            return np.array(found), session.run(variables)


@pytest.mark.parametrize(("optimizer", "scale"), [("adam", 16), ("lamb", 0)])
def test_micro_batches_update_as_one_large_batch(tmp_path, optimizer, scale):
    common = {"optimizer_type": optimizer, "npu_bert_loss_scale": scale, "clip_norm": 0.3}
    common["npu_gather"] = scale != 0  # sparse gradients too
    whole = small_config(tmp_path, train_batch_size=12)
    # Every sequence has as many predictions, so the mean of the means is the mean of all.
    batch = small_batch(whole)
    losses, wanted = train(tmp_path, batch, 3, train_batch_size=12, **common)
    split = {"train_batch_size": 3, "num_accumulation_steps": 4}
    split_losses, found = train(tmp_path, batch, 3, **split, **common)
    np.testing.assert_allclose(split_losses, losses, rtol=1e-5)
    assert set(found) == set(wanted)
    assert found["global_step"] == 3
    for name, value in wanted.items():
        # A bias on all keys alike does nothing: its gradient is rounding, and Adam follows it.
        if "self/key/bias" not in name:
            np.testing.assert_allclose(
                found[name], value, rtol=1e-3, atol=1e-5 * np.abs(value).max() + 1e-9, err_msg=name
            )


def linear_losses(batch):
    """Two losses of one variable, linear in it: Σ x w and Σ y w, means over rows."""
    with tf.variable_scope("layer", reuse=tf.AUTO_REUSE):
        weight = tf.get_variable("kernel", [2], initializer=tf.ones_initializer())
    return [tf.reduce_mean(tf.reduce_sum(batch[name] * weight, axis=1)) for name in "xy"]


def test_sums_and_means_of_a_model_that_can_be_done_by_hand():
    x = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    features = {"x": tf.constant(x), "y": tf.constant(10.0 * x)}
    losses, ((gradient, variable),) = accumulate_gradients(
        linear_losses, features, 3, tf.constant(8.0)
    )
    assert variable.op.name == "layer/kernel"
    assert gradient.shape.as_list() == [2]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses, gradient = session.run([losses, gradient])
    np.testing.assert_allclose(losses, [11.0, 110.0])
    np.testing.assert_allclose(gradient, 8.0 * 11.0 * x.mean(0), rtol=1e-6)


@pytest.mark.parametrize("place", range(3))
def test_an_overflow_in_any_micro_batch_skips_the_whole_update(tmp_path, place):
    config = small_config(tmp_path, npu_bert_loss_scale=0, init_loss_scale_value=8)
    x = np.ones((6, 2), np.float32)
    fed = tf.placeholder(tf.float32, x.shape)
    step = tf.train.create_global_step()
    train_step, _ = build_accumulating_train_step(
        linear_losses,
        {"x": fed, "y": fed},
        3,
        config.optimizer,
        config.loss_scale,
        small_backend(config),
    )
    weights = [v for v in tf.global_variables() if "kernel" in v.op.name]
    assert len(weights) == 3
    bad_steps = next(v for v in tf.global_variables() if v.op.name == "bad_steps")
    bad = x.copy()
    bad[2 * place, 1] = np.inf
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train_step.train_op, {fed: x})
        before = session.run(weights)
        session.run(train_step.train_op, {fed: bad})
        for old, new in zip(before, session.run(weights)):
            np.testing.assert_array_equal(old, new)
        assert session.run([step, bad_steps]) == [1, 1]
        session.run(train_step.train_op, {fed: x})
        assert session.run(step) == 2
        assert not np.array_equal(before[0], session.run(weights[0]))


def test_the_graph_does_not_grow_with_the_number_of_micro_batches():
    sizes = []
    for n in (2, 6):
        with tf.Graph().as_default() as graph:
            accumulate_gradients(linear_losses, {"x": tf.ones([12, 2]), "y": tf.ones([12, 2])}, n)
            sizes.append(len(graph.get_operations()))
    assert sizes[0] == sizes[1]


def test_dropout_differs_between_micro_batches():
    features = {"x": tf.ones([6, 50])}
    seen = []

    def build_losses(batch):
        weight = tf.get_variable("kernel", [50], initializer=tf.ones_initializer())
        dropped = tf.nn.dropout(batch["x"], rate=0.5) * weight
        seen.append(dropped)
        return [tf.reduce_mean(dropped * dropped)]

    _, ((gradient, _),) = accumulate_gradients(build_losses, features, 3)
    assert len(seen) == 2
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        counts = session.run(gradient) * 6 * 50 / 8
    # 6 rows, each kept by itself: a mask shared by all would give 0 or 6.
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    assert len(set(np.round(counts))) > 3


def test_an_unreached_variable_is_an_error():
    tf.get_variable("lonely", initializer=tf.constant(1.0))
    with pytest.raises(ValueError, match="no gradient reaches lonely"):
        accumulate_gradients(linear_losses, {"x": tf.ones([2, 2]), "y": tf.ones([2, 2])}, 2)
