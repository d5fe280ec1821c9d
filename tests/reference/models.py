"""Sizes, variables and random batches of the models that the NumPy twin computes.

Legend: B = batch, S = sequence length, H = hidden size, M = predictions of one sequence,
V = vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np

from tests.reference.numpy_layers import Array

WORD_TABLE = "bert/embeddings/word_embeddings"
TYPE_TABLE = "bert/embeddings/token_type_embeddings"
POSITION_TABLE = "bert/embeddings/position_embeddings"
TRANSFORM = "cls/predictions/transform/"
OUTPUT_BIAS = "cls/predictions/output_bias"
NSP = "cls/seq_relationship/"


@dataclass(frozen=True)
class Model:
    """Sizes and choices of one model, by the names of the standard BERT config."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    use_relative_position: bool = False
    layer_norm_epsilon: float = 1e-12


def layer_prefix(index: int) -> str:
    """Start of the names of one encoder layer's variables."""
    return f"bert/encoder/layer_{index}/"


def variable_shapes(model: Model) -> Dict[str, Tuple[int, ...]]:
    """Every variable of the pre-training model by name, in creation order."""
    hidden, inner = model.hidden_size, model.intermediate_size
    shapes: Dict[str, Tuple[int, ...]] = {
        WORD_TABLE: (model.vocab_size, hidden),
        TYPE_TABLE: (model.type_vocab_size, hidden),
    }
    if not model.use_relative_position:
        shapes[POSITION_TABLE] = (model.max_position_embeddings, hidden)

    def add_norm(prefix: str) -> None:
        shapes[prefix + "LayerNorm/beta"] = (hidden,)
        shapes[prefix + "LayerNorm/gamma"] = (hidden,)

    def add_dense(prefix: str, rows: int, columns: int) -> None:
        shapes[prefix + "/kernel"] = (rows, columns)
        shapes[prefix + "/bias"] = (columns,)

    add_norm("bert/embeddings/")
    for index in range(model.num_hidden_layers):
        layer = layer_prefix(index)
        for part in ("query", "key", "value"):
            add_dense(layer + "attention/self/" + part, hidden, hidden)
        add_dense(layer + "attention/output/dense", hidden, hidden)
        add_norm(layer + "attention/output/")
        add_dense(layer + "intermediate/dense", hidden, inner)
        add_dense(layer + "output/dense", inner, hidden)
        add_norm(layer + "output/")
    add_dense("bert/pooler/dense", hidden, hidden)
    add_dense(TRANSFORM + "dense", hidden, hidden)
    add_norm(TRANSFORM)
    shapes[OUTPUT_BIAS] = (model.vocab_size,)
    shapes[NSP + "output_weights"] = (2, hidden)
    shapes[NSP + "output_bias"] = (2,)
    return shapes


def random_weights(model: Model, seed: int, deviation: float = 0.2) -> Dict[str, Array]:
    """Every variable drawn from a normal distribution, gammas around 1.

    Nothing is left at zero or one, and the deviation is ten times that of training, so that a
    forgotten bias, gamma or cross term shows in the outputs.
    """
    random = np.random.RandomState(seed)
    weights = {}
    for name, shape in variable_shapes(model).items():
        centre = 1.0 if name.endswith("gamma") else 0.0
        # Rounded to float32, so that TensorFlow can hold the very same numbers.
        values = (centre + deviation * random.standard_normal(shape)).astype(np.float32)
        weights[name] = values.astype(np.float64)
    return weights


def random_batch(
    model: Model, batch_size: int, sequence_length: int, predictions: int, seed: int
) -> Dict[str, Array]:
    """One batch of the pre-training features, with padding and predictions of weight 0.

    The first sequence is full, the others end at random places, the last has only two tokens; the
    predictions that do not fit have position 0, id 0 and weight 0, as the data tools write them.
    """
    random = np.random.RandomState(seed)
    lengths = random.randint(3, sequence_length, size=batch_size)
    lengths[0] = sequence_length
    lengths[-1] = 2
    place = np.arange(sequence_length)
    input_mask = (place < lengths[:, np.newaxis]).astype(np.int64)
    segment_ids = (place >= lengths[:, np.newaxis] // 2) * input_mask
    input_ids = random.randint(1, model.vocab_size, size=input_mask.shape) * input_mask
    positions = np.zeros((batch_size, predictions), dtype=np.int64)
    ids = np.zeros_like(positions)
    mask_weights = np.zeros(positions.shape, dtype=np.float64)
    for row, length in enumerate(lengths):
        count = min(predictions, max(1, length // 3))
        positions[row, :count] = np.sort(random.choice(length, size=count, replace=False))
        ids[row, :count] = random.randint(1, model.vocab_size, size=count)
        mask_weights[row, :count] = 1.0
    return {
        "input_ids": input_ids,
        "input_mask": input_mask,
        "segment_ids": segment_ids,
        "masked_lm_positions": positions,
        "masked_lm_ids": ids,
        "masked_lm_weights": mask_weights,
        "next_sentence_labels": random.randint(0, 2, size=(batch_size, 1)),
    }
