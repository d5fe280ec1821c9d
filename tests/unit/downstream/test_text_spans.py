"""Pieces and the characters they stand for: nothing of a text is lost or moved."""

from __future__ import annotations

import pytest

pytest.importorskip("google_crc32c")

from hypothesis import given
from hypothesis import strategies as st

from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import UNKNOWN, build_vocabulary
from bert.downstream.text_spans import find_covering_pieces, tokenize_with_spans

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "北", "京", "大", "学", "，", "。", "19", "##98", "年"]
WORDS += ["un", "##aff", "##able", "Un", "e", "##e", "ss", "##s", "i", "a", "##a", "(", ")", "!"]
VOCABULARY = build_vocabulary(WORDS)
# Letters with accents, of two characters in lower case, marks, spaces of all kinds, controls.
ALPHABET = (
    "北京大学，。1998 年unaffableUNÉe\u0301\u0130ß\t\n\u3000\u200b\u00a0\ufffdﬁ(!)a\u00ad\u2028"
)


def build_tokenizer(lower=True, control="format"):
    return Tokenizer(VOCABULARY, TokenizerOptions(lower, control))


@given(st.text(ALPHABET, max_size=24), st.booleans(), st.sampled_from(["format", "all"]))
def test_pieces_are_those_of_the_tokenizer_and_spans_are_in_order(text, lower, control):
    tokenizer = build_tokenizer(lower, control)
    spans = tokenize_with_spans(text, tokenizer)
    assert [span.token for span in spans] == tokenizer.tokenize(text)
    for span in spans:
        assert 0 <= span.start_char < span.end_char <= len(text)
    for before, after in zip(spans, spans[1:]):
        assert before.start_char <= after.start_char
        assert before.end_char <= after.end_char


@given(st.text("北京大学，。年an(!) \n\u3000", max_size=24))
def test_characters_of_plain_text_belong_to_one_piece_each(text):
    spans = tokenize_with_spans(text, build_tokenizer())
    covered = [place for span in spans for place in range(span.start_char, span.end_char)]
    assert covered == [place for place, char in enumerate(text) if not char.isspace()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1998年", [("19", "19"), ("##98", "98"), ("年", "年")]),
        ("UNAFFABLE", [("un", "UN"), ("##aff", "AFF"), ("##able", "ABLE")]),
        ("  北 京\n", [("北", "北"), ("京", "京")]),
        ("xyz。", [(UNKNOWN, "xyz"), ("。", "。")]),
        ("(a)", [("(", "("), ("a", "a"), (")", ")")]),
    ],
)
def test_spans_of_worked_examples(text, wanted):
    spans = tokenize_with_spans(text, build_tokenizer())
    assert [(s.token, text[s.start_char : s.end_char]) for s in spans] == wanted


def test_a_combining_mark_belongs_to_its_letter():
    text = "ae\u0301a"
    spans = tokenize_with_spans(
        text, Tokenizer(build_vocabulary([*WORDS, "ae"]), TokenizerOptions())
    )
    assert [(s.token, text[s.start_char : s.end_char]) for s in spans] == [
        ("ae", "ae\u0301"),
        ("##a", "a"),
    ]


def test_without_lower_casing_upper_case_text_keeps_its_pieces():
    """Item 25: lower-casing and the words of the context cannot disagree."""
    for lower, wanted in ((True, ["un", "##aff"]), (False, ["Un", "##aff"])):
        spans = tokenize_with_spans("Unaff", build_tokenizer(lower))
        assert [span.token for span in spans] == wanted
        assert [(s.start_char, s.end_char) for s in spans] == [(0, 2), (2, 5)]


@given(st.data(), st.text("北京大学，。年a \n", min_size=1, max_size=16))
def test_covering_pieces_are_those_that_a_search_of_all_finds(data, text):
    spans = tokenize_with_spans(text, build_tokenizer())
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    wanted = [i for i, s in enumerate(spans) if s.start_char < end and s.end_char > start]
    first, last = find_covering_pieces(spans, start, end)
    assert list(range(first, last + 1)) == wanted
