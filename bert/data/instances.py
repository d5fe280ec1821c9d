"""Segment pairs and masks to the features of a record, a batch at a time.

Shapes: N = instances, S = sequence length, P = predictions per sequence.
"""

from __future__ import annotations

from typing import Dict, NamedTuple

import numpy as np

from bert.data import schema
from bert.data.masking import MaskedBatch
from bert.data.segments import N_SPECIAL_TOKENS, SegmentPairs


class InputBatch(NamedTuple):
    """[CLS] A [SEP] B [SEP] of N instances, not yet masked.

    Attributes:
        input_ids: int32 [N, S].
        segment_ids: int32 [N, S], 0 up to the first [SEP], 1 up to the second, 0 after.
        lengths: int64 [N], tokens used, special ones included.
    """

    input_ids: np.ndarray
    segment_ids: np.ndarray
    lengths: np.ndarray


def build_inputs(
    tokens: np.ndarray, pairs: SegmentPairs, seq_length: int, classify_id: int, separate_id: int
) -> InputBatch:
    """Gathers the tokens of segment pairs.

    Args:
        tokens: int32 [T], the flat array the pairs point into.
        pairs: N truncated pairs.
        seq_length: S.
        classify_id: of [CLS].
        separate_id: of [SEP].
    """
    a_lengths = pairs.a_ends - pairs.a_starts
    b_lengths = pairs.b_ends - pairs.b_starts
    lengths = a_lengths + b_lengths + N_SPECIAL_TOKENS
    place = np.arange(seq_length)
    first_separator = a_lengths[:, None] + 1
    second_separator = lengths[:, None] - 1
    in_b = place > first_separator
    source = place + np.where(in_b, (pairs.b_starts - a_lengths - 2)[:, None], -1)
    source += np.where(in_b, 0, pairs.a_starts[:, None])
    # Places outside of A and B are overwritten below; they only must not reach beyond the array.
    np.clip(source, 0, len(tokens) - 1, out=source)
    input_ids = tokens[source]
    input_ids[:, 0] = classify_id
    input_ids[place == first_separator] = separate_id
    input_ids[place == second_separator] = separate_id
    used = place <= second_separator
    input_ids[~used] = 0
    return InputBatch(input_ids, (in_b & used).astype(np.int32), lengths)


def build_features(
    inputs: InputBatch, masked: MaskedBatch, random_next: np.ndarray
) -> Dict[str, np.ndarray]:
    """Returns the features of N records by name, in the order in which they are written."""
    seq_length = inputs.input_ids.shape[1]
    return {
        schema.INPUT_IDS: masked.input_ids,
        schema.INPUT_MASK: (np.arange(seq_length) < inputs.lengths[:, None]).astype(np.int32),
        schema.SEGMENT_IDS: inputs.segment_ids,
        schema.MASKED_LM_POSITIONS: masked.positions,
        schema.MASKED_LM_IDS: masked.label_ids,
        schema.MASKED_LM_WEIGHTS: masked.weights,
        schema.NEXT_SENTENCE_LABELS: random_next[:, None].astype(np.int32),
    }
