"""The machine apart from its cards: container, cores, memory, disk, clock, ports."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
import time
from typing import List

import bench
from bench.devices.cpu import find_free_ports, list_usable_cores
from bench.doctor.model import FAIL, OK, WARN, Finding, Patient, skip
from bench.environment.container import collect_container
from bench.environment.memory import collect_limits, collect_memory
from bench.environment.state import collect_state_of_host
from bench.environment.system import collect_system
from bench.errors import InfrastructureError

_GIB = 1 << 30
_LEAST_DISK_BYTES, _GOOD_DISK_BYTES = 1 * _GIB, 20 * _GIB
_GOOD_SHARED_BYTES = 1 * _GIB
_GOOD_MEMORY_BYTES = 2 * _GIB
_GOOD_OPEN_FILES = 4096
_BUSY_RATIO = 0.5
_PORTS = 16
_OLDEST_YEAR = 2020


def examine_harness(patient: Patient) -> List[Finding]:
    """Versions, and where we are."""
    version = f"{bench.__version__} on Python {platform.python_version()}, {platform.machine()}"
    runtime = collect_container(patient.world)["container_runtime"]
    where = runtime.value or f"none seen ({runtime.reason})"
    return [Finding("harness", OK, version), Finding("container", OK, str(where))]


def examine_cores(patient: Patient) -> List[Finding]:
    """Cores that can be used, and whether others use them."""
    cores = len(list_usable_cores())
    load = collect_state_of_host(patient.world)["load_average_1min"]
    if load.value is None:
        return [Finding("cores", OK, f"{cores} usable; load not known ({load.reason})")]
    figure = f"{cores} usable, load {load.value:.2f}"
    if load.value > _BUSY_RATIO * cores:
        return [
            Finding(
                "cores", WARN, figure, "other work runs here; wait for its end before measuring"
            )
        ]
    return [Finding("cores", OK, figure)]


def examine_memory(patient: Patient) -> List[Finding]:
    """Free memory, shared memory and limits."""
    state = collect_state_of_host(patient.world)["memory_available_bytes"]
    shared = collect_memory(patient.world)["shared_memory_bytes"]
    files = collect_limits(patient.world)["limit_open_files"]
    findings: List[Finding] = []
    if state.value is None:
        findings.append(skip("memory", str(state.reason)))
    else:
        is_good = state.value >= _GOOD_MEMORY_BYTES
        findings.append(
            Finding(
                "memory",
                OK if is_good else WARN,
                f"{_render_bytes(state.value)} available",
                "" if is_good else "end other programs, or take fewer cards or a smaller model",
            )
        )
    if shared.value is None:
        findings.append(skip("shared memory", str(shared.reason)))
    else:
        is_good = shared.value >= _GOOD_SHARED_BYTES
        findings.append(
            Finding(
                "shared memory",
                OK if is_good else WARN,
                f"{_render_bytes(shared.value)} at /dev/shm",
                "" if is_good else "start the container with --ipc=host or --shm-size=8g",
            )
        )
    if files.value is None:
        findings.append(skip("open files", str(files.reason)))
    else:
        is_good = not isinstance(files.value, int) or files.value >= _GOOD_OPEN_FILES
        findings.append(
            Finding(
                "open files",
                OK if is_good else WARN,
                f"limit {files.value}",
                "" if is_good else f"raise it: ulimit -n {_GOOD_OPEN_FILES}",
            )
        )
    return findings


def examine_disk(patient: Patient) -> List[Finding]:
    """Whether results can be written, and how much room there is."""
    folder = os.path.abspath(patient.output)
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ascend-bert-doctor-"):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return [
            Finding(
                "disk",
                FAIL,
                f"{patient.output} cannot be written: {error.strerror}",
                "name another directory with --output, or mount a volume there with your uid",
            )
        ]
    figure = f"{_render_bytes(free)} free for {patient.output}"
    remedy = "make room, or name another directory with --output"
    if free < _LEAST_DISK_BYTES:
        return [Finding("disk", FAIL, figure, remedy)]
    if free < _GOOD_DISK_BYTES:
        return [Finding("disk", WARN, figure, f"checkpoints of a large model need more; {remedy}")]
    return [Finding("disk", OK, figure)]


def examine_clock(patient: Patient) -> List[Finding]:
    """Whether the clock is set and kept."""
    now = time.gmtime()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    if now.tm_year < _OLDEST_YEAR:
        return [Finding("clock", FAIL, stamp, "set the clock; results are told apart by time")]
    kept = collect_system(patient.world)["clock_synchronised"]
    if kept.value is None:
        return [Finding("clock", OK, f"{stamp}; whether it is synchronised is not told")]
    if not kept.value:
        return [
            Finding(
                "clock",
                WARN,
                f"{stamp}, not synchronised",
                "start chrony or ntpd on the host; several hosts need one time",
            )
        ]
    return [Finding("clock", OK, f"{stamp}, synchronised")]


def examine_ports(patient: Patient) -> List[Finding]:
    """Whether ranks can listen on this host and find it by name."""
    try:
        ports = find_free_ports(_PORTS)
        findings = [Finding("ports", OK, f"{len(ports)} free ones on 127.0.0.1")]
    except InfrastructureError as error:
        findings = [Finding("ports", FAIL, str(error), "look at ulimit -n and the loopback device")]
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
        findings.append(Finding("host name", OK, f"{name} is {address}"))
    except (OSError, UnicodeError) as error:
        findings.append(
            Finding(
                "host name",
                WARN,
                f"{name} cannot be resolved: {getattr(error, 'strerror', None) or error}",
                f"add {name} to /etc/hosts; frameworks look their own host up",
            )
        )
    return findings


def _render_bytes(value: float) -> str:
    return f"{value / _GIB:.1f} GiB" if value >= 0.1 * _GIB else f"{value / (1 << 20):.0f} MiB"
