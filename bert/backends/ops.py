"""Operators that a backend may bring its own version of, and their plain TensorFlow forms."""

from __future__ import annotations

import math
from typing import Callable, NamedTuple, Sequence, Tuple

import tensorflow.compat.v1 as tf

from bert.backends.vocabulary_loss import VocabularyLoss, plain_vocabulary_loss

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


class Ops(NamedTuple):
    """The operators that the model is given.

    Attributes:
        gelu: x → GELU(x), tanh form, same shape and dtype.
        dropout: (x, rate) → x with a share `rate` of elements set to 0 and the rest scaled up.
        gather: (table [V, H], ids [K] int32) → rows [K, H].
        vocabulary_loss: (x [K, H], table [V, H], bias [V], labels [K] int32) → cross entropy.
        transpose: (x, permutation of its axes that keeps the last one last) → x transposed.
        product: (x [K, D], kernel [D, U]) → x · kernel [K, U].
    """

    gelu: Callable[[tf.Tensor], tf.Tensor]
    dropout: Callable[[tf.Tensor, float], tf.Tensor]
    gather: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    vocabulary_loss: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], VocabularyLoss] = (
        plain_vocabulary_loss
    )
    transpose: Callable[[tf.Tensor, Sequence[int]], tf.Tensor] = tf.transpose
    product: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.matmul


def plain_gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in its tanh form: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Source: Hendrycks and Gimpel, arXiv:1606.08415. The cube is two products because the power
    operator calls a scalar library function for every element.
    """
    inner = _SQRT_2_OVER_PI * x * (1.0 + _CUBIC * x * x)
    return 0.5 * x * (1.0 + tf.tanh(inner))


@tf.custom_gradient
def fused_gelu(x: tf.Tensor):
    """`plain_gelu` with its derivative in closed form.

    Automatic differentiation walks back through every elementary operator and keeps all of their
    results; this keeps x and tanh(·) alone and needs about half of the memory passes.
    """
    square = x * x
    tanh = tf.tanh(x * (_SQRT_2_OVER_PI + (_SQRT_2_OVER_PI * _CUBIC) * square))
    half = 0.5 + 0.5 * tanh

    def gradient(dy: tf.Tensor) -> tf.Tensor:
        # With h = (1 + t)/2: d(x h)/dx = h + x · 2h(1 - h) · u', u' = √(2/π)(1 + 3·0.044715 x²).
        slope = x * (2.0 * _SQRT_2_OVER_PI + (6.0 * _SQRT_2_OVER_PI * _CUBIC) * square)
        return dy * (half * (1.0 + slope * (1.0 - half)))

    return x * half, gradient


def plain_dropout(x: tf.Tensor, rate: float) -> tf.Tensor:
    """Sets a share `rate` of elements to 0 and divides the rest by 1 - rate; identity at 0."""
    return tf.nn.dropout(x, rate=rate) if rate else x


def plain_gather(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Rows of `table` [V, H] by `ids` [K]; the gradient is a sparse IndexedSlices."""
    return tf.gather(table, ids)


@tf.custom_gradient
def dense_gather(table: tf.Tensor, ids: tf.Tensor):
    """Rows of `table` [V, H] by `ids` [K], with a dense gradient for the table.

    The word embedding table gets a second, dense gradient from the vocabulary head that is tied
    to it, and an all-reduce wants dense tensors of fixed shape.
    """
    n_rows = table.shape[0].value

    def gradient(dy: tf.Tensor) -> Tuple[tf.Tensor, None]:
        return tf.math.unsorted_segment_sum(dy, ids, n_rows), None

    return tf.gather(table, ids), gradient


def host_product(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """x [K, D] · kernel [D, U], with the gradient of the kernel in its faster form.

    TensorFlow's CPU kernel computes xᵀ dy a tenth to a half faster when the result is wider than
    high. So where D > U this computes (dyᵀ x)ᵀ; the transposition of the small result is cheap.
    """
    if x.shape[1].value <= kernel.shape[1].value:
        return tf.matmul(x, kernel)
    return _narrowing_product(x, kernel)


@tf.custom_gradient
def _narrowing_product(x: tf.Tensor, kernel: tf.Tensor):
    def gradient(dy: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
        d_kernel = tf.transpose(tf.matmul(dy, x, transpose_a=True))
        return tf.matmul(dy, kernel, transpose_b=True), d_kernel

    return tf.matmul(x, kernel), gradient
