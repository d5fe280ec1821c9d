"""Multi-head self-attention in NumPy float64, with NEZHA's relative positions, and its gradients.

Sources: arXiv:1706.03762 section 3.2 (attention), arXiv:1909.00204 section 2.2 (functional
relative positions).

Legend: B = batch, S = sequence length, N = heads, D = head size, H = hidden size = N * D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np

from tests.reference.numpy_layers import Array, dense, dense_backward, softmax, softmax_backward

# Added to the score of a key that is padding, before the softmax.
MASKED_SCORE = -10000.0
# NEZHA: distances beyond this are treated as this one.
MAX_RELATIVE_POSITION = 64


@dataclass(frozen=True)
class AttentionTrace:
    """What the backward pass needs from the forward pass."""

    inputs: Array  # [B, S, H]
    query: Array  # [B, N, S, D]
    key: Array  # [B, N, S, D]
    value: Array  # [B, N, S, D]
    probabilities: Array  # [B, N, S, S]
    relative: Optional[Array]  # [S, S, D]


def relative_table(head_size: int, max_distance: int = MAX_RELATIVE_POSITION) -> Array:
    """Sinusoids for the distances -max_distance..max_distance (arXiv:1909.00204, equation 3).

    The angle counts from the first row and not from distance 0: so were the published weights
    trained.

    Returns:
        [2 * max_distance + 1, head_size]; even columns sines, odd columns cosines.
    """
    place = np.arange(2 * max_distance + 1, dtype=np.float64)[:, np.newaxis]
    pair = np.arange(0, head_size, 2, dtype=np.float64)
    angle = place / 10000.0 ** (pair / head_size)
    table = np.empty((place.shape[0], head_size), dtype=np.float64)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)[:, : head_size // 2]
    return table


def relative_positions(sequence_length: int, head_size: int) -> Array:
    """a_ij of NEZHA for each query i and key j: [S, S, D]."""
    place = np.arange(sequence_length)
    distance = place[np.newaxis, :] - place[:, np.newaxis]
    clipped = np.clip(distance, -MAX_RELATIVE_POSITION, MAX_RELATIVE_POSITION)
    return relative_table(head_size)[clipped + MAX_RELATIVE_POSITION]


def self_attention(
    inputs: Array,
    input_mask: Array,
    weights: Dict[str, Array],
    prefix: str,
    heads: int,
    relative: Optional[Array] = None,
) -> Tuple[Array, AttentionTrace]:
    """Scaled dot-product attention of all heads, before the output projection.

    score_ij = q_i . (k_j + a_ij) / sqrt(D) and context_i = sum_j p_ij (v_j + a_ij), where a is
    zero without relative positions.

    Args:
        inputs: [B, S, H].
        input_mask: [B, S], 1 for a token, 0 for padding; masks keys only.
        weights: every variable of the model by name.
        prefix: where query, key and value are found in `weights`, ending in "/".
        heads: number of heads.
        relative: [S, S, D] from `relative_positions`, or None.

    Returns:
        The context [B, S, H], and the trace for `self_attention_backward`.
    """
    query, key, value = (
        _split_heads(
            dense(inputs, weights[prefix + part + "/kernel"], weights[prefix + part + "/bias"]),
            heads,
        )
        for part in ("query", "key", "value")
    )
    scores = np.einsum("bnid,bnjd->bnij", query, key)
    if relative is not None:
        scores = scores + np.einsum("bnid,ijd->bnij", query, relative)
    scores = scores / np.sqrt(query.shape[-1])
    scores = scores + MASKED_SCORE * (1.0 - input_mask[:, np.newaxis, np.newaxis, :])
    probabilities = softmax(scores)
    context = np.einsum("bnij,bnjd->bnid", probabilities, value)
    if relative is not None:
        context = context + np.einsum("bnij,ijd->bnid", probabilities, relative)
    trace = AttentionTrace(inputs, query, key, value, probabilities, relative)
    return _merge_heads(context), trace


def self_attention_backward(
    d_context: Array,
    trace: AttentionTrace,
    weights: Dict[str, Array],
    prefix: str,
) -> Tuple[Array, Dict[str, Array]]:
    """Gradients of `self_attention` with respect to its inputs and its variables.

    Args:
        d_context: [B, S, H].
        trace: of the forward pass.
        weights: every variable of the model by name.
        prefix: as in the forward pass.

    Returns:
        d_inputs [B, S, H], and the gradient of each kernel and bias by full name.
    """
    heads, head_size = trace.query.shape[1], trace.query.shape[3]
    d_context = _split_heads(d_context, heads)
    d_probabilities = np.einsum("bnid,bnjd->bnij", d_context, trace.value)
    if trace.relative is not None:
        d_probabilities = d_probabilities + np.einsum("bnid,ijd->bnij", d_context, trace.relative)
    d_scores = softmax_backward(d_probabilities, trace.probabilities) / np.sqrt(head_size)
    d_query = np.einsum("bnij,bnjd->bnid", d_scores, trace.key)
    if trace.relative is not None:
        d_query = d_query + np.einsum("bnij,ijd->bnid", d_scores, trace.relative)
    d_parts = {
        "query": d_query,
        "key": np.einsum("bnij,bnid->bnjd", d_scores, trace.query),
        "value": np.einsum("bnij,bnid->bnjd", trace.probabilities, d_context),
    }
    d_inputs = np.zeros_like(trace.inputs)
    gradients = {}
    for part, d_part in d_parts.items():
        d_input, d_kernel, d_bias = dense_backward(
            _merge_heads(d_part), trace.inputs, weights[prefix + part + "/kernel"]
        )
        d_inputs += d_input
        gradients[prefix + part + "/kernel"] = d_kernel
        gradients[prefix + part + "/bias"] = d_bias
    return d_inputs, gradients


def _split_heads(inputs: Array, heads: int) -> Array:
    """[B, S, H] -> [B, N, S, D]."""
    batch, length, width = inputs.shape
    return inputs.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def _merge_heads(inputs: Array) -> Array:
    """[B, N, S, D] -> [B, S, H]."""
    batch, heads, length, head_size = inputs.shape
    return inputs.transpose(0, 2, 1, 3).reshape(batch, length, heads * head_size)
