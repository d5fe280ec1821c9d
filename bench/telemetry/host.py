"""Reads the host and the rank processes by psutil."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Callable, Collection, Dict, List, Mapping, Optional, Set, Tuple, TypeVar

import psutil

from bench.telemetry.model import HostReading, RankReading

_VIRTUAL_INTERFACES = ("lo", "veth", "docker", "br-", "virbr", "cni", "flannel", "cali")
_MAX_INTERFACES = 16
_CHILDREN_EVERY = 5
"""Looking for children goes through all processes, so it is done at each fifth reading only."""
T = TypeVar("T")

_SHORTEST_SECONDS = 0.2
_GONE = (psutil.Error, OSError)


class HostReader:
    """Reads the host as a whole.

    Args:
        output: folder of the run; its file system is told of.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._busy: Optional[Tuple[float, float]] = None

    def read(self) -> HostReading:
        """Present values; what this system does not tell is absent."""
        seconds = _read_cpu_seconds()
        received, sent = _read_network()
        memory = _ask(psutil.virtual_memory)
        swap = _ask(psutil.swap_memory)
        disk = _ask(lambda: psutil.disk_usage(self._output))
        load = _ask(os.getloadavg)
        return HostReading(
            cpu_seconds=seconds,
            cpu_usage_ratio=self._compute_usage(seconds),
            load_average_1min=None if load is None else load[0],
            memory_total_bytes=None if memory is None else memory.total,
            memory_available_bytes=None if memory is None else memory.available,
            swap_used_bytes=None if swap is None else swap.used,
            network_receive_bytes=received,
            network_transmit_bytes=sent,
            output_total_bytes=None if disk is None else disk.total,
            output_free_bytes=None if disk is None else disk.free,
        )

    def _compute_usage(self, seconds: Mapping[str, float]) -> Optional[float]:
        idle = seconds.get("idle", 0.0) + seconds.get("iowait", 0.0)
        total = sum(value for mode, value in seconds.items() if not mode.startswith("guest"))
        now = (total - idle, total)
        before, self._busy = self._busy, now
        # The kernel counts in hundredths of a second; over fewer, a ratio says nothing.
        if before is None or now[1] - before[1] < _SHORTEST_SECONDS:
            return None
        return min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))


@dataclass
class _Rank:
    """A rank that is watched: its processes and what they had used at the reading before."""

    process: psutil.Process
    children: List[psutil.Process]
    cpu_seconds: Optional[float] = None
    read_at: Optional[float] = None


class RankReader:
    """Reads the processes of the ranks.

    Args:
        devices: rank → physical device.
        process_ids: rank → process id, of the ranks with a process of their own.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        devices: Mapping[int, int],
        process_ids: Mapping[int, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._devices = dict(devices)
        self._clock = clock
        self._readings = 0
        self._ranks: Dict[int, _Rank] = {}
        for rank, process_id in process_ids.items():
            with contextlib.suppress(*_GONE):
                self._ranks[rank] = _Rank(psutil.Process(process_id), [])

    def read(self) -> Dict[int, RankReading]:
        """Values of the ranks that live; a rank that has ended is left out."""
        look_for_children = self._readings % _CHILDREN_EVERY == 0
        self._readings += 1
        if look_for_children:
            self._find_children()
        found: Dict[int, RankReading] = {}
        for number, rank in list(self._ranks.items()):
            reading = self._read_rank(number, rank)
            if reading is None:
                del self._ranks[number]
            else:
                found[number] = reading
        return found

    def _find_children(self) -> None:
        """Looks once for the children of all ranks: those in the session that a rank leads."""
        sessions: Dict[int, List[int]] = {}
        for process_id in psutil.pids():
            with contextlib.suppress(*_GONE):
                sessions.setdefault(os.getsid(process_id), []).append(process_id)
        for rank in self._ranks.values():
            leader = rank.process.pid
            with contextlib.suppress(*_GONE):
                if leader not in sessions:
                    rank.children = rank.process.children(recursive=True)
                    continue
                known = {child.pid: child for child in rank.children if child.is_running()}
                rank.children = [
                    known.get(process_id) or psutil.Process(process_id)
                    for process_id in sessions[leader]
                    if process_id != leader
                ]

    def _read_rank(self, number: int, rank: _Rank) -> Optional[RankReading]:
        try:
            if rank.process.status() == psutil.STATUS_ZOMBIE:
                return None
            used, resident, threads = _read_process(rank.process)
        except _GONE:
            return None
        for child in rank.children:
            with contextlib.suppress(*_GONE):
                more = _read_process(child)
                used, resident, threads = used + more[0], resident + more[1], threads + more[2]
        now = self._clock()
        cores: Optional[float] = None
        before = rank.read_at
        if rank.cpu_seconds is not None and before is not None and now - before > _SHORTEST_SECONDS:
            # A child that ends before it was waited for takes its time with it.
            cores = max(0.0, used - rank.cpu_seconds) / (now - before)
        rank.cpu_seconds, rank.read_at = used, now
        return RankReading(
            rank=number,
            device=self._devices.get(number, number),
            process_id=rank.process.pid,
            cpu_seconds=used,
            cpu_usage_cores=cores,
            resident_bytes=resident,
            threads=threads,
            open_files=_ask(rank.process.num_fds),
        )


def find_foreign(
    process_ids: Collection[int],
    leaders: Set[int],
    sees_host_processes: bool,
    get_session: Callable[[int], int] = os.getsid,
) -> Optional[Tuple[int, ...]]:
    """Processes on a card that are none of the run's.

    A rank starts in a session of its own, so its children are known by their session.

    Args:
        process_ids: what the driver says.
        leaders: process ids of the ranks.
        sees_host_processes: our numbers of processes are those of the host, as the driver's are.
        get_session: session of a process; raises OSError when there is no such process.

    Returns:
        Their ids; None when it cannot be told, as in a container that has numbers of its own.
    """
    foreign: List[int] = []
    own = 0
    for process_id in process_ids:
        try:
            is_own = process_id in leaders or get_session(process_id) in leaders
        except OSError:
            # Ended since, or in the numbers of another name space.
            if sees_host_processes:
                continue
            is_own = False
        own += is_own
        if not is_own:
            foreign.append(process_id)
    if foreign and not sees_host_processes and not own:
        return None
    return tuple(sorted(foreign))


def sees_host_processes(root: str = "/") -> bool:
    """Whether the processes that we see are those of the host: its kernel threads show."""
    try:
        with open(os.path.join(root, "proc/2/comm"), encoding="utf-8") as stream:
            return stream.read().strip() == "kthreadd"
    except OSError:
        return False


def _read_process(process: psutil.Process) -> Tuple[float, int, int]:
    """Processor seconds (waited-for children included), resident bytes and threads."""
    with process.oneshot():
        times = process.cpu_times()
        return sum(times[:4]), process.memory_info().rss, process.num_threads()


def _read_cpu_seconds() -> Dict[str, float]:
    times = _ask(psutil.cpu_times)
    return {} if times is None else {name: float(getattr(times, name)) for name in times._fields}


def _read_network() -> Tuple[Dict[str, int], Dict[str, int]]:
    counters = _ask(lambda: psutil.net_io_counters(pernic=True)) or {}
    names = sorted(name for name in counters if not name.startswith(_VIRTUAL_INTERFACES))
    names = names[:_MAX_INTERFACES]
    return (
        {name: counters[name].bytes_recv for name in names},
        {name: counters[name].bytes_sent for name in names},
    )


def _ask(read: Callable[[], T]) -> Optional[T]:
    """What psutil says, None where this system has no such thing."""
    try:
        return read()
    except (psutil.Error, OSError, NotImplementedError, RuntimeError, AttributeError):
        return None
