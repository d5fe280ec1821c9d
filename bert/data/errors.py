"""Errors of the data tools, and the one place that turns them into a line and an exit code.

    DataToolError            70  internal
    ├── UsageError           64  usage      a flag or a value of it is wrong
    ├── BadDataError         65  data       an input file is wrong; the message names it
    │   └── CorruptRecordError              a TFRecord file is wrong at a byte offset
    └── OutputError          74  io         an output cannot be written

Exit codes follow sysexits.h, as those of the trainer do.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from typing import Callable, List, Optional

EXIT_OK = 0
EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_INTERNAL = 70
EXIT_IO = 74
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class DataToolError(Exception):
    """Base class: `label` and `exit_code` say how a command reports it."""

    label = "internal"
    exit_code = EXIT_INTERNAL


class UsageError(DataToolError):
    """A flag is unknown, missing, or has a value that cannot work."""

    label = "usage"
    exit_code = EXIT_USAGE


class BadDataError(DataToolError):
    """An input file is absent, unreadable or not what it should be."""

    label = "data"
    exit_code = EXIT_DATA


class CorruptRecordError(BadDataError):
    """A TFRecord file is damaged.

    Attributes:
        path: the file.
        offset_bytes: where the damaged record starts.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, offset_bytes: int, reason: str) -> None:
        super().__init__(
            "%s: %s at byte offset %d; make the file again, or tolerate it with --skip_corrupt"
            % (path, reason, offset_bytes)
        )
        self.path = path
        self.offset_bytes = offset_bytes
        self.reason = reason

    def __reduce__(self):  # exceptions with their own __init__ do not survive pickling otherwise
        return type(self), (self.path, self.offset_bytes, self.reason)


class OutputError(DataToolError):
    """An output cannot be written."""

    label = "io"
    exit_code = EXIT_IO


def render_error(error: BaseException) -> str:
    """Returns the one line a command prints for `error`."""
    if isinstance(error, DataToolError):
        return "ERROR: %s: %s" % (error.label, _one_line(str(error)))
    if isinstance(error, OSError):
        where = " (%s)" % error.filename if error.filename else ""
        what = error.strerror or str(error)
        remedy = "; free some space" if error.errno == errno.ENOSPC else ""
        return "ERROR: io: %s%s%s" % (_one_line(what), where, remedy)
    return "ERROR: internal: %s: %s" % (type(error).__name__, _one_line(str(error)))


def run_command(main: Callable[[List[str]], int], arguments: Optional[List[str]] = None) -> int:
    """Runs a command's `main` and returns its exit code; prints what went wrong to stderr.

    SIGTERM is turned into an exception for the time of the call, so that temporary files
    are removed; a broken pipe on stdout ends quietly.
    """
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        status = main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except DataToolError as error:
        sys.stderr.write(render_error(error) + "\n")
        return error.exit_code
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing to report, and flushing at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        sys.stderr.write(render_error(error) + "\n")
        return EXIT_IO
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except _Terminated:
        sys.stderr.write("terminated\n")
        return EXIT_TERMINATED
    except Exception as error:
        traceback.print_exc()
        sys.stderr.write(render_error(error) + "\n")
        return EXIT_INTERNAL
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Terminated(BaseException):
    """SIGTERM came."""


def _raise_terminated(signum: int, frame: object) -> None:
    raise _Terminated()


def _one_line(text: str) -> str:
    return " ".join(text.split())
