"""Several launches of one run: which failures are tried again, and what is kept of each attempt.

The trainer resumes from the last checkpoint in its output folder. Logs of earlier attempts move to
``attempts/<n>/``, so that the figures of a run come from its last attempt alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from bench.errors import OutputError
from bench.logs.files import read_logs
from bench.results.model import Failure
from bench.session.hang_evidence import FOLDER as HANG_FOLDER
from bench.session.launching import EXITS_NAME, LaunchEnd
from bench.telemetry.store import FILE_NAME as TELEMETRY_NAME

FOLDER = "attempts"
RETRIED = ("trainer", "stalled", "infrastructure")
"""Kinds of failure that another launch may not meet; a wrong flag or bad data stay as they are."""

_MOVED = ("logs", TELEMETRY_NAME, EXITS_NAME, HANG_FOLDER)


def may_retry(failure: Optional[Failure], retries: int, n_attempts: int) -> bool:
    """Whether another attempt is due.

    Args:
        failure: of the last attempt, None if it ended well.
        retries: how many more than one are allowed.
        n_attempts: how many there were.
    """
    return failure is not None and failure.kind in RETRIED and n_attempts <= retries


def set_aside(run_dir: Path, number: int) -> Path:
    """Moves what an attempt has left, but for the trainer's own output, into a folder of its own.

    Raises:
        OutputError: it cannot be moved.
    """
    folder = run_dir / FOLDER / str(number)
    try:
        folder.mkdir(parents=True)
        for name in _MOVED:
            if (run_dir / name).exists():
                (run_dir / name).rename(folder / name)
        (run_dir / "logs").mkdir()
    except OSError as error:
        raise OutputError(f"cannot move the logs of attempt {number}: {error.strerror}") from error
    return folder


def describe_attempt(
    logs: Path, number: int, started_at: str, ended_at: str, end: LaunchEnd
) -> Dict[str, Any]:
    """What the result says of an attempt.

    Args:
        logs: folder of its logs.
        number: which, from 1.
        started_at, ended_at: ISO 8601, UTC.
        end: how it ended.
    """
    first, last = read_reached(logs)
    failure = end.failure
    return {
        "attempt": number,
        "started_at": started_at,
        "ended_at": ended_at,
        "failure": None
        if failure is None
        else {"kind": failure.kind, "message": failure.message, "rank": failure.rank},
        "exit_codes": {str(rank): code for rank, code in sorted(end.exit_codes.items())},
        "first_step": first,
        "last_step": last,
    }


def read_reached(logs: Path) -> Tuple[Optional[int], Optional[int]]:
    """First step that any rank reports, and the last that all have reached; None for none."""
    ranks = read_logs(sorted(logs.glob("train_*.log"))).ranks
    steps = [rank.report.losses.column("global_step") for rank in ranks]
    known = [column for column in steps if len(column)]
    if not known:
        return None, None
    return int(min(column[0] for column in known)), int(min(column[-1] for column in known))
