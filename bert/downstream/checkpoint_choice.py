"""Which checkpoints there are, and which one is used."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import List, Optional

import tensorflow.compat.v1 as tf

from bert.config import BertConfig
from bert.downstream.results import BEST_NAME
from bert.downstream.task import Head
from bert.errors import DataError
from bert.training.checkpoints import (
    POSITION_TABLE,
    WORD_TABLE,
    check_same_positions,
    read_checkpoint_shapes,
)

_STEP = re.compile(r"model\.ckpt-(\d+)\.index$")
_UNTRAINED = "model.ckpt-0"


def list_checkpoints(directory: str) -> List[str]:
    """Returns the checkpoints of a directory by step; that of step 0 has learned nothing yet."""
    found = {}
    for path in glob.glob(os.path.join(glob.escape(directory), "model.ckpt-*.index")):
        match = _STEP.search(path)
        if match and int(match.group(1)) > 0:
            found[int(match.group(1))] = path[: -len(".index")]
    return [found[step] for step in sorted(found)]


def choose_checkpoint(directory: str, init_checkpoint: Optional[str]) -> str:
    """Returns the best checkpoint known, else the newest of the directory, else the given one.

    A directory given as `init_checkpoint` means its best one, or its newest if none is known. What
    training left of step 0, where it failed before its first save, is no candidate.

    Raises:
        DataError: there is none at all.
    """
    best = read_best(directory)
    if best is not None:
        return best
    newest = tf.train.latest_checkpoint(directory)
    if newest is not None and os.path.basename(newest) != _UNTRAINED:
        return newest
    if init_checkpoint is None:
        raise DataError(
            f"{directory} holds no trained checkpoint; train first, or name one by "
            "--init_checkpoint"
        )
    if os.path.isdir(init_checkpoint):
        newest = tf.train.latest_checkpoint(init_checkpoint)
        return read_best(init_checkpoint) or newest or init_checkpoint
    return init_checkpoint


def read_best(directory: str) -> Optional[str]:
    """Returns the checkpoint that the last scoring found best, None if there was none.

    Raises:
        DataError: the file that tells it is damaged.
    """
    path = os.path.join(directory, BEST_NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            name = json.load(stream)["checkpoint"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not tell a checkpoint ({type(error).__name__}: {error}); remove it, or "
            "score again"
        ) from error
    checkpoint = os.path.join(directory, name)
    if not os.path.exists(checkpoint + ".index"):
        tf.logging.warning("%s names %s, which is not there any longer", path, name)
        return None
    return checkpoint


def read_step(checkpoint: str) -> int:
    """Returns the global step of a checkpoint, 0 if it has none."""
    try:
        return int(tf.train.load_variable(checkpoint, "global_step"))
    except tf.errors.NotFoundError:
        return 0


def check_fine_tuned(checkpoint: str, head: Head, bert: BertConfig) -> None:
    """Checks that a checkpoint has the task's head and is of the model's kind.

    Raises:
        DataError: it has not, or cannot be read.
    """
    shapes = read_checkpoint_shapes(checkpoint)
    name = f"{head.scope}/output_weights"
    if name not in shapes:
        raise DataError(
            f"{checkpoint} has no {name}: it is not fine-tuned for this task; train first, with "
            "it as --init_checkpoint"
        )
    wanted = [head.n_labels, bert.hidden_size]
    if list(shapes[name]) != wanted:
        raise DataError(
            f"{checkpoint}: {name} has shape {list(shapes[name])}, labels and model want {wanted}; "
            "use the label map and the model configuration that it was trained with"
        )
    tables = [WORD_TABLE] + ([] if bert.use_relative_position else [POSITION_TABLE])
    check_same_positions(tables, shapes, checkpoint)
