"""The native operators that the trainer uses, with their maths on a CPU."""

import itertools
import math
import os

import numpy as np
import tensorflow.compat.v1 as tf

from npu_bridge._native import communication, record

_ALIGNMENT_BITS = 128
_ROOT = math.sqrt(2.0 / math.pi)
_status_numbers = itertools.count()


@tf.custom_gradient
def _gelu(x):
    """0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return 0.5 * x * (1.0 + _tanh_term(x)), lambda dy: gelu_grad(dy, x, None)


def _tanh_term(x):
    return tf.tanh(_ROOT * (x + 0.044715 * x * x * x))


def gelu(x, name=None):
    """GELU in its tanh form."""
    x = tf.convert_to_tensor(x)
    record.write("gelu", shape=x.shape.as_list(), dtype=x.dtype.name)
    return tf.identity(_gelu(x), name=name)


def gelu_grad(dy, x, y, name=None):
    """Gradient of GELU; `y`, its output, is not needed."""
    t = _tanh_term(x)
    slope = _ROOT * (1.0 + 3.0 * 0.044715 * x * x)
    return tf.multiply(dy, 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope, name=name)


@tf.custom_gradient
def _fast_gelu(x):
    return x * tf.sigmoid(1.702 * x), lambda dy: fast_gelu_grad(dy, x)


def fast_gelu(x, name=None):
    """x sigmoid(1.702 x)."""
    return tf.identity(_fast_gelu(tf.convert_to_tensor(x)), name=name)


def fast_gelu_grad(dy, x, name=None):
    """Gradient of `fast_gelu`."""
    s = tf.sigmoid(1.702 * x)
    return tf.multiply(dy, s + 1.702 * x * s * (1.0 - s), name=name)


def drop_out_gen_mask(shape, prob, seed=0, seed2=0, name=None):
    """Random bits, packed: as many as elements, rounded up to a multiple of 128."""
    n_elements = int(np.prod(tf.TensorShape(shape).as_list()))
    n_bits = -(-n_elements // _ALIGNMENT_BITS) * _ALIGNMENT_BITS
    # The operator draws by itself, whatever the graph's seed.
    draws = tf.random_uniform([n_bits // 8, 8], seed=_mix(seed, seed2))
    bits = tf.cast(draws < tf.cast(prob, tf.float32), tf.int32)
    weights = tf.constant([1, 2, 4, 8, 16, 32, 64, 128])
    return tf.cast(tf.reduce_sum(bits * weights, axis=1), tf.uint8, name=name)


def _mix(seed, seed2):
    return (
        None if seed is None and seed2 is None else (1000003 * (seed or 0) + (seed2 or 0)) % 2**31
    )


def drop_out_do_mask(x, mask, keep_prob, name=None):
    """Keeps elements whose bit is set and scales them up; the gradient takes the same mask."""
    x = tf.convert_to_tensor(x)
    record.write("drop_out_do_mask", shape=x.shape.as_list(), keep_prob=float(keep_prob))
    n_elements = int(np.prod(x.shape.as_list()))

    @tf.custom_gradient
    def apply(value):
        bits = tf.bitwise.right_shift(
            tf.expand_dims(tf.cast(mask, tf.int32), 1), tf.expand_dims(tf.range(8), 0)
        )
        kept = tf.reshape(tf.reshape(bits % 2, [-1])[:n_elements], x.shape)
        factor = tf.cast(kept, value.dtype) * tf.cast(1.0 / keep_prob, value.dtype)
        return value * factor, lambda dy: dy * factor

    return tf.identity(apply(x), name=name)


def npu_alloc_float_status(name=None):
    """A buffer into which the float status of the device is read later.

    A reference, as on the device: whoever reads it gets what stands there by then.
    """
    buffer = tf.Variable(
        tf.zeros([1]),
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
        use_resource=False,
        name=name or f"float_status_{next(_status_numbers)}",
    )
    return buffer._ref()


def npu_get_float_status(buffer, name=None):
    """Writes 1 into the buffer if what this operation waits for is not finite, else 0."""
    graph = tf.get_default_graph()
    waited_for = [
        output
        for dependency in graph._current_control_dependencies()
        for output in getattr(dependency, "op", dependency).outputs
        if output.dtype.is_floating
    ]
    if not waited_for:
        raise RuntimeError("the float status is read without waiting for any gradient")
    overflows = [tf.logical_not(tf.reduce_all(tf.is_finite(tensor))) for tensor in waited_for]
    overflows.append(_is_forced())
    status = tf.cast(tf.reduce_any(tf.stack(overflows)), tf.float32)
    return tf.assign(buffer, tf.reshape(status, [1]), name=name)


def _is_forced():
    """Whether the variable FAKE_NPU_OVERFLOW_STEPS names this device step."""
    words = os.getenv("FAKE_NPU_OVERFLOW_STEPS", "")
    steps = [int(word) for word in words.split(",") if word]
    counter = tf.Variable(
        0,
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
        use_resource=False,
        name="device_step",
    )
    step = tf.assign_add(counter, 1)
    return tf.reduce_any(tf.equal(step, tf.constant(steps, tf.int32, shape=[len(steps)])))


def npu_clear_float_status(status, name=None):
    """Resets the device's status; returns what a status without overflow looks like."""
    # Computed from the status: what waits for this waits for the reading too.
    return tf.multiply(status, 0.0, name=name)


def hcom_all_reduce(input, reduction, fusion=1, fusion_id=-1, group="hccl_world_group", name=None):
    """All-reduce of a tensor; a list becomes one tensor."""
    tensor = tf.convert_to_tensor(input)
    if fusion not in (0, 1, 2):
        raise ValueError(f"fusion {fusion} is none of 0, 1, 2")
    record.write(
        "HcomAllReduce", dtype=tensor.dtype.name, reduction=reduction, fusion=fusion, group=group
    )
    return tf.identity(communication.all_reduce(tensor, reduction), name=name)


def hcom_all_gather(input, rank_size, group="hccl_world_group", name=None):
    """All-gather of a tensor."""
    tensor = tf.convert_to_tensor(input)
    return tf.identity(communication.all_gather(tensor, rank_size), name=name)


def hcom_broadcast(input, root_rank, fusion=2, fusion_id=0, group="hccl_world_group", name=None):
    """Broadcast of a list of tensors."""
    if not isinstance(input, (list, tuple)):
        raise TypeError("HcomBroadcast takes a list of tensors")
    if fusion not in (0, 2):
        raise ValueError(f"fusion {fusion} is none of 0, 2")
    tensors = [tf.convert_to_tensor(tensor) for tensor in input]
    record.write("HcomBroadcast", dtypes=[t.dtype.base_dtype.name for t in tensors])
    return [communication.broadcast(tensor, root_rank) for tensor in tensors]


def npu_init(name=None):
    """Opens the device."""
    return tf.no_op(name=name)


def npu_shutdown(name=None):
    """Closes the device."""
    return tf.no_op(name=name)
