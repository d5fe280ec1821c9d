"""Where the ranks of a session run: on this host, or on several behind agents."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import bench
from bench.devices.hosts import Host
from bench.errors import BackendUnavailableError, BenchError, InfrastructureError
from bench.launch import mailbox
from bench.launch.exchange import Exchange, HostState
from bench.launch.group import Group
from bench.launch.host_facts import find_machine, find_network_namespace, host_from_dict
from bench.launch.host_group import HostGroup
from bench.launch.plan import LaunchPlan
from bench.launch.processes import RankGroup

_POLL_SECONDS = 0.05
_PREPARE_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Launch:
    """How agents are started.

    Attributes:
        argv: command that starts one agent on each host; empty where somebody else started them.
        n_hosts: how many are expected; None to learn it from the first one.
        what: name of the launcher, for messages.
        environment: variables of the command beside those of this process.
    """

    argv: Tuple[str, ...]
    n_hosts: Optional[int]
    what: str
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalCluster:
    """This host alone: ranks are children of the harness."""

    hosts: Tuple[Host, ...] = ()
    trouble = ""

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def prepare(self, n_cards: int) -> Tuple[Host, ...]:
        """Nothing to prepare."""
        return ()

    def list_here(self) -> Tuple[int, ...]:
        """Indices of the hosts whose processes this one can see."""
        return (0,)

    def filter_inherited(self, variables: Mapping[str, str]) -> Mapping[str, str]:
        """Ranks get the variables of the harness."""
        return variables

    def start(self, plan: LaunchPlan, run_dir: Path, stop_timeout_seconds: float) -> Group:
        """The ranks of a run, to be entered as a context manager."""
        return RankGroup(plan, stop_timeout_seconds)

    def describe(
        self, ranks: Sequence[int], environment: Mapping[str, Any]
    ) -> List[Dict[str, Any]]:
        """No hosts beside this one."""
        return []


class HostCluster:
    """Several hosts with an agent on each.

    Args:
        folder: folder of messages, made by :func:`bench.launch.mailbox.make_folder`.
        launch: how the agents are started.
        subject: what the runs will use, for the agents' look at their hosts.
        start_timeout_seconds: how long to wait for the agents, a scheduler's queue included.
        host_timeout_seconds: a host without a sign of life for so long is lost.
        check: called while waiting; raises to end the wait.
    """

    def __init__(
        self,
        folder: Path,
        launch: Launch,
        subject: Mapping[str, Any],
        start_timeout_seconds: float = 300.0,
        host_timeout_seconds: float = 60.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._launch = launch
        self._exchange = Exchange(folder, subject, host_timeout_seconds)
        self._start_timeout_seconds = start_timeout_seconds
        self._host_timeout_seconds = host_timeout_seconds
        self._check = check
        self._popen: Optional[subprocess.Popen[bytes]] = None
        self._n_hosts: Optional[int] = launch.n_hosts
        self.hosts: Tuple[Host, ...] = ()

    def __enter__(self) -> HostCluster:
        try:
            self._exchange.start()
            self._start_launcher()
            states = self._wait_for("ready", self._start_timeout_seconds, "say that it is ready")
            self._check_versions(states)
            self.hosts = tuple(host_from_dict(state.message["host"]) for state in states)
        except BaseException:
            self._close(well=False)
            raise
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._close(well=kind is None and not self.trouble)

    def prepare(self, n_cards: int) -> Tuple[Host, ...]:
        """Has every agent keep ports free for the ranks of the next run.

        Args:
            n_cards: ranks of the run, all of which one host may get.

        Returns:
            The hosts with their ports.

        Raises:
            InfrastructureError: a host is lost or has no ports.
        """
        self._exchange.order("prepare", n_ports=min(n_cards, 256))
        states = self._wait_for("prepared", _PREPARE_SECONDS, "prepare the run")
        return tuple(host_from_dict(state.message["host"]) for state in states)

    def list_here(self) -> Tuple[int, ...]:
        """Indices of the hosts that are this machine and its network; others look after theirs."""
        here = (find_machine(), find_network_namespace())
        return tuple(
            host.index
            for host in self.hosts
            if host.machine and (host.machine, host.network_namespace) == here
        )

    def filter_inherited(self, variables: Mapping[str, str]) -> Mapping[str, str]:
        """Ranks get the variables of their own host's agent; none of ours travel in files."""
        return {}

    def start(self, plan: LaunchPlan, run_dir: Path, stop_timeout_seconds: float) -> Group:
        """The ranks of a run, to be entered as a context manager."""
        return HostGroup(
            plan,
            run_dir,
            self._exchange,
            [host.index for host in self.hosts],
            self.list_here(),
            stop_timeout_seconds,
            lambda: self.trouble,
        )

    @property
    def trouble(self) -> str:
        """What is wrong with a host or the way to it, in one line; empty if nothing."""
        if self._exchange.error:
            return self._exchange.error
        for state in self._exchange.list_states():
            if state.trouble:
                return f"host {state.name}: {state.trouble}"
            if state.phase == "closed":
                return f"host {state.name}: its agent ended before the session"
            silent = time.monotonic() - state.heard_at
            if silent > self._host_timeout_seconds:
                return (
                    f"host {state.name} is lost: no sign of life for "
                    f"{self._host_timeout_seconds:g} s"
                )
        if self._popen is not None and self._popen.poll() is not None:
            return f"{self._launch.what} ended with code {self._popen.returncode}{self._tail()}"
        return ""

    def describe(
        self, ranks: Sequence[int], environment: Mapping[str, Any]
    ) -> List[Dict[str, Any]]:
        """The hosts for the stored result.

        Args:
            ranks: host index of each rank of the run.
            environment: what was found on this host; of the others only what differs is told.
        """
        facts = environment.get("facts", {})
        described = []
        for host in self.hosts:
            offset = self._exchange.get_offset(host.index)
            found = mailbox.read_message(self._folder, mailbox.name_environment(host.index)) or {}
            described.append(
                {
                    "index": host.index,
                    "name": host.name,
                    "networks": list(host.networks),
                    "machine": host.machine,
                    "ranks": [rank for rank, owner in enumerate(ranks) if owner == host.index],
                    "clock": None if offset is None else asdict(offset),
                    "differs": {
                        key: value
                        for key, value in found.get("facts", {}).items()
                        if value != facts.get(key)
                    },
                }
            )
        return described

    def _start_launcher(self) -> None:
        if not self._launch.argv:
            return
        try:
            with (self._folder / mailbox.LAUNCHER_LOG).open("ab") as log:
                self._popen = subprocess.Popen(
                    self._launch.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._launch.environment},
                    start_new_session=True,
                )
        except OSError as error:
            raise BackendUnavailableError(
                f"launcher {self._launch.what}: cannot start {self._launch.argv[0]}: "
                f"{error.strerror}"
            ) from error

    def _wait_for(self, phase: str, timeout_seconds: float, what: str) -> List[HostState]:
        """Waits until all hosts have reached a phase."""
        deadline = time.monotonic() + timeout_seconds
        number = self._exchange.peek_number() - 1
        while True:
            self._check()
            states = self._exchange.list_states()
            if self._n_hosts is None and states and states[0].message.get("n_hosts"):
                self._n_hosts = int(states[0].message["n_hosts"])
            there = [s for s in states if s.phase == phase and s.order >= number]
            if self.trouble:
                raise InfrastructureError(self.trouble)
            if self._n_hosts is not None and len(there) >= self._n_hosts:
                return there
            if time.monotonic() > deadline:
                raise InfrastructureError(self._describe_absent(there, timeout_seconds, what))
            time.sleep(_POLL_SECONDS)

    def _describe_absent(
        self, there: Sequence[HostState], timeout_seconds: float, what: str
    ) -> str:
        known = {state.index for state in there}
        expected = range(self._n_hosts or len(known) + 1)
        absent = [str(index) for index in expected if index not in known]
        return (
            f"host {', '.join(absent[:8])}{'…' if len(absent) > 8 else ''} of "
            f"{self._n_hosts or 'an unknown number'} did not {what} within "
            f"{timeout_seconds:g} s{self._tail()}"
        )

    def _check_versions(self, states: Sequence[HostState]) -> None:
        for state in states:
            if state.message.get("version") != bench.__version__:
                raise InfrastructureError(
                    f"host {state.name} has ascend-bert {state.message.get('version')}, "
                    f"this one {bench.__version__}"
                )

    def _tail(self) -> str:
        """The last line that the launcher said, for messages."""
        try:
            with (self._folder / mailbox.LAUNCHER_LOG).open("rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - _TAIL_BYTES))
                lines = stream.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        said = [line.strip() for line in lines if line.strip()]
        return f"; it said: {said[-1][:300]}" if said else ""

    def _close(self, well: bool) -> None:
        """Ends agents and launcher; never waits for a host that is gone."""
        with contextlib.suppress(BenchError):
            self._exchange.order("close", urgent=not well)
        deadline = time.monotonic() + _CLOSE_SECONDS
        while time.monotonic() < deadline and self._is_anyone_there():
            time.sleep(_POLL_SECONDS)
        self._exchange.stop()
        for number in self._list_signals():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)  # type: ignore[union-attr]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_CLOSE_SECONDS)  # type: ignore[union-attr]
        if well:
            mailbox.clear_folder(self._folder)

    def _is_anyone_there(self) -> bool:
        """Whether the launcher lives, or an agent that has not said that it ends."""
        if self._popen is not None and self._popen.poll() is None:
            return True
        recently = time.monotonic() - _CLOSE_SECONDS
        return any(
            state.phase != "closed" and state.heard_at > recently
            for state in self._exchange.list_states()
        )

    def _list_signals(self) -> Iterator[int]:
        """TERM, then KILL, for as long as the launcher lives."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._popen is not None and self._popen.poll() is None:
                yield number
