"""TensorFlow's exceptions, mapped once to the trainer's own classes."""

from __future__ import annotations

import re
from typing import Optional, Sequence

import tensorflow.compat.v1 as tf

from bert.data.input_pipeline import find_corruption
from bert.errors import (
    DataError,
    InternalError,
    OutputError,
    TrainerError,
    UnavailableError,
)

_BAD_INDEX = re.compile(
    r"indices\[[^\]]*\] = \[?(-?\d+)\]? (?:is not in \[0, |does not index into shape \[)(\d+)"
)
_BAD_LABEL = re.compile(r"Received a label value of (-?\d+) which is outside the valid range")


def map_failure(error: BaseException, files: Sequence[str], rank_id: int) -> TrainerError:
    """Returns the trainer's error for whatever a training or evaluation raised.

    Args:
        error: what was raised.
        files: the data files in use, searched for the damaged one after a DataLossError.
        rank_id: this rank, for the message.
    """
    if isinstance(error, TrainerError):
        return error
    if isinstance(error, tf.errors.OpError):
        return _map_op_error(error, files, rank_id)
    if isinstance(error, tf.train.NanLossDuringTrainingError):
        return InternalError(
            f"rank {rank_id}: the loss became NaN; lower --learning_rate, raise "
            "--num_warmup_steps or, in float16, scale the loss"
        )
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return OutputError(f"rank {rank_id}:{where} {error.strerror or error}")
    if isinstance(error, MemoryError):
        return InternalError(f"rank {rank_id}: out of memory; lower --train_batch_size")
    return InternalError(f"rank {rank_id}: {type(error).__name__}: {error}")


def _map_op_error(error: tf.errors.OpError, files: Sequence[str], rank_id: int) -> TrainerError:
    message = _first_line(error.message)
    if isinstance(error, tf.errors.DataLossError):
        found = find_corruption(files)
        return found or DataError(f"rank {rank_id}: a checkpoint is damaged: {message}")
    if isinstance(error, tf.errors.OutOfRangeError) and "Read less bytes" in error.message:
        return DataError(
            f"rank {rank_id}: a checkpoint is cut short: {message}; take another one for "
            "--init_checkpoint or --output_dir"
        )
    bad_id = _find_bad_id(error.message)
    if bad_id is not None:
        return DataError(f"rank {rank_id}: {bad_id}")
    if isinstance(error, tf.errors.InvalidArgumentError) and "Key: " in error.message:
        return DataError(f"rank {rank_id}: a record does not have the expected features: {message}")
    if isinstance(error, (tf.errors.UnavailableError, tf.errors.DeadlineExceededError)):
        return UnavailableError(f"rank {rank_id}: a peer rank is gone ({message}); see its log")
    if isinstance(error, tf.errors.ResourceExhaustedError):
        if "No space left" in error.message or "Disk quota" in error.message:
            return OutputError(f"rank {rank_id}: {message}; free space under --output_dir")
        return InternalError(f"rank {rank_id}: out of memory; lower --train_batch_size: {message}")
    if isinstance(error, tf.errors.PermissionDeniedError):
        return OutputError(f"rank {rank_id}: {message}")
    return InternalError(f"rank {rank_id}: {type(error).__name__}: {message}")


def _find_bad_id(message: str) -> Optional[str]:
    """Returns what is wrong if an id of the data has no row in a table of the model."""
    match = _BAD_INDEX.search(message)
    if match:
        return (
            f"the data hold id {match.group(1)}, the model's table has {match.group(2)} rows; use "
            "the model configuration that was made for this vocabulary and sequence length"
        )
    match = _BAD_LABEL.search(message)
    if match:
        return (
            f"the data hold label {match.group(1)}, which the model has no output for; use the "
            "model configuration that was made for this vocabulary"
        )
    return None


def _first_line(message: Optional[str]) -> str:
    lines = (message or "").strip().splitlines()
    # Of an error from a cluster the first line only says where: "From /job:worker/…:".
    lines = [line for line in lines if not line.startswith("From /job:")]
    return lines[0] if lines else "no message"
