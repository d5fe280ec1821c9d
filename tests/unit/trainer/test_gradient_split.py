"""The gradient split: the indices of the field, and what holds for any number of layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.backends.ascend_gradient_split import MOST_SEGMENTS, build_split_indices


def list_names(n_layers, n_embeddings=5, n_heads=9, n_per_layer=16):
    """Variables of a model in order of creation."""
    names = [f"bert/embeddings/e{i}" for i in range(n_embeddings)]
    for layer in range(n_layers):
        names += [f"bert/encoder/layer_{layer}/attention/v{i}" for i in range(n_per_layer)]
    return (
        names
        + ["bert/pooler/dense/kernel", "cls/bias", *map("cls/h{}".format, range(n_heads))][:n_heads]
    )


@pytest.mark.parametrize(
    ("n_layers", "indices"),
    [
        (2, [8, 24, 40, 45]),
        (6, [8, 40, 72, 104, 109]),
        (12, [8, 56, 104, 152, 200, 205]),
        (24, [8, 72, 136, 200, 264, 328, 392, 397]),
    ],
)
def test_indices_of_the_field(n_layers, indices):
    assert build_split_indices(list_names(n_layers)) == indices


@pytest.mark.parametrize("n_layers", [12, 24])
def test_a_model_without_a_position_table_has_one_gradient_less(n_layers):
    bert = build_split_indices(list_names(n_layers))
    nezha = build_split_indices(list_names(n_layers, n_embeddings=4))
    assert nezha == [*bert[:-1], bert[-1] - 1]


def test_frozen_variables_are_not_counted():
    names = [name for name in list_names(12) if "layer_11/" not in name]
    assert build_split_indices(names) == [8, 56, 104, 152, 184, 189]


def test_parts_that_are_absent_make_no_segment():
    assert build_split_indices(["dense/kernel", "dense/bias"]) == [1]
    assert build_split_indices(["embeddings/word", "encoder/layer_0/a"]) == [0, 1]


@given(st.integers(1, 200), st.integers(1, 5), st.integers(1, 11), st.integers(1, 16))
def test_any_model(n_layers, n_embeddings, n_heads, n_per_layer):
    names = list_names(n_layers, n_embeddings, n_heads, n_per_layer)
    indices = build_split_indices(names)
    assert indices == sorted(set(indices))
    assert len(indices) <= MOST_SEGMENTS
    assert indices[0] == n_heads - 1
    assert indices[-1] == len(names) - 1
    assert indices[-1] - indices[-2] == n_embeddings
    sizes = [b - a for a, b in zip(indices, indices[1:-1])]
    # Whole layers; all groups alike but the last.
    assert all(size % n_per_layer == 0 for size in sizes)
    assert all(size == sizes[0] for size in sizes[:-1])
    assert sizes[-1] <= sizes[0]
