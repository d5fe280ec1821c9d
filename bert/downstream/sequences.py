"""Ids of one or two texts to the sequence that a model takes, and rows of features to a file."""

from __future__ import annotations

import itertools
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from bert.data.atomic import atomic_file
from bert.data.examples import encode_framed_examples
from bert.data.tokenization import Tokenizer
from bert.data.vocabulary import CLASSIFY, SEPARATE

INPUT_IDS, INPUT_MASK, SEGMENT_IDS = "input_ids", "input_mask", "segment_ids"

# One row of features: name → integers, padded with zeros on the right when they are written.
Row = Mapping[str, Sequence[int]]

_ROWS_AT_ONCE = 1024


def truncate_pair(first: Sequence[int], second: Sequence[int], n_room: int) -> Tuple[int, int]:
    """Returns how many tokens of two texts are kept so that they fit in `n_room` together.

    The longer one loses its last token, the second if both are as long, as often as needed.
    """
    n_first, n_second = len(first), len(second)
    excess = n_first + n_second - n_room
    if excess <= 0:
        return n_first, n_second
    # First the longer one is cut down to the other's length, then both by turns.
    gap = min(excess, abs(n_first - n_second))
    if n_first > n_second:
        n_first -= gap
    else:
        n_second -= gap
    excess -= gap
    return n_first - excess // 2, n_second - (excess + 1) // 2


def build_sequence(
    first: Sequence[int], second: Optional[Sequence[int]], tokenizer: Tokenizer, max_seq_length: int
) -> Dict[str, List[int]]:
    """Returns `input_ids`, `input_mask` and `segment_ids` of [CLS] A [SEP], or of a pair.

    Args:
        first: ids of the text.
        second: ids of the second text, which may be empty; None if there is none.
        tokenizer: for the ids of [CLS] and [SEP].
        max_seq_length: longest sequence, special tokens included.
    """
    start, end = tokenizer.vocabulary.encode([CLASSIFY, SEPARATE])
    if second is None:
        ids = [start, *first[: max_seq_length - 2], end]
        segments = [0] * len(ids)
    else:
        n_first, n_second = truncate_pair(first, second, max_seq_length - 3)
        ids = [start, *first[:n_first], end, *second[:n_second], end]
        segments = [0] * (n_first + 2) + [1] * (n_second + 1)
    return {INPUT_IDS: ids, INPUT_MASK: [1] * len(ids), SEGMENT_IDS: segments}


def write_rows(path: str, rows: Iterable[Row], lengths: Mapping[str, int]) -> int:
    """Writes rows as a TFRecord file of int64 features, padded with zeros.

    Args:
        path: final name.
        rows: features; each has all names of `lengths`, and not more values.
        lengths: feature name → number of values in a record.

    Returns:
        The number of rows.

    Raises:
        OutputError: the file cannot be written.
    """
    n_rows = 0
    with atomic_file(path, "wb") as stream:
        for block in _iterate_blocks(rows):
            features = {}
            for name, length in lengths.items():
                values = np.zeros([len(block), length], np.int64)
                for place, row in enumerate(block):
                    values[place, : len(row[name])] = row[name]
                features[name] = values
            stream.write(encode_framed_examples(features).data)
            n_rows += len(block)
    return n_rows


def _iterate_blocks(rows: Iterable[Row]) -> Iterator[List[Row]]:
    iterator = iter(rows)
    while True:
        block = list(itertools.islice(iterator, _ROWS_AT_ONCE))
        if not block:
            return
        yield block
