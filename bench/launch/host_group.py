"""The ranks of a run on several hosts, with the face of a ``RankGroup``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from bench.errors import InfrastructureError
from bench.launch import mailbox
from bench.launch.agent import build_plan_message
from bench.launch.exchange import Exchange, HostState
from bench.launch.group import Group, Rank
from bench.launch.plan import LaunchPlan, RankPlan

_POLL_SECONDS = 0.05
_START_SECONDS = 60.0
_STOP_MARGIN_SECONDS = 15.0
"""What an order to stop and its answer may take beside the wait for the ranks themselves."""


@dataclass
class RemoteRank(Rank):
    """A rank on some host; times are those of this host's clock."""

    plan: RankPlan
    started_at: float = 0.0
    said_process_id: int = 0
    said_exit_code: Optional[int] = None
    ended_at: Optional[float] = None
    stopped_by_us: bool = False

    @property
    def process_id(self) -> int:
        """Process id on its host, 0 before it is known."""
        return self.said_process_id

    @property
    def exit_code(self) -> Optional[int]:
        """As its agent says; None for a rank of a host that was lost."""
        return self.said_exit_code


class HostGroup(Group):
    """The rank processes of one run on several hosts.

    Args:
        plan: all ranks.
        run_dir: folder of the run.
        exchange: the way to the agents.
        hosts: index of every host of the session.
        near: those whose processes the head can see and looks after itself.
        stop_timeout_seconds: wait between TERM and KILL of a rank.
        find_trouble: says what is wrong with the hosts as such, empty if nothing.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        run_dir: Path,
        exchange: Exchange,
        hosts: Sequence[int],
        near: Sequence[int],
        stop_timeout_seconds: float,
        find_trouble: Callable[[], str],
    ) -> None:
        self._plan = plan
        self._run_dir = run_dir
        self._exchange = exchange
        self._hosts = hosts
        self._near = near
        self._stop_timeout_seconds = stop_timeout_seconds
        self._find_trouble = find_trouble
        self._order = 0
        self._stopped = False
        self._ranks: List[RemoteRank] = [RemoteRank(rank) for rank in plan.ranks]

    @property
    def ranks(self) -> List[RemoteRank]:
        """All of them, in rank order."""
        return self._ranks

    def __enter__(self) -> HostGroup:
        for rank in self._plan.ranks:
            rank.log_path.parent.mkdir(parents=True, exist_ok=True)
        number = self._exchange.peek_number()
        for host in self._hosts:
            content = build_plan_message(
                self._plan,
                host,
                self._run_dir,
                self._stop_timeout_seconds,
                host in self._near,
            )
            mailbox.write_message(
                self._exchange.folder, mailbox.name_plan(host), {**content, "order": number}
            )
        self._order = self._exchange.order("run")
        try:
            self._wait_for_start()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_for_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._list_unanswered(self._order):
            if self.trouble:
                raise InfrastructureError(self.trouble)
            if time.monotonic() > deadline:
                names = ", ".join(s.name for s in self._list_unanswered(self._order))
                raise InfrastructureError(
                    f"host {names} did not start its ranks within {_START_SECONDS:g} s"
                )
            time.sleep(_POLL_SECONDS)
        self._read()

    @property
    def trouble(self) -> str:
        """What is wrong with a host or the way to it, empty if nothing."""
        return self._find_trouble()

    def poll(self) -> List[RemoteRank]:
        """Looks which ranks have ended since the last call and returns those."""
        before = self._list_running()
        self._read(note_ends=True)
        return [rank for rank in before if rank.ended_at is not None]

    def _read(self, note_ends: bool = False) -> None:
        """Takes over what the agents say of the ranks that have not ended."""
        known: Dict[int, Mapping[str, Any]] = {}
        ahead: Dict[int, float] = {}
        for state in self._exchange.list_states():
            if state.order < self._order:
                continue
            offset = self._exchange.get_offset(state.index)
            for number, said in dict(state.message.get("ranks", {})).items():
                known[int(number)] = said
                ahead[int(number)] = 0.0 if offset is None else offset.seconds
        for rank in self._list_running():
            said = known.get(rank.plan.rank, {})
            if not said:
                continue
            rank.said_process_id = said["process_id"]
            rank.started_at = said["started_at"] - ahead[rank.plan.rank]
            rank.stopped_by_us = bool(said["stopped_by_us"])
            if note_ends and said["ended_at"] is not None:
                rank.said_exit_code = said["exit_code"]
                rank.ended_at = said["ended_at"] - ahead[rank.plan.rank]

    def stop(
        self,
        note: Optional[Callable[[str], None]] = None,
        is_urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        """Has every agent end its ranks, and waits until they say so; hosts that are lost do not.

        Args:
            note: told which hosts did not answer.
            is_urgent: asked during the wait; true has ranks killed at once.
        """
        self.poll()
        if self._stopped:
            return
        self._stopped = True
        number = self._exchange.order("stop", urgent=is_urgent())
        urgent = False
        deadline = time.monotonic() + self._stop_timeout_seconds + _STOP_MARGIN_SECONDS
        while time.monotonic() < deadline:
            self.poll()
            waiting = self._list_unanswered(number)
            if not waiting:
                break
            if is_urgent() and not urgent:
                urgent = True
                number = self._exchange.order("stop", urgent=True)
            time.sleep(_POLL_SECONDS)
        for state in self._list_unanswered(number):
            if note is not None:
                note(f"host {state.name} did not say that its ranks have ended")
        self.poll()
        for rank in self._list_running():
            rank.stopped_by_us = True
            rank.ended_at = time.time()

    def _list_running(self) -> List[RemoteRank]:
        return [rank for rank in self._ranks if rank.ended_at is None]

    def _list_unanswered(self, number: int) -> List[HostState]:
        silent = time.monotonic() - _STOP_MARGIN_SECONDS
        return [
            state
            for state in self._exchange.list_states()
            if state.order < number and state.phase != "closed" and state.heard_at > silent
        ]
