"""One log handler, in absl's form, one write per line."""

from __future__ import annotations

import logging
import os
import sys

import tensorflow.compat.v1 as tf
from absl import logging as absl_logging


class SingleWriteHandler(logging.Handler):
    """Writes every record to stderr with one system call.

    Ranks often share a terminal or a file; text and newline written apart, as stream handlers
    may do, end up interleaved with the lines of other ranks.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the formatted record and its newline at once."""
        try:
            line = self.format(record) + "\n"
            os.write(sys.stderr.fileno(), line.encode("utf-8", "backslashreplace"))
        except Exception:  # a logger must not end the training that it reports on
            self.handleError(record)


def set_up_logging() -> None:
    """Replaces all handlers of the root and of TensorFlow's logger by one in absl's form.

    TensorFlow installs a handler of its own beside absl's, and every message then appears
    twice, in two forms.
    """
    handler = SingleWriteHandler()
    handler.setFormatter(absl_logging.PythonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logger = logging.getLogger("tensorflow")
    tf.logging.set_verbosity(tf.logging.INFO)  # makes TensorFlow set up its logger before this
    logger.handlers[:] = []
    logger.propagate = True
