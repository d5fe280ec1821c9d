"""Dropout whose masks can be made again: a function of seed, batch and place in the model.

A stateful generator would have to be saved with every checkpoint, and TensorFlow's cannot be. Here
a run that resumes after batch k drops what the uninterrupted run drops in batch k + 1.
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import gen_stateless_random_ops

# Each draw of 32 bits decides about two elements.
_LEVELS = 1 << 16
_LOWEST_INT16 = -(1 << 15)
_LOWEST_INT32, _HIGHEST_INT32 = -(1 << 31), (1 << 31) - 1
_PLACES = 1 << 20


class StepDropout:
    """The dropout of one pass through the model; every call is another place.

    A rate is rounded to a multiple of 2⁻¹⁶, and what is kept is divided by the share that is really
    kept, so the expectation is exact. Half of the random bits of `tf.nn.dropout` are enough for
    that, and drawing them is most of its cost on a CPU.
    """

    def __init__(self, seed: int, batch_number: tf.Tensor) -> None:
        """Starts at the first place.

        Args:
            seed: another one for each rank.
            batch_number: scalar integer; another one for each batch of the run.
        """
        self._seed = seed
        self._batch_number = tf.cast(batch_number, tf.int64)
        self._n_places = 0

    def __call__(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        """Sets a share `rate` of elements of x, of static shape, to 0 and scales the rest up."""
        n_dropped_levels = min(round(rate * _LEVELS), _LEVELS - 1)
        if not n_dropped_levels:
            return x
        place = tf.constant(self._seed * _PLACES + self._n_places, tf.int64)
        self._n_places += 1
        n_elements = x.shape.num_elements()
        draws = gen_stateless_random_ops.stateless_random_uniform_int(
            [(n_elements + 1) // 2],
            tf.stack([place, self._batch_number]),
            minval=_LOWEST_INT32,
            maxval=_HIGHEST_INT32,
        )
        levels = tf.reshape(tf.bitcast(draws, tf.int16), [-1])
        levels = tf.reshape(levels[:n_elements], x.shape)
        is_kept = levels >= tf.constant(_LOWEST_INT16 + n_dropped_levels, tf.int16)
        mask = tf.cast(is_kept, x.dtype) * (_LEVELS / (_LEVELS - n_dropped_levels))
        return x * mask
