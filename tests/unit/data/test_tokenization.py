"""The tokenizer against worked examples, a plain implementation, and a library's."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.data.tokenization import Tokenizer, TokenizerOptions, split_word, tokenize_basic
from bert.data.vocabulary import SPECIAL_TOKENS, build_vocabulary
from bert.errors import DataError, UsageError
from tests.unit.data import plain_reference

OPTIONS = TokenizerOptions()
CASED = TokenizerOptions(do_lower_case=False)


@pytest.mark.parametrize(
    "text, words",
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("  two\twords \n", ["two", "words"]),
        ("naïve Café", ["naive", "cafe"]),
        ("我是a学生。", ["我", "是", "a", "学", "生", "。"]),
        ("カナ漢字", ["カナ", "漢", "字"]),
        ("don't $5.00 a_b", ["don", "'", "t", "$", "5", ".", "00", "a", "_", "b"]),
        ("zero\u200bwidth\ufeff", ["zerowidth"]),
        ("non\u00a0break\u3000ideographic", ["non", "break", "ideographic"]),
        ("a\u0000b\ufffdc", ["abc"]),
        ("line\u2028separator", ["line", "separator"]),
        ("İstanbul ΣΑΣ", ["istanbul", "σας"]),
        ("\u0301", []),
        ("한국", ["한국"]),
        ("", []),
    ],
)
def test_worked_examples(text, words):
    assert tokenize_basic(text, OPTIONS) == [unicodedata.normalize("NFD", word) for word in words]


def test_without_lower_casing_case_and_accents_stay():
    assert tokenize_basic("Café, Ümlaut", CASED) == ["Café", ",", "Ümlaut"]


@pytest.mark.parametrize("char", ["\ue000", "\u0378"])  # private use, unassigned
def test_the_variant_drops_every_control_category(char):
    assert tokenize_basic(f"a{char}b", OPTIONS) == [f"a{char}b"]
    everything = OPTIONS._replace(control_characters="all")
    assert tokenize_basic(f"a{char}b", everything) == ["ab"]


def test_wordpiece_takes_the_longest_piece_first():
    vocabulary = build_vocabulary(["un", "una", "##aff", "##able", "##ff", "##a", "[UNK]"])
    assert split_word("unaffable", vocabulary, 200) == ["una", "##ff", "##able"]
    assert split_word("unaffablex", vocabulary, 200) == ["[UNK]"]
    assert split_word("able", vocabulary, 200) == ["[UNK]"]


def test_a_word_beyond_the_limit_is_unknown():
    vocabulary = build_vocabulary(["a", "##a", "[UNK]"])
    assert split_word("a" * 100, vocabulary, 100) == ["a"] + ["##a"] * 99
    assert split_word("a" * 101, vocabulary, 100) == ["[UNK]"]
    assert split_word("a" * 200, vocabulary, 200)[0] == "a"


def test_special_tokens_in_the_text_are_just_text():
    vocabulary = build_vocabulary([*SPECIAL_TOKENS, "[", "]", "mask"])
    assert Tokenizer(vocabulary, OPTIONS).tokenize("[MASK]") == ["[", "mask", "]"]


def test_an_unknown_word_without_unk_is_an_error():
    tokenizer = Tokenizer(build_vocabulary(["a"], "v.txt"), OPTIONS)
    assert tokenizer.encode("a a") == [0, 0]
    with pytest.raises(DataError, match=r"the vocabulary v\.txt has no \[UNK\]"):
        tokenizer.encode("b")


@pytest.mark.parametrize(
    "options", [OPTIONS._replace(control_characters="none"), OPTIONS._replace(max_word_chars=0)]
)
def test_options_without_meaning_are_refused(options):
    with pytest.raises(UsageError):
        Tokenizer(build_vocabulary(["a"]), options)


PIECES = ["a", "b", "##a", "##b", "ab", "##ab", "é", "e", "##e", "我", "##我", "0", "##0", ".", "x"]
VOCABULARY = build_vocabulary([*SPECIAL_TOKENS, *PIECES])
# Everything that the rules treat apart, mixed with what the vocabulary knows.
ODD = (
    "\0\t\n\r\x0b\x1c\x85\xa0\xad\u0300\u0301\u0345\u1680\u2000\u200b\u200d\u2028\u2029\u3000\ufeff"
    "\ufffd\ue000\u0378\ud7ff\U0010ffff"
)
TEXT = st.text(
    st.one_of(
        st.sampled_from("ab e0.,-我é ÀßΣσİŐ漢カ한Ⅷ☃$^" + ODD),
        st.characters(blacklist_categories=("Cs",)),
    ),
    max_size=40,
)


@given(TEXT, st.booleans(), st.booleans())
def test_equal_to_the_plain_tokenizer_on_any_text(text, lower, everything):
    options = TokenizerOptions(lower, "all" if everything else "format", 7)
    plain = plain_reference.tokenize(text, VOCABULARY.ids, lower, everything, 7)
    tokenizer = Tokenizer(VOCABULARY, options)
    assert tokenizer.tokenize(text) == plain
    ids = [VOCABULARY.ids[token] for token in plain]
    assert tokenizer.encode(text) == ids
    assert tokenizer.encode(text) == ids  # now from memory


@given(st.lists(TEXT, max_size=6))
def test_remembered_words_do_not_leak_into_other_lines(lines):
    one_for_all = Tokenizer(VOCABULARY, OPTIONS)
    assert [one_for_all.encode(line) for line in lines] == [
        Tokenizer(VOCABULARY, OPTIONS).encode(line) for line in lines
    ]


def test_every_code_point_alone_and_between_letters_is_as_plain():
    tokenizer = Tokenizer(VOCABULARY, OPTIONS)
    # All of the first blocks, a sample of the rest; surrogates are no characters.
    points = [c for c in range(0x110000) if (c % 31 == 0 or c < 0x3100) and c >> 11 != 0x1B]
    for at in range(0, len(points), 64):
        text = " ".join(f"{chr(c)} a{chr(c)}b" for c in points[at : at + 64])
        assert tokenizer.tokenize(text) == plain_reference.tokenize(text, VOCABULARY.ids)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("bert.data.tokenization.MAX_REMEMBERED_WORDS", 10)
    tokenizer = Tokenizer(VOCABULARY, OPTIONS)
    for i in range(1000):
        tokenizer.encode(f"a{i} b{i}")
    assert len(tokenizer._remembered) <= 10 + 2
