"""Whether the ids that stand in records have a row in the model's tables.

An id beyond a table is an error on a CPU in whatever step meets it, and on a device a silent read
of other memory. So some records are looked at before the first step.
"""

from __future__ import annotations

import itertools
from typing import Iterator, Mapping, NamedTuple, Sequence

import numpy as np

from bert.config import BertConfig, check_vocabulary
from bert.data import records, schema
from bert.data.examples import parse_example
from bert.errors import DataError

_MOST_FILES = 64
_RECORDS_PER_FILE = 16


class _Limit(NamedTuple):
    """One feature's ids must be below `n_rows`; `what` has that many."""

    feature: str
    n_rows: int
    what: str


def check_record_ids(
    files: Sequence[str], bert: BertConfig, seq_length: int, tolerant: bool = False
) -> None:
    """Looks at the first records of some files, spread evenly over all.

    Args:
        files: TFRecord files with the features of pre-training.
        bert: the model.
        seq_length: S.
        tolerant: pass over damaged records, instead of failing at them.

    Raises:
        DataError: if an id has no row; the message names file, feature and id.
    """
    limits = (
        _Limit(schema.SEGMENT_IDS, bert.type_vocab_size, "the model's type_vocab_size"),
        _Limit(schema.MASKED_LM_POSITIONS, seq_length, "the sequence length"),
        _Limit(schema.NEXT_SENTENCE_LABELS, 2, "the number of next-sentence labels"),
    )
    every = -(-len(files) // _MOST_FILES)
    for path in files[::every]:
        for payload in itertools.islice(_iterate_records(path, tolerant), _RECORDS_PER_FILE):
            example = parse_example(payload)
            for feature in (schema.INPUT_IDS, schema.MASKED_LM_IDS):
                largest = _find_largest(example, feature, path)
                check_vocabulary(bert, largest + 1, f"{path}: {feature}")
            for limit in limits:
                largest = _find_largest(example, limit.feature, path)
                if largest >= limit.n_rows:
                    raise DataError(
                        f"{path}: {limit.feature} holds {largest}, which is not below "
                        f"{limit.what}, {limit.n_rows}; use the model configuration that was "
                        "made for these data"
                    )


def _iterate_records(path: str, tolerant: bool) -> Iterator[bytes]:
    return records.iterate_intact_records(path, []) if tolerant else records.iterate_records(path)


def _find_largest(example: Mapping[str, Sequence[float]], feature: str, path: str) -> int:
    """Returns the largest id, 0 where there is none: the input says what such a record lacks."""
    values = np.asarray(example.get(feature, ()))
    if not values.size:
        return 0
    if values.min() < 0:
        raise DataError(f"{path}: {feature} holds {values.min()}, ids start at 0")
    return int(values.max())
