"""Reading text: lines, documents, blocks, compression, and files that cannot be read."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.data import text_files
from bert.data.documents import (
    build_tokenized_documents,
    iterate_blocks,
    iterate_documents,
    permute_documents,
)
from bert.data.text_files import TextReader, compute_sha256, find_text_files
from bert.errors import DataError


def read_lines(*paths):
    return list(TextReader([str(path) for path in paths]).iterate_lines())


def test_lines_end_with_a_line_feed_only_and_lose_carriage_returns(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\ntwo\rstill two\x0b\x0c\x1c\x85\u2028two\n\n\u4e2d\u6587".encode())
    assert read_lines(path) == ["one", "twostill two\x0b\x0c\x1c\x85\u2028two", "", "中文"]


def test_files_are_one_text_and_do_not_end_a_document(tmp_path):
    (tmp_path / "a").write_text("first\n")
    (tmp_path / "b").write_text("second\n\nthird")
    (tmp_path / "c").write_text("fourth\n")
    lines = read_lines(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert list(iterate_documents(lines)) == [["first", "second"], ["third", "fourth"]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_characters_cut_by_a_read_are_whole(tmp_path, monkeypatch, size):
    monkeypatch.setattr(text_files, "READ_BYTES", size)
    text = "aé中\U0001f600\r\nb\n\nc"
    (tmp_path / "a").write_bytes(text.encode())
    assert read_lines(tmp_path / "a") == text.replace("\r", "").split("\n")


def test_gzip_and_zstd_are_read_by_content_not_by_name(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    text = ("a sentence\n" * 300 + "\n" + "中文\n").encode()
    (tmp_path / "plain.gz").write_bytes(text)
    (tmp_path / "gzip.txt").write_bytes(gzip.compress(text[:500]) + gzip.compress(text[500:]))
    frames = [zstandard.ZstdCompressor().compress(part) for part in (text[:500], text[500:])]
    (tmp_path / "zstd.txt").write_bytes(b"".join(frames))
    expected = read_lines(tmp_path / "plain.gz")
    assert len(expected) == 302
    assert read_lines(tmp_path / "gzip.txt") == expected
    assert read_lines(tmp_path / "zstd.txt") == expected


def test_what_was_read_is_described(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x\n"))
    reader = TextReader([str(path)])
    assert list(reader.iterate_lines()) == ["x"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert reader.files == [{"path": str(path), "bytes": path.stat().st_size, "sha256": digest}]
    assert reader.n_bytes == path.stat().st_size
    assert compute_sha256(str(path)) == digest


@pytest.mark.parametrize(
    "content, message",
    [
        (b"fine\nbad \xff byte\n", r"line 2 is not UTF-8 \(invalid start byte\)"),
        (b"fine\n\ncut \xe4\xb8", r"line 3 is not UTF-8 \(unexpected end of data\)"),
        (gzip.compress(b"x" * 1000)[:-9], "compressed file is damaged or cut"),
        (b"\x1f\x8b\x08\x00" + b"\x99" * 40, "damaged|cannot read"),
    ],
)
def test_unreadable_content_names_file_and_place(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_lines(tmp_path / "a")
    assert str(tmp_path / "a") in str(caught.value)


@pytest.mark.parametrize("ending", [b"", b"xyz", b"\xff" * 40])
def test_a_damaged_or_cut_zstd_file_is_an_error(tmp_path, ending):
    zstandard = pytest.importorskip("zstandard")
    content = zstandard.ZstdCompressor(write_checksum=True).compress(b"abc\n" * 1000)
    (tmp_path / "a").write_bytes(content + content[:-3] + ending)
    with pytest.raises(DataError, match="damaged"):
        read_lines(tmp_path / "a")


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "READ_BYTES", 10)
    monkeypatch.setattr(text_files, "MAX_LINE_CHARS", 100)
    (tmp_path / "a").write_text("x\n" + "y" * 500)
    with pytest.raises(DataError, match="line 2 is longer than 100 characters"):
        read_lines(tmp_path / "a")


def test_patterns_keep_their_order_and_must_match(tmp_path):
    for name in ("b.txt", "a.txt", "c.txt.gz", "d.json", "odd[1].txt"):
        (tmp_path / name).write_text("x")
    found = find_text_files([str(tmp_path / "c*"), str(tmp_path / "[ab].txt")])
    assert [path.rsplit("/", 1)[1] for path in found] == ["c.txt.gz", "a.txt", "b.txt"]
    assert len(find_text_files([str(tmp_path)])) == 4
    assert find_text_files([str(tmp_path / "odd[1].txt")]) == [str(tmp_path / "odd[1].txt")]
    with pytest.raises(DataError, match="no input file matches"):
        find_text_files([str(tmp_path / "nothing*")])


LINES = st.lists(st.sampled_from(["", "  ", "a", " bb ", "\u3000", "ccc", "d" * 9]), max_size=30)


@given(LINES)
def test_documents_are_what_lies_between_blank_lines(lines):
    expected = [[]]
    for line in lines:
        if line.strip():
            expected[-1].append(line.strip())
        else:
            expected.append([])
    assert list(iterate_documents(lines)) == [document for document in expected if document]


@given(LINES, st.integers(1, 12))
def test_long_documents_are_cut_without_losing_anything(lines, max_chars):
    whole = [sentence for document in iterate_documents(lines) for sentence in document]
    cut = list(iterate_documents(lines, max_chars))
    assert [sentence for document in cut for sentence in document] == whole
    for document in cut:
        assert sum(map(len, document[:-1])) < max_chars


@given(LINES, st.integers(1, 12))
def test_blocks_hold_all_documents_in_order(lines, block_chars):
    documents = list(iterate_documents(lines))
    blocks = list(iterate_blocks(documents, block_chars))
    assert [document for block in blocks for document in block] == documents
    sizes = [sum(len(s) for document in block for s in document) for block in blocks]
    for block, size in list(zip(blocks, sizes))[:-1]:
        assert size >= block_chars
        assert size - sum(map(len, block[-1])) < block_chars
    if len(sizes) > 1:
        assert sizes[-1] >= block_chars / 2


def encode(sentence):
    return [int(word) for word in sentence.split()]


def test_tokenized_documents_are_flat_and_leave_out_what_is_empty():
    documents = build_tokenized_documents([["1 2", "", "3"], [""], ["4"], []], encode)
    assert documents.tokens.tolist() == [1, 2, 3, 4]
    assert documents.tokens.dtype == np.int32
    assert documents.sentence_starts.tolist() == [0, 2, 3, 4]
    assert documents.document_starts.tolist() == [0, 2, 3]
    turned = permute_documents(documents, [1, 0])
    assert turned.tokens.tolist() == [4, 1, 2, 3]
    assert turned.sentence_starts.tolist() == [0, 1, 3, 4]
    assert turned.document_starts.tolist() == [0, 1, 3]


def test_no_text_is_no_documents():
    documents = build_tokenized_documents([], encode)
    assert documents.n_documents == 0
    assert len(documents.tokens) == 0
