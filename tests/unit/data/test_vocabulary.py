"""Vocabularies: reading files as the public BERT does, and learning new ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("google_crc32c")

from bert.data.commands import run_command
from bert.data.learn_vocabulary import (
    VocabularyOptions,
    count_words,
    learn_pieces,
    write_vocabulary,
)
from bert.data.tokenization import TokenizerOptions, split_word
from bert.data.vocabulary import (
    SPECIAL_TOKENS,
    build_vocabulary,
    check_special_tokens,
    main,
    read_vocabulary,
)
from bert.errors import DataError, UsageError


def test_ids_are_line_indices_and_duplicates_keep_place_but_take_the_last_id(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes("[PAD]\r\n the \n\n##s\nthe\n中\n".encode())
    vocabulary = read_vocabulary(str(path))
    assert list(vocabulary.ids.items()) == [
        ("[PAD]", 0),
        ("the", 4),
        ("", 2),
        ("##s", 3),
        ("中", 5),
    ]
    assert vocabulary.size == 6
    assert vocabulary.longest_token_chars == 5


@pytest.mark.parametrize(
    "content, message",
    [(b"", "is empty"), (b"\n\n", "is empty"), (b"a\n\xff\n", "not UTF-8 at byte 2")],
)
def test_files_that_are_no_vocabulary(tmp_path, content, message):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_vocabulary(str(tmp_path / "v"))
    with pytest.raises(DataError, match="cannot read vocabulary .*absent"):
        read_vocabulary(str(tmp_path / "absent"))


def test_missing_special_tokens_are_named():
    check_special_tokens(build_vocabulary(SPECIAL_TOKENS))
    with pytest.raises(DataError, match=r"v\.txt has no \[CLS\] \[MASK\]; add a line"):
        check_special_tokens(build_vocabulary(["[PAD]", "[UNK]", "[SEP]"], "v.txt"))


def test_pairs_are_merged_by_frequency_then_code_point():
    # Pairs: a+##b 5+2 = 7 (in ab, abc), c+##d 7, ##b+##c 2. "ab" comes first by code point.
    options = VocabularyOptions(size=100, min_frequency=2, special_tokens=("[UNK]",))
    tokens = learn_pieces({"ab": 5, "abc": 2, "cd": 7}, options)
    assert tokens == ["[UNK]", "a", "c", "##b", "##c", "##d", "ab", "cd", "abc"]


def test_repeated_pairs_in_one_word_are_counted_and_merged_from_the_left():
    options = VocabularyOptions(size=100, min_frequency=1, special_tokens=())
    tokens = learn_pieces({"aaaaa": 1}, options)
    # a ##a ##a ##a ##a: ##a+##a comes three times and is merged twice; of a+##aa and ##aa+##aa,
    # once each, the latter is first by code point.
    assert tokens == ["a", "##a", "##aa", "##aaaa", "aaaaa"]


def test_the_rarest_characters_are_left_out():
    options = VocabularyOptions(size=100, min_frequency=2, max_alphabet=2, special_tokens=())
    assert learn_pieces({"ab": 3, "az": 1, "b": 1}, options) == ["a", "b", "##b", "ab"]


def test_a_size_below_the_alphabet_is_refused():
    with pytest.raises(UsageError, match="vocab_size 6 is too small"):
        learn_pieces({"abc": 3, "def": 1}, VocabularyOptions(size=6))


@given(
    st.dictionaries(st.text("abcd", min_size=1, max_size=8), st.integers(1, 9), min_size=1),
    st.integers(20, 40),
)
def test_every_learned_vocabulary_spells_its_own_words(counts, size):
    options = VocabularyOptions(size=size)
    tokens = learn_pieces(counts, options)
    assert tokens == learn_pieces(dict(reversed(list(counts.items()))), options)
    assert len(tokens) == len(set(tokens)) <= size
    vocabulary = build_vocabulary(tokens)
    for word in counts:
        pieces = split_word(word, vocabulary, 200)
        assert "".join(piece.replace("##", "") for piece in pieces) == word


def test_words_are_counted_as_the_tokenizer_splits():
    lines = ["The cat, the CAT。猫猫", "a\u2028b"]
    counts = count_words(lines, TokenizerOptions())
    assert counts == {"the": 2, "cat": 2, ",": 1, "。": 1, "猫": 2, "a": 1, "b": 1}


def test_the_command_writes_a_vocabulary(tmp_path, capsys):
    (tmp_path / "t.txt").write_text("low lower lowest\n" * 9)
    arguments = [f"--input_file={tmp_path}/t.txt", f"--output-file={tmp_path}/v", "--num-unused=2"]
    assert run_command(main, [*arguments, "--vocab_size=40"]) == 0
    tokens = (tmp_path / "v").read_text().split("\n")
    assert tokens[:7] == [*SPECIAL_TOKENS, "[unused0]", "[unused1]"]
    assert "lowest" in tokens
    assert "tokens learned from 3 different words" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, code, message",
    [
        ("--input_file=/nowhere", 65, "no input file matches /nowhere"),
        ("--vocab_size=3", 64, "vocab_size 3 is too small"),
        ("--output_file=/nowhere/v", 74, "there is no directory /nowhere"),
        ("--vocab_sise=3", 64, "unknown argument --vocab_sise=3 (did you mean '--vocab_size'?)"),
        ("--vocab_size=many", 64, "invalid int value: 'many'"),
        ("--control_characters=x", 64, "must be format or all"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, change, code, message):
    (tmp_path / "t.txt").write_text("low lower lowest\n")
    arguments = [f"--input_file={tmp_path}/t.txt", f"--output_file={tmp_path}/v", change]
    assert run_command(main, arguments) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "v").exists()


def test_writing_fails_clearly_and_leaves_nothing(tmp_path):
    with pytest.raises(Exception, match="cannot write"):
        write_vocabulary(str(tmp_path / "no" / "v"), ["a"])
    assert list(tmp_path.iterdir()) == []
