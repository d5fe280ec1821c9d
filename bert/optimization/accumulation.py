"""Gradient accumulation: one update from the gradients of several micro-batches.

All micro-batches of an update are taken within one step of the graph, one after the other, so
nothing outlives the step: no counter, no buffer in the checkpoint, no step that is half done.
Averaging over ranks, unscaling, clipping and the test for overflow see the sum alone: they are
done once per update, and the update is the one that a batch n times as large would give. If any
micro-batch overflows, so has the sum, and the whole update is skipped.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

Features = Dict[str, tf.Tensor]
GradientsAndVariables = List[Tuple[tf.Tensor, tf.Variable]]


class Accumulated(NamedTuple):
    """What the micro-batches of one update gave together.

    Attributes:
        losses: means over the micro-batches, scalar float32.
        gradients: of scale · Σ losses, with their variables; dense float32.
    """

    losses: List[tf.Tensor]
    gradients: GradientsAndVariables


def accumulate_gradients(
    build_losses: Callable[[Features], Sequence[tf.Tensor]],
    features: Features,
    n_micro_batches: int,
    scale: Optional[tf.Tensor] = None,
) -> Accumulated:
    """Builds the model twice: for the first micro-batch, and in a loop over all others.

    The first one makes the variables and starts the sums; the graph is as large for two
    micro-batches as for a hundred. Activations of one micro-batch are gone before the next one
    starts.

    Args:
        build_losses: features of one micro-batch → scalar losses; their sum is minimised.
        features: name → [n · B, …]; micro-batch i has the rows from i · B on.
        n_micro_batches: n, at least 2.
        scale: loss scale, scalar float32. It stands inside: gradients of float16 must be scaled
            where they arise.

    Raises:
        ValueError: if no gradient reaches a trainable variable.
    """
    share = 1.0 / n_micro_batches
    factor = share if scale is None else scale * share
    stacked = {name: _stack(value, n_micro_batches) for name, value in features.items()}

    def take(index: Any) -> Features:
        return {name: tf.gather(value, index) for name, value in stacked.items()}

    losses = list(build_losses(take(0)))
    variables = tf.trainable_variables()
    gradients = _dense_gradients(tf.add_n(losses) * factor, variables)
    sums = [loss * share for loss in losses]

    def take_next(index: tf.Tensor, sums: List[tf.Tensor], gradients: List[tf.Tensor]) -> Any:
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            more = list(build_losses(take(index)))
        new = _dense_gradients(tf.add_n(more) * factor, variables)
        return (
            index + 1,
            [total + loss * share for total, loss in zip(sums, more)],
            [total + gradient for total, gradient in zip(gradients, new)],
        )

    # Without this the second micro-batch would start while the first one holds its activations.
    with tf.control_dependencies(gradients):
        second = tf.constant(1) + 0
    _, sums, gradients = tf.while_loop(
        lambda index, *_: index < n_micro_batches,
        take_next,
        (second, sums, gradients),
        parallel_iterations=1,
        back_prop=False,
        name="micro_batches",
    )
    return Accumulated(list(sums), list(zip(gradients, variables)))


def _stack(value: tf.Tensor, n_micro_batches: int) -> tf.Tensor:
    """[n · B, …] → [n, B, …]."""
    shape = value.shape.as_list()
    return tf.reshape(value, [n_micro_batches, shape[0] // n_micro_batches, *shape[1:]])


def _dense_gradients(loss: tf.Tensor, variables: Sequence[tf.Variable]) -> List[tf.Tensor]:
    gradients = tf.gradients(loss, list(variables))
    missing = [v.op.name for g, v in zip(gradients, variables) if g is None]
    if missing:
        raise ValueError(f"no gradient reaches {', '.join(missing)}")
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


class AccumulatedOptimizer(tf.train.Optimizer):
    """Wraps an optimiser so that `compute_gradients` returns gradients that are there already.

    It stands innermost, so wrappers that average over ranks or unscale find what they expect.
    """

    def __init__(
        self, optimizer: tf.train.Optimizer, gradients: Sequence[Tuple[tf.Tensor, tf.Variable]]
    ) -> None:
        super().__init__(use_locking=False, name=type(optimizer).__name__)
        self._optimizer = optimizer
        self._gradients = list(gradients)

    def compute_gradients(self, *args: Any, **kwargs: Any) -> GradientsAndVariables:
        """Returns the gradients given, whatever loss is asked for."""
        return list(self._gradients)

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: Any = None):
        """Leaves the update to the wrapped optimiser."""
        return self._optimizer.apply_gradients(grads_and_vars, global_step, name)

    def get_slot(self, *args: Any, **kwargs: Any) -> Any:
        """Asks the wrapped optimiser."""
        return self._optimizer.get_slot(*args, **kwargs)

    def get_slot_names(self, *args: Any, **kwargs: Any) -> Any:
        """Asks the wrapped optimiser."""
        return self._optimizer.get_slot_names(*args, **kwargs)

    def variables(self) -> Any:
        """Asks the wrapped optimiser."""
        return self._optimizer.variables()
