"""The trainer's error tree: one class, one word and one exit code per kind of failure.

    TrainerError
    ├── UsageError        64  usage        a flag, a model configuration or the environment is wrong
    ├── DataError         65  data         a record, an id or a vocabulary does not fit
    ├── UnavailableError  69  unavailable  the backend, a device or a peer is not there
    ├── InternalError     70  internal     anything else, such as a loss that became NaN
    └── OutputError       74  io           the output directory cannot be written

The numbers are those of sysexits(3), so that whoever launches the trainer can tell the kinds
apart without reading its log.
"""

from __future__ import annotations

import difflib
from typing import Iterable


class TrainerError(Exception):
    """Base of every failure that the trainer reports by one line and an exit code."""

    word = "internal"
    exit_code = 70


class UsageError(TrainerError):
    """A flag, a model configuration or an environment variable is wrong."""

    word = "usage"
    exit_code = 64


class DataError(TrainerError):
    """Training or evaluation data are absent, corrupt or do not fit the model."""

    word = "data"
    exit_code = 65


class UnavailableError(TrainerError):
    """The backend asked for, one of its devices or a peer rank is not there."""

    word = "unavailable"
    exit_code = 69


class InternalError(TrainerError):
    """Training failed for a reason that is none of the others."""

    word = "internal"
    exit_code = 70


class OutputError(TrainerError):
    """The output directory cannot be written."""

    word = "io"
    exit_code = 74


def render_error_line(error: TrainerError) -> str:
    """Returns the one line `ERROR: <class>: <what, where, remedy>` that stands for `error`."""
    message = " ".join(str(error).split())
    return f"ERROR: {error.word}: {message}"


def render_suggestion(wrong: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean …?)` for a misspelt name, or an empty string."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
