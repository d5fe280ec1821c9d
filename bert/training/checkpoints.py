"""Starting from a checkpoint: what fits by name is loaded, and the log says what was not."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import tensorflow.compat.v1 as tf

from bert.errors import DataError

WORD_TABLE = "bert/embeddings/word_embeddings"
POSITION_TABLE = "bert/embeddings/position_embeddings"

# What optimisers, loss scaling and the global step leave in checkpoints of this and of other
# BERT trainers. A new training starts without them.
_STATE = re.compile(
    r"(^|/)(adam_[mv]|lamb_[mv]|Adam(_1)?|Momentum|accum|global_step|beta[12]_power|"
    r"loss_scale|good_steps|bad_steps|local_step|batches_taken)(_\d+)?$"
)
# A data file of a checkpoint, named in place of the checkpoint.
_PART = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")

_MOST_NAMES = 12


class Assignment(NamedTuple):
    """Variables of a model against those of a checkpoint, by name.

    Attributes:
        loaded: in both.
        fresh: in the model only; these keep their initial values.
        unused: in the checkpoint only.
        n_state: variables of optimiser, loss scale and step in the checkpoint, left out.
    """

    loaded: List[str]
    fresh: List[str]
    unused: List[str]
    n_state: int = 0


def build_assignment(
    model_shapes: Dict[str, Sequence[int]],
    checkpoint_shapes: Dict[str, Sequence[int]],
    checkpoint: str,
) -> Assignment:
    """Matches names and checks shapes.

    Args:
        model_shapes, checkpoint_shapes: variable name → shape.
        checkpoint: its path, for messages.

    Raises:
        DataError: if one of the two is a BERT and the other one a NEZHA, a shape differs, or
            nothing matches at all.
    """
    check_same_positions(model_shapes, checkpoint_shapes, checkpoint)
    for name, shape in model_shapes.items():
        if name in checkpoint_shapes and list(checkpoint_shapes[name]) != list(shape):
            raise DataError(
                f"--init_checkpoint={checkpoint}: variable {name} has shape "
                f"{list(checkpoint_shapes[name])}, the model's has {list(shape)}; use the model "
                "configuration that belongs to the checkpoint"
            )
    loaded = [name for name in model_shapes if name in checkpoint_shapes]
    if not loaded:
        raise DataError(
            f"--init_checkpoint={checkpoint}: no variable has the name of one of the model's"
        )
    others = sorted(name for name in checkpoint_shapes if name not in model_shapes)
    unused = [name for name in others if not _STATE.search(name)]
    return Assignment(
        loaded=loaded,
        fresh=[name for name in model_shapes if name not in checkpoint_shapes],
        unused=unused,
        n_state=len(others) - len(unused),
    )


def check_same_positions(model_names: Any, checkpoint_names: Any, checkpoint: str) -> None:
    """Raises DataError if a NEZHA checkpoint is to go into a BERT model, or the reverse.

    All other variables have the same names and shapes, so it would load, and train from weights
    that know nothing of the model's positions. A checkpoint without embeddings tells nothing.
    """
    if WORD_TABLE not in checkpoint_names or WORD_TABLE not in model_names:
        return
    if POSITION_TABLE in model_names and POSITION_TABLE not in checkpoint_names:
        raise DataError(
            f"--init_checkpoint={checkpoint}: it has no {POSITION_TABLE}, so it is of a NEZHA, "
            "and the model is a BERT with a position table; use a configuration with "
            '"use_relative_position": true, such as nezha-base'
        )
    if POSITION_TABLE not in model_names and POSITION_TABLE in checkpoint_names:
        raise DataError(
            f"--init_checkpoint={checkpoint}: it has {POSITION_TABLE}, so it is of a BERT, and "
            "the model is a NEZHA with relative positions; use a configuration without "
            '"use_relative_position", such as bert-base'
        )


def read_checkpoint_shapes(checkpoint: str) -> Dict[str, Sequence[int]]:
    """Returns variable name → shape of a checkpoint.

    Args:
        checkpoint: its path without suffix, or a directory, which means its newest one.

    Raises:
        DataError: if it is absent or corrupt, or its weights are not float32.
    """
    part = _PART.search(checkpoint)
    if part:
        raise DataError(
            f"--init_checkpoint={checkpoint}: name the checkpoint without {part.group()!r}"
        )
    try:
        reader = tf.train.load_checkpoint(checkpoint)
        shapes = reader.get_variable_to_shape_map()
        types = reader.get_variable_to_dtype_map()
        # The index alone says nothing about the file that holds the values.
        smallest = min(shapes, key=lambda name: (sum(shapes[name]), name), default=None)
        if smallest is not None:
            reader.get_tensor(smallest)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        message = " ".join(str(getattr(error, "message", error)).split())
        raise DataError(f"--init_checkpoint={checkpoint}: cannot be read: {message}") from error
    for name, dtype in types.items():
        if dtype.is_floating and dtype != tf.float32 and not _STATE.search(name):
            raise DataError(
                f"--init_checkpoint={checkpoint}: variable {name} is stored as {dtype.name}, "
                "weights must be float32; convert the checkpoint"
            )
    return shapes


def initialize_from_checkpoint(
    checkpoint: str, variables: Sequence[tf.Variable], output_dir: str = ""
) -> Optional[Assignment]:
    """Makes the initial values of `variables` those of the checkpoint, where names are equal.

    Optimiser slots and the global step are not taken: this starts a new training. If
    `output_dir` holds a checkpoint, training goes on from that one and initial values have no
    effect; the log says so.

    Returns:
        What was loaded, or None where training goes on.

    Raises:
        DataError: if the checkpoint is absent, corrupt or does not fit.
    """
    newest = tf.train.latest_checkpoint(output_dir) if output_dir else None
    if newest is not None:
        tf.logging.warning(
            "init_checkpoint %s is not used: training goes on from %s", checkpoint, newest
        )
        return None
    assignment = build_assignment(
        {variable.op.name: variable.shape.as_list() for variable in variables},
        read_checkpoint_shapes(checkpoint),
        checkpoint,
    )
    tf.train.init_from_checkpoint(checkpoint, {name: name for name in assignment.loaded})
    for line in render_report(assignment, checkpoint):
        tf.logging.info("%s", line)
    return assignment


def render_report(assignment: Assignment, checkpoint: str) -> List[str]:
    """Returns the log lines that tell what a training starts from."""
    n_variables = len(assignment.loaded) + len(assignment.fresh)
    return [
        f"init_checkpoint {checkpoint}: {len(assignment.loaded)} of {n_variables} variables loaded",
        "  not in the checkpoint, keep their initial values: " + _render_names(assignment.fresh),
        "  in the checkpoint, not used: " + _render_names(assignment.unused),
        f"  optimiser state and counters, left out: {assignment.n_state}",
    ]


def _render_names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(names[:_MOST_NAMES])
    n_more = len(names) - _MOST_NAMES
    return f"{len(names)} ({shown}{f', and {n_more} more' if n_more > 0 else ''})"
