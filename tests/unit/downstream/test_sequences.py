"""Sequences of one and two texts, and rows in a file."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from hypothesis import given
from hypothesis import strategies as st

from bert.data.examples import parse_example
from bert.data.records import iterate_records
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import build_vocabulary
from bert.downstream.sequences import build_sequence, truncate_pair, write_rows

TOKENIZER = Tokenizer(build_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]), TokenizerOptions())


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_the_longer_text_loses_its_end_token_by_token(n_first, n_second, n_room):
    first, second = list(range(n_first)), list(range(n_second))
    while len(first) + len(second) > n_room:
        (first if len(first) > len(second) else second).pop()
    assert truncate_pair([0] * n_first, [0] * n_second, n_room) == (len(first), len(second))


def test_sequences():
    assert build_sequence([7, 8, 9], None, TOKENIZER, 4) == {
        "input_ids": [2, 7, 8, 3],
        "input_mask": [1, 1, 1, 1],
        "segment_ids": [0, 0, 0, 0],
    }
    assert build_sequence([7, 8, 9], [5], TOKENIZER, 6) == {
        "input_ids": [2, 7, 8, 3, 5, 3],
        "input_mask": [1] * 6,
        "segment_ids": [0, 0, 0, 0, 1, 1],
    }
    assert build_sequence([7], [], TOKENIZER, 6)["segment_ids"] == [0, 0, 0, 1]


@pytest.mark.parametrize("n_rows", [0, 1, 1024, 1025])
def test_every_row_is_written_once_and_padded(tmp_path, n_rows):
    rows = [{"a": [i] * (i % 3), "b": [1]} for i in range(n_rows)]
    path = str(tmp_path / "rows.tfrecord")
    assert write_rows(path, iter(rows), {"a": 3, "b": 1}) == n_rows
    found = [parse_example(record) for record in iterate_records(path)]
    assert len(found) == n_rows
    for i, example in enumerate(found):
        np.testing.assert_array_equal(example["a"], ([i] * (i % 3) + [0, 0, 0])[:3])
        np.testing.assert_array_equal(example["b"], [1])
