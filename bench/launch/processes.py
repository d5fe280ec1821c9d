"""Rank processes: started in sessions of their own, watched, and ended as whole groups."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Callable, List, Optional

import bench.launch.exec_rank
from bench.errors import InfrastructureError
from bench.launch.group import Group, Rank
from bench.launch.identity import STARTER_VARIABLE, find_own_identity, render_identity
from bench.launch.plan import LaunchPlan, RankPlan

_POLL_SECONDS = 0.05
_KILL_SECONDS = 15.0
"""What the kernel may take to end a killed process before we go on without it."""


@dataclass
class RankProcess(Rank):
    """A started rank of this host.

    Attributes:
        plan: what it was started with.
        popen: the process; its id is also the id of its process group.
        started_at: Unix time of the start.
        ended_at: Unix time when its end was seen.
        stopped_by_us: the harness ended it, so its exit code is not its own doing.
    """

    plan: RankPlan
    popen: subprocess.Popen[bytes]
    started_at: float
    ended_at: Optional[float] = None
    stopped_by_us: bool = False

    @property
    def process_id(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def exit_code(self) -> Optional[int]:
        """Exit code, negative signal number after a kill, None while it runs."""
        return self.popen.returncode


class RankGroup(Group):
    """The rank processes of one run on this host."""

    def __init__(self, plan: LaunchPlan, stop_timeout_seconds: float) -> None:
        self._plan = plan
        self._stop_timeout_seconds = stop_timeout_seconds
        self._ranks: List[RankProcess] = []

    @property
    def ranks(self) -> List[RankProcess]:
        """The ranks started so far."""
        return self._ranks

    def __enter__(self) -> RankGroup:
        try:
            starter = render_identity(find_own_identity())
            for rank in self._plan.ranks:
                self._ranks.append(_start_rank(rank, self._plan.working_directory, starter))
        except BaseException:
            self.stop()
            raise
        return self

    def poll(self) -> List[RankProcess]:
        """Looks which ranks have ended since the last call and returns those.

        What such a rank left running is killed at once: later its group's number could already
        belong to somebody else.
        """
        ended = []
        for rank in self.ranks:
            if rank.ended_at is None and rank.popen.poll() is not None:
                rank.ended_at = time.time()
                _signal_group(rank, signal.SIGKILL)
                ended.append(rank)
        return ended

    def stop(
        self,
        note: Optional[Callable[[str], None]] = None,
        is_urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ends every rank that still runs, with its children: TERM, wait, then KILL.

        Args:
            note: told which ranks had to be killed.
            is_urgent: asked during the wait; true ends it.
        """
        self.poll()
        for rank in self._list_running():
            rank.stopped_by_us = True
            _signal_group(rank, signal.SIGTERM)
        deadline = time.monotonic() + self._stop_timeout_seconds
        while self._list_running() and time.monotonic() < deadline and not is_urgent():
            time.sleep(_POLL_SECONDS)
            self.poll()
        for rank in self._list_running():
            if note is not None:
                note(f"rank {rank.plan.rank} did not end on SIGTERM; killing it")
            _signal_group(rank, signal.SIGKILL)
        deadline = time.monotonic() + _KILL_SECONDS
        while self._list_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            self.poll()
        for rank in self._list_running():
            # Waiting in the kernel, as for a dead file system or driver; nobody can end it.
            if note is not None:
                note(f"rank {rank.plan.rank} (process {rank.process_id}) survives SIGKILL")
            rank.ended_at = time.time()

    def _list_running(self) -> List[RankProcess]:
        return [rank for rank in self._ranks if rank.ended_at is None]


def _start_rank(plan: RankPlan, working_directory: os.PathLike, starter: str) -> RankProcess:
    plan.log_path.parent.mkdir(parents=True, exist_ok=True)
    cores = "-" if plan.cores is None else ",".join(map(str, plan.cores))
    shim = [sys.executable, "-S", "-E", bench.launch.exec_rank.__file__, cores]
    try:
        # Appending lets the log be truncated or rotated by others without holes of NUL bytes.
        with plan.log_path.open("ab") as log:
            popen = subprocess.Popen(
                shim + list(plan.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**plan.environment, STARTER_VARIABLE: starter},
                cwd=str(working_directory),
                start_new_session=True,
            )
    except OSError as error:
        raise InfrastructureError(f"rank {plan.rank} cannot be started: {error}") from error
    return RankProcess(plan=plan, popen=popen, started_at=time.time())


def _signal_group(rank: RankProcess, number: int) -> None:
    # A group outlives its leader while a child lives; only when it is empty does this raise.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(rank.popen.pid, number)
