"""Every error the harness raises on purpose, and the exit code that each class stands for.

::

    BenchError
    ├── UsageError            2   wrong flag, key, value or model name
    ├── NoVerdictError        3   nothing could be concluded: too few intervals, invalid run
    ├── TrainerError          4   a rank failed
    ├── StalledError          5   no progress, or an outer deadline passed
    ├── InfrastructureError   6   the machine lacks something
    │   ├── BackendUnavailableError   devices or software of the asked backend are absent
    │   ├── LostRunError              the harness died during a run
    │   ├── OutputError               results cannot be written
    │   └── PortError                 a port cannot be bound
    ├── DataError             7   training data absent, empty, corrupt or unfit for the model
    ├── MismatchError         8   results that must not be compared
    └── InterruptedRunError   128 + signal number

Exit code 0 means success and 1 is kept for "regression found", which is a verdict and not an error.
Only ``bench.cli`` prints an error and sets the exit code.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_REGRESSION = 1


class BenchError(Exception):
    """Base of all errors with a one-line message: what is wrong, where, and what to do."""

    exit_code = 70
    kind = "internal"


class UsageError(BenchError):
    """A flag, key, value or name that the user gave is wrong."""

    exit_code = 2
    kind = "usage"


class NoVerdictError(BenchError):
    """The run ended but gives no number that can be trusted."""

    exit_code = 3
    kind = "no-verdict"


class TrainerError(BenchError):
    """A rank exited with an error or was killed."""

    exit_code = 4
    kind = "trainer"


class StalledError(BenchError):
    """No rank made progress for too long, or a deadline passed."""

    exit_code = 5
    kind = "stalled"


class InfrastructureError(BenchError):
    """The machine lacks something that the run needs."""

    exit_code = 6
    kind = "infrastructure"


class BackendUnavailableError(InfrastructureError):
    """The devices or the software of the asked backend are not there."""


class LostRunError(InfrastructureError):
    """The harness was gone before the run had ended; its result was rebuilt from logs."""

    kind = "lost"


class OutputError(InfrastructureError):
    """Results cannot be written where they were asked for."""


class PortError(InfrastructureError):
    """A port cannot be bound."""


class DataError(BenchError):
    """Training data or logs are absent, empty, corrupt or unfit for the model."""

    exit_code = 7
    kind = "data"


class MismatchError(BenchError):
    """Results differ in a fact that forbids comparing them."""

    exit_code = 8
    kind = "mismatch"


class InterruptedRunError(BenchError):
    """The user or a scheduler ended the run by a signal.

    Attributes:
        signal_number: the signal that was received, for example 2 for SIGINT.
    """

    kind = "interrupted"

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


KINDS = {
    cls.kind: cls
    for cls in (
        BenchError,
        UsageError,
        NoVerdictError,
        TrainerError,
        StalledError,
        InfrastructureError,
        LostRunError,
        DataError,
        MismatchError,
    )
}
"""Stored kind of failure → class, so that a stored result gives back its exit code."""
