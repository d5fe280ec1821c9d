"""The two pre-training heads: masked words (MLM) and next sentence (NSP)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops
from bert.config import BertConfig
from bert.model.layers import dense, get_parameter, layer_norm, normal_initializer

# Keeps the mean defined where a batch has no prediction at all; part of the published loss.
_WEIGHT_SUM_EPSILON = 1e-5


class MlmOutputs(NamedTuple):
    """Masked-word head.

    Attributes:
        loss: scalar, Σ weight · cross entropy / (Σ weight + 1e-5), in nats.
        per_token_loss: [B*P] cross entropy.
        logits: [B*P, V] float32.
    """

    loss: tf.Tensor
    per_token_loss: tf.Tensor
    logits: tf.Tensor


class NspOutputs(NamedTuple):
    """Next-sentence head: scalar mean loss in nats, [B] losses, [B, 2] logits."""

    loss: tf.Tensor
    per_example_loss: tf.Tensor
    logits: tf.Tensor


def gather_positions(sequence: tf.Tensor, positions: tf.Tensor, ops: Ops) -> tf.Tensor:
    """Takes the masked positions out of every sequence.

    Args:
        sequence: [B, S, H].
        positions: [B, P] int32, below S.
        ops: the backend's operators.

    Returns:
        [B*P, H].
    """
    batch, length, width = sequence.shape.as_list()
    offsets = tf.reshape(tf.range(batch, dtype=tf.int32) * length, [-1, 1])  # [B, 1]
    flat_positions = tf.reshape(positions + offsets, [-1])  # [B*P]
    return ops.gather(tf.reshape(sequence, [batch * length, width]), flat_positions)


def build_mlm_head(
    sequence: tf.Tensor,
    word_table: tf.Variable,
    positions: tf.Tensor,
    label_ids: tf.Tensor,
    label_weights: tf.Tensor,
    config: BertConfig,
    ops: Ops,
    dtype: str = "float32",
) -> MlmOutputs:
    """Predicts masked words with the transposed word embeddings (Devlin et al., section 3.1).

    Args:
        sequence: [B, S, H] float32.
        word_table: [V, H], shared with the embeddings.
        positions, label_ids: [B, P] int32.
        label_weights: [B, P] float32, 0 for padding.
        config: the model.
        ops: the backend's operators.
        dtype: compute type of the two products.
    """
    compute = tf.as_dtype(dtype)
    with tf.variable_scope("cls/predictions"):
        x = tf.cast(gather_positions(sequence, positions, ops), compute)  # [B*P, H]
        with tf.variable_scope("transform"):
            x = dense(
                x, config.hidden_size, "dense", config.initializer_range, config.hidden_act, ops
            )
            x = layer_norm(tf.cast(x, tf.float32))
        output_bias = get_parameter("output_bias", [config.vocab_size], tf.zeros_initializer())
        per_token_loss, logits = ops.vocabulary_loss(
            tf.cast(x, compute), word_table, output_bias, tf.reshape(label_ids, [-1])
        )  # [B*P], [B*P, V]
        weights = tf.reshape(label_weights, [-1])
        loss = tf.reduce_sum(weights * per_token_loss) / (
            tf.reduce_sum(weights) + _WEIGHT_SUM_EPSILON
        )
        return MlmOutputs(loss, per_token_loss, logits)


def build_nsp_head(
    pooled: tf.Tensor, labels: tf.Tensor, config: BertConfig, dtype: str = "float32"
) -> NspOutputs:
    """Tells whether the second sentence follows the first (label 0) or is a random one (1).

    Args:
        pooled: [B, H] float32.
        labels: [B, 1] int32.
        config: the model.
        dtype: compute type of the product.
    """
    compute = tf.as_dtype(dtype)
    with tf.variable_scope("cls/seq_relationship"):
        weights = get_parameter(
            "output_weights",
            [2, config.hidden_size],
            normal_initializer(config.initializer_range),
        )
        bias = get_parameter("output_bias", [2], tf.zeros_initializer())
        logits = tf.matmul(tf.cast(pooled, compute), tf.cast(weights, compute), transpose_b=True)
        logits = tf.nn.bias_add(tf.cast(logits, tf.float32), bias)  # [B, 2]
        per_example_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.reshape(labels, [-1]), logits=logits
        )
        return NspOutputs(tf.reduce_mean(per_example_loss), per_example_loss, logits)
