"""Session hooks of the Ascend backend: what the adapter's own leave undone."""

from __future__ import annotations

from typing import Any, Callable, List, Sequence

import tensorflow.compat.v1 as tf

from bert.backends.ascend_bridge import Bridge
from bert.flags import render_flag_line

_ROOT_RANK = 0


class StateBroadcastHook(tf.train.SessionRunHook):
    """Gives every rank the optimiser slots, global step and loss scale of rank 0.

    The adapter broadcasts trainable variables alone, so ranks that start from different
    checkpoints, or from one that only rank 0 has, would drift apart.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def begin(self) -> None:
        """Builds the operation while the graph can still change."""
        trainable = {variable.op.name for variable in tf.trainable_variables()}
        self._broadcast = build_broadcast(
            [v for v in tf.global_variables() if v.op.name not in trainable], self._bridge
        )
        self._count = self._bridge.hccl_ops.allreduce(tf.ones([1]), "sum", fusion=0)

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Runs it, and writes down how many ranks answered."""
        session.run(self._broadcast)
        count = session.run(self._count)[0]
        tf.logging.info("%s", render_flag_line("collective_group_size", int(count)))


def build_broadcast(variables: Sequence[tf.Variable], bridge: Bridge) -> tf.Operation:
    """Returns the operation that gives every rank the values of rank 0."""
    done: List[tf.Operation] = []
    with tf.name_scope("broadcast_state"):
        for variable in variables:
            dtype = variable.dtype.base_dtype
            # HCCL of CANN 20.2 takes no int64; a global step fits into 31 bits.
            travels_as = tf.int32 if dtype == tf.int64 else dtype
            value = tf.cast(variable, travels_as)
            received = bridge.hccl_ops.broadcast([value], _ROOT_RANK)
            done.append(tf.assign(variable, tf.cast(received[0], dtype)).op)
        return tf.group(*done)


class SplitHook(tf.train.SessionRunHook):
    """Tries once more to set the gradient split, now that communication stands."""

    def __init__(self, set_split: Callable[[], None]) -> None:
        self._set_split = set_split

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Sets it; training does not start if it is refused again."""
        self._set_split()
