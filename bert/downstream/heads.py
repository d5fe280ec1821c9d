"""The heads of the downstream tasks: what stands on the encoder, its loss, its predictions."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops
from bert.downstream.ner_features import LABEL_IDS, LABEL_MASK
from bert.downstream.reading_features import END_POSITIONS, SPAN_MASK, START_POSITIONS
from bert.downstream.task import CLASSIFICATION, SPAN, TOKEN, Head
from bert.model.encoder import build_bert
from bert.model.layers import get_parameter, normal_initializer
from bert.train_config import TrainConfig

Features = Dict[str, tf.Tensor]

# Added to the logits of places where no answer can be.
_OUT_OF_SPAN = -10000.0


class HeadOutputs(NamedTuple):
    """What a head gives.

    Attributes:
        loss: scalar float32, in nats.
        predictions: name → [B, …]. Among them are `loss` [B] and `weight` [B], such that the
            loss of a whole set is Σ weight · loss / Σ weight.
    """

    loss: tf.Tensor
    predictions: Dict[str, tf.Tensor]


def build_model(
    features: Features, head: Head, config: TrainConfig, ops: Ops, is_training: bool
) -> HeadOutputs:
    """Builds encoder and head.

    Args:
        features: of the task, [B, …] int32.
        head: which one.
        config: the run.
        ops: the backend's operators.
        is_training: whether dropout is on.
    """
    outputs = build_bert(
        features["input_ids"],
        features["input_mask"],
        features["segment_ids"],
        config.bert,
        is_training,
        ops,
        encoder_dtype=config.precision.encoder,
        pooler_dtype=config.precision.heads,
        with_pooler=head.kind == CLASSIFICATION,
    )
    encoded = outputs.pooled if head.kind == CLASSIFICATION else outputs.sequence
    if is_training:
        encoded = ops.dropout(encoded, config.bert.hidden_dropout_prob)
    return _HEADS[head.kind](encoded, features, head, config)


def project(x: tf.Tensor, n_outputs: int, config: TrainConfig) -> tf.Tensor:
    """x Wᵀ + b with the variables `output_weights` [n, H] and `output_bias` [n] of BERT's heads.

    Args:
        x: [K, H] float32.
        n_outputs: n.
        config: for the compute type of heads.

    Returns:
        [K, n] float32.
    """
    compute = tf.as_dtype(config.precision.heads)
    weights = get_parameter(
        "output_weights",
        [n_outputs, x.shape[-1].value],
        normal_initializer(config.bert.initializer_range),
    )
    bias = get_parameter("output_bias", [n_outputs], tf.zeros_initializer())
    logits = tf.matmul(tf.cast(x, compute), tf.cast(weights, compute), transpose_b=True)
    return tf.nn.bias_add(tf.cast(logits, tf.float32), bias)


def build_classification_head(
    pooled: tf.Tensor, features: Features, head: Head, config: TrainConfig
) -> HeadOutputs:
    """One class per sequence; the loss is the mean cross entropy.

    Args:
        pooled: [B, H] float32.
        features: `label_ids` [B, 1].
        head: number of classes C.
        config: the run.

    Returns:
        Predictions `logits` [B, C].
    """
    with tf.variable_scope(head.scope):
        logits = project(pooled, head.n_labels, config)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.reshape(features[LABEL_IDS], [-1]), logits=logits
    )
    predictions = {"logits": logits, "loss": losses, "weight": tf.ones_like(losses)}
    return HeadOutputs(tf.reduce_mean(losses), predictions)


def build_token_head(
    sequence: tf.Tensor, features: Features, head: Head, config: TrainConfig
) -> HeadOutputs:
    """One label per token, read at its first piece; the loss is the mean over the batch's tokens.

    Padding, [CLS], [SEP] and further pieces are no labels of their own: they count nowhere.

    Args:
        sequence: [B, S, H] float32.
        features: `label_ids` and `label_mask`, [B, S].
        head: number of labels C.
        config: the run.

    Returns:
        Predictions `predicted_ids` [B, S] int32.
    """
    batch, length, width = sequence.shape.as_list()
    with tf.variable_scope(head.scope):
        logits = project(tf.reshape(sequence, [batch * length, width]), head.n_labels, config)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.reshape(features[LABEL_IDS], [-1]), logits=logits
    )
    weights = tf.cast(features[LABEL_MASK], tf.float32)  # [B, S]
    sums = tf.reduce_sum(tf.reshape(losses, [batch, length]) * weights, axis=1)  # [B]
    counts = tf.reduce_sum(weights, axis=1)
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    predictions = {
        "predicted_ids": tf.reshape(predicted, [batch, length]),
        "loss": sums / tf.maximum(counts, 1.0),
        "weight": counts,
    }
    loss = tf.reduce_sum(sums) / tf.maximum(tf.reduce_sum(counts), 1.0)
    return HeadOutputs(loss, predictions)


def build_span_head(
    sequence: tf.Tensor, features: Features, head: Head, config: TrainConfig
) -> HeadOutputs:
    """Start and end of an answer; the loss is the mean of the two cross entropies over positions.

    Args:
        sequence: [B, S, H] float32.
        features: `input_span_mask` [B, S], `start_positions` and `end_positions` [B, 1].
        head: two outputs per token.
        config: the run.

    Returns:
        Predictions `start_logits` and `end_logits`, [B, S].
    """
    batch, length, width = sequence.shape.as_list()
    with tf.variable_scope(head.scope):
        logits = project(tf.reshape(sequence, [batch * length, width]), head.n_labels, config)
    logits = tf.transpose(tf.reshape(logits, [batch, length, 2]), [2, 0, 1])  # [2, B, S]
    logits += (1.0 - tf.cast(features[SPAN_MASK], tf.float32)) * _OUT_OF_SPAN
    start_logits, end_logits = tf.unstack(logits)
    losses = []
    for name, scores in ((START_POSITIONS, start_logits), (END_POSITIONS, end_logits)):
        losses.append(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.reshape(features[name], [-1]), logits=scores
            )
        )
    per_example = (losses[0] + losses[1]) / 2.0
    predictions = {
        "start_logits": start_logits,
        "end_logits": end_logits,
        "loss": per_example,
        "weight": tf.ones_like(per_example),
    }
    return HeadOutputs(tf.reduce_mean(per_example), predictions)


_HEADS: Dict[str, Callable[[tf.Tensor, Features, Head, TrainConfig], HeadOutputs]] = {
    CLASSIFICATION: build_classification_head,
    TOKEN: build_token_head,
    SPAN: build_span_head,
}
