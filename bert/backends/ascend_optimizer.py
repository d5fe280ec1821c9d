"""The optimisers of the adapter around ours: average over ranks, loss scale, skipped overflows.

    NPULossScaleOptimizer( NPUDistributedOptimizer( GradientSource( our optimiser ) ) )

Nothing here asks for a tensor by a name that the adapter gave it: those names changed between
its versions. The loss scale is asked of its manager, and a skipped step shows in the global step.
"""

from __future__ import annotations

from typing import Any, Callable, List, Sequence, Tuple

import tensorflow.compat.v1 as tf

from bert.backends.ascend_bridge import Bridge
from bert.train_config import LossScaleConfig

_GROW_RATIO = 2
_SHRINK_RATIO = 0.5


class GradientSource(tf.train.Optimizer):
    """The innermost wrapper: hands dense gradients to the adapter and applies what comes back.

    Dense because HCCL's all-reduce wants tensors of fixed shape; a sparse gradient would travel
    as two all-gathers, and what comes back could not be clipped with the others.

    Args:
        optimizer: does the update.
        on_gradients: called once with the names of all variables that have a gradient.
    """

    def __init__(
        self, optimizer: tf.train.Optimizer, on_gradients: Callable[[Sequence[str]], None]
    ) -> None:
        super().__init__(use_locking=False, name=type(optimizer).__name__)
        self._optimizer = optimizer
        self._on_gradients = on_gradients

    def compute_gradients(self, *args: Any, **kwargs: Any) -> List[Tuple[Any, Any]]:
        """Returns (gradient, variable) pairs of this rank, None where no gradient reaches."""
        pairs = [
            (None if gradient is None else tf.convert_to_tensor(gradient), variable)
            for gradient, variable in self._optimizer.compute_gradients(*args, **kwargs)
        ]
        self._on_gradients([v.op.name for gradient, v in pairs if gradient is not None])
        return pairs

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: Any = None):
        """Leaves the update to the wrapped optimiser."""
        if global_step is None:
            # Adapters that test for overflow by Inf and NaN lose this argument on the way here,
            # and training would never end.
            global_step = tf.train.get_global_step()
        return self._optimizer.apply_gradients(grads_and_vars, global_step=global_step, name=name)

    def get_slot(self, *args: Any, **kwargs: Any) -> Any:
        """Asks the wrapped optimiser."""
        return self._optimizer.get_slot(*args, **kwargs)

    def get_slot_names(self, *args: Any, **kwargs: Any) -> Any:
        """Asks the wrapped optimiser."""
        return self._optimizer.get_slot_names(*args, **kwargs)

    def variables(self) -> Any:
        """Asks the wrapped optimiser."""
        return self._optimizer.variables()


class NpuLossScale:
    """The adapter's manager of the loss scale.

    With the dynamic rule it owns the variables `loss_scale`, `good_steps` and `bad_steps`, under
    the names that checkpoints of the other backends have too.

    Attributes:
        manager: what NPULossScaleOptimizer takes.
        value: scalar float32, the scale of the step.
    """

    def __init__(self, config: LossScaleConfig, bridge: Bridge) -> None:
        managers = bridge.loss_scale_manager
        if config.mode == "dynamic":
            self.manager = managers.ExponentialUpdateLossScaleManager(
                init_loss_scale=config.initial,
                incr_every_n_steps=config.grow_every_n_steps,
                decr_every_n_nan_or_inf=config.shrink_every_n_bad,
                incr_ratio=_GROW_RATIO,
                decr_ratio=_SHRINK_RATIO,
            )
        else:
            self.manager = managers.FixedLossScaleManager(loss_scale=config.initial)
        self.value = tf.identity(self.manager.get_loss_scale())


def average_gradients(optimizer: tf.train.Optimizer, bridge: Bridge) -> tf.train.Optimizer:
    """Wraps an optimiser so that gradients are averaged over all ranks; RANK_SIZE says how many."""
    return bridge.optimizer.NPUDistributedOptimizer(optimizer)


def scale_loss(
    optimizer: tf.train.Optimizer,
    loss_scale: NpuLossScale,
    bridge: Bridge,
    rank_size: int,
) -> tf.train.Optimizer:
    """Wraps an optimiser so that steps which overflow on any rank are skipped by all."""
    return bridge.loss_scale_optimizer.NPULossScaleOptimizer(
        optimizer, loss_scale.manager, is_distributed=rank_size > 1
    )


def average_and_scale_with_tailing(
    optimizer: tf.train.Optimizer, loss_scale: NpuLossScale, bridge: Bridge
) -> tf.train.Optimizer:
    """Wraps an optimiser with both at once, the test for overflow beside the last all-reduce."""
    return bridge.optimizer.NPUOptimizer(
        optimizer,
        loss_scale_manager=loss_scale.manager,
        is_distributed=True,
        is_loss_scale=True,
        is_tailing_optimization=True,
    )
