"""In which groups gradients are sent: HCCL's split of the backward pass into segments.

A segment is sent as soon as its last gradient is there, while the backward pass goes on. The
backward pass yields gradients from the heads down to the embeddings, and HCCL numbers them in
that order. One segment holds pooler and heads, then follow groups of whole layers, and one
segment holds the embeddings, whose gradient comes last of all.
"""

from __future__ import annotations

import math
import re
from typing import List, Sequence

MOST_SEGMENTS = 8  # of HCCL
_LAYER = re.compile(r"(?:^|/)encoder/layer_(\d+)/")
_EMBEDDINGS = re.compile(r"(?:^|/)embeddings/")


def build_split_indices(variable_names: Sequence[str]) -> List[int]:
    """Returns the index of the last gradient of every segment.

    A group has ⌊√L⌋ of the L layers, which balances the number of messages against their size,
    but never so few that there would be more than 8 segments.

    >>> names = ["bert/embeddings/word_embeddings", "bert/encoder/layer_0/k", "cls/bias"]
    >>> build_split_indices(names)
    [0, 1, 2]

    Args:
        variable_names: of all variables that have a gradient, in any order.

    Returns:
        Ascending indices; the last one is the number of gradients less one.
    """
    layers = [int(match.group(1)) for match in map(_LAYER.search, variable_names) if match]
    n_embeddings = sum(_EMBEDDINGS.search(name) is not None for name in variable_names)
    n_heads = len(variable_names) - len(layers) - n_embeddings
    sizes = [n_heads, *_group_layers(layers), n_embeddings]
    indices: List[int] = []
    total = 0
    for size in sizes:
        if size:
            total += size
            indices.append(total - 1)
    return indices


def _group_layers(layers: Sequence[int]) -> List[int]:
    """Returns the number of gradients in every group of layers, from the topmost down."""
    numbers = sorted(set(layers), reverse=True)
    if not numbers:
        return []
    n_layers = len(numbers)
    n_per_group = max(math.floor(math.sqrt(n_layers)), -(-n_layers // (MOST_SEGMENTS - 2)))
    groups = [numbers[i : i + n_per_group] for i in range(0, n_layers, n_per_group)]
    return [sum(layers.count(number) for number in group) for group in groups]
