"""Why a rank ended badly, in one line, from its exit code and the end of its log."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Optional, Sequence

from bench.launch.exec_rank import EXIT_CANNOT_EXECUTE
from bench.launch.group import Rank
from bench.results.model import Failure

_TAIL_BYTES = 64 * 1024

_KIND_BY_EXIT_CODE = {
    64: "usage",
    65: "data",
    69: "infrastructure",
    74: "infrastructure",
    EXIT_CANNOT_EXECUTE: "infrastructure",
}
"""The trainer's exit codes follow sysexits.h; any other one is a failure of the trainer."""


def diagnose_failure(ended: Sequence[Rank]) -> Optional[Failure]:
    """Looks at ranks that have just ended.

    A rank killed by a signal comes first: the errors of others may be its consequence.

    Returns:
        The failure of the run, None when all of them ended well.
    """
    failed = [rank for rank in ended if rank.exit_code != 0]
    if not failed:
        return None
    failed.sort(key=lambda rank: (not _is_signal(rank.exit_code), rank.plan.rank))
    first = failed[0]
    assert first.exit_code is not None
    line = find_error_line(first.plan.log_path)
    return describe_exit(first.plan.rank, first.exit_code, line, first.plan.log_path)


def describe_exit(rank: int, code: int, line: Optional[str], log_path: Path) -> Failure:
    """The failure that an exit code stands for.

    Args:
        rank: whose.
        code: not 0; negative for a signal.
        line: what its log said last, None if nothing.
        log_path: where to read more.
    """
    if code < 0:
        message = f"rank {rank} was killed by {describe_signal(-code)}"
        return Failure("trainer", message, rank, code)
    message = f"rank {rank} exited with code {code}: {line or f'see {log_path}'}"
    return Failure(_KIND_BY_EXIT_CODE.get(code, "trainer"), message, rank, code)


def read_memory_kills(text: str) -> int:
    """How many processes the kernel has ended for lack of memory (``oom_kill`` of vmstat)."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return 0


def describe_signal(number: int) -> str:
    """``SIGKILL (9)``; just the number for one without a name."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:
        return f"signal {number}"


def find_error_line(log_path: Path) -> Optional[str]:
    """The trainer's own ``ERROR: class: …`` line, else the last line that is not blank."""
    try:
        with log_path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("ERROR: "):
            return line[len("ERROR: ") :]
    return lines[-1] if lines else None


def _is_signal(code: Optional[int]) -> bool:
    return code is not None and code < 0
