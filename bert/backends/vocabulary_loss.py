"""Cross entropy over the vocabulary, the largest computation of a small BERT.

K = predictions, H = hidden size, V = vocabulary. Logits are Z = X Wᵀ + b [K, V] in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

# Parts of the logits that fit a cache with room to spare, and a bound for the size of the graph.
_PART_BYTES = 6 << 20
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
    """What one part of the vocabulary, v rows of W, adds to softmax and gradients.

    Attributes:
        rows: [v, H], the type of X.
        exponentials: E [v, K] float32.
        maximum: [K], the logit that E is relative to.
        total: [K], Σ E.
        product: rowsᵀ E [H, K], or None where it must wait for the gradient's factor.
    """

    rows: tf.Tensor
    exponentials: tf.Tensor
    maximum: tf.Tensor
    total: tf.Tensor
    product: Optional[tf.Tensor]


@tf.custom_gradient
def _build_fused(x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor):
    n_words = table.shape[0].value
    n_parts = count_parts(x.shape[0].value, n_words)
    sizes = [n_words // n_parts + (i < n_words % n_parts) for i in range(n_parts)]
    build_part = _build_part if x.dtype == tf.float32 else _build_narrow_part
    parts = [
        build_part(x, rows, biases)
        for rows, biases in zip(tf.split(table, sizes), tf.split(bias, sizes))
    ]
    maxima = tf.stack([part.maximum for part in parts])  # [n, K]
    maximum = tf.reduce_max(maxima, axis=0)  # [K]
    corrections = tf.exp(maxima - maximum)  # [n, K]
    total = tf.reduce_sum(corrections * tf.stack([part.total for part in parts]), axis=0)
    # What the product sees of X and W: rounded to its type.
    label_rows = tf.cast(tf.cast(tf.gather(table, labels), x.dtype), tf.float32)  # [K, H]
    label_logits = tf.reduce_sum(tf.cast(x, tf.float32) * label_rows, axis=1)
    label_logits += tf.gather(bias, labels)

    def gradient(dy: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor, None]:
        factors = tf.unstack(corrections * (dy / total))  # n times [K]
        gradients = [_build_gradients(x, part, factor) for part, factor in zip(parts, factors)]
        dx_parts, table_parts, bias_parts = zip(*gradients)
        # What is left is the one-hot's share.
        dy_column = tf.expand_dims(dy, 1)
        places = tf.expand_dims(labels, 1)
        dx = tf.transpose(tf.add_n(dx_parts)) - dy_column * label_rows
        d_table = tf.tensor_scatter_sub(
            tf.concat(table_parts, axis=0), places, dy_column * tf.cast(x, tf.float32)
        )
        d_bias = tf.tensor_scatter_sub(tf.reshape(tf.concat(bias_parts, axis=0), [-1]), places, dy)
        return tf.cast(dx, x.dtype), d_table, d_bias, None

    return maximum + tf.log(total) - label_logits, gradient


def _build_part(x: tf.Tensor, rows: tf.Tensor, bias: tf.Tensor) -> _Part:
    """A part in float32: columns beside W add the bias and sum up E within the two products."""
    ones = tf.ones_like(bias)
    wide_rows = tf.concat([rows, tf.stack([bias, ones], axis=1)], axis=1)  # [v, H + 2]
    wide_x = tf.pad(tf.pad(x, [[0, 0], [0, 1]], constant_values=1.0), [[0, 0], [0, 1]])
    logits = tf.matmul(wide_rows, wide_x, transpose_b=True)  # [v, K]
    maximum = tf.reduce_max(logits, axis=0)  # [K]
    exponentials = tf.exp(tf.nn.bias_add(logits, -maximum))
    # It does not need dy: it runs while E is in the cache.
    product = tf.matmul(wide_rows, exponentials, transpose_a=True)  # [H + 2, K]
    width = rows.shape[1].value
    return _Part(rows, exponentials, maximum, product[width + 1], product[:width])


def _build_narrow_part(x: tf.Tensor, rows: tf.Tensor, bias: tf.Tensor) -> _Part:
    """A part in float16: only the products are narrow; bias, maximum and sum are float32."""
    rows = tf.cast(rows, x.dtype)
    logits = tf.cast(tf.matmul(rows, x, transpose_b=True), tf.float32)  # [v, K]
    logits += tf.expand_dims(bias, 1)
    maximum = tf.reduce_max(logits, axis=0)  # [K]
    exponentials = tf.exp(tf.nn.bias_add(logits, -maximum))
    return _Part(rows, exponentials, maximum, tf.reduce_sum(exponentials, axis=0), None)


def _build_gradients(
    x: tf.Tensor, part: _Part, factor: tf.Tensor
) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what E · factor sends to Xᵀ [H, K], to W [v, H] and to b [v, 1], in float32."""
    column = tf.expand_dims(factor, 1)
    d_bias = tf.matmul(part.exponentials, column)
    if part.product is not None:
        return part.product * factor, tf.matmul(part.exponentials, column * x), d_bias
    # E reaches from 1 down to where float16 has nothing left; only with its factor, which holds
    # the loss scale, is it in the range that the scale was made for.
    d_logits = tf.cast(part.exponentials * factor, x.dtype)  # [v, K]
    dx = tf.cast(tf.matmul(part.rows, d_logits, transpose_a=True), tf.float32)
    return dx, tf.cast(tf.matmul(d_logits, x), tf.float32), d_bias
