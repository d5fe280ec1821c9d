"""Averages, broadcasts and barriers between CPU ranks by TensorFlow's collective runtime.

Every rank builds the same graph. A collective operation of one rank finds its partners by its
instance key, so keys are given out in the order of construction.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, List, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import collective_ops

from bert.backends.rank import RankEnvironment
from bert.errors import UnavailableError
from bert.flags import render_flag_line

_GROUP_KEY = 1
_BARRIER_KEY = 900000
_COUNT_KEY = 900001
_LOOK_SECONDS = 0.5
_LINGER_SECONDS = 1.0
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
        """Builds the operations while the graph can still change."""
        self._broadcast = build_broadcast(tf.global_variables(), self._rank)
        with tf.device(device_of(self._rank)):
            self._count = collective_ops.all_reduce(
                tf.ones([1]), self._rank.rank_size, _GROUP_KEY, _COUNT_KEY, "Add", "Id"
            )

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Runs it; raises UnavailableError if the other ranks do not come in time."""
        options = tf.RunOptions(timeout_in_ms=self._timeout_seconds * 1000)
        try:
            session.run(self._broadcast, options=options)
            count = session.run(self._count, options=options)[0]
        except tf.errors.DeadlineExceededError as error:
            raise UnavailableError(
                f"rank {self._rank.rank_id}: the other ranks did not come within "
                f"{self._timeout_seconds} s; see their logs, or raise --connect_timeout_seconds"
            ) from error
        tf.logging.info("%s", render_flag_line("collective_group_size", int(count)))
        self._on_connected()


def run_barrier(
    target: str,
    session_config: tf.ConfigProto,
    rank: RankEnvironment,
    is_peer_gone: Callable[[], bool],
) -> None:
    """Returns once every rank has called this and no rank needs this one's server any longer.

    All ranks meet in one collective. TensorFlow 1.15 waits for ever for a peer that left before
    its part was fetched, and so do its remote calls; hence two precautions. Who is through the
    collective lingers, far longer than the others can need to be through it too. And who sees a
    peer gone while waiting does not wait on: a peer leaves only after all ranks have met.

    Args:
        target: session target of this rank's server.
        session_config: configuration that keeps a session to this rank's own device.
        rank: this process among the ranks.
        is_peer_gone: tells whether some other rank's server has ended.
    """
    meeting = threading.Thread(
        target=_meet, args=(target, session_config, rank), name="barrier", daemon=True
    )
    meeting.start()
    while meeting.is_alive():
        meeting.join(_LOOK_SECONDS)
        if meeting.is_alive() and is_peer_gone():
            tf.logging.debug("a peer left before this rank was through the barrier")
            return
    time.sleep(_LINGER_SECONDS)


def _meet(target: str, session_config: tf.ConfigProto, rank: RankEnvironment) -> None:
    with tf.Graph().as_default(), tf.device(device_of(rank)):
        come = collective_ops.all_reduce(
            tf.ones([1]), rank.rank_size, _GROUP_KEY, _BARRIER_KEY, "Add", "Id"
        )
        with tf.Session(target, config=session_config) as session:
            try:
                session.run(come)
            except tf.errors.OpError as error:
                tf.logging.debug("the barrier ended early: %s", error.message)
