"""Sentences with a tag per token, one token per line, as the MSRA corpus and CoNLL have them.

A line is `token tag`, with a space or a tab between, or more columns of which the first is the
token and the last the tag. A blank line ends a sentence, however many there are; lines that begin
with -DOCSTART- are left out.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

from bert.downstream.examples import TokenLabelExample
from bert.downstream.labels import LabelMap
from bert.downstream.readers.lines import get_file_stem, iterate_numbered_lines
from bert.errors import DataError

_DOCUMENT_START = "-DOCSTART-"
# BIO and BIOES, BMES, BILOU: what the prefixes mean is told in metrics.entities.
_TAG = re.compile(r"O|[BIMELSU]-\S+")


def read_ner(
    path: str, has_labels: bool, labels: Optional[LabelMap] = None
) -> List[TokenLabelExample]:
    """Reads a file of sentences.

    Args:
        path: the file.
        has_labels: whether every token must have a tag; otherwise tags may be there or not, and
            are not looked at.
        labels: the tags that may occur; None for any.

    Returns:
        At least one sentence, in the order of the file.

    Raises:
        DataError: the file is unreadable, empty, not UTF-8, or a line of it lacks token or tag or
            has an unknown tag.
    """
    stem = get_file_stem(path)
    examples: List[TokenLabelExample] = []
    tokens: List[str] = []
    tags: List[str] = []
    start = n_columns = 0

    def close() -> None:
        if tokens:
            found = tuple(tags) if has_labels else None
            guid = f"{stem}-{start}"
            examples.append(TokenLabelExample(guid, tuple(tokens), found, f"{path}:{start}"))
        tokens.clear()
        tags.clear()

    for number, line in iterate_numbered_lines(path):
        if not line.strip(" \t") or line.startswith(_DOCUMENT_START):
            close()
            continue
        source = f"{path}:{number}"
        fields = _split_columns(line)
        n_columns = n_columns or len(fields)
        _check_columns(fields, n_columns, has_labels, source)
        if not fields[0]:
            raise DataError(f"{source}: there is no token before the tag; add it")
        if not tokens:
            start = number
        tokens.append(fields[0])
        if has_labels:
            tags.append(_check_tag(fields[-1], labels, source))
    close()
    if not examples:
        raise DataError(f"{path} has no sentences; lines of a token and its tag are wanted")
    return examples


def _split_columns(line: str) -> Tuple[str, ...]:
    """Returns the columns of a line; a token may itself be a space.

    Unicode has more spaces, such as the wide one of Chinese text; those are tokens like others.
    """
    if "\t" in line:
        return tuple(line.rstrip("\t ").split("\t"))
    line = line.rstrip(" ")
    token, _, rest = (" ", "", line[1:]) if line.startswith("  ") else line.partition(" ")
    return (token, *filter(None, rest.split(" ")))


def _check_columns(fields: Tuple[str, ...], n_columns: int, has_labels: bool, source: str) -> None:
    if has_labels and len(fields) < 2:
        raise DataError(
            f"{source}: {fields[0]!r} has no tag; a token, a space or tab, and its tag are wanted"
        )
    if len(fields) != n_columns:
        raise DataError(
            f"{source}: {len(fields)} columns where the lines before have {n_columns}; correct the "
            "line"
        )


def _check_tag(tag: str, labels: Optional[LabelMap], source: str) -> str:
    if not _TAG.fullmatch(tag):
        raise DataError(
            f"{source}: the tag {tag!r} is neither O nor like B-PER, with a prefix of BIO, BIOES, "
            "BMES or BILOU; correct the line"
        )
    if labels is not None:
        labels.get_id(tag, source)
    return tag
