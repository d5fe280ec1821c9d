"""The agent: one process on each host that starts, watches and ends the ranks there.

It obeys the head of the session through the files of :mod:`bench.launch.mailbox`, and never waits
for ever: without a sign of life from the head it ends its ranks and itself.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Optional, Sequence

import bench
from bench.devices.hosts import Host
from bench.environment import Subject, collect_environment
from bench.errors import BenchError, InfrastructureError
from bench.launch import mailbox
from bench.launch.group import Rank
from bench.launch.host_facts import host_to_dict
from bench.launch.plan import RANK_VARIABLES, LaunchPlan, RankPlan
from bench.launch.processes import RankGroup

BEAT_SECONDS = 0.5
_BEATS_PER_SECOND = 128.0
_POLL_SECONDS = 0.05
_FAST_POLL_SECONDS = 0.005
_FAST_FOR_SECONDS = 3.0
_LONGEST_WAIT_FOR_HEAD_SECONDS = 300.0

Companion = Callable[[Mapping[str, Any], Sequence[Rank]], ContextManager[Any]]
"""What else runs beside the ranks of a host: given the plan's message and the ranks."""


@dataclass
class _State:
    """What the agent last said."""

    phase: str = "starting"
    order: int = 0
    trouble: str = ""


class HostAgent:
    """Serves one session.

    Args:
        folder: folder of messages.
        host: this host.
        n_hosts: number of hosts, as far as the scheduler tells it.
        received_signal: number of a signal that asks for the end, None before.
        companion: what else runs beside the ranks.
    """

    def __init__(
        self,
        folder: Path,
        host: Host,
        n_hosts: Optional[int],
        received_signal: Callable[[], Optional[int]],
        companion: Optional[Companion] = None,
    ) -> None:
        self._folder = folder
        self._host = host
        self._n_hosts = n_hosts
        self._received_signal = received_signal
        self._companion = companion
        # Both sides give each other up after the same time; the head says how long that is.
        self._head_timeout_seconds = _LONGEST_WAIT_FOR_HEAD_SECONDS
        self._state = _State()
        self._sockets: List[socket.socket] = []
        self._group: Optional[RankGroup] = None
        self._beside: Optional[ContextManager[Any]] = None
        self._nonce = ""
        self._head: Mapping[str, Any] = {}
        self._head_beat = -1
        self._head_seen_seconds = 0.0
        self._head_heard_at = time.monotonic()
        self._beat = 0
        self._sent_at = 0.0
        # So that the head of very many hosts has not more to read than that of a few.
        self._beat_seconds = max(BEAT_SECONDS, (n_hosts or 1) / _BEATS_PER_SECOND)

    def serve(self) -> int:
        """Obeys the head until the session is closed.

        Returns:
            0 when the session was closed, 128 + N after signal N, 6 when the head was lost.
        """
        mailbox.check_folder(self._folder)
        try:
            self._join()
            return self._obey()
        finally:
            self._end_ranks()
            self._release_ports()

    def _join(self) -> None:
        """Waits for a living head, looks at the host, and says hello."""
        first = self._wait_for_beat(None)
        # A second beat proves that the file is not what a dead session left there.
        self._wait_for_beat(first)
        self._nonce = str(self._head.get("nonce", ""))
        self._head_timeout_seconds = float(self._head.get("timeout_seconds", 60.0))
        subject = self._head.get("subject")
        known = {key: value for key, value in dict(subject or {}).items() if value is not None}
        self._say()
        environment = collect_environment(Subject(**known))
        mailbox.write_message(self._folder, mailbox.name_environment(self._host.index), environment)
        self._state.phase = "ready"
        self._say()

    def _wait_for_beat(self, before: Optional[int]) -> int:
        deadline = time.monotonic() + _LONGEST_WAIT_FOR_HEAD_SECONDS
        while time.monotonic() < deadline:
            self._hear()
            if self._head_beat >= 0 and self._head_beat != before:
                return self._head_beat
            if self._received_signal() is not None:
                break
            time.sleep(_POLL_SECONDS)
        raise InfrastructureError(
            f"host {self._host.name}: no living session in {self._folder}; all hosts must see the "
            "same --output directory"
        )

    def _obey(self) -> int:
        fast_until = time.monotonic() + _FAST_FOR_SECONDS
        while True:
            self._hear()
            signal_number = self._received_signal()
            if signal_number is not None:
                self._end_ranks()
                self._finish(f"was ended by signal {signal_number}")
                return 128 + signal_number
            if time.monotonic() - self._head_heard_at > self._head_timeout_seconds:
                self._end_ranks()
                self._finish("lost the head of the session")
                return InfrastructureError.exit_code
            order = self._head.get("order", {})
            if order.get("phase") == "close":
                self._end_ranks()
                self._finish("")
                return 0
            self._handle(order)
            if self._group is not None and self._group.poll():
                self._say()
            self._beat_if_due()
            fast = time.monotonic() < fast_until
            time.sleep(_FAST_POLL_SECONDS if fast else _POLL_SECONDS)

    def _handle(self, order: Mapping[str, Any]) -> None:
        number, phase = int(order.get("number", 0)), order.get("phase")
        if number <= self._state.order:
            return
        try:
            if phase == "prepare":
                self._end_ranks()
                self._group = None
                self._keep_ports(int(order["n_ports"]))
                self._state.phase = "prepared"
            elif phase == "run":
                self._start_ranks(number)
                self._state.phase = "running"
            elif phase == "stop":
                self._end_ranks()
                self._state.phase = "stopped"
        except (BenchError, OSError, KeyError, ValueError) as error:
            self._end_ranks()
            self._state.trouble = str(error) or type(error).__name__
        # Only now: the head takes the number for the answer.
        self._state.order = number
        self._say()

    def _keep_ports(self, count: int) -> None:
        self._release_ports()
        for _ in range(count):
            keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._sockets.append(keeper)
            keeper.bind(("0.0.0.0", 0))
        ports = tuple(keeper.getsockname()[1] for keeper in self._sockets)
        self._host = replace(self._host, ports=ports)

    def _release_ports(self) -> None:
        for keeper in self._sockets:
            keeper.close()
        self._sockets = []

    def _start_ranks(self, number: int) -> None:
        content = mailbox.read_message(self._folder, mailbox.name_plan(self._host.index))
        if content is None or content.get("order") != number:
            raise InfrastructureError(f"host {self._host.name} cannot read its part of the plan")
        self._release_ports()
        plan = parse_plan(content, os.environ)
        if not plan.ranks:
            return
        self._group = RankGroup(plan, float(content["stop_timeout_seconds"]))
        self._group.__enter__()
        if self._companion is not None:
            self._beside = self._companion(content, self._group.ranks)
            self._beside.__enter__()

    def _end_ranks(self) -> None:
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.__exit__(None, None, None)
        if self._group is not None:
            self._group.stop(is_urgent=self._keep_in_touch)

    def _keep_in_touch(self) -> bool:
        """Beats and listens while ranks are given time to end; true if there is no more time."""
        self._hear()
        self._beat_if_due()
        order = self._head.get("order", {})
        return bool(order.get("urgent")) and order.get("phase") in ("stop", "close")

    def _finish(self, trouble: str) -> None:
        self._state.phase = "closed"
        self._state.trouble = trouble or self._state.trouble
        try:
            self._say()
        except BenchError:
            return  # the folder is gone, and so is everyone who could read it

    def _hear(self) -> None:
        content = mailbox.read_message(self._folder, mailbox.HEAD)
        if content is None or content.get("beat") == self._head_beat:
            return
        if self._nonce and content.get("nonce") != self._nonce:
            return  # another session; ours is over, and the time-out says so
        self._head = content
        self._head_beat = int(content["beat"])
        self._head_seen_seconds = time.time()
        self._head_heard_at = time.monotonic()

    def _beat_if_due(self) -> None:
        if time.monotonic() - self._sent_at >= self._beat_seconds:
            self._say()

    def _say(self) -> None:
        self._beat += 1
        self._sent_at = time.monotonic()
        ranks: Dict[str, Any] = {}
        for rank in self._group.ranks if self._group is not None else []:
            ranks[str(rank.plan.rank)] = {
                "process_id": rank.popen.pid,
                "exit_code": rank.exit_code if rank.ended_at is not None else None,
                "started_at": rank.started_at,
                "ended_at": rank.ended_at,
                "stopped_by_us": rank.stopped_by_us,
            }
        mailbox.write_message(
            self._folder,
            mailbox.name_status(self._host.index),
            {
                "nonce": self._nonce,
                "version": bench.__version__,
                "n_hosts": self._n_hosts,
                "host": host_to_dict(self._host),
                "phase": self._state.phase,
                "order": self._state.order,
                "trouble": self._state.trouble,
                "ranks": ranks,
                "beat": self._beat,
                "head_beat": self._head_beat,
                "head_seen_seconds": self._head_seen_seconds,
                "sent_seconds": time.time(),
            },
        )


def build_plan_message(
    plan: LaunchPlan, host: int, run_dir: Path, stop_timeout_seconds: float, near: bool
) -> Dict[str, Any]:
    """The ranks of one host as a message; near hosts are looked after by the head itself."""
    return {
        "near": near,
        "working_directory": str(plan.working_directory),
        "run_dir": str(run_dir),
        "stop_timeout_seconds": stop_timeout_seconds,
        "ranks": [
            {
                "rank": rank.rank,
                "device": rank.device,
                "argv": list(rank.argv),
                "environment": dict(rank.environment),
                "cores": None if rank.cores is None else list(rank.cores),
                "log_path": str(rank.log_path),
            }
            for rank in plan.ranks
            if rank.host == host
        ],
    }


def parse_plan(content: Mapping[str, Any], inherited: Mapping[str, str]) -> LaunchPlan:
    """The reverse; ranks get the variables of their own host's agent beneath those of the plan.

    Raises:
        KeyError, ValueError: not a plan.
    """
    base = {name: value for name, value in inherited.items() if name not in RANK_VARIABLES}
    ranks = tuple(
        RankPlan(
            rank=int(item["rank"]),
            device=int(item["device"]),
            argv=tuple(map(str, item["argv"])),
            environment={**base, **item["environment"]},
            cores=None if item["cores"] is None else tuple(map(int, item["cores"])),
            log_path=Path(item["log_path"]),
        )
        for item in content["ranks"]
    )
    return LaunchPlan(ranks, Path(content["working_directory"]))
