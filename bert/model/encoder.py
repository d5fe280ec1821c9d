"""The encoder stack and the pooler: the scope `bert` of a checkpoint."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops
from bert.config import BertConfig
from bert.model.attention import build_mask_adder, self_attention
from bert.model.embeddings import build_embeddings
from bert.model.layers import dense, layer_norm
from bert.model.relative_positions import build_relative_positions


class BertOutputs(NamedTuple):
    """What the heads read.

    Attributes:
        sequence: [B, S, H] float32, last layer.
        pooled: [B, H] float32, tanh of a dense layer on the first token; None if not asked for.
        word_table: [V, H] variable, the word embeddings.
        layers: [B, S, H] float32 of every layer, the last of which is `sequence`.
    """

    sequence: tf.Tensor
    pooled: Optional[tf.Tensor]
    word_table: tf.Variable
    layers: Tuple[tf.Tensor, ...]


def build_encoder_layer(
    x: tf.Tensor,
    mask_adder: tf.Tensor,
    config: BertConfig,
    training: bool,
    ops: Ops,
    positions: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """One post-norm transformer layer.

    a = LayerNorm(x + dropout(dense(attention(x)))),
    y = LayerNorm(a + dropout(dense(activation(dense(a))))).

    Args:
        x: [B*S, H].
        mask_adder: [B, 1, 1, S].
        config: the model.
        training: whether dropout is on.
        ops: the backend's operators.
        positions: relative positions [S, S, d], the type of `x`, or None.

    Returns:
        [B*S, H], the type of `x`.
    """
    std = config.initializer_range
    hidden_dropout = config.hidden_dropout_prob if training else 0.0
    with tf.variable_scope("attention"):
        attention_dropout = config.attention_probs_dropout_prob if training else 0.0
        context = self_attention(x, mask_adder, config, attention_dropout, ops, positions)
        with tf.variable_scope("output"):
            projected = dense(context, config.hidden_size, "dense", std)
            attended = layer_norm(ops.dropout(projected, hidden_dropout) + x)
    with tf.variable_scope("intermediate"):
        # inner: [B*S, I]
        inner = dense(attended, config.intermediate_size, "dense", std, config.hidden_act, ops)
    with tf.variable_scope("output"):
        projected = dense(inner, config.hidden_size, "dense", std, ops=ops)
        return layer_norm(ops.dropout(projected, hidden_dropout) + attended)


def build_bert(
    input_ids: tf.Tensor,
    input_mask: tf.Tensor,
    segment_ids: tf.Tensor,
    config: BertConfig,
    training: bool,
    ops: Ops,
    encoder_dtype: str = "float32",
    pooler_dtype: str = "float32",
    with_pooler: bool = True,
) -> BertOutputs:
    """Builds embeddings, encoder and pooler in the variable scope `bert`.

    All activations are [B*S, H] matrices, so that no layer reshapes them.

    Args:
        input_ids: [B, S] int32 with static shape.
        input_mask: [B, S] int32, 1 for tokens.
        segment_ids: [B, S] int32.
        config: the model.
        training: whether dropout is on.
        ops: the backend's operators.
        encoder_dtype: compute type of the layers; embeddings are float32 in any case.
        pooler_dtype: compute type of the pooler.
        with_pooler: whether there is one; a head that reads tokens alone trains no other weights.
    """
    batch, length = input_ids.shape.as_list()
    width = config.hidden_size
    dtype = tf.as_dtype(encoder_dtype)
    with tf.variable_scope("bert"):
        embeddings = build_embeddings(
            input_ids,
            segment_ids,
            config,
            config.hidden_dropout_prob if training else 0.0,
            ops,
        )
        x = tf.saturate_cast(embeddings.output, dtype)
        with tf.variable_scope("encoder"):
            mask_adder = build_mask_adder(input_mask, dtype)
            positions = None
            if config.use_relative_position:
                positions = build_relative_positions(length, config.head_size, dtype)
            layers = []
            for index in range(config.num_hidden_layers):
                with tf.variable_scope(f"layer_{index}"):
                    x = build_encoder_layer(x, mask_adder, config, training, ops, positions)
                layers.append(tf.reshape(tf.cast(x, tf.float32), [batch, length, width]))
        sequence = layers[-1]
        if not with_pooler:
            return BertOutputs(sequence, None, embeddings.word_table, tuple(layers))
        with tf.variable_scope("pooler"):
            first = tf.reshape(tf.slice(sequence, [0, 0, 0], [batch, 1, width]), [batch, width])
            first = tf.cast(first, tf.as_dtype(pooler_dtype))
            pooled = dense(first, width, "dense", config.initializer_range, "tanh")
        return BertOutputs(
            sequence, tf.cast(pooled, tf.float32), embeddings.word_table, tuple(layers)
        )
