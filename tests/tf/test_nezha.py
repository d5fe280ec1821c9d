"""NEZHA: its variables, and its relative positions against the formula written out in NumPy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends import ops as backend_ops
from bert.backends.ops import Ops
from bert.config import BertConfig, check_sequence_length, read_bert_config
from bert.model.attention import build_mask_adder, self_attention
from bert.model.encoder import build_bert
from bert.model.relative_positions import (
    MAX_DISTANCE,
    build_position_table,
    build_relative_positions,
)
from tests.tf.graphs import SMALL_MODEL, as_tensors, run_initialized, small_batch, small_config
from tests.tf.test_model import build_all

PLAIN = Ops(backend_ops.plain_gelu, backend_ops.plain_dropout, backend_ops.plain_gather)


def relative_config(tmp_path, **changes):
    path = tmp_path / "nezha.json"
    path.write_text(json.dumps(dict(SMALL_MODEL, use_relative_position=True)), encoding="utf-8")
    return small_config(tmp_path, bert_config_file=path, **changes)


def written_out(length, size):
    """a [S, S, d], element by element as the paper has it."""
    a = np.zeros((length, length, size))
    for i in range(length):
        for j in range(length):
            p = min(max(j - i, -64), 64) + 64
            for k in range(size // 2):
                angle = p / 10000 ** (2 * k / size)
                a[i, j, 2 * k], a[i, j, 2 * k + 1] = math.sin(angle), math.cos(angle)
    return a


def test_variables_are_those_of_bert_without_the_position_table(tmp_path):
    batch = as_tensors(small_batch(small_config(tmp_path)))
    build_all(small_config(tmp_path), batch)
    wanted = [v.op.name for v in tf.trainable_variables()]
    wanted.remove("bert/embeddings/position_embeddings")
    with tf.Graph().as_default():
        build_all(relative_config(tmp_path), as_tensors(small_batch(small_config(tmp_path))))
        assert [v.op.name for v in tf.trainable_variables()] == wanted


@pytest.mark.parametrize(
    ("preset", "n_variables", "n_parameters", "n_in_encoder"),
    [("nezha-base", 205, 102489226, 101874432), ("nezha-large", 397, 326072970, 324998144)],
)
def test_presets_have_the_published_sizes(
    tmp_path, preset, n_variables, n_parameters, n_in_encoder
):
    config = small_config(
        tmp_path,
        bert_config_file=preset,
        train_batch_size=1,
        max_seq_length=8,
        max_predictions_per_seq=2,
    )
    build_all(config, as_tensors(small_batch(config)))
    variables = tf.trainable_variables()
    assert len(variables) == n_variables
    assert sum(v.shape.num_elements() for v in variables) == n_parameters
    in_encoder = [v for v in variables if v.op.name.startswith("bert/")]
    assert sum(v.shape.num_elements() for v in in_encoder) == n_in_encoder


def test_the_table_is_that_of_the_paper():
    table = build_position_table(6)
    assert table.shape == (2 * MAX_DISTANCE + 1, 6)
    assert table.dtype == np.float64
    wanted = [f(5 / 10000 ** (2 * k / 6)) for k in range(3) for f in (math.sin, math.cos)]
    np.testing.assert_allclose(table[5], wanted, rtol=1e-12)


def test_distances_are_clipped_at_64():
    positions = build_relative_positions(70, 4, tf.float32)
    with tf.Session() as session:
        found = session.run(positions)
    np.testing.assert_allclose(found, written_out(70, 4), atol=1e-6)
    assert np.array_equal(found[0, 64], found[0, 69])
    assert not np.array_equal(found[0, 63], found[0, 64])
    assert np.array_equal(found[65, 0], found[69, 0])


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16])
def test_attention_is_that_of_the_paper(dtype):
    # Longer than the clipping distance, and no two sizes equal.
    batch, length, heads, size = 2, 67, 3, 4
    width = heads * size
    config = BertConfig(vocab_size=5, hidden_size=width, num_attention_heads=heads)
    random = np.random.RandomState(1)
    x = random.randn(batch, length, width)
    mask = (random.rand(batch, length) > 0.3).astype(np.int32)
    adder = build_mask_adder(tf.constant(mask), dtype)
    flat = tf.constant(x.reshape(-1, width), dtype)
    context = self_attention(
        flat, adder, config, 0.0, PLAIN, build_relative_positions(length, size, dtype)
    )
    variables = {v.op.name: v for v in tf.trainable_variables()}
    # The usual initial values are so small that every probability would be nearly the same.
    values = {name: 0.5 * random.randn(*v.shape.as_list()) for name, v in variables.items()}
    with tf.Session() as session:
        session.run([tf.assign(v, values[name]) for name, v in variables.items()])
        found = session.run(context)
    assert found.dtype == dtype.as_numpy_dtype

    def project(name):
        y = x @ values[f"self/{name}/kernel"] + values[f"self/{name}/bias"]
        return y.reshape(batch, length, heads, size)

    query, key, value = project("query"), project("key"), project("value")
    a = written_out(length, size)
    scores = np.einsum("bind,bjnd->bnij", query, key) + np.einsum("bind,ijd->bnij", query, a)
    scores = scores / math.sqrt(size) + (1 - mask[:, None, None, :]) * -10000.0
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    wanted = np.einsum("bnij,bjnd->bind", weights, value) + np.einsum("bnij,ijd->bind", weights, a)
    tolerance = 1e-5 if dtype == tf.float32 else 0.03
    np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=tolerance, atol=tolerance)


def test_order_matters_without_a_position_table(tmp_path):
    config = relative_config(tmp_path)
    batch = small_batch(config)
    ids = tf.placeholder(tf.int32, batch["input_ids"].shape)
    outputs = build_bert(
        ids,
        tf.constant(batch["input_mask"]),
        tf.zeros_like(ids),
        config.bert,
        training=False,
        ops=PLAIN,
    )
    swapped = batch["input_ids"].copy()
    swapped[:, [1, 2]] = swapped[:, [2, 1]]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first, second = (
            session.run(outputs.sequence[:, 0], {ids: value})
            for value in (batch["input_ids"], swapped)
        )
    assert np.abs(first - second).max() > 1e-5


def test_a_sequence_may_be_longer_than_the_position_table(tmp_path):
    check_sequence_length(read_bert_config("nezha-base"), 2048)
    n_rows = SMALL_MODEL["max_position_embeddings"]
    config = relative_config(tmp_path, max_seq_length=n_rows + 2, train_batch_size=2)
    outputs, _, _ = build_all(config, as_tensors(small_batch(config)))
    with tf.Session() as session:
        assert np.isfinite(run_initialized(session, outputs.sequence)).all()
