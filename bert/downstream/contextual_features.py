"""The outputs of a pre-trained encoder for texts: a vector per token and layer."""

from __future__ import annotations

import json
import os
from typing import IO, Any, Dict, Iterable, List, NamedTuple, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops, fused_gelu, plain_dropout, plain_gather
from bert.config import BertConfig
from bert.downstream.text_examples import TextBatch, TextExample
from bert.errors import DataError
from bert.model.encoder import build_bert
from bert.training.checkpoints import build_assignment, read_checkpoint_shapes

# Only these take part; a checkpoint without pooler and heads does, too.
_SCOPES = ("bert/embeddings/", "bert/encoder/")


class Encoder(NamedTuple):
    """A session that holds the weights, placeholders [B, S] int32, and layers [B, S, H] float32."""

    session: tf.Session
    placeholders: Dict[str, tf.Tensor]
    layers: List[tf.Tensor]


def build_encoder(
    config: BertConfig,
    checkpoint: str,
    layers: Sequence[int],
    batch_size: int,
    max_seq_length: int,
    one_hot_lookup: bool = False,
) -> Encoder:
    """Builds the model without dropout in a graph of its own, and loads its weights.

    Args:
        config: the model.
        checkpoint: path without suffix, or a directory, which means its newest one.
        layers: which layers, counted from 0, or back from -1, the last one.
        batch_size: B.
        max_seq_length: S.
        one_hot_lookup: look words up by a product with a one-hot matrix.

    Raises:
        DataError: if the checkpoint is absent, corrupt, does not fit, or lacks a weight.
    """
    with tf.Graph().as_default():
        names = ("input_ids", "input_mask", "segment_ids")
        placeholders = {
            name: tf.placeholder(tf.int32, [batch_size, max_seq_length], name) for name in names
        }
        ops = Ops(fused_gelu, plain_dropout, _one_hot_gather if one_hot_lookup else plain_gather)
        outputs = build_bert(*(placeholders[name] for name in names), config, False, ops)
        n_cores = len(os.sched_getaffinity(0))
        session = tf.Session(
            config=tf.ConfigProto(
                intra_op_parallelism_threads=n_cores, inter_op_parallelism_threads=n_cores
            )
        )
        _load_weights(session, checkpoint)
        return Encoder(session, placeholders, [outputs.layers[layer] for layer in layers])


def _one_hot_gather(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    return tf.matmul(tf.one_hot(ids, table.shape[0].value), table)


def _load_weights(session: tf.Session, checkpoint: str) -> None:
    variables = [v for v in tf.global_variables() if v.op.name.startswith(_SCOPES)]
    assignment = build_assignment(
        {variable.op.name: variable.shape.as_list() for variable in variables},
        read_checkpoint_shapes(checkpoint),
        checkpoint,
    )
    if assignment.fresh:
        raise DataError(
            f"--init_checkpoint={checkpoint}: {len(assignment.fresh)} weights of the model are not "
            f"in it, such as {assignment.fresh[0]}; use the configuration that belongs to it"
        )
    path = tf.train.latest_checkpoint(checkpoint) if os.path.isdir(checkpoint) else checkpoint
    tf.train.Saver(variables).restore(session, path)


def compute_layers(encoder: Encoder, batch: TextBatch) -> List[np.ndarray]:
    """Returns the layers asked for, each [B, S, H] float32."""
    feeds = {encoder.placeholders[name]: getattr(batch, name) for name in encoder.placeholders}
    return encoder.session.run(encoder.layers, feeds)


def write_features(
    stream: IO[str], encoder: Encoder, batches: Iterable[TextBatch], layers: Sequence[int]
) -> int:
    """Writes one JSON object per line of input, and returns how many."""
    n_lines = 0
    for batch in batches:
        values = compute_layers(encoder, batch)
        for row, example in enumerate(batch.examples):
            features = render_features(example, layers, [layer[row] for layer in values])
            stream.write(json.dumps(features) + "\n")
            n_lines += 1
    return n_lines


def render_features(
    example: TextExample, layers: Sequence[int], values: Sequence[np.ndarray]
) -> Dict[str, Any]:
    """Returns the object of one line, in the keys of the public BERT's tool.

    Args:
        example: its tokens.
        layers: the layers' indices, as they were asked for.
        values: the layers' outputs, each [S, H].
    """
    return {
        "linex_index": example.line_index,
        "features": [
            {
                "token": token,
                "layers": [
                    {"index": index, "values": [round(float(x), 6) for x in layer[place]]}
                    for index, layer in zip(layers, values)
                ],
            }
            for place, token in enumerate(example.tokens)
        ],
    }
