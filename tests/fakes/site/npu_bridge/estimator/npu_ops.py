"""Dropout, and opening and closing the device."""

import numbers

import tensorflow.compat.v1 as tf

from npu_bridge.helper import helper

gen_npu_ops = helper.get_gen_ops()
_SEED_WITHOUT_GRAPH = 87654321
_MOST = 2**31 - 1


def initialize_system(name=None):
    """Returns the operation that opens the device."""
    _check_graph_mode()
    return gen_npu_ops.npu_init(name=name)


def shutdown_system(name=None):
    """Returns the operation that closes the device."""
    _check_graph_mode()
    return gen_npu_ops.npu_shutdown(name=name)


def dropout(x, keep_prob, noise_shape=None, seed=None, name=None):
    """Keeps each element with probability `keep_prob` and scales it up."""
    _check_graph_mode()
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(f"dropout of {x.dtype.name}: x must be floating point, as it is scaled")
    if isinstance(keep_prob, numbers.Real) and not 0 < keep_prob <= 1:
        raise ValueError(f"keep_prob must be in (0, 1], not {keep_prob}")
    if isinstance(keep_prob, float) and keep_prob == 1.0:
        return x
    shape = x.shape if noise_shape is None else noise_shape
    mask = gen_npu_ops.drop_out_gen_mask(shape, keep_prob, *_find_seeds(seed))
    return gen_npu_ops.drop_out_do_mask(x, mask, keep_prob, name=name)


def _find_seeds(seed):
    graph = tf.get_default_graph()
    if graph.seed is None:
        return (None, None) if seed is None else (_SEED_WITHOUT_GRAPH, seed % _MOST)
    own = graph._last_id if seed is None else seed
    return graph.seed % _MOST, own % _MOST


def _check_graph_mode():
    if tf.executing_eagerly():
        raise RuntimeError("this operator does not work in eager execution")
