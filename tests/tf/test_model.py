"""The model: names, shapes and maths against NumPy, at sizes that are all different."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends import ops as backend_ops
from bert.model.attention import build_mask_adder, self_attention
from bert.model.encoder import build_bert
from bert.model.heads import build_mlm_head, build_nsp_head
from bert.model.layers import layer_norm
from tests.tf.graphs import (
    BATCH,
    LENGTH,
    PREDICTIONS,
    as_tensors,
    run_initialized,
    small_backend,
    small_batch,
    small_config,
)

PLAIN = backend_ops.Ops(backend_ops.plain_gelu, backend_ops.plain_dropout, backend_ops.plain_gather)


@pytest.fixture()
def config(tmp_path):
    return small_config(tmp_path)


def build_all(config, features, training=False):
    ops = small_backend(config).build_ops()
    outputs = build_bert(
        features["input_ids"],
        features["input_mask"],
        features["segment_ids"],
        config.bert,
        training,
        ops,
        config.precision.encoder,
        config.precision.heads,
    )
    mlm = build_mlm_head(
        outputs.sequence,
        outputs.word_table,
        features["masked_lm_positions"],
        features["masked_lm_ids"],
        features["masked_lm_weights"],
        config.bert,
        ops,
        config.precision.heads,
    )
    nsp = build_nsp_head(outputs.pooled, features["next_sentence_labels"], config.bert)
    return outputs, mlm, nsp


def expected_variables(config):
    """(name, shape) of every variable, in the order of public checkpoints."""
    bert = config.bert
    width, inner = bert.hidden_size, bert.intermediate_size
    norm = [("LayerNorm/beta", [width]), ("LayerNorm/gamma", [width])]
    yield "bert/embeddings/word_embeddings", [bert.vocab_size, width]
    yield "bert/embeddings/token_type_embeddings", [bert.type_vocab_size, width]
    yield "bert/embeddings/position_embeddings", [bert.max_position_embeddings, width]
    for name, shape in norm:
        yield f"bert/embeddings/{name}", shape
    for index in range(bert.num_hidden_layers):
        layer = f"bert/encoder/layer_{index}"
        for part in ("query", "key", "value"):
            yield f"{layer}/attention/self/{part}/kernel", [width, width]
            yield f"{layer}/attention/self/{part}/bias", [width]
        yield f"{layer}/attention/output/dense/kernel", [width, width]
        yield f"{layer}/attention/output/dense/bias", [width]
        for name, shape in norm:
            yield f"{layer}/attention/output/{name}", shape
        yield f"{layer}/intermediate/dense/kernel", [width, inner]
        yield f"{layer}/intermediate/dense/bias", [inner]
        yield f"{layer}/output/dense/kernel", [inner, width]
        yield f"{layer}/output/dense/bias", [width]
        for name, shape in norm:
            yield f"{layer}/output/{name}", shape
    yield "bert/pooler/dense/kernel", [width, width]
    yield "bert/pooler/dense/bias", [width]
    yield "cls/predictions/transform/dense/kernel", [width, width]
    yield "cls/predictions/transform/dense/bias", [width]
    for name, shape in norm:
        yield f"cls/predictions/transform/{name}", shape
    yield "cls/predictions/output_bias", [bert.vocab_size]
    yield "cls/seq_relationship/output_weights", [2, width]
    yield "cls/seq_relationship/output_bias", [2]


def test_variables_have_the_names_order_and_shapes_of_public_checkpoints(config):
    build_all(config, as_tensors(small_batch(config)))
    found = [(v.op.name, v.shape.as_list()) for v in tf.trainable_variables()]
    assert found == list(expected_variables(config))
    assert len(found) == 5 + 16 * config.bert.num_hidden_layers + 9
    assert found == [(v.op.name, v.shape.as_list()) for v in tf.global_variables()]
    assert all(v.dtype.base_dtype == tf.float32 for v in tf.global_variables())


def test_bert_base_has_206_variables_and_110_million_parameters(tmp_path):
    config = small_config(
        tmp_path,
        bert_config_file="bert-base",
        train_batch_size=1,
        max_seq_length=8,
        max_predictions_per_seq=2,
    )
    build_all(config, as_tensors(small_batch(config)))
    variables = tf.trainable_variables()
    assert len(variables) == 206
    assert sum(v.shape.num_elements() for v in variables) == 110106428
    in_encoder = [v for v in variables if v.op.name.startswith("bert/")]
    assert sum(v.shape.num_elements() for v in in_encoder) == 109482240


def test_shapes_are_static_and_right(config):
    outputs, mlm, nsp = build_all(config, as_tensors(small_batch(config)))
    width, words = config.bert.hidden_size, config.bert.vocab_size
    assert outputs.sequence.shape.as_list() == [BATCH, LENGTH, width]
    assert outputs.pooled.shape.as_list() == [BATCH, width]
    assert mlm.logits.shape.as_list() == [BATCH * PREDICTIONS, words]
    assert mlm.per_token_loss.shape.as_list() == [BATCH * PREDICTIONS]
    assert nsp.logits.shape.as_list() == [BATCH, 2]
    assert mlm.loss.shape.as_list() == nsp.loss.shape.as_list() == []


def test_fresh_losses_are_those_of_guessing(config):
    _, mlm, nsp = build_all(config, as_tensors(small_batch(config)))
    with tf.Session() as session:
        mlm_loss, nsp_loss = run_initialized(session, [mlm.loss, nsp.loss])
    assert mlm_loss == pytest.approx(math.log(config.bert.vocab_size), rel=0.02)
    assert nsp_loss == pytest.approx(math.log(2), rel=0.02)


def test_padding_does_not_reach_the_tokens(config):
    batch = small_batch(config)
    batch["input_mask"][:, 4:] = 0
    other = {name: value.copy() for name, value in batch.items()}
    other["input_ids"][:, 4:] = (other["input_ids"][:, 4:] + 11) % config.bert.vocab_size
    placeholders = {name: tf.placeholder(v.dtype, v.shape) for name, v in batch.items()}
    outputs, _, _ = build_all(config, placeholders)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first, second = (
            session.run(outputs.sequence, {placeholders[name]: b[name] for name in b})
            for b in (batch, other)
        )
    np.testing.assert_allclose(first[:, :4], second[:, :4], atol=1e-6)
    assert np.abs(first[:, 4:] - second[:, 4:]).max() > 1e-3


def test_weight_zero_predictions_do_not_count(config):
    batch = small_batch(config)
    batch["masked_lm_weights"][:, -1] = 0.0
    other = {name: value.copy() for name, value in batch.items()}
    other["masked_lm_ids"][:, -1] = 0
    other["masked_lm_positions"][:, -1] = 0
    placeholders = {name: tf.placeholder(v.dtype, v.shape) for name, v in batch.items()}
    _, mlm, _ = build_all(config, placeholders)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        feeds = [{placeholders[name]: b[name] for name in b} for b in (batch, other)]
        (first, losses), second = (
            session.run([mlm.loss, mlm.per_token_loss], feeds[0]),
            session.run(mlm.loss, feeds[1]),
        )
    weights = batch["masked_lm_weights"].ravel()
    assert first == pytest.approx(second, rel=1e-6)
    assert first == pytest.approx((weights * losses).sum() / (weights.sum() + 1e-5), rel=1e-6)


def test_dropout_is_off_outside_training_and_on_inside(tmp_path):
    config = small_config(tmp_path, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    features = as_tensors(small_batch(config))
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        evaluated, _, _ = build_all(config, features, training=False)
        trained, _, _ = build_all(config, features, training=True)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert np.array_equal(*(session.run(evaluated.sequence) for _ in range(2)))
        assert not np.array_equal(*(session.run(trained.sequence) for _ in range(2)))


def test_float16_keeps_float32_variables_and_stays_close(tmp_path):
    config = small_config(tmp_path)
    half = small_config(tmp_path, manual_fp16=True)
    assert half.precision.heads == "float16"
    features = as_tensors(small_batch(config))
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        _, full_mlm, _ = build_all(config, features)
        n_variables = len(tf.global_variables())
        outputs, half_mlm, _ = build_all(half, features)
    assert len(tf.global_variables()) == n_variables
    assert all(v.dtype.base_dtype == tf.float32 for v in tf.global_variables())
    assert outputs.sequence.dtype == outputs.pooled.dtype == half_mlm.logits.dtype == tf.float32
    with tf.Session() as session:
        full, narrow = run_initialized(session, [full_mlm.logits, half_mlm.logits])
    np.testing.assert_allclose(full, narrow, atol=5e-3)
    assert not np.array_equal(full, narrow)


def softmax(x):
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_attention_is_that_of_the_paper(config):
    heads, size = config.bert.num_attention_heads, config.bert.head_size
    random = np.random.RandomState(1)
    x = random.randn(BATCH, LENGTH, heads * size)
    mask = (random.rand(BATCH, LENGTH) > 0.3).astype(np.int32)
    adder = build_mask_adder(tf.constant(mask), tf.float32)
    flat = tf.constant(x.reshape(-1, heads * size), tf.float32)
    context = self_attention(flat, adder, config.bert, 0.0, PLAIN)
    with tf.Session() as session:
        found, values = run_initialized(
            session, [context, {v.op.name: v for v in tf.trainable_variables()}]
        )

    def project(name):
        y = x @ values[f"self/{name}/kernel"].astype(np.float64) + values[f"self/{name}/bias"]
        return y.reshape(BATCH, LENGTH, heads, size).transpose(0, 2, 1, 3)

    scores = project("query") @ project("key").transpose(0, 1, 3, 2) / math.sqrt(size)
    scores += (1 - mask[:, None, None, :]) * -10000.0
    wanted = (softmax(scores) @ project("value")).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-4, atol=1e-6)


def test_layer_norm_is_that_of_the_paper():
    random = np.random.RandomState(2)
    x = random.randn(11, 5) * 3 + 7
    y = layer_norm(tf.constant(x, tf.float32))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        beta, gamma = tf.trainable_variables()
        session.run([tf.assign(beta, np.arange(5.0)), tf.assign(gamma, np.arange(5.0) - 2)])
        found = session.run(y)
    wanted = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(found, wanted * (np.arange(5) - 2) + np.arange(5), atol=2e-5)


def test_both_forms_of_gelu_and_their_gradients_agree():
    points = np.linspace(-6, 6, 61).astype(np.float32)
    x = tf.constant(points)
    fused, plain = backend_ops.fused_gelu(x), backend_ops.plain_gelu(x)
    gradients = [tf.gradients(y, x, grad_ys=tf.cos(x))[0] for y in (fused, plain)]
    with tf.Session() as session:
        (fused, plain), gradients = session.run([[fused, plain], gradients])
    wanted = (
        0.5
        * points
        * (
            1
            + np.tanh(math.sqrt(2 / math.pi) * (points + 0.044715 * points.astype(np.float64) ** 3))
        )
    )
    np.testing.assert_allclose(plain, wanted, atol=1e-6)
    np.testing.assert_allclose(fused, wanted, atol=1e-6)
    np.testing.assert_allclose(gradients[0], gradients[1], atol=2e-6)


def test_the_dense_gather_has_the_gradient_of_the_plain_one():
    table = tf.constant(np.random.RandomState(3).randn(7, 5), tf.float32)
    ids = tf.constant([6, 0, 6, 3])
    weights = tf.constant(np.random.RandomState(4).randn(4, 5), tf.float32)
    dense = tf.gradients(weights * backend_ops.dense_gather(table, ids), table)[0]
    sparse = tf.gradients(weights * backend_ops.plain_gather(table, ids), table)[0]
    assert isinstance(sparse, tf.IndexedSlices)
    assert dense.shape.as_list() == [7, 5]
    with tf.Session() as session:
        found, wanted = session.run([dense, tf.convert_to_tensor(sparse)])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
