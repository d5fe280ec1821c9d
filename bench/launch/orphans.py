"""Rank processes whose harness, or host agent, is dead: found by their environment."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import psutil

from bench.launch.identity import (
    RUN_ID_VARIABLE,
    STARTER_VARIABLE,
    is_alive,
    parse_identity,
    read_start_ticks,
)

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Orphan:
    """A process of a run that nobody looks after.

    Attributes:
        process_id: its number.
        start_ticks: when it started; with the number it cannot be mistaken.
        run_id: of its run.
        rank: what its ``RANK_ID`` says, empty if nothing.
        command: its command line, shortened.
    """

    process_id: int
    start_ticks: int
    run_id: str
    rank: str
    command: str


def list_orphans() -> List[Orphan]:
    """Processes of this user, or of all for root, that a dead harness has left behind."""
    return sorted(_find_orphans(), key=lambda one: (one.run_id, one.process_id))


def _find_orphans() -> Iterator[Orphan]:
    own = os.getpid()
    known: Dict[str, Optional[bool]] = {}
    for process in psutil.process_iter():
        try:
            variables = {} if process.pid == own else process.environ()
            starter = variables.get(STARTER_VARIABLE, "")
            if not starter or RUN_ID_VARIABLE not in variables:
                continue
            if starter not in known:
                identity = parse_identity(starter)
                # Of a process in a container we cannot say that its harness is dead.
                known[starter] = None if identity is None else is_alive(identity)
            ticks = read_start_ticks(process.pid)
            if known[starter] is not False or ticks is None:
                continue
            yield Orphan(
                process.pid,
                ticks,
                variables[RUN_ID_VARIABLE],
                variables.get("RANK_ID", ""),
                " ".join(process.cmdline())[:120],
            )
        except (psutil.Error, OSError, ValueError):
            continue


def end_orphans(orphans: Sequence[Orphan], wait_seconds: float = 5.0) -> List[Orphan]:
    """Ends processes: TERM, wait, KILL; returns those that still live.

    Args:
        orphans: as :func:`list_orphans` gives them.
        wait_seconds: between TERM and KILL, and after it.
    """
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for orphan in _list_living(orphans):
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(orphan.process_id)
                # The number was looked up again: it must still be the same process.
                if read_start_ticks(orphan.process_id) == orphan.start_ticks:
                    act(process)
        deadline = time.monotonic() + wait_seconds
        while _list_living(orphans) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    return _list_living(orphans)


def group_by_run(orphans: Sequence[Orphan]) -> List[Tuple[str, List[int]]]:
    """Run id and process ids, in order of the run ids."""
    runs: Dict[str, List[int]] = {}
    for orphan in orphans:
        runs.setdefault(orphan.run_id, []).append(orphan.process_id)
    return sorted(runs.items())


def _list_living(orphans: Sequence[Orphan]) -> List[Orphan]:
    return [one for one in orphans if read_start_ticks(one.process_id) == one.start_ticks]
