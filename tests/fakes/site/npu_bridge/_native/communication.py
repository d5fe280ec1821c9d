"""HCCL's collectives, over TensorFlow's between CPU processes.

Ranks meet at the addresses of FAKE_NPU_ADDRESSES. Every rank builds its collectives in the same
order, so a running number tells them apart.
"""

import itertools
import os

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import collective_ops

_GROUP_KEY = 1
_COLLECTION = "fake_hccl_operators"
_MERGE = {"sum": "Add", "prod": "Mul", "max": "Max", "min": "Min"}
_REDUCED_TYPES = (tf.int8, tf.int16, tf.int32, tf.float16, tf.float32)
_BROADCAST_TYPES = (tf.int8, tf.int32, tf.float16, tf.float32)

_keys = itertools.count(1)
_state = {"server": None, "connected": False}


def get_rank_size():
    """Ranks that communicate: without a rank table the native side stays alone."""
    if not os.getenv("RANK_TABLE_FILE"):
        return 1
    return int(os.getenv("RANK_SIZE", "1"))


def get_rank_id():
    """Rank of this process."""
    return int(os.getenv("RANK_ID", "0"))


def is_connected():
    """Whether a session with collectives was made in this process."""
    return _state["connected"]


def is_needed(graph):
    """Whether a graph has collectives."""
    return bool(graph.get_collection(_COLLECTION))


def all_reduce(tensor, reduction):
    """Reduces a dense tensor over all ranks."""
    if reduction not in _MERGE:
        raise ValueError(f"reduction {reduction!r} is none of {', '.join(_MERGE)}")
    if tensor.dtype.base_dtype not in _REDUCED_TYPES:
        raise TypeError(f"HcomAllReduce takes no {tensor.dtype.base_dtype.name}")
    if get_rank_size() == 1:
        return tf.identity(tensor)
    is_narrow = tensor.dtype.base_dtype in (tf.int8, tf.int16)
    with _own_device():
        wide = tf.cast(tensor, tf.int32) if is_narrow else tf.identity(tensor)
        result = collective_ops.all_reduce(
            wide, get_rank_size(), _GROUP_KEY, next(_keys), _MERGE[reduction], "Id"
        )
    _note(result)
    return tf.cast(result, tensor.dtype.base_dtype)


def all_gather(tensor, rank_size):
    """Concatenates the tensors of all ranks along the first axis."""
    if rank_size != get_rank_size():
        raise ValueError(f"rank_size {rank_size} is not the group's {get_rank_size()}")
    if rank_size == 1:
        return tf.identity(tensor)
    with _own_device():
        value = tf.identity(tensor)
        result = collective_ops.all_gather(value, rank_size, _GROUP_KEY, next(_keys))
    _note(result)
    return result


def broadcast(tensor, root_rank):
    """Returns the root's tensor on every rank."""
    dtype = tensor.dtype.base_dtype
    if dtype not in _BROADCAST_TYPES:
        raise TypeError(f"HcomBroadcast takes no {dtype.name}")
    if get_rank_size() == 1:
        return tf.identity(tensor)
    group = (get_rank_size(), _GROUP_KEY, next(_keys))
    with _own_device():
        if get_rank_id() == root_rank:
            value = tf.identity(tensor)
            result = collective_ops.broadcast_send(value, tensor.shape, dtype, *group)
        else:
            result = collective_ops.broadcast_recv(tensor.shape, dtype, *group)
    _note(result)
    return result


def _own_device():
    return tf.device(f"/job:worker/replica:0/task:{get_rank_id()}/device:CPU:0")


def _note(tensor):
    tf.get_default_graph().add_to_collection(_COLLECTION, tensor)


def connect(config):
    """Starts this rank's server if need be.

    Returns:
        Target and configuration of a session that takes part.
    """
    joined = tf.ConfigProto()
    joined.CopyFrom(config)
    joined.device_filters.append(f"/job:worker/task:{get_rank_id()}")
    joined.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
    if _state["server"] is None:
        addresses = os.getenv("FAKE_NPU_ADDRESSES", "").split(",")
        if len(addresses) != get_rank_size():
            raise RuntimeError(f"FAKE_NPU_ADDRESSES must name {get_rank_size()} addresses")
        _state["server"] = tf.train.Server(
            tf.train.ClusterSpec({"worker": addresses}),
            job_name="worker",
            task_index=get_rank_id(),
            config=joined,
        )
    _state["connected"] = True
    return _state["server"].target, joined


def build_barrier():
    """Returns an operation that ends when all ranks run it; leaving is safe after the second."""
    if get_rank_size() == 1:
        return None
    rounds = []
    for _ in range(2):
        with tf.control_dependencies(rounds):
            rounds.append(all_reduce(tf.ones([1]), "sum"))
    return rounds
