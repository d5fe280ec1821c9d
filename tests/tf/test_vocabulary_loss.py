"""The vocabulary head's cross entropy against automatic differentiation and NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends import vocabulary_loss as head
from bert.backends.cpu import CpuBackend
from bert.training.failures import map_failure
from tests.tf.graphs import as_tensors, run_initialized, small_backend, small_batch, small_config
from tests.tf.test_model import build_all

PREDICTIONS, WIDTH, WORDS = 13, 24, 97


def make_inputs(seed=1, scale=1.0):
    random = np.random.RandomState(seed)
    return {
        "x": (random.randn(PREDICTIONS, WIDTH) * scale).astype(np.float32),
        "table": random.randn(WORDS, WIDTH).astype(np.float32),
        "bias": random.randn(WORDS).astype(np.float32),
        # Some labels come twice, one lies in the first and one in the last part.
        "labels": np.array([0, 96, 5, 5, 96, *random.randint(0, WORDS, 8)], np.int32),
        "dy": (random.rand(PREDICTIONS) * (random.rand(PREDICTIONS) > 0.3)).astype(np.float32),
    }


def run_loss(loss_function, inputs, dtype=tf.float32):
    """Returns losses, gradients of x, table and bias, and logits."""
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    x = tf.cast(tensors["x"], dtype)
    loss, logits = loss_function(x, tensors["table"], tensors["bias"], tensors["labels"])
    gradients = tf.gradients(loss, [x, tensors["table"], tensors["bias"]], grad_ys=[tensors["dy"]])
    with tf.Session() as session:
        return session.run([loss, *gradients, logits])


def exact(inputs):
    """The same in float64 from the definition."""
    x, table, bias = (inputs[name].astype(np.float64) for name in ("x", "table", "bias"))
    logits = x @ table.T + bias
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    rows = np.arange(PREDICTIONS)
    d_logits = np.exp(log_probabilities)
    d_logits[rows, inputs["labels"]] -= 1.0
    d_logits *= inputs["dy"][:, None]
    losses = -log_probabilities[rows, inputs["labels"]]
    return [losses, d_logits @ table, d_logits.T @ x, d_logits.sum(0), logits]


def relative_error(found, wanted):
    return np.abs(found.astype(np.float64) - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("part_bytes", [1 << 20, 4 * PREDICTIONS * 20, 1])
def test_loss_and_gradients_are_exact_in_any_number_of_parts(monkeypatch, part_bytes):
    monkeypatch.setattr(head, "_PART_BYTES", part_bytes)
    inputs = make_inputs()
    wanted = exact(inputs)
    for function in (head.fused_vocabulary_loss, head.plain_vocabulary_loss):
        for found, value in zip(run_loss(function, inputs), wanted):
            assert found.shape == value.shape
            assert relative_error(found, value) < 2e-6


def test_the_number_of_parts_follows_the_size_of_the_logits():
    assert head.count_parts(13, 97) == 1
    assert head.count_parts(640, 30522) == 13
    assert head.count_parts(12800, 30522) == 16
    assert head.count_parts(1 << 30, 3) == 3


def test_large_logits_neither_overflow_nor_vanish():
    inputs = make_inputs(scale=300.0)
    wanted = exact(inputs)
    assert np.abs(wanted[-1]).max() > 2000
    for found, value in zip(run_loss(head.fused_vocabulary_loss, inputs), wanted):
        assert relative_error(found, value) < 1e-5


def test_float16_is_as_close_to_the_truth_as_automatic_differentiation():
    # The factor is that of a loss scale of 65536 over as many predictions as a batch has.
    inputs = make_inputs()
    inputs["x"] = inputs["x"].astype(np.float16).astype(np.float32)
    inputs["table"] = inputs["table"].astype(np.float16).astype(np.float32)
    inputs["dy"] *= 100.0
    wanted = exact(inputs)
    fused = run_loss(head.fused_vocabulary_loss, inputs, tf.float16)
    plain = run_loss(head.plain_vocabulary_loss, inputs, tf.float16)
    assert fused[1].dtype == plain[1].dtype == np.float16
    assert fused[2].dtype == plain[2].dtype == np.float32
    for mine, theirs, value in zip(fused, plain, wanted):
        assert relative_error(mine, value) < max(2 * relative_error(theirs, value), 2e-3)


def test_float16_keeps_the_gradients_of_rare_words():
    # A probability of 1e-9 is nothing in float16; times the loss scale it is something.
    inputs = make_inputs(scale=0.0)
    inputs["bias"][:] = np.where(np.arange(WORDS) < 90, -20.0, 0.0)
    inputs["labels"][:] = 95
    inputs["dy"][:] = 1e4
    found = run_loss(head.fused_vocabulary_loss, inputs, tf.float16)
    wanted = exact(inputs)
    np.testing.assert_allclose(found[3][:90], wanted[3][:90], rtol=1e-5)


def test_a_weight_of_zero_gives_no_gradient_at_all():
    inputs = make_inputs()
    silent = inputs["dy"] == 0
    assert silent.any()
    found = run_loss(head.fused_vocabulary_loss, inputs)
    assert not found[1][silent].any()
    inputs["labels"][silent] = 3
    again = run_loss(head.fused_vocabulary_loss, inputs)
    np.testing.assert_array_equal(found[2], again[2])
    np.testing.assert_array_equal(found[3], again[3])


@pytest.mark.parametrize("where", ["x", "table", "bias"])
def test_what_is_not_finite_does_not_go_unnoticed(where):
    inputs = make_inputs()
    inputs[where].flat[7] = np.nan
    losses = run_loss(head.fused_vocabulary_loss, inputs)[0]
    assert np.isnan(losses).any()


def test_a_label_outside_the_vocabulary_is_a_data_error():
    inputs = make_inputs()
    inputs["labels"][4] = WORDS
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        run_loss(head.fused_vocabulary_loss, inputs)
    assert "the data hold id 97, the model's table has 97 rows" in str(
        map_failure(raised.value, [], 0)
    )


def test_training_makes_neither_logits_nor_a_matrix_of_their_size(monkeypatch):
    monkeypatch.setattr(head, "_PART_BYTES", 1000)
    x = tf.placeholder(tf.float32, [PREDICTIONS, WIDTH])
    table, bias = tf.zeros([WORDS, WIDTH]), tf.zeros([WORDS])
    labels = tf.zeros([PREDICTIONS], tf.int32)
    for function, is_large in (
        (head.plain_vocabulary_loss, True),
        (head.fused_vocabulary_loss, False),
    ):
        loss = function(x, table, bias, labels).per_token_loss
        names = [tensor.op.name for tensor in (loss, *tf.gradients(loss, [x, table, bias]))]
        graph = tf.get_default_graph()
        needed = tf.graph_util.extract_sub_graph(graph.as_graph_def(), names)
        shapes = {
            tuple(output.shape.as_list())
            for node in needed.node
            for output in graph.get_operation_by_name(node.name).outputs
            if output.shape.is_fully_defined()
        }
        found = {(PREDICTIONS, WORDS), (WORDS, PREDICTIONS)} & shapes
        assert found == ({(PREDICTIONS, WORDS)} if is_large else set())


def test_the_cpu_backend_trains_with_it_and_the_model_gives_the_same(tmp_path, monkeypatch):
    config = small_config(tmp_path)
    batch = small_batch(config)
    batch["masked_lm_weights"][:, -1] = 0.0
    results = []
    for function in (head.fused_vocabulary_loss, head.plain_vocabulary_loss):
        tf.reset_default_graph()
        tf.set_random_seed(3)
        build_ops = CpuBackend.build_ops
        assert small_backend(config).build_ops().vocabulary_loss is head.fused_vocabulary_loss
        with monkeypatch.context() as patch:
            patch.setattr(
                CpuBackend,
                "build_ops",
                lambda self, f=function, build=build_ops: build(self)._replace(vocabulary_loss=f),
            )
            _, mlm, _ = build_all(config, as_tensors(batch))
        variables = tf.trainable_variables()
        gradients = tf.gradients(mlm.loss, variables)
        with tf.Session() as session:
            results.append(
                run_initialized(
                    session,
                    {v.op.name: g for v, g in zip(variables, gradients) if g is not None},
                )
            )
    assert len(results[0]) == 5 + 16 * 2 + 5
    for name in results[0]:
        scale = np.abs(results[1][name]).max()
        np.testing.assert_allclose(
            results[0][name], results[1][name], rtol=1e-4, atol=1e-5 * scale + 1e-9, err_msg=name
        )
