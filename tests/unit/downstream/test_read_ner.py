"""Reader of sentences with a tag per token."""

from __future__ import annotations

import pytest

from bert.downstream.examples import TokenLabelExample
from bert.downstream.labels import LabelMap
from bert.downstream.readers.ner import read_ner
from bert.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="train.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    return write_file


def get_sentences(examples):
    return [("".join(e.tokens), e.labels and " ".join(e.labels)) for e in examples]


@pytest.mark.parametrize("separator", [" ", "\t", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_spaces_tabs_and_line_ends(write, separator, end):
    lines = [f"李{separator}B-PER", f"明{separator}I-PER", "", f"好{separator}O"]
    path = write(end.join(lines))
    assert read_ner(path, True) == [
        TokenLabelExample("train-1", ("李", "明"), ("B-PER", "I-PER"), f"{path}:1"),
        TokenLabelExample("train-4", ("好",), ("O",), f"{path}:4"),
    ]


def test_blank_lines_wherever_they_are(write):
    """Item 24: two blank lines in a row, or one at the beginning, were an IndexError."""
    path = write("\n\n李 B-PER\n\n \n\t\n明 O\n\n\n")
    assert get_sentences(read_ner(path, True)) == [("李", "B-PER"), ("明", "O")]


def test_sentences_end_at_blank_lines_only(write):
    """Item 24: sentences without a Chinese full stop were glued together."""
    path = write("甲 O\n！ O\n\n乙 O\n\n丙 O\n。 O\n丁 O\n")
    assert [text for text, _ in get_sentences(read_ner(path, True))] == ["甲！", "乙", "丙。丁"]


def test_the_last_sentence_needs_no_blank_line(write):
    """Item 24: without one it was lost."""
    assert get_sentences(read_ner(write("李 B-PER\n\n明 I-PER"), True)) == [
        ("李", "B-PER"),
        ("明", "I-PER"),
    ]


def test_the_encoding_is_utf_8_whatever_the_locale(write, monkeypatch):
    """Item 24: the encoding was that of the locale."""
    monkeypatch.setenv("LC_ALL", "C")
    assert get_sentences(read_ner(write("\ufeff李 O\n"), True)) == [("李", "O")]
    with pytest.raises(DataError, match="train.txt: line 2 is not UTF-8"):
        read_ner(write("李 O\n".encode() + "明 O\n".encode("gbk")), True)


def test_any_types_and_alphabets(write):
    path = write("a B-gene\nb M-gene\nc E-gene\nd S-药物\ne U-X\nf L-GEO-LOC\n")
    assert read_ner(path, True)[0].labels == (
        "B-gene",
        "M-gene",
        "E-gene",
        "S-药物",
        "U-X",
        "L-GEO-LOC",
    )


def test_document_starts_and_more_columns(write):
    path = write(
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n-DOCSTART- a b c\nx y z O"
    )
    examples = read_ner(path, True)
    assert [e.tokens for e in examples] == [("EU", "rejects"), ("x",)]
    assert examples[0].labels == ("B-ORG", "O")


def test_tokens_that_are_spaces(write):
    path = write("李 O\n  O\n\u3000 O\n \tO\n")
    assert read_ner(path, True)[0].tokens == ("李", " ", "\u3000", " ")


def test_files_without_tags_are_for_prediction(write):
    assert get_sentences(read_ner(write("李\n明\n\n好\n"), False)) == [("李明", None), ("好", None)]
    assert get_sentences(read_ner(write("李 B-PER\n明 ??\n"), False)) == [("李明", None)]
    with pytest.raises(DataError, match="train.txt:2: 2 columns where the lines before have 1"):
        read_ner(write("李\n明 O\n"), False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no sentences; lines of a token and its tag are wanted"),
        ("\n\n", "has no sentences"),
        ("李 B-PER\n明\n", ":2: '明' has no tag"),
        ("李\tB-PER\n明\t\n", ":2: '明' has no tag"),
        ("李 B-PER\n\tO\n", ":2: there is no token before the tag"),
        ("李 B-PER\n O\n", ":2: there is no token before the tag"),
        ("李 B-PER x O\n明 O\n", ":2: 2 columns where the lines before have 4"),
        ("李 PER\n", ":1: the tag 'PER' is neither O nor like B-PER"),
        ("李 B_PER\n", ":1: the tag 'B_PER' is neither"),
        ("李 B-\n", ":1: the tag 'B-' is neither"),
        ("李 o\n", ":1: the tag 'o' is neither"),
    ],
)
def test_bad_files_are_told_by_file_line_and_remedy(write, content, message):
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        read_ner(path, True)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tag_that_training_did_not_have_is_refused(write):
    with pytest.raises(DataError, match=r"txt:2: unknown label 'B-GPE' .*labels are 'O', 'B-"):
        read_ner(write("李 O\n国 B-GPE\n"), True, LabelMap(("O", "B-PER", "I-PER")))
