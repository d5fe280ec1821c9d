"""A session that goes on where its harness died, was interrupted, or met a full disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from bench.errors import DataError, InfrastructureError, UsageError
from bench.launch.orphans import group_by_run, list_orphans
from bench.session.plan_file import SessionLock, list_sessions, read_plan
from bench.session.recover import list_results, recover_runs, select_done
from bench.session.sweep import RECURRING, Sweep, open_sweep

REPEATED = (*RECURRING, "lost", "internal")
"""Kinds of failure that say nothing of the trainer: such launches are made again."""


@contextlib.contextmanager
def open_resumed(output: Path, session_id: str, quiet: bool) -> Iterator[Sweep]:
    """The session as its plan says, with the launches that are done; locked while it is open.

    Args:
        output: results directory.
        session_id: which.
        quiet: no progress.

    Raises:
        DataError: there is no such session, or its plan is damaged.
        UsageError: its harness lives, or it was started elsewhere.
        InfrastructureError: ranks of it still run.
    """
    plan = read_plan(output, session_id)
    here = os.getcwd()
    if os.path.realpath(plan.working_directory) != os.path.realpath(here):
        raise UsageError(
            f"session {session_id} was started in {plan.working_directory}; resume it there"
        )
    with SessionLock(output, session_id):
        mine = [one for one in list_orphans() if one.run_id.startswith(session_id + "-")]
        if mine:
            raise InfrastructureError(
                f"{len(mine)} processes of run {group_by_run(mine)[0][0]} still run; wait for "
                "them, or end them with 'ascend-bert recover --end-orphans'"
            )
        recovered = recover_runs(output, (), session_id, locked=True)
        sweep = open_sweep([spec for _, spec, _ in plan.builds], output, quiet)
        sweep.session_id = session_id
        sweep.resumed = True
        for one in recovered:
            sweep.note(f"{one.run_id}: {one.action}: {one.text}")
        sweep.done = select_done(list_results(output, session_id), REPEATED)
        backends = tuple(name for _, _, name in plan.builds)
        found = tuple(build.backend.name for build in sweep.builds)
        if backends != found:
            raise UsageError(
                f"session {session_id} ran on {', '.join(backends)}, here it would be "
                f"{', '.join(found)}; results of both do not compare"
            )
        yield sweep


def find_last_unfinished(output: Path) -> str:
    """The last session that is not complete.

    Raises:
        DataError: there is none.
    """
    for session_id, done, wanted in reversed(list_unfinished(output)):
        if wanted is None or done < wanted:
            return session_id
    raise DataError(f"no session under {output} that could go on")


def list_unfinished(output: Path) -> List[Tuple[str, int, Optional[int]]]:
    """Sessions with launches left: identity, launches done, launches wanted (None if open)."""
    found: List[Tuple[str, int, Optional[int]]] = []
    for session_id in list_sessions(output):
        try:
            plan = read_plan(output, session_id)
        except (DataError, UsageError):
            continue
        done = len(select_done(list_results(output, session_id), REPEATED))
        until = any(spec.session.until_precision is not None for _, spec, _ in plan.builds)
        if until or done < len(plan.order):
            found.append((session_id, done, None if until else len(plan.order)))
    return found
