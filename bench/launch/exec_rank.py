"""Pins the process to its cores and becomes the rank's command: ``exec_rank CORES CMD ARG…``.

The pinning happens before the trainer's interpreter starts, so that thread pools are sized by it,
and without code between fork and exec in the harness, which runs threads.
"""

from __future__ import annotations

import os
import sys
from typing import List

EXIT_CANNOT_EXECUTE = 126


def main(arguments: List[str]) -> int:
    """Replaces this process; comes back only when the command cannot be started."""
    cores, command = arguments[0], arguments[1:]
    if cores != "-" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"ERROR: unavailable: cannot start {command[0]!r}: {error.strerror}\n")
    return EXIT_CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
