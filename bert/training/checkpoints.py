"""Starting from a checkpoint: what fits by name is taken, and the log says what was."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

import tensorflow.compat.v1 as tf

from bert.errors import DataError


class Assignment(NamedTuple):
    """Variables of a model against those of a checkpoint, by name.

    Attributes:
        taken: in both.
        fresh: in the model only; these keep their initial values.
        unused: in the checkpoint only, slots and counters left out.
    """

    taken: List[str]
    fresh: List[str]
    unused: List[str]


_NOT_WEIGHTS = ("adam_m", "adam_v", "lamb_m", "lamb_v", "global_step", "loss_scale")
_NOT_WEIGHTS += ("good_steps", "bad_steps")


def build_assignment(
    model_shapes: Dict[str, Sequence[int]],
    checkpoint_shapes: Dict[str, Sequence[int]],
    checkpoint: str,
) -> Assignment:
    """Matches names and checks shapes.

    Raises:
        DataError: if a shape differs, or nothing matches at all.
    """
    for name, shape in model_shapes.items():
        if name in checkpoint_shapes and list(checkpoint_shapes[name]) != list(shape):
            raise DataError(
                f"--init_checkpoint={checkpoint}: variable {name} has shape "
                f"{list(checkpoint_shapes[name])}, the model's has {list(shape)}; use the model "
                "configuration that belongs to the checkpoint"
            )
    taken = [name for name in model_shapes if name in checkpoint_shapes]
    if not taken:
        raise DataError(
            f"--init_checkpoint={checkpoint}: no variable has the name of one of the model's"
        )
    return Assignment(
        taken=taken,
        fresh=[name for name in model_shapes if name not in checkpoint_shapes],
        unused=sorted(
            name
            for name in checkpoint_shapes
            if name not in model_shapes and name.rsplit("/", 1)[-1] not in _NOT_WEIGHTS
        ),
    )


def initialize_from_checkpoint(checkpoint: str, variables: Sequence[tf.Variable]) -> Assignment:
    """Makes the initial values of `variables` those of the checkpoint, where names are equal.

    Optimiser slots and the global step are not taken: this starts a new training.

    Raises:
        DataError: if the checkpoint is absent, corrupt or does not fit.
    """
    try:
        checkpoint_shapes = dict(tf.train.list_variables(checkpoint))
    except (tf.errors.OpError, ValueError) as error:
        raise DataError(f"--init_checkpoint={checkpoint}: cannot be read: {error}") from error
    assignment = build_assignment(
        {variable.op.name: variable.shape.as_list() for variable in variables},
        checkpoint_shapes,
        checkpoint,
    )
    tf.train.init_from_checkpoint(checkpoint, {name: name for name in assignment.taken})
    tf.logging.info(
        "init_checkpoint %s: %d variables taken, %d left at their initial values%s, "
        "%d of the checkpoint not used%s",
        checkpoint,
        len(assignment.taken),
        len(assignment.fresh),
        _render_names(assignment.fresh),
        len(assignment.unused),
        _render_names(assignment.unused),
    )
    return assignment


def _render_names(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
