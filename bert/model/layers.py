"""Parameters, dense layers, activations and layer normalisation."""

from __future__ import annotations

from typing import Optional, Sequence

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops

LAYER_NORM_EPSILON = 1e-12


def get_parameter(
    name: str, shape: Sequence[int], initializer: tf.keras.initializers.Initializer
) -> tf.Variable:
    """Makes a trainable float32 variable in the current variable scope.

    Variables are float32 whatever the compute type: casts stand where they are used, so a
    checkpoint of any precision fits any other.
    """
    return tf.get_variable(name, list(shape), dtype=tf.float32, initializer=initializer)


def normal_initializer(initializer_range: float) -> tf.keras.initializers.Initializer:
    """Normal distribution of that standard deviation, cut at two deviations."""
    return tf.truncated_normal_initializer(stddev=initializer_range)


def dense(
    x: tf.Tensor,
    units: int,
    name: str,
    initializer_range: float,
    activation: Optional[str] = None,
    ops: Optional[Ops] = None,
) -> tf.Tensor:
    """x W + b, then the activation.

    Args:
        x: [K, D], float32 or float16; the product is computed in this type.
        units: width of the result.
        name: variable scope of `kernel` [D, units] and `bias` [units].
        initializer_range: standard deviation of the kernel's initial values.
        activation: gelu, relu, tanh, linear or None.
        ops: where GELU and the product are taken from; needed for `gelu`.

    Returns:
        [K, units], the type of `x`.
    """
    with tf.variable_scope(name):
        kernel = get_parameter(
            "kernel", [x.shape[-1].value, units], normal_initializer(initializer_range)
        )
        bias = get_parameter("bias", [units], tf.zeros_initializer())
        product = tf.matmul if ops is None else ops.product
        y = tf.nn.bias_add(product(x, tf.cast(kernel, x.dtype)), tf.cast(bias, x.dtype))
        return apply_activation(y, activation, ops)


def apply_activation(x: tf.Tensor, activation: Optional[str], ops: Optional[Ops]) -> tf.Tensor:
    """Applies an activation by name; shape and type stay.

    Raises:
        ValueError: if the name is unknown.
    """
    if activation in (None, "linear"):
        return x
    if activation == "gelu":
        return ops.gelu(x)
    if activation == "relu":
        return tf.nn.relu(x)
    if activation == "tanh":
        return tf.tanh(x)
    raise ValueError(f"unknown activation {activation!r}")


def layer_norm(x: tf.Tensor, name: str = "LayerNorm") -> tf.Tensor:
    """Normalises every row to mean 0 and variance 1, then scales and shifts.

    γ (x - E[x]) / √(Var[x] + 1e-12) + β, over the last axis (Ba et al., arXiv:1607.06450).
    Mean and variance are taken in float32: squares of float16 lose the small epsilon.

    Args:
        x: [K, H].
        name: variable scope of `beta` [H] and `gamma` [H].

    Returns:
        [K, H], the type of `x`.
    """
    width = x.shape[-1].value
    with tf.variable_scope(name):
        beta = get_parameter("beta", [width], tf.zeros_initializer())
        gamma = get_parameter("gamma", [width], tf.ones_initializer())
        x32 = tf.cast(x, tf.float32)
        mean = tf.reduce_mean(x32, axis=-1, keepdims=True)  # [K, 1]
        centred = x32 - mean  # [K, H]
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)  # [K, 1]
        normal = centred * tf.rsqrt(variance + LAYER_NORM_EPSILON)
        return tf.cast(normal * gamma + beta, x.dtype)
