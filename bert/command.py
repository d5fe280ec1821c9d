"""How a command of the trainer ends: one line on failure, an exit code that tells its kind."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from typing import Callable

from bert.errors import InternalError, TrainerError, render_error_line


def run_command(run: Callable[[], None]) -> int:
    """Calls `run` and returns the exit code; reports a failure on stderr."""
    try:
        run()
    except TrainerError as error:
        if isinstance(error, InternalError):
            traceback.print_exc()
        return _report(error)
    except Exception as error:
        traceback.print_exc()
        return _report(InternalError(f"{type(error).__name__}: {error}"))
    return 0


def dump_stacks_on_request() -> None:
    """Makes SIGUSR1 write the stacks of all threads to stderr, also of one that waits in C code.

    A harness asks for them when a rank falls silent; training goes on.
    """
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def exit_process(code: int) -> None:
    """Ends the process without tearing down TensorFlow's servers, which can hang or abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _report(error: TrainerError) -> int:
    """Writes the error's one line and returns its exit code."""
    sys.stderr.flush()
    os.write(sys.stderr.fileno(), (render_error_line(error) + "\n").encode("utf-8"))
    return error.exit_code
