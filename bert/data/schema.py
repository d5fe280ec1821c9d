"""The features of one pre-training example, as the public BERT TFRecords have them.

S = max_seq_length, P = max_predictions_per_seq. Padding is 0 everywhere.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Feature(NamedTuple):
    """One feature of the tf.train.Example: its name, its size and its kind of list."""

    name: str
    size: str  # "sequence" (S values), "predictions" (P values) or "one"
    is_float: bool = False

    def length(self, seq_length: int, max_predictions: int) -> int:
        """Number of values in one record."""
        return {"sequence": seq_length, "predictions": max_predictions, "one": 1}[self.size]


INPUT_IDS = "input_ids"
INPUT_MASK = "input_mask"
SEGMENT_IDS = "segment_ids"
MASKED_LM_POSITIONS = "masked_lm_positions"
MASKED_LM_IDS = "masked_lm_ids"
MASKED_LM_WEIGHTS = "masked_lm_weights"
NEXT_SENTENCE_LABELS = "next_sentence_labels"  # 1 = the second text is a random one

PRETRAINING_FEATURES: Tuple[Feature, ...] = (
    Feature(INPUT_IDS, "sequence"),
    Feature(INPUT_MASK, "sequence"),
    Feature(SEGMENT_IDS, "sequence"),
    Feature(MASKED_LM_POSITIONS, "predictions"),
    Feature(MASKED_LM_IDS, "predictions"),
    Feature(MASKED_LM_WEIGHTS, "predictions", is_float=True),
    Feature(NEXT_SENTENCE_LABELS, "one"),
)
