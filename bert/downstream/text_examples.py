"""Lines of text to padded sequences of ids, as a pre-trained model takes them."""

from __future__ import annotations

from typing import Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from bert.data.tokenization import Tokenizer
from bert.data.vocabulary import CLASSIFY, SEPARATE

_PAIR_SEPARATOR = " ||| "


class TextExample(NamedTuple):
    """One sequence, not padded.

    Attributes:
        line_index: which line of the input it is, from 0.
        tokens: [CLS] A [SEP], or [CLS] A [SEP] B [SEP].
        segment_ids: 0 through the first [SEP], then 1.
    """

    line_index: int
    tokens: List[str]
    segment_ids: List[int]


def split_pair(line: str) -> Tuple[str, str]:
    """Returns both texts of `A ||| B`, cut at the last separator; B is empty without one."""
    first, separator, second = line.strip().rpartition(_PAIR_SEPARATOR)
    return (first, second) if separator else (second, "")


def build_text_example(
    line: str, line_index: int, tokenizer: Tokenizer, max_seq_length: int
) -> TextExample:
    """Tokenizes one line and cuts it to fit.

    Of a pair the longer text loses its last token, as often as needed.

    Args:
        line: a text, or two with ` ||| ` between.
        line_index: its place in the input.
        tokenizer: with a vocabulary.
        max_seq_length: longest sequence, special tokens included.
    """
    first, second = (tokenizer.tokenize(text) for text in split_pair(line))
    if second:
        excess = len(first) + len(second) - (max_seq_length - 3)
        for _ in range(excess):
            (first if len(first) > len(second) else second).pop()
    else:
        first = first[: max_seq_length - 2]
    tokens = [CLASSIFY, *first, SEPARATE]
    n_first = len(tokens)
    if second:
        tokens += [*second, SEPARATE]
    return TextExample(line_index, tokens, [0] * n_first + [1] * (len(tokens) - n_first))


class TextBatch(NamedTuple):
    """Sequences padded with zeros, each [B, S] int32, and the examples that they are of."""

    input_ids: np.ndarray
    input_mask: np.ndarray
    segment_ids: np.ndarray
    examples: List[TextExample]


def iterate_batches(
    lines: Iterable[str], tokenizer: Tokenizer, batch_size: int, max_seq_length: int
) -> Iterator[TextBatch]:
    """Yields all lines in batches of static shape; rows of zeros fill up the last one."""
    examples: List[TextExample] = []
    for index, line in enumerate(lines):
        examples.append(build_text_example(line, index, tokenizer, max_seq_length))
        if len(examples) == batch_size:
            yield _build_batch(examples, tokenizer, batch_size, max_seq_length)
            examples = []
    if examples:
        yield _build_batch(examples, tokenizer, batch_size, max_seq_length)


def _build_batch(
    examples: Sequence[TextExample], tokenizer: Tokenizer, batch_size: int, max_seq_length: int
) -> TextBatch:
    ids, mask, segments = np.zeros((3, batch_size, max_seq_length), np.int32)
    for row, example in enumerate(examples):
        n_tokens = len(example.tokens)
        ids[row, :n_tokens] = tokenizer.vocabulary.encode(example.tokens)
        mask[row, :n_tokens] = 1
        segments[row, :n_tokens] = example.segment_ids
    return TextBatch(ids, mask, segments, list(examples))
