"""The library's tokenizer gives what ours gives: on every proven character, and on any text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from bert.data.library_tokenizer import PROVEN_RANGES, LibraryTokenizer
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import SPECIAL_TOKENS, build_vocabulary
from bert.errors import DataError
from tests.unit.data import plain_reference

LETTERS = "abcdeéöxyz0123456789.,-'我是中文的カな한αβж。，！"
PIECES = [*LETTERS, *("##" + c for c in LETTERS), "ab", "##cd", "the", "##ing", "中文"]
# A vocabulary that knows every proven character, so that nothing hides behind [UNK].
CHARACTERS = [
    chr(c) for first, last in PROVEN_RANGES for c in range(first, last + 1) if chr(c).isprintable()
]


@pytest.mark.parametrize("lower", [True, False])
def test_every_proven_character_in_every_position(lower):
    options = TokenizerOptions(lower)
    forms = {
        part
        for char in CHARACTERS
        for form in (char, char.lower())
        for part in unicodedata.normalize("NFD", form)
    }
    known = sorted(forms | set(CHARACTERS) | set("ab"))
    vocabulary = build_vocabulary([*SPECIAL_TOKENS, *known, *("##" + char for char in known)])
    ours, library = Tokenizer(vocabulary, options), LibraryTokenizer(vocabulary, options)
    for at in range(0, len(CHARACTERS), 40):
        text = " ".join(f"{c} a{c}b {c}{c}" for c in CHARACTERS[at : at + 40])
        assert library.encode(text) == ours.encode(text)
    assert library.n_lines_by_us == 0  # else ours would have been compared with itself


VOCABULARY = build_vocabulary(list(dict.fromkeys([*SPECIAL_TOKENS, *PIECES])))
TEXT = st.text(
    st.one_of(
        st.sampled_from(LETTERS + " ABÉΑ"),
        st.sampled_from(
            "\0\t\x1c\x85\xa0\xad\u0301\u0345\u200b\u2028\u3000\ufeff\ufffd\ue000Σİ\u0378"
        ),
        st.characters(blacklist_categories=("Cs",)),
    ),
    max_size=60,
)


@given(TEXT, st.booleans(), st.sampled_from([5, 100, 200]))
@example("[CLS] [MASK] ab", True, 100)
@example("a" * 100 + " " + "b" * 101, True, 100)
@example("a" * 200 + " " + "b" * 201, True, 200)
@example("\U0002b91f\U0002b920", True, 100)
@example("ΑΣ ΣΑΣ", True, 100)
@example("e\u0301\u0327 \u1100\u1161", True, 100)
def test_equal_on_any_text(text, lower, limit):
    options = TokenizerOptions(lower, max_word_chars=limit)
    ids = LibraryTokenizer(VOCABULARY, options).encode(text)
    tokens = plain_reference.tokenize(text, VOCABULARY.ids, lower, max_word_chars=limit)
    assert ids == [VOCABULARY.ids[token] for token in tokens]


def test_lines_go_where_they_should():
    library = LibraryTokenizer(VOCABULARY, TokenizerOptions())
    library.encode("Plain English, 中文。")
    assert (library.n_lines_by_library, library.n_lines_by_us) == (1, 0)
    for text in ("\u0e01", "a\u0301", "tab\there", "Σ", "\u0378", "\U0001f600"):
        library.encode(text)
    assert (library.n_lines_by_library, library.n_lines_by_us) == (1, 6)


def test_a_vocabulary_without_unk_is_refused():
    with pytest.raises(DataError, match=r"has no \[UNK\]"):
        LibraryTokenizer(build_vocabulary(["a"]), TokenizerOptions())
