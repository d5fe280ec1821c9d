"""BERT and NEZHA pre-training in NumPy float64: forward pass, both losses, and every gradient.

An independent twin of the trainer, written from the published equations (arXiv:1810.04805 for the
model and its two tasks, arXiv:1706.03762 for the encoder, arXiv:1909.00204 for NEZHA). Variables
are a dict from the checkpoint's variable name to its array. Dropout is off.

Legend: B = batch, S = sequence length, H = hidden size, M = predictions of one sequence,
V = vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import numpy as np

from tests.reference.models import (
    NSP,
    OUTPUT_BIAS,
    POSITION_TABLE,
    TRANSFORM,
    TYPE_TABLE,
    WORD_TABLE,
    Model,
    layer_prefix,
)
from tests.reference.numpy_attention import (
    AttentionTrace,
    relative_positions,
    self_attention,
    self_attention_backward,
)
from tests.reference.numpy_layers import (
    ACTIVATIONS,
    Array,
    cross_entropy,
    cross_entropy_backward,
    dense,
    dense_backward,
    embedding_backward,
    layer_norm,
    layer_norm_backward,
)

# Keeps the MLM loss finite when every prediction of a batch has weight 0.
WEIGHT_EPSILON = 1e-5


@dataclass(frozen=True)
class LayerTrace:
    """What the backward pass of one encoder layer needs."""

    attention: AttentionTrace
    context: Array  # [B, S, H]
    attention_sum: Array  # [B, S, H], before LayerNorm
    attention_output: Array  # [B, S, H]
    intermediate: Array  # [B, S, I], before the activation
    output_sum: Array  # [B, S, H], before LayerNorm


@dataclass(frozen=True)
class Outputs:
    """Results of one forward pass; `trace` is for `gradients` alone."""

    sequence_output: Array  # [B, S, H]
    pooled_output: Array  # [B, H]
    masked_lm_logits: Array  # [B * M, V]
    next_sentence_logits: Array  # [B, 2]
    masked_lm_loss: float
    next_sentence_loss: float
    trace: Dict[str, Any]

    @property
    def total_loss(self) -> float:
        """Sum of both losses, in nats."""
        return self.masked_lm_loss + self.next_sentence_loss


def forward(model: Model, weights: Dict[str, Array], batch: Dict[str, Array]) -> Outputs:
    """The whole forward pass.

    Args:
        model: sizes.
        weights: float64 variables by name.
        batch: features as of `models.random_batch`: input_ids, input_mask, segment_ids [B, S],
            masked_lm_positions, masked_lm_ids, masked_lm_weights [B, M],
            next_sentence_labels [B, 1].

    Returns:
        Outputs, both losses, and the trace that `gradients` needs.
    """
    batch_size, length = batch["input_ids"].shape
    relative = None
    embedded = weights[WORD_TABLE][batch["input_ids"]] + weights[TYPE_TABLE][batch["segment_ids"]]
    if model.use_relative_position:
        relative = relative_positions(length, model.hidden_size // model.num_attention_heads)
    else:
        embedded = embedded + weights[POSITION_TABLE][:length]
    hidden = _norm(embedded, weights, "bert/embeddings/", model)

    traces: List[LayerTrace] = []
    for index in range(model.num_hidden_layers):
        hidden, trace = _layer(hidden, batch["input_mask"], weights, index, model, relative)
        traces.append(trace)

    first_token = hidden[:, 0]
    pooled = np.tanh(_dense(first_token, weights, "bert/pooler/dense"))

    activation = ACTIVATIONS[model.hidden_act][0]
    rows = np.arange(batch_size)[:, np.newaxis]
    gathered = hidden[rows, batch["masked_lm_positions"]].reshape(-1, model.hidden_size)
    transform = _dense(gathered, weights, TRANSFORM + "dense")
    activated = activation(transform)
    normed = _norm(activated, weights, TRANSFORM, model)
    masked_lm_logits = normed @ weights[WORD_TABLE].T + weights[OUTPUT_BIAS]
    label_weights = batch["masked_lm_weights"].reshape(-1)
    per_token = cross_entropy(masked_lm_logits, batch["masked_lm_ids"].reshape(-1))
    divisor = label_weights.sum() + WEIGHT_EPSILON

    next_sentence_logits = pooled @ weights[NSP + "output_weights"].T + weights[NSP + "output_bias"]
    per_sequence = cross_entropy(next_sentence_logits, batch["next_sentence_labels"].reshape(-1))

    return Outputs(
        sequence_output=hidden,
        pooled_output=pooled,
        masked_lm_logits=masked_lm_logits,
        next_sentence_logits=next_sentence_logits,
        masked_lm_loss=float((label_weights * per_token).sum() / divisor),
        next_sentence_loss=float(per_sequence.mean()),
        trace={
            "embedded": embedded,
            "layers": traces,
            "first_token": first_token,
            "gathered": gathered,
            "transform": transform,
            "activated": activated,
            "normed": normed,
        },
    )


def gradients(
    model: Model, weights: Dict[str, Array], batch: Dict[str, Array], outputs: Outputs
) -> Dict[str, Array]:
    """Gradient of the total loss with respect to every variable, by the chain rule by hand.

    Args:
        model: sizes.
        weights: as given to `forward`.
        batch: as given to `forward`.
        outputs: what `forward` returned for them.

    Returns:
        One array for each variable, of its shape.
    """
    result: Dict[str, Array] = {}
    trace = outputs.trace
    d_hidden = np.zeros_like(outputs.sequence_output)

    # Next sentence: the mean over the batch, then the pooler, into the first token alone.
    labels = batch["next_sentence_labels"].reshape(-1)
    d_logits = cross_entropy_backward(
        np.full(labels.shape, 1.0 / labels.shape[0]), outputs.next_sentence_logits, labels
    )
    result[NSP + "output_weights"] = d_logits.T @ outputs.pooled_output
    result[NSP + "output_bias"] = d_logits.sum(axis=0)
    d_pooled = d_logits @ weights[NSP + "output_weights"]
    d_pooled = d_pooled * (1.0 - outputs.pooled_output**2)
    d_hidden[:, 0] += _dense_grad(
        d_pooled, trace["first_token"], weights, "bert/pooler/dense", result
    )

    # Masked tokens: the output matrix is the word table, which therefore has two gradients.
    label_weights = batch["masked_lm_weights"].reshape(-1)
    d_logits = cross_entropy_backward(
        label_weights / (label_weights.sum() + WEIGHT_EPSILON),
        outputs.masked_lm_logits,
        batch["masked_lm_ids"].reshape(-1),
    )
    result[OUTPUT_BIAS] = d_logits.sum(axis=0)
    d_word_table = d_logits.T @ trace["normed"]
    d_normed = d_logits @ weights[WORD_TABLE]
    d_activated = _norm_grad(d_normed, trace["activated"], weights, TRANSFORM, model, result)
    d_transform = d_activated * ACTIVATIONS[model.hidden_act][1](trace["transform"])
    d_gathered = _dense_grad(d_transform, trace["gathered"], weights, TRANSFORM + "dense", result)
    positions = batch["masked_lm_positions"]
    rows = np.arange(positions.shape[0])[:, np.newaxis]
    np.add.at(d_hidden, (rows, positions), d_gathered.reshape(positions.shape + (-1,)))

    for index in reversed(range(model.num_hidden_layers)):
        d_hidden = _layer_grad(d_hidden, trace["layers"][index], weights, index, model, result)

    d_embedded = _norm_grad(d_hidden, trace["embedded"], weights, "bert/embeddings/", model, result)
    result[WORD_TABLE] = d_word_table + embedding_backward(
        d_embedded, batch["input_ids"], model.vocab_size
    )
    result[TYPE_TABLE] = embedding_backward(d_embedded, batch["segment_ids"], model.type_vocab_size)
    if not model.use_relative_position:
        d_positions = np.zeros_like(weights[POSITION_TABLE])
        d_positions[: d_embedded.shape[1]] = d_embedded.sum(axis=0)
        result[POSITION_TABLE] = d_positions
    return result


def _layer(
    inputs: Array,
    input_mask: Array,
    weights: Dict[str, Array],
    index: int,
    model: Model,
    relative: Any,
) -> Tuple[Array, LayerTrace]:
    """One encoder layer with the norms after the residual sums: [B, S, H] -> [B, S, H]."""
    prefix = layer_prefix(index)
    context, attention = self_attention(
        inputs,
        input_mask,
        weights,
        prefix + "attention/self/",
        model.num_attention_heads,
        relative,
    )
    attention_sum = _dense(context, weights, prefix + "attention/output/dense") + inputs
    attention_output = _norm(attention_sum, weights, prefix + "attention/output/", model)
    intermediate = _dense(attention_output, weights, prefix + "intermediate/dense")
    activated = ACTIVATIONS[model.hidden_act][0](intermediate)
    output_sum = _dense(activated, weights, prefix + "output/dense") + attention_output
    trace = LayerTrace(
        attention, context, attention_sum, attention_output, intermediate, output_sum
    )
    return _norm(output_sum, weights, prefix + "output/", model), trace


def _layer_grad(
    d_output: Array,
    trace: LayerTrace,
    weights: Dict[str, Array],
    index: int,
    model: Model,
    result: Dict[str, Array],
) -> Array:
    """Backward pass of `_layer`: returns d_inputs, and puts the variables' gradients in result."""
    prefix = layer_prefix(index)
    activation, derivative = ACTIVATIONS[model.hidden_act]
    d_output_sum = _norm_grad(
        d_output, trace.output_sum, weights, prefix + "output/", model, result
    )
    d_activated = _dense_grad(
        d_output_sum, activation(trace.intermediate), weights, prefix + "output/dense", result
    )
    d_attention_output = d_output_sum + _dense_grad(
        d_activated * derivative(trace.intermediate),
        trace.attention_output,
        weights,
        prefix + "intermediate/dense",
        result,
    )
    d_attention_sum = _norm_grad(
        d_attention_output,
        trace.attention_sum,
        weights,
        prefix + "attention/output/",
        model,
        result,
    )
    d_context = _dense_grad(
        d_attention_sum, trace.context, weights, prefix + "attention/output/dense", result
    )
    d_inputs, attention_gradients = self_attention_backward(
        d_context, trace.attention, weights, prefix + "attention/self/"
    )
    result.update(attention_gradients)
    return d_inputs + d_attention_sum


def _dense(inputs: Array, weights: Dict[str, Array], prefix: str) -> Array:
    return dense(inputs, weights[prefix + "/kernel"], weights[prefix + "/bias"])


def _dense_grad(
    d_output: Array,
    inputs: Array,
    weights: Dict[str, Array],
    prefix: str,
    result: Dict[str, Array],
) -> Array:
    d_inputs, d_kernel, d_bias = dense_backward(d_output, inputs, weights[prefix + "/kernel"])
    result[prefix + "/kernel"] = d_kernel
    result[prefix + "/bias"] = d_bias
    return d_inputs


def _norm(inputs: Array, weights: Dict[str, Array], prefix: str, model: Model) -> Array:
    return layer_norm(
        inputs,
        weights[prefix + "LayerNorm/gamma"],
        weights[prefix + "LayerNorm/beta"],
        model.layer_norm_epsilon,
    )


def _norm_grad(
    d_output: Array,
    inputs: Array,
    weights: Dict[str, Array],
    prefix: str,
    model: Model,
    result: Dict[str, Array],
) -> Array:
    d_inputs, d_gamma, d_beta = layer_norm_backward(
        d_output, inputs, weights[prefix + "LayerNorm/gamma"], model.layer_norm_epsilon
    )
    result[prefix + "LayerNorm/gamma"] = d_gamma
    result[prefix + "LayerNorm/beta"] = d_beta
    return d_inputs
