"""Sentences to sequences and labels back: every token once, whatever the length."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from hypothesis import given
from hypothesis import strategies as st

from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import build_vocabulary
from bert.downstream.examples import TokenLabelExample
from bert.downstream.labels import LabelMap
from bert.downstream.ner_features import build_row, iterate_chunks, join_labels
from bert.errors import DataError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "甲", "乙", "丙", "。", "ab", "##ab"]
TOKENIZER = Tokenizer(build_vocabulary(WORDS), TokenizerOptions())
LABELS = LabelMap(("O", "B-PER", "I-PER", "B-X", "I-X"))
TOKENS = ["甲", "乙", "丙", "。", "abab", "abababababababab", "\u3000", "\u200b", "新"]

sentences = st.lists(
    st.lists(st.tuples(st.sampled_from(TOKENS), st.sampled_from(LABELS.labels)), max_size=30),
    max_size=5,
)


def build_example(pairs, index=0):
    tokens = tuple(token for token, _ in pairs)
    return TokenLabelExample(f"s-{index}", tokens, tuple(label for _, label in pairs), f"f:{index}")


@given(sentences, st.integers(4, 20))
def test_every_token_gets_its_own_label_back(pairs, length):
    """Items 21 and 24: nothing is truncated, dropped or glued; no label has a special id."""
    examples = [build_example(sentence, i) for i, sentence in enumerate(pairs)]
    chunks = list(iterate_chunks(examples, TOKENIZER, length))
    predicted = np.zeros([len(chunks), length], int)
    n_counted = 0
    for row, chunk in enumerate(chunks):
        example = examples[chunk.example_index]
        features = build_row(chunk, example.labels, LABELS, example.source, TOKENIZER, length)
        assert len(features["input_ids"]) <= length
        mask = np.array(features["label_mask"])
        # An oracle predicts right where the mask is, and nonsense elsewhere.
        predicted[row, : len(mask)] = np.where(mask, features["label_ids"], 4)
        n_counted += mask.sum()
    found = join_labels(chunks, predicted, [len(e.tokens) for e in examples], LABELS)
    assert found == [list(example.labels) for example in examples]
    assert n_counted == sum(len(example.tokens) for example in examples)


def test_further_pieces_and_specials_have_no_label():
    example = build_example([("甲", "B-PER"), ("abab", "I-PER"), ("乙", "O")])
    (chunk,) = iterate_chunks([example], TOKENIZER, 8)
    row = build_row(chunk, example.labels, LABELS, example.source, TOKENIZER, 8)
    assert row["input_ids"] == [2, 4, 8, 9, 5, 3]
    assert row["label_ids"] == [0, 1, 2, 0, 0]
    assert row["label_mask"] == [0, 1, 1, 0, 1]


def test_a_long_sentence_is_cut_behind_a_punctuation_mark():
    example = build_example([(token, "O") for token in "甲乙丙甲。乙丙甲乙"])
    chunks = list(iterate_chunks([example], TOKENIZER, 8))
    assert [(chunk.first_token, len(chunk.pieces)) for chunk in chunks] == [(0, 5), (5, 4)]


def test_a_token_without_pieces_stands_as_unknown():
    example = build_example([("\u200b", "B-PER")])
    (chunk,) = iterate_chunks([example], TOKENIZER, 8)
    assert chunk.pieces == [[1]]


def test_an_unknown_label_names_its_place():
    example = build_example([("甲", "B-LOC")], 7)
    (chunk,) = iterate_chunks([example], TOKENIZER, 8)
    with pytest.raises(DataError, match="f:7: unknown label 'B-LOC'"):
        build_row(chunk, example.labels, LABELS, example.source, TOKENIZER, 8)
