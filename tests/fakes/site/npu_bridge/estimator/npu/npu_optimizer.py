"""Optimisers that average gradients over ranks."""

import os

import tensorflow.compat.v1 as tf

from npu_bridge._native import record
from npu_bridge.estimator.npu.npu_common import NPUBasics
from npu_bridge.estimator.npu.npu_loss_scale_optimizer import (
    read_overflow,
    scale_down,
    update_if_finite,
)
from npu_bridge.hccl import hccl_ops
from npu_bridge.helper import helper

gen_npu_ops = helper.get_gen_ops()


def allreduce(tensor, average=True):
    """Averages or sums a tensor over ranks; slices are gathered, not added."""
    size = NPUBasics("").size()
    if isinstance(tensor, tf.IndexedSlices):
        values = hccl_ops.allgather(tensor.values, size)
        indices = hccl_ops.allgather(tensor.indices, size)
        if average:
            values = values / tf.cast(size, values.dtype)
        return tf.IndexedSlices(values, indices, dense_shape=tensor.dense_shape)
    total = hccl_ops.allreduce(tensor, "sum")
    return total / tf.cast(size, tensor.dtype) if average else total


class _Delegate(tf.train.Optimizer):
    """Slots and variables are those of the wrapped optimiser."""

    _wrapped = None

    def get_slot(self, *args, **kwargs):
        """Asks the wrapped optimiser."""
        return self._wrapped.get_slot(*args, **kwargs)

    def get_slot_names(self, *args, **kwargs):
        """Asks the wrapped optimiser."""
        return self._wrapped.get_slot_names(*args, **kwargs)

    def variables(self, *args, **kwargs):
        """Asks the wrapped optimiser."""
        return self._wrapped.variables(*args, **kwargs)


class NPUDistributedOptimizer(_Delegate):
    """Averages gradients if RANK_SIZE says that there are several ranks."""

    def __init__(self, optimizer, is_weight_update_sharding=False, name=None):
        if is_weight_update_sharding:
            raise NotImplementedError("is_weight_update_sharding")
        super().__init__(name=name or f"Distributed{type(optimizer).__name__}", use_locking=False)
        self._wrapped = optimizer
        record.write("NPUDistributedOptimizer", optimizer=type(optimizer).__name__)

    def compute_gradients(self, *args, **kwargs):
        """Returns averaged gradients."""
        pairs = self._wrapped.compute_gradients(*args, **kwargs)
        if int(os.getenv("RANK_SIZE") or 1) <= 1:
            return pairs
        with tf.name_scope(self._name + "_Allreduce"):
            return [(None if g is None else allreduce(g), v) for g, v in pairs]

    def apply_gradients(self, *args, **kwargs):
        """Leaves the update to the wrapped optimiser."""
        return self._wrapped.apply_gradients(*args, **kwargs)


class NPUOptimizer(_Delegate):
    """Average, loss scale and the skipping of overflows in one."""

    def __init__(
        self,
        opt,
        loss_scale_manager=None,
        is_distributed=False,
        is_loss_scale=False,
        is_tailing_optimization=False,
        name=None,
    ):
        if is_loss_scale and loss_scale_manager is None:
            raise ValueError("is_loss_scale needs a loss_scale_manager")
        super().__init__(name=name or f"NPUOptimizer{type(opt).__name__}", use_locking=False)
        self._wrapped = opt
        self._manager = loss_scale_manager
        self._is_distributed = is_distributed
        self._is_loss_scale = is_loss_scale
        self._is_tailing = is_tailing_optimization
        record.write(
            "NPUOptimizer",
            is_distributed=is_distributed,
            is_loss_scale=is_loss_scale,
            is_tailing_optimization=is_tailing_optimization,
        )

    def compute_gradients(self, loss, var_list=None, **kwargs):
        """Returns averaged gradients of the unscaled loss."""
        scale = None
        if self._is_loss_scale:
            scale = self._manager.get_loss_scale()
            loss = loss * tf.cast(scale, loss.dtype.base_dtype)
            self._status = gen_npu_ops.npu_alloc_float_status()
        pairs = self._wrapped.compute_gradients(loss, var_list=var_list, **kwargs)
        if self._is_distributed:
            pairs = self._average(pairs)
        return pairs if scale is None else scale_down(pairs, scale)

    def _average(self, pairs):
        averaged = []
        with tf.name_scope(self._name + "_Allreduce"):
            for number, (gradient, variable) in enumerate(pairs, 1):
                waits = []
                if self._is_loss_scale and self._is_tailing and number == len(pairs):
                    self._is_finite = read_overflow(self._status, [g for g, _ in pairs], True)
                    waits = [self._is_finite]
                with tf.control_dependencies(waits):
                    averaged.append((None if gradient is None else allreduce(gradient), variable))
        return averaged

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """Applies the gradients unless there was an overflow."""
        if not self._is_loss_scale:
            return self._wrapped.apply_gradients(grads_and_vars, global_step, name)
        if not self._is_tailing:
            gradients = [g for g, _ in grads_and_vars]
            self._is_finite = read_overflow(self._status, gradients, self._is_distributed)
        return update_if_finite(
            self._is_finite, self._wrapped, self._manager, grads_and_vars, global_step, name
        )
