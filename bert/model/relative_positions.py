"""Functional relative positions of NEZHA (Wei et al., arXiv:1909.00204, section 2.1).

a[i, j] is a fixed vector of sines and cosines of the distance j - i between query i and key j,
clipped to ±64. It is added to the key for the scores and to the value for the context, the same
in every layer and head. Nothing is trained, so a NEZHA checkpoint is a BERT checkpoint without
the position table.

B = batch, S = sequence length, N = heads, d = head size.
"""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops

MAX_DISTANCE = 64


def build_position_table(size: int) -> np.ndarray:
    """Returns R [129, d] float64: R[p, 2k] = sin(p / 10000^(2k/d)), R[p, 2k+1] the cosine.

    Row p stands for the distance p - 64.

    Args:
        size: d.
    """
    columns = np.arange(size)
    frequencies = np.power(10000.0, -(columns // 2 * 2) / size)  # [d]
    angles = np.arange(2 * MAX_DISTANCE + 1)[:, np.newaxis] * frequencies  # [129, d]
    return np.where(columns % 2 == 0, np.sin(angles), np.cos(angles))


def build_relative_positions(length: int, size: int, dtype: tf.DType) -> tf.Tensor:
    """Returns a [S, S, d], first axis the query: rows of the table by clipped distance.

    Made once for all layers. The lookup stands in the graph, not its result, which would make
    the graph of S = 512 larger by 64 MB.

    Args:
        length: S.
        size: d.
        dtype: compute type of the layers.
    """
    places = np.arange(length)
    distances = places[np.newaxis, :] - places[:, np.newaxis]
    rows = np.clip(distances, -MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE
    with tf.name_scope("relative_positions"):
        table = tf.constant(build_position_table(size), dtype)
        return tf.gather(table, tf.constant(rows, tf.int32))


def relative_scores(query: tf.Tensor, positions: tf.Tensor, ops: Ops) -> tf.Tensor:
    """q_i · a_ij for every query and key.

    For one query all sequences and heads meet the same [S, d] matrix, so the products of a
    position are one matrix product of B·N rows.

    Args:
        query: [B, S, N, d], as the projection leaves it.
        positions: [S, S, d].
        ops: the backend's operators.

    Returns:
        [B, N, S, S], the type of `query`.
    """
    batch, length, heads, size = query.shape.as_list()
    by_place = tf.reshape(ops.transpose(query, [1, 0, 2, 3]), [length, batch * heads, size])
    scores = tf.matmul(by_place, positions, transpose_b=True)  # [S, B*N, S]
    return ops.transpose(tf.reshape(scores, [length, batch, heads, length]), [1, 2, 0, 3])


def relative_context(probabilities: tf.Tensor, positions: tf.Tensor, ops: Ops) -> tf.Tensor:
    """Σ_j p_ij a_ij for every query.

    Args:
        probabilities: [B, N, S, S], after dropout.
        positions: [S, S, d].
        ops: the backend's operators.

    Returns:
        [B, S, N, d], the type of `probabilities`.
    """
    batch, heads, length, _ = probabilities.shape.as_list()
    by_place = tf.reshape(
        ops.transpose(probabilities, [2, 0, 1, 3]), [length, batch * heads, length]
    )
    context = tf.matmul(by_place, positions)  # [S, B*N, d]
    size = positions.shape[2].value
    return ops.transpose(tf.reshape(context, [length, batch, heads, size]), [1, 0, 2, 3])
