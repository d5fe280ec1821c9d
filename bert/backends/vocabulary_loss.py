"""Cross entropy over the vocabulary, the largest computation of a small BERT.

K = predictions, H = hidden size, V = vocabulary. Logits are Z = X Wᵀ + b [K, V] in float32.
"""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Sequence, Tuple

import tensorflow.compat.v1 as tf

# Parts of the logits that fit a cache with room to spare, and a bound for the size of the graph.
_PART_BYTES = 8 << 20
_MOST_PARTS = 16


class VocabularyLoss(NamedTuple):
    """Cross entropy [K] float32 in nats, and the logits [K, V] float32 that it belongs to."""

    per_token_loss: tf.Tensor
    logits: tf.Tensor


def plain_vocabulary_loss(
    x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor
) -> VocabularyLoss:
    """Cross entropy of the labels under softmax(X Wᵀ + b), by TensorFlow's own operators.

    Args:
        x: [K, H], float32 or float16; the product is computed in this type.
        table: W [V, H] float32.
        bias: b [V] float32.
        labels: [K] int32, below V.
    """
    logits = _build_logits(x, table, bias)
    # The sparse form reads one logit per label; a one-hot matrix would be as large as the
    # logits and be read and multiplied again in both directions.
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return VocabularyLoss(loss, logits)


def fused_vocabulary_loss(
    x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor
) -> VocabularyLoss:
    """`plain_vocabulary_loss` with the gradient of product, bias and softmax as one.

    With E = exp(Z - max) and s = Σ_v E the gradient of the logits is (E/s - onehot) dy. Neither
    the division nor the one-hot is ever made as a [K, V] matrix: 1/s scales the rows of X before
    E multiplies them, and the one-hot is K rows taken out of W and put into dW. The vocabulary is
    walked in parts that stay in the cache, each with a maximum of its own; a part's share of the
    common sum corrects for that (Milakov and Gimelshein, arXiv:1805.02867). Parts stand with the
    vocabulary in rows, [V/n, K], as all three products are faster so.

    The logits are there for whoever wants them; they are not computed otherwise.

    Args, returns: as for `plain_vocabulary_loss`; K must be static.
    """
    per_token_loss = _build_fused(
        x, tf.convert_to_tensor(table), tf.convert_to_tensor(bias), labels
    )
    return VocabularyLoss(per_token_loss, _build_logits(x, table, bias))


def count_parts(n_predictions: int, n_words: int) -> int:
    """Returns the number of parts that the vocabulary is walked in."""
    n_bytes = 4 * n_predictions * n_words
    return max(1, min(math.ceil(n_bytes / _PART_BYTES), _MOST_PARTS, n_words))


def _build_logits(x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    logits = tf.matmul(x, tf.cast(table, x.dtype), transpose_b=True)
    return tf.nn.bias_add(tf.cast(logits, tf.float32), bias)  # [K, V]


class _Part(NamedTuple):
    """A part of the vocabulary: its rows of W in the type of X, E [V/n, K], maxima, sums [K]."""

    rows: tf.Tensor
    exponentials: tf.Tensor
    maximum: tf.Tensor
    total: tf.Tensor


@tf.custom_gradient
def _build_fused(x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor):
    n_words = table.shape[0].value
    n_parts = count_parts(x.shape[0].value, n_words)
    sizes = [n_words // n_parts + (i < n_words % n_parts) for i in range(n_parts)]
    parts = [
        _build_part(x, rows, biases)
        for rows, biases in zip(tf.split(table, sizes), tf.split(bias, sizes))
    ]
    maxima = tf.stack([part.maximum for part in parts])  # [n, K]
    maximum = tf.reduce_max(maxima, axis=0)  # [K]
    corrections = tf.exp(maxima - maximum)  # [n, K]
    total = tf.reduce_sum(corrections * tf.stack([part.total for part in parts]), axis=0)
    label_rows = tf.gather(table, labels)  # [K, H]
    # What the product sees of X and W: rounded to its type.
    seen_rows = tf.cast(tf.cast(label_rows, x.dtype), tf.float32)
    label_logits = tf.reduce_sum(tf.cast(x, tf.float32) * seen_rows, axis=1)
    label_logits += tf.gather(bias, labels)

    def gradient(dy: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor, None]:
        factors = tf.unstack(corrections * (dy / total))  # n times [K]
        dx, d_table, d_bias = _build_softmax_gradients(x, parts, factors)
        # The one-hot's share.
        dy_column = tf.expand_dims(dy, 1)
        places = tf.expand_dims(labels, 1)
        dx -= dy_column * seen_rows
        d_table = tf.tensor_scatter_sub(d_table, places, dy_column * tf.cast(x, tf.float32))
        d_bias = tf.tensor_scatter_sub(d_bias, places, dy)
        return tf.cast(dx, x.dtype), d_table, d_bias, None

    return maximum + tf.log(total) - label_logits, gradient


def _build_part(x: tf.Tensor, rows: tf.Tensor, bias: tf.Tensor) -> _Part:
    rows = tf.cast(rows, x.dtype)
    logits = tf.cast(tf.matmul(rows, x, transpose_b=True), tf.float32)  # [V/n, K]
    logits += tf.expand_dims(bias, 1)
    maximum = tf.reduce_max(logits, axis=0)  # [K]
    exponentials = tf.exp(tf.nn.bias_add(logits, -maximum))
    return _Part(rows, exponentials, maximum, tf.reduce_sum(exponentials, axis=0))


def _build_softmax_gradients(
    x: tf.Tensor, parts: Sequence[_Part], factors: Sequence[tf.Tensor]
) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the gradients of X [K, H], W [V, H] and b [V] through E · factor, in float32."""
    dx_parts: List[Any] = []
    table_parts: List[Any] = []
    bias_parts: List[Any] = []
    for part, factor in zip(parts, factors):
        if x.dtype == tf.float32:
            # The product of W and E does not need dy: it runs while E is in the cache.
            dx = tf.matmul(part.rows, part.exponentials, transpose_a=True) * factor  # [H, K]
            d_rows = tf.matmul(part.exponentials, tf.expand_dims(factor, 1) * x)  # [V/n, H]
        else:
            # E reaches from 1 down to where float16 has nothing left; only with its factor, which
            # holds the loss scale, is it in the range that the scale was made for.
            d_logits = tf.cast(part.exponentials * factor, x.dtype)  # [V/n, K]
            dx = tf.cast(tf.matmul(part.rows, d_logits, transpose_a=True), tf.float32)
            d_rows = tf.cast(tf.matmul(d_logits, x), tf.float32)
        dx_parts.append(dx)
        table_parts.append(d_rows)
        bias_parts.append(tf.matmul(part.exponentials, tf.expand_dims(factor, 1)))  # [V/n, 1]
    return (
        tf.transpose(tf.add_n(dx_parts)),
        tf.concat(table_parts, axis=0),
        tf.reshape(tf.concat(bias_parts, axis=0), [-1]),
    )
