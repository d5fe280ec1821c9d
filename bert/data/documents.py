"""Documents as the instance makers see them: token ids in one flat array, with their bounds.

A text file holds one sentence per line; an empty line ends a document. A file's end does not.
"""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from bert.errors import DataError


class TokenizedDocuments(NamedTuple):
    """D documents of N sentences of T tokens.

    Because a text segment is a run of neighbouring sentences of one document, it is a slice of
    `tokens`; instances are made and truncated without touching a token.

    Attributes:
        tokens: int32 [T].
        sentence_starts: int64 [N + 1], place of each sentence in `tokens`; the last entry is T.
        document_starts: int64 [D + 1], place of each document in `sentence_starts`; the last is N.
    """

    tokens: np.ndarray
    sentence_starts: np.ndarray
    document_starts: np.ndarray

    @property
    def n_documents(self) -> int:
        """D."""
        return len(self.document_starts) - 1


def iterate_documents(lines: Iterable[str], max_chars: Optional[int] = None) -> Iterator[List[str]]:
    """Groups lines into documents: lists of stripped, non-empty lines.

    Args:
        lines: of the text.
        max_chars: a document that reaches this many characters is ended there, for a text without
            empty lines must not fill the memory; None keeps all documents whole.
    """
    document: List[str] = []
    n_chars = 0
    for line in lines:
        line = line.strip()
        if line:
            document.append(line)
            n_chars += len(line)
        if document and (not line or (max_chars is not None and n_chars >= max_chars)):
            yield document
            document, n_chars = [], 0
    if document:
        yield document


def iterate_blocks(documents: Iterable[List[str]], block_chars: int) -> Iterator[List[List[str]]]:
    """Groups documents, in their order, into blocks of about `block_chars` characters.

    A block ends with the document that fills it. A last block that is less than half full joins
    the one before, so that random segments have a pool to come from.
    """
    waiting: List[List[str]] = []  # one block is held back until the size of the next is known
    block: List[List[str]] = []
    n_chars = 0
    for document in documents:
        block.append(document)
        n_chars += sum(map(len, document))
        if n_chars >= block_chars:
            if waiting:
                yield waiting
            waiting, block, n_chars = block, [], 0
    if n_chars < block_chars / 2:
        waiting, block = waiting + block, []
    if waiting:
        yield waiting
    if block:
        yield block


def build_tokenized_documents(
    documents: Iterable[Sequence[str]], encode: Callable[[str], List[int]]
) -> TokenizedDocuments:
    """Tokenizes documents; sentences and documents without any token are left out.

    Args:
        documents: sentences of each document.
        encode: sentence to ids.
    """
    chunks: List[np.ndarray] = []
    lengths: List[int] = []
    document_starts = [0]
    for document in documents:
        ids: List[int] = []
        for sentence in document:
            before = len(ids)
            ids += encode(sentence)
            if len(ids) > before:
                lengths.append(len(ids) - before)
        if len(lengths) > document_starts[-1]:
            document_starts.append(len(lengths))
            chunks.append(np.array(ids, np.int32))
    return TokenizedDocuments(
        tokens=np.concatenate(chunks) if chunks else np.zeros([0], np.int32),
        sentence_starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        document_starts=np.array(document_starts, np.int64),
    )


def permute_documents(documents: TokenizedDocuments, order: Sequence[int]) -> TokenizedDocuments:
    """Returns the documents in another order."""
    starts = documents.sentence_starts
    bounds = documents.document_starts
    tokens = [documents.tokens[starts[bounds[d]] : starts[bounds[d + 1]]] for d in order]
    lengths = [np.diff(starts[bounds[d] : bounds[d + 1] + 1]) for d in order]
    sentences = [bounds[d + 1] - bounds[d] for d in order]
    return TokenizedDocuments(
        tokens=np.concatenate(tokens),
        sentence_starts=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        document_starts=np.concatenate([[0], np.cumsum(sentences)]).astype(np.int64),
    )


def check_has_documents(documents: TokenizedDocuments, where: str) -> None:
    """Raises DataError if there is not a single token."""
    if documents.n_documents == 0:
        raise DataError(f"{where}: no text; one sentence per line, an empty line between documents")
