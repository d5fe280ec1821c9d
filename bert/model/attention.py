"""Multi-head self-attention (Vaswani et al., arXiv:1706.03762, section 3.2)."""

from __future__ import annotations

import math
from typing import Optional

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops
from bert.config import BertConfig
from bert.model.layers import dense
from bert.model.relative_positions import relative_context, relative_scores


def build_mask_adder(input_mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns what is added to scores: 0 where a key is a token, -10000 where it is padding.

    Args:
        input_mask: [B, S] int32, 1 for tokens and 0 for padding.
        dtype: type of the scores.

    Returns:
        [B, 1, 1, S].
    """
    batch, length = input_mask.shape.as_list()
    adder = (1.0 - tf.cast(input_mask, tf.float32)) * -10000.0
    return tf.cast(tf.reshape(adder, [batch, 1, 1, length]), dtype)


def self_attention(
    x: tf.Tensor,
    mask_adder: tf.Tensor,
    config: BertConfig,
    dropout: float,
    ops: Ops,
    positions: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """softmax(Q Kᵀ / √d + mask) V for every head, heads side by side.

    With relative positions a_ij it is softmax(q_i · (k_j + a_ij) / √d + mask) (v_j + a_ij).

    B = batch, S = sequence length, N = heads, d = head size, H = N d.

    Args:
        x: [B*S, H], float32 or float16.
        mask_adder: [B, 1, 1, S].
        config: the model.
        dropout: share of attention probabilities dropped.
        ops: the backend's operators.
        positions: a [S, S, d] of `bert.model.relative_positions`, the type of `x`, or None.

    Returns:
        [B*S, H], the type of `x`.
    """
    batch, length = mask_adder.shape[0].value, mask_adder.shape[3].value
    heads, size = config.num_attention_heads, config.head_size

    def project(name: str) -> tf.Tensor:
        y = dense(x, config.hidden_size, name, config.initializer_range)  # [B*S, H]
        return tf.reshape(y, [batch, length, heads, size])

    def split_heads(y: tf.Tensor) -> tf.Tensor:
        return ops.transpose(y, [0, 2, 1, 3])  # [B, S, N, d] -> [B, N, S, d]

    with tf.variable_scope("self"):
        query, key, value = project("query"), project("key"), project("value")
        # Scaling the query costs S*d products a head, scaling the scores S*S.
        query = query * (1.0 / math.sqrt(size))
        scores = tf.matmul(split_heads(query), split_heads(key), transpose_b=True)  # [B, N, S, S]
        if positions is not None:
            scores += relative_scores(query, positions, ops)
        probabilities = ops.dropout(tf.nn.softmax(scores + mask_adder), dropout)
        context = tf.matmul(probabilities, split_heads(value))  # [B, N, S, d]
        context = ops.transpose(context, [0, 2, 1, 3])  # [B, S, N, d]
        if positions is not None:
            context += relative_context(probabilities, positions, ops)
        return tf.reshape(context, [batch * length, heads * size])
