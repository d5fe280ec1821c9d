"""Layers of BERT in NumPy float64: for each one the forward equation and its derivative by hand.

Written from the papers alone, to be compared with the TensorFlow trainer; it shares no line with
it. Each `*_backward` takes the gradient of a scalar loss with respect to the layer's output and
returns the gradients with respect to the layer's inputs, in the order of the forward's arguments.

Legend: B = batch, S = sequence length, H = hidden size, the dots stand for any leading axes.
"""

from __future__ import annotations

import math
from typing import Callable, Dict, Tuple

import numpy as np

Array = np.ndarray

GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


def dense(inputs: Array, kernel: Array, bias: Array) -> Array:
    """Affine map y = x W + b.

    Args:
        inputs: [..., I].
        kernel: [I, O].
        bias: [O].

    Returns:
        [..., O].
    """
    return inputs @ kernel + bias


def dense_backward(d_output: Array, inputs: Array, kernel: Array) -> Tuple[Array, Array, Array]:
    """Gradients of `dense` with respect to (inputs, kernel, bias)."""
    flat_inputs = inputs.reshape(-1, kernel.shape[0])
    flat_output = d_output.reshape(-1, kernel.shape[1])
    return d_output @ kernel.T, flat_inputs.T @ flat_output, flat_output.sum(axis=0)


def layer_norm(inputs: Array, gamma: Array, beta: Array, epsilon: float) -> Array:
    """Layer normalisation over the last axis (arXiv:1607.06450, equation 4).

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, with the population variance.
    """
    return gamma * _normalised(inputs, epsilon)[0] + beta


def layer_norm_backward(
    d_output: Array, inputs: Array, gamma: Array, epsilon: float
) -> Tuple[Array, Array, Array]:
    """Gradients of `layer_norm` with respect to (inputs, gamma, beta).

    With z the normalised input and g = dL/dz: dL/dx = (g - mean(g) - z * mean(g * z)) / deviation.
    """
    normalised, deviation = _normalised(inputs, epsilon)
    width = gamma.shape[0]
    d_beta = d_output.reshape(-1, width).sum(axis=0)
    d_gamma = (d_output * normalised).reshape(-1, width).sum(axis=0)
    d_normalised = d_output * gamma
    d_inputs = (
        d_normalised
        - d_normalised.mean(axis=-1, keepdims=True)
        - normalised * (d_normalised * normalised).mean(axis=-1, keepdims=True)
    ) / deviation
    return d_inputs, d_gamma, d_beta


def _normalised(inputs: Array, epsilon: float) -> Tuple[Array, Array]:
    centred = inputs - inputs.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation, deviation


def softmax(scores: Array) -> Array:
    """Softmax over the last axis; the row maximum is taken off, which changes nothing but range."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def softmax_backward(d_output: Array, output: Array) -> Array:
    """Gradient of `softmax` with respect to the scores, from its output."""
    return output * (d_output - (d_output * output).sum(axis=-1, keepdims=True))


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label], one value for each row.

    Args:
        logits: [N, C].
        labels: [N], integer classes.

    Returns:
        [N], in nats.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=-1))
    return log_total - shifted[np.arange(labels.shape[0]), labels]


def cross_entropy_backward(d_output: Array, logits: Array, labels: Array) -> Array:
    """Gradient of `cross_entropy` with respect to the logits: softmax minus the one-hot label."""
    d_logits = softmax(logits)
    d_logits[np.arange(labels.shape[0]), labels] -= 1.0
    return d_logits * d_output[:, np.newaxis]


def embedding_backward(d_output: Array, ids: Array, rows: int) -> Array:
    """Gradient of the look-up `table[ids]` with respect to the table [rows, H]; ids may repeat."""
    width = d_output.shape[-1]
    d_table = np.zeros((rows, width), dtype=np.float64)
    np.add.at(d_table, ids.reshape(-1), d_output.reshape(-1, width))
    return d_table


def gelu(inputs: Array) -> Array:
    """GELU in its tanh form (arXiv:1606.08415, section 2), the form that the trainer uses."""
    inner = GELU_SLOPE * (inputs + GELU_CUBIC * inputs**3)
    return 0.5 * inputs * (1.0 + np.tanh(inner))


def gelu_derivative(inputs: Array) -> Array:
    """d gelu / dx of the tanh form."""
    hyperbolic = np.tanh(GELU_SLOPE * (inputs + GELU_CUBIC * inputs**3))
    inner_slope = GELU_SLOPE * (1.0 + 3.0 * GELU_CUBIC * inputs**2)
    return 0.5 * (1.0 + hyperbolic) + 0.5 * inputs * (1.0 - hyperbolic**2) * inner_slope


def gelu_exact(inputs: Array) -> Array:
    """GELU by its definition x * Phi(x) (arXiv:1606.08415, section 2); bounds the tanh form."""
    return 0.5 * inputs * (1.0 + np.vectorize(math.erf)(inputs / math.sqrt(2.0)))


def _relu(inputs: Array) -> Array:
    return np.maximum(inputs, 0.0)


def _relu_derivative(inputs: Array) -> Array:
    return (inputs > 0.0).astype(np.float64)


def _tanh_derivative(inputs: Array) -> Array:
    return 1.0 - np.tanh(inputs) ** 2


def _identity(inputs: Array) -> Array:
    return inputs


# `hidden_act` of the config -> (function, its derivative).
ACTIVATIONS: Dict[str, Tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "gelu": (gelu, gelu_derivative),
    "relu": (_relu, _relu_derivative),
    "tanh": (np.tanh, _tanh_derivative),
    "linear": (_identity, np.ones_like),
}
