"""Word, token type and position embeddings: ids → the encoder's input."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops
from bert.config import BertConfig
from bert.model.layers import get_parameter, layer_norm, normal_initializer


class Embeddings(NamedTuple):
    """The encoder's input [B*S, H] float32, and the word table [V, H] that the MLM head shares."""

    output: tf.Tensor
    word_table: tf.Variable


def build_embeddings(
    input_ids: tf.Tensor, segment_ids: tf.Tensor, config: BertConfig, dropout: float, ops: Ops
) -> Embeddings:
    """dropout(LayerNorm(word + token type + position)), in float32.

    With relative positions there is no position term, and no table of them.

    B = batch, S = sequence length, H = hidden size, V = vocabulary, T = token types.

    Args:
        input_ids: [B, S] int32, below V.
        segment_ids: [B, S] int32, below T.
        config: the model.
        dropout: share of elements dropped; 0 outside training.
        ops: the backend's operators.
    """
    batch, length = input_ids.shape.as_list()
    width = config.hidden_size
    initializer = normal_initializer(config.initializer_range)
    with tf.variable_scope("embeddings"):
        word_table = get_parameter("word_embeddings", [config.vocab_size, width], initializer)
        # words: [B*S, H]
        words = ops.gather(tf.convert_to_tensor(word_table), tf.reshape(input_ids, [-1]))

        type_table = get_parameter(
            "token_type_embeddings", [config.type_vocab_size, width], initializer
        )
        # A product with a one-hot matrix: its gradient is a small product too, where that of a
        # lookup would add thousands of rows into two.
        one_hot = tf.one_hot(tf.reshape(segment_ids, [-1]), depth=config.type_vocab_size)
        x = words + tf.matmul(one_hot, type_table)  # [B*S, H]

        if not config.use_relative_position:
            position_table = get_parameter(
                "position_embeddings", [config.max_position_embeddings, width], initializer
            )
            positions = tf.slice(position_table, [0, 0], [length, width])  # [S, H]
            x = tf.reshape(x, [batch, length, width]) + positions
        x = layer_norm(tf.reshape(x, [batch * length, width]))
        return Embeddings(ops.dropout(x, dropout), word_table)
