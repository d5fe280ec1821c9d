"""How many batches training has taken: the position in the data, saved with every checkpoint.

The global step does not tell it: a step whose update was skipped has taken its batch, too.
"""

from __future__ import annotations

from typing import Any

import tensorflow.compat.v1 as tf

from bert.errors import DataError, UsageError

COUNTER_NAME = "batches_taken"


def build_batch_counter() -> tf.Variable:
    """Makes the counter, an int64 scalar: batches of one rank, each for one update."""
    return tf.get_variable(
        COUNTER_NAME, [], tf.int64, initializer=tf.zeros_initializer(), trainable=False
    )


def count_after(train_op: tf.Operation, counter: tf.Variable) -> tf.Operation:
    """Returns the training step that also counts its batch."""
    with tf.control_dependencies([train_op]):
        return tf.group(tf.assign_add(counter, 1).op)


def read_start_batch(directory: str) -> int:
    """Returns the number of batches that the newest checkpoint of a directory has behind it.

    Raises:
        DataError: if the checkpoint is none of this trainer's, or cannot be read.
    """
    checkpoint = tf.train.latest_checkpoint(directory)
    if checkpoint is None:
        return 0
    try:
        return int(tf.train.load_variable(checkpoint, COUNTER_NAME))
    except tf.errors.NotFoundError as error:
        raise DataError(
            f"{checkpoint} does not say which data it has seen, so training cannot go on from it; "
            "name it by --init_checkpoint, and another --output_dir"
        ) from error
    except (tf.errors.OpError, ValueError) as error:
        raise DataError(f"{checkpoint}: cannot be read: {error}") from error


class StartBatchHook(tf.train.SessionRunHook):
    """Checks that this rank's data start where those of rank 0 do.

    Ranks look for the checkpoint by themselves, as data are opened before any rank can talk to
    another. One that does not see the directory of rank 0 starts with the first batch.

    Args:
        start_batch: where this rank's data start.
        rank_id: this rank, for the message.
        is_strict: refuse to train then; else only say so.
    """

    def __init__(self, start_batch: int, rank_id: int, is_strict: bool) -> None:
        self._start_batch = start_batch
        self._rank_id = rank_id
        self._is_strict = is_strict

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        """Compares with the counter, which comes from rank 0."""
        (counter,) = [v for v in tf.global_variables() if v.op.name == COUNTER_NAME]
        taken = int(session.run(counter))
        if taken == self._start_batch:
            if taken:
                tf.logging.info("training data go on behind batch %d", taken)
            return
        message = (
            f"rank {self._rank_id}: training goes on behind batch {taken} of rank 0, but no "
            f"checkpoint in --output_dir says so here, and its data start at {self._start_batch}; "
            "let all ranks see one --output_dir"
        )
        if self._is_strict:
            raise UsageError(message)
        tf.logging.warning("%s", message)
