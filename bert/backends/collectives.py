"""Averages, broadcasts and barriers between CPU ranks by TensorFlow's collective runtime.

Every rank builds the same graph. A collective operation of one rank finds its partners by its
instance key, so keys are given out in the order of construction.
"""

from __future__ import annotations

from typing import Any, Callable, List, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import collective_ops

from bert.backends.rank import RankEnvironment
from bert.errors import UnavailableError

_GROUP_KEY = 1
_BARRIER_KEY = 900000
_LEAVE_TIMEOUT_SECONDS = 30
_BROADCAST_KEYS = 500000
_REDUCE_KEYS = 1


def device_of(rank: RankEnvironment) -> str:
    """Returns the full device name of a rank's CPU."""
    return f"/job:worker/replica:0/task:{rank.rank_id}/device:CPU:0"


def average(tensors: Sequence[tf.Tensor], rank: RankEnvironment) -> List[tf.Tensor]:
    """Averages dense float32 tensors over all ranks.

    They travel as one flat vector: a collective costs a fixed number of messages, whatever its
    length, and most gradients of a transformer are short.

    Args:
        tensors: static shapes, the same on every rank.
        rank: this process among the ranks.

    Returns:
        Tensors of the same shapes, the same values on every rank.
    """
    shapes = [tensor.shape.as_list() for tensor in tensors]
    sizes = [tensor.shape.num_elements() for tensor in tensors]
    with tf.device(device_of(rank)), tf.name_scope("average_gradients"):
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        mean = collective_ops.all_reduce(
            flat, rank.rank_size, _GROUP_KEY, _REDUCE_KEYS, "Add", "Div"
        )
        parts = tf.split(mean, sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, shapes)]


class CollectiveOptimizer(tf.train.Optimizer):
    """Wraps an optimiser so that `compute_gradients` returns averages over ranks."""

    def __init__(self, optimizer: tf.train.Optimizer, rank: RankEnvironment) -> None:
        super().__init__(use_locking=False, name="CollectiveOptimizer")
        self._optimizer = optimizer
        self._rank = rank

    def compute_gradients(self, loss: tf.Tensor, var_list: Any = None, **kwargs: Any) -> Any:
        """Returns (gradient, variable) pairs; every rank gets the same gradients."""
        pairs = self._optimizer.compute_gradients(loss, var_list=var_list, **kwargs)
        present = [(g, v) for g, v in pairs if g is not None]
        means = iter(average([tf.convert_to_tensor(g) for g, _ in present], self._rank))
        return [(None if g is None else next(means), v) for g, v in pairs]

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: Any = None):
        """Leaves the update to the wrapped optimiser."""
        return self._optimizer.apply_gradients(grads_and_vars, global_step, name)


def build_broadcast(variables: Sequence[tf.Variable], rank: RankEnvironment) -> tf.Operation:
    """Returns the operation that gives every rank the values of rank 0."""
    done = []
    with tf.device(device_of(rank)), tf.name_scope("broadcast_variables"):
        for index, variable in enumerate(variables):
            shape, dtype = variable.shape, variable.dtype.base_dtype
            key = _BROADCAST_KEYS + index
            if rank.is_root:
                value = tf.identity(variable)
                done.append(
                    collective_ops.broadcast_send(
                        value, shape, dtype, rank.rank_size, _GROUP_KEY, key
                    ).op
                )
            else:
                value = collective_ops.broadcast_recv(shape, dtype, rank.rank_size, _GROUP_KEY, key)
                done.append(tf.assign(variable, value).op)
        return tf.group(*done)


class BroadcastHook(tf.train.SessionRunHook):
    """Gives every rank all global variables of rank 0 once the session stands.

    All means weights, optimiser slots, global step and loss scale: ranks that start from
    different checkpoints, or none, are the same afterwards.
    """

    def __init__(
        self, rank: RankEnvironment, timeout_seconds: int, on_connected: Callable[[], None]
    ) -> None:
        self._rank = rank
        self._timeout_seconds = timeout_seconds
        self._on_connected = on_connected

    def begin(self) -> None:
        """Builds the operation while the graph can still change."""
        self._broadcast = build_broadcast(tf.global_variables(), self._rank)

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Runs it; raises UnavailableError if the other ranks do not come in time."""
        options = tf.RunOptions(timeout_in_ms=self._timeout_seconds * 1000)
        try:
            session.run(self._broadcast, options=options)
        except tf.errors.DeadlineExceededError as error:
            raise UnavailableError(
                f"rank {self._rank.rank_id}: the other ranks did not come within "
                f"{self._timeout_seconds} s; see their logs, or raise --connect_timeout_seconds"
            ) from error
        self._on_connected()


def run_barrier(
    target: str,
    session_config: tf.ConfigProto,
    rank: RankEnvironment,
    on_all_done: Callable[[], None],
) -> None:
    """Returns once every rank has called this and no rank needs this one's server any longer.

    A collective of TensorFlow 1.15 never returns when a peer leaves before its part was fetched,
    so a second collective could not tell that the first one is over everywhere. Each rank that is
    through the collective therefore puts a token into a queue of every other rank, by a plain
    remote call, and leaves when it has a token of each.

    Args:
        target: session target of this rank's server.
        session_config: configuration that keeps a session to this rank's own device.
        rank: this process among the ranks.
        on_all_done: called when all ranks have come, before any of them can leave.
    """
    with tf.Graph().as_default(), tf.device(device_of(rank)):
        come = collective_ops.all_reduce(
            tf.ones([1]), rank.rank_size, _GROUP_KEY, _BARRIER_KEY, "Add", "Id"
        )
        with tf.Session(target, config=session_config) as session:
            session.run(come)
    on_all_done()
    _take_leave(target, rank)


def _take_leave(target: str, rank: RankEnvironment) -> None:
    """Tells every other rank that this one needs nothing more, and waits for their word."""
    options = tf.RunOptions(timeout_in_ms=_LEAVE_TIMEOUT_SECONDS * 1000)
    others = [other for other in range(rank.rank_size) if other != rank.rank_id]
    with tf.Graph().as_default():
        tell = []
        for other in others:
            with tf.device(f"/job:worker/replica:0/task:{other}/device:CPU:0"):
                queue = tf.FIFOQueue(rank.rank_size, tf.int32, shapes=[[]], shared_name="leave")
                tell.append(queue.enqueue(rank.rank_id))
        with tf.device(device_of(rank)):
            own = tf.FIFOQueue(rank.rank_size, tf.int32, shapes=[[]], shared_name="leave")
            hear = own.dequeue()
        session = tf.Session(target)
        # A peer goes as soon as it has all tokens, maybe before it has answered the call that
        # brought the last one: an error here means that it is gone, which is what was asked.
        for operation in tell + [hear] * len(others):
            try:
                session.run(operation, options=options)
            except tf.errors.OpError as error:
                tf.logging.debug("a peer left first: %s", error.message)
        # Not closed: closing would call the peers once more, and they may have left.
