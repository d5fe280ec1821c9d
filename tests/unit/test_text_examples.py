"""Lines of text to padded sequences."""

from __future__ import annotations

import numpy as np
import pytest

from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import SPECIAL_TOKENS, build_vocabulary
from bert.downstream.text_examples import build_text_example, iterate_batches, split_pair

WORDS = "the cat sat on a mat".split()


@pytest.fixture
def tokenizer():
    return Tokenizer(build_vocabulary([*SPECIAL_TOKENS, *WORDS]), TokenizerOptions())


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("the cat", ("the cat", "")),
        (" the cat ||| sat \n", ("the cat", "sat")),
        ("a ||| b ||| c", ("a ||| b", "c")),
        ("a|||b", ("a|||b", "")),
        ("a |||", ("a |||", "")),
        ("", ("", "")),
    ],
)
def test_a_line_is_cut_at_its_last_separator(line, pair):
    assert split_pair(line) == pair


def test_one_text(tokenizer):
    example = build_text_example("The cat sat!", 7, tokenizer, 128)
    assert example == (7, ["[CLS]", "the", "cat", "sat", "[UNK]", "[SEP]"], [0] * 6)
    assert build_text_example("", 0, tokenizer, 128).tokens == ["[CLS]", "[SEP]"]


def test_two_texts(tokenizer):
    example = build_text_example("the cat ||| sat", 0, tokenizer, 128)
    assert example.tokens == ["[CLS]", "the", "cat", "[SEP]", "sat", "[SEP]"]
    assert example.segment_ids == [0, 0, 0, 0, 1, 1]


def test_long_texts_are_cut(tokenizer):
    assert build_text_example("the cat sat on", 0, tokenizer, 4).tokens[1:-1] == ["the", "cat"]
    example = build_text_example("the cat sat on a ||| mat a", 0, tokenizer, 7)
    assert example.tokens == ["[CLS]", "the", "cat", "[SEP]", "mat", "a", "[SEP]"]
    example = build_text_example("the cat ||| a mat sat on", 0, tokenizer, 6)
    assert example.tokens == ["[CLS]", "the", "cat", "[SEP]", "a", "[SEP]"]


def test_batches_are_full_and_padded_with_zeros(tokenizer):
    batches = list(iterate_batches(["a", "the cat ||| mat", "on"], tokenizer, 2, 7))
    assert [[e.line_index for e in batch.examples] for batch in batches] == [[0, 1], [2]]
    first, last = batches
    ids = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *WORDS])}
    wanted = ["[CLS]", "the", "cat", "[SEP]", "mat", "[SEP]"]
    assert first.input_ids[1].tolist() == [*(ids[token] for token in wanted), 0]
    assert first.input_mask.tolist() == [[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]]
    assert first.segment_ids[1].tolist() == [0, 0, 0, 0, 1, 1, 0]
    assert last.input_ids.shape == (2, 7)
    assert not last.input_mask[1].any()
    assert last.input_ids.dtype == np.int32
    assert list(iterate_batches([], tokenizer, 2, 7)) == []
