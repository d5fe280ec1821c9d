"""The ranks of a run on several hosts, with the face of a ``RankGroup``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

from bench.launch import mailbox
from bench.launch.agent import build_plan_message
from bench.launch.exchange import Exchange, HostState
from bench.launch.plan import LaunchPlan, RankPlan

_POLL_SECONDS = 0.1
_STOP_MARGIN_SECONDS = 15.0
"""What an order to stop and its answer may take beside the wait for the ranks themselves."""


@dataclass
class RemoteRank:
    """A rank on some host; times are those of this host's clock."""

    plan: RankPlan
    started_at: float = 0.0
    process_id: Optional[int] = None
    exit_code: Optional[int] = None
    ended_at: Optional[float] = None
    stopped_by_us: bool = False


class HostGroup:
    """The rank processes of one run. Use as a context manager: leaving it ends what still runs.

    Args:
        plan: all ranks.
        run_dir: folder of the run.
        exchange: the way to the agents.
        hosts: index of every host of the session.
        stop_timeout_seconds: wait between TERM and KILL of a rank.
        find_trouble: says what is wrong with the hosts as such, empty if nothing.
    """

    def __init__(
        self,
        plan: LaunchPlan,
        run_dir: Path,
        exchange: Exchange,
        hosts: List[int],
        stop_timeout_seconds: float,
        find_trouble: Callable[[], str],
    ) -> None:
        self._plan = plan
        self._run_dir = run_dir
        self._exchange = exchange
        self._hosts = hosts
        self._stop_timeout_seconds = stop_timeout_seconds
        self._find_trouble = find_trouble
        self._order = 0
        self._stopped = False
        self.ranks: List[RemoteRank] = [RemoteRank(rank) for rank in plan.ranks]

    def __enter__(self) -> HostGroup:
        for rank in self._plan.ranks:
            rank.log_path.parent.mkdir(parents=True, exist_ok=True)
        number = self._exchange.peek_number()
        for host in self._hosts:
            content = build_plan_message(
                self._plan, host, self._run_dir, self._stop_timeout_seconds
            )
            mailbox.write_message(
                self._exchange.folder, mailbox.name_plan(host), {**content, "order": number}
            )
        self._order = self._exchange.order("run")
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def trouble(self) -> str:
        """What is wrong with a host or the way to it, empty if nothing."""
        return self._find_trouble()

    @property
    def running(self) -> List[RemoteRank]:
        """Ranks whose end has not been seen."""
        return [rank for rank in self.ranks if rank.ended_at is None]

    def poll(self) -> List[RemoteRank]:
        """Looks which ranks have ended since the last call and returns those."""
        known: Dict[int, Mapping[str, Any]] = {}
        ahead: Dict[int, float] = {}
        for state in self._exchange.list_states():
            if state.order < self._order:
                continue
            offset = self._exchange.get_offset(state.index)
            for number, said in dict(state.message.get("ranks", {})).items():
                known[int(number)] = said
                ahead[int(number)] = 0.0 if offset is None else offset.seconds
        ended = []
        for rank in self.running:
            said = known.get(rank.plan.rank, {})
            if not said:
                continue
            rank.process_id = said["process_id"]
            rank.started_at = said["started_at"] - ahead[rank.plan.rank]
            rank.stopped_by_us = bool(said["stopped_by_us"])
            if said["ended_at"] is not None:
                rank.exit_code = said["exit_code"]
                rank.ended_at = said["ended_at"] - ahead[rank.plan.rank]
                ended.append(rank)
        return ended

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
        for rank in self.running:
            rank.stopped_by_us = True
            rank.ended_at = time.time()

    def exit_codes(self) -> Dict[int, Optional[int]]:
        """Exit code by rank."""
        return {rank.plan.rank: rank.exit_code for rank in self.ranks}

    def _list_unanswered(self, number: int) -> List[HostState]:
        silent = time.monotonic() - _STOP_MARGIN_SECONDS
        return [
            state
            for state in self._exchange.list_states()
            if state.order < number and state.phase != "closed" and state.heard_at > silent
        ]
