"""Loss scaling, and the skipping of steps that overflow."""

import tensorflow.compat.v1 as tf

from npu_bridge._native import record
from npu_bridge.hccl import hccl_ops
from npu_bridge.helper import helper

gen_npu_ops = helper.get_gen_ops()


class NPULossScaleOptimizer(tf.train.Optimizer):
    """Scales the loss, unscales gradients, and skips the update if the device overflowed."""

    def __init__(self, opt, loss_scale_manager, is_distributed=False):
        # The base class is not initialised and the name is that of a module, like the original's.
        self._opt = opt
        self._loss_scale_manager = loss_scale_manager
        self._is_distributed = is_distributed
        self._name = "NPULossScaleOptimizermodule"
        record.write(
            "NPULossScaleOptimizer",
            optimizer=type(opt).__name__,
            manager=type(loss_scale_manager).__name__,
            is_distributed=is_distributed,
        )

    def compute_gradients(
        self,
        loss,
        var_list=None,
        gate_gradients=tf.train.Optimizer.GATE_OP,
        aggregation_method=None,
        colocate_gradients_with_ops=False,
        grad_loss=None,
    ):
        """Returns gradients of the unscaled loss."""
        scale = self._loss_scale_manager.get_loss_scale()
        value = loss() if callable(loss) else loss
        self._float_status = gen_npu_ops.npu_alloc_float_status()
        pairs = self._opt.compute_gradients(
            value * tf.cast(scale, value.dtype.base_dtype),
            var_list=var_list,
            gate_gradients=gate_gradients,
            aggregation_method=aggregation_method,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
            grad_loss=grad_loss,
        )
        return scale_down(pairs, scale)

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """Applies the gradients unless any rank overflowed."""
        is_finite = read_overflow(
            self._float_status, [g for g, _ in grads_and_vars], self._is_distributed
        )
        return update_if_finite(
            is_finite, self._opt, self._loss_scale_manager, grads_and_vars, global_step, name
        )


def scale_down(pairs, scale):
    """Returns the pairs with every gradient divided by the scale."""
    inverse = tf.reciprocal(scale)
    return [(g if g is None else g * tf.cast(inverse, g.dtype.base_dtype), v) for g, v in pairs]


def read_overflow(status, gradients, is_distributed):
    """Returns whether the status is clear after all gradients, on all ranks if there are several.

    The result has no name that a caller could rely on: it changed between adapters.
    """
    with tf.control_dependencies([g for g in gradients if g is not None]):
        local = gen_npu_ops.npu_get_float_status(status)
        cleared = gen_npu_ops.npu_clear_float_status(local)
    if is_distributed:
        with tf.control_dependencies([local]):
            status = hccl_ops.allreduce([status], "sum", fusion=0)
    return tf.reduce_all(tf.equal(status, cleared))


def update_if_finite(is_finite, optimizer, manager, pairs, global_step, name):
    """Returns the operation that updates, or skips, and adapts the scale."""
    update = tf.cond(
        is_finite,
        lambda: tf.group(optimizer.apply_gradients(pairs, global_step, name)),
        tf.no_op,
    )
    return tf.group(update, manager.update_loss_scale(is_finite))
