"""Gradient clipping: by the norm of all gradients together, or tensor by tensor."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import tensorflow.compat.v1 as tf


def clip_by_global_norm(
    gradients: Sequence[tf.Tensor], clip_norm: float
) -> Tuple[List[tf.Tensor], tf.Tensor]:
    """Scales all gradients by clip_norm / max(norm, clip_norm).

    A norm that is not finite makes every gradient NaN, so that whoever tests the result for
    finiteness sees it (a plain division by infinity would make gradients 0).

    Args:
        gradients: dense tensors.
        clip_norm: largest norm of the result.

    Returns:
        The scaled gradients, and the norm before scaling, a float32 scalar.
    """
    norm = tf.global_norm(list(gradients))
    scale = clip_norm / tf.maximum(norm, clip_norm)
    scale = tf.where_v2(tf.is_finite(norm), scale, tf.fill([], float("nan")))
    return [gradient * scale for gradient in gradients], norm


def clip_each_by_norm(gradients: Sequence[tf.Tensor], clip_norm: float) -> List[tf.Tensor]:
    """Scales every gradient by itself so that its norm is at most `clip_norm`."""
    return [clip_by_global_norm([gradient], clip_norm)[0][0] for gradient in gradients]
