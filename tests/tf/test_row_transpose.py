"""The gather of rows is the transposition, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends.row_transpose import gather_transpose


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    "permutation", [(1, 0, 2, 3), (0, 2, 1, 3), (1, 2, 0, 3), (2, 0, 1, 3), (0, 1, 2, 3)]
)
def test_values_and_gradients_are_those_of_transpose(permutation, dtype):
    random = np.random.RandomState(6)
    x = tf.constant(random.randn(2, 3, 5, 7).astype(dtype))
    weights = tf.constant(
        random.randn(*[x.shape[axis].value for axis in permutation]).astype(dtype)
    )
    found, wanted = (f(x, list(permutation)) for f in (gather_transpose, tf.transpose))
    gradients = [tf.gradients(tf.reduce_sum(y * weights), x)[0] for y in (found, wanted)]
    assert found.shape == wanted.shape
    assert isinstance(gradients[0], tf.Tensor)  # not IndexedSlices
    with tf.Session() as session:
        for pair in session.run([(found, wanted), tuple(gradients)]):
            np.testing.assert_array_equal(*pair)


def test_it_serves_in_a_loop():
    x = tf.reshape(tf.range(24.0), [2, 3, 4])

    def body(i, total):
        y = gather_transpose(x * total, [1, 0, 2])
        return i + 1, tf.gradients(tf.reduce_sum(y * y), total)[0]

    _, result = tf.while_loop(lambda i, _: i < 1, body, (0, tf.constant(3.0)), back_prop=False)
    with tf.Session() as session:
        assert session.run(result) == pytest.approx(6.0 * (np.arange(24.0) ** 2).sum())


def test_moving_the_last_axis_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 2, 1\] moves the last axis"):
        gather_transpose(tf.zeros([2, 3, 4]), [0, 2, 1])
