"""Transposition that leaves the last axis alone, as a gather of rows."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import tensorflow.compat.v1 as tf


def gather_transpose(x: tf.Tensor, permutation: Sequence[int]) -> tf.Tensor:
    """`tf.transpose` for permutations that keep the last axis last.

    TensorFlow's CPU kernel moves element by element; a gather copies whole rows, here the 64
    elements of a head or the scores of a query, and takes a third of the time.

    Args:
        x: static shape [..., M].
        permutation: of the axes; its last entry is the last axis.

    Raises:
        ValueError: if the last axis does not stay last.
    """
    if permutation[-1] != len(permutation) - 1:
        raise ValueError(f"{list(permutation)} moves the last axis")
    inverse = [int(axis) for axis in np.argsort(permutation)]

    @tf.custom_gradient
    def move(x: tf.Tensor):
        return _gather_rows(x, permutation), lambda dy: _gather_rows(dy, inverse)

    return move(x)


def _gather_rows(x: tf.Tensor, permutation: Sequence[int]) -> tf.Tensor:
    shape = x.shape.as_list()
    n_rows = int(np.prod(shape[:-1]))
    # Made in the graph: as constants the row numbers of a large batch would be megabytes of it.
    numbers = tf.transpose(tf.reshape(tf.range(n_rows), shape[:-1]), permutation[:-1])
    rows = tf.gather(tf.reshape(x, [n_rows, shape[-1]]), tf.reshape(numbers, [-1]))
    return tf.reshape(rows, [shape[axis] for axis in permutation])
