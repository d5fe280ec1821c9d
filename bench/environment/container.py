"""The container and the control groups that this process is in."""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Union

from bench.environment.memory import UNLIMITED, Limit
from bench.environment.sources import (
    AbsentFactError,
    Facts,
    World,
    exists,
    read_text,
    read_word,
    take,
)

_CGROUPS = "/sys/fs/cgroup"
_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
# Version 1 says "no limit" by the largest number of whole pages.
_NO_LIMIT_BYTES = 1 << 62

IMAGE_VARIABLES = ("ASCEND_BERT_IMAGE", "ASCEND_BERT_IMAGE_DIGEST")
"""A container cannot see its own image; whoever starts it may say so in these."""

_RUNTIME_WORDS = (
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("containerd", "containerd"),
    ("lxc", "lxc"),
)
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "VC_JOB_NAME")


def collect_container(world: World) -> Facts:
    """Container, image, scheduler and control-group limits."""

    def variable(*names: str) -> str:
        for name in names:
            if world.variables.get(name):
                return world.variables[name]
        raise AbsentFactError("{} is not set".format(" or ".join(names)))

    return {
        "container_runtime": take(lambda: _detect_runtime(world)),
        "container_id": take(lambda: _find_container_id(world)),
        "container_image": take(lambda: variable(IMAGE_VARIABLES[0])),
        "container_image_digest": take(lambda: variable(IMAGE_VARIABLES[1])),
        "kubernetes_pod": take(lambda: variable("POD_NAME")),
        "scheduler_job": take(lambda: variable(*_JOB_VARIABLES)),
        "cgroup_version": take(lambda: _find_version(world)),
        "cgroup_cpu_limit_cores": take(lambda: _read_cpu_limit(world)),
        "cgroup_memory_limit_bytes": take(lambda: _read_memory_limit(world)),
        "cgroup_cpuset": take(lambda: _read_cpuset(world)),
        "cgroup_pids_limit": take(lambda: _read_pids_limit(world)),
    }


def parse_runtime(cgroup: str, marks: List[str], variable: Optional[str]) -> str:
    """Which container runtime started this process.

    Args:
        cgroup: text of ``/proc/1/cgroup``.
        marks: which of ``/.dockerenv`` and ``/run/.containerenv`` are there.
        variable: the variable ``container``, which systemd and podman set.
    """
    for word, runtime in _RUNTIME_WORDS:
        if word in cgroup:
            return runtime
    if "/.dockerenv" in marks:
        return "docker"
    if "/run/.containerenv" in marks:
        return "podman"
    return variable or "none"


def parse_cgroup_paths(text: str) -> Dict[str, str]:
    """``/proc/<pid>/cgroup``: controller → path; version 2 has the controller ``""``."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def parse_container_id(text: str) -> Optional[str]:
    """First 12 digits of the id that runtimes put into cgroup paths and mounts."""
    match = _ID.search(text)
    return match.group(1)[:12] if match else None


def parse_cpu_max(text: str) -> Union[float, str]:
    """``cpu.max`` of version 2, ``<quota|max> <period>``, as a number of cores."""
    quota, period = text.split()
    return UNLIMITED if quota == "max" else int(quota) / int(period)


def parse_cfs_quota(quota: str, period: str) -> Union[float, str]:
    """``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` of version 1, as a number of cores."""
    return UNLIMITED if int(quota) < 0 else int(quota) / int(period)


def parse_limit(text: str) -> Limit:
    """A limit of either version: a number, ``max``, or a number too large to be one."""
    word = text.strip()
    if word == "max" or int(word) >= _NO_LIMIT_BYTES:
        return UNLIMITED
    return int(word)


def _detect_runtime(world: World) -> str:
    marks = [mark for mark in ("/.dockerenv", "/run/.containerenv") if exists(world, mark)]
    try:
        cgroup = read_text(world, "/proc/1/cgroup")
    except AbsentFactError:
        cgroup = ""
    return parse_runtime(cgroup, marks, world.variables.get("container"))


def _find_container_id(world: World) -> str:
    for path in ("/proc/self/cgroup", "/proc/self/mountinfo"):
        try:
            found = parse_container_id(read_text(world, path))
        except AbsentFactError:
            continue
        if found:
            return found
    raise AbsentFactError("no container id in /proc/self/cgroup or mountinfo")


def _find_version(world: World) -> int:
    if exists(world, f"{_CGROUPS}/cgroup.controllers"):
        return 2
    if exists(world, f"{_CGROUPS}/memory") or exists(world, f"{_CGROUPS}/cpu"):
        return 1
    raise AbsentFactError(f"no control groups under {_CGROUPS}")


def _list_folders(world: World, controller: str) -> List[str]:
    """Folders of this process's group and of those above it, which limit it as well."""
    paths = parse_cgroup_paths(read_text(world, "/proc/self/cgroup"))
    if _find_version(world) == 2:
        base, path = _CGROUPS, paths.get("", "/")
    else:
        base, path = f"{_CGROUPS}/{controller}", paths.get(controller, "/")
    parts = [part for part in path.split("/") if part]
    # In a container the path may be the host's, and then only the root of the mount is there.
    return [
        folder
        for folder in ("/".join([base, *parts[:n]]) for n in range(len(parts), -1, -1))
        if exists(world, folder)
    ]


def _smallest(limits: List[Union[float, int, str]], what: str) -> Union[float, int, str]:
    if not limits:
        raise AbsentFactError(f"no control group limits {what}")
    numbers = [limit for limit in limits if not isinstance(limit, str)]
    return min(numbers) if numbers else UNLIMITED


def _read_cpu_limit(world: World) -> Union[float, int, str]:
    limits: List[Union[float, int, str]] = []
    for folder in _list_folders(world, "cpu"):
        if exists(world, f"{folder}/cpu.max"):
            limits.append(parse_cpu_max(read_word(world, f"{folder}/cpu.max")))
        elif exists(world, f"{folder}/cpu.cfs_quota_us"):
            quota = read_word(world, f"{folder}/cpu.cfs_quota_us")
            limits.append(parse_cfs_quota(quota, read_word(world, f"{folder}/cpu.cfs_period_us")))
    return _smallest(limits, "the processor")


def _read_memory_limit(world: World) -> Union[float, int, str]:
    limits: List[Union[float, int, str]] = []
    for folder in _list_folders(world, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if exists(world, f"{folder}/{name}"):
                limits.append(parse_limit(read_word(world, f"{folder}/{name}")))
    return _smallest(limits, "memory")


def _read_pids_limit(world: World) -> Union[float, int, str]:
    limits: List[Union[float, int, str]] = []
    for folder in _list_folders(world, "pids"):
        if exists(world, f"{folder}/pids.max"):
            limits.append(parse_limit(read_word(world, f"{folder}/pids.max")))
    return _smallest(limits, "processes")


def _read_cpuset(world: World) -> str:
    for folder in _list_folders(world, "cpuset"):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            if exists(world, f"{folder}/{name}"):
                found = read_word(world, f"{folder}/{name}")
                if found:
                    return found
    raise AbsentFactError("no control group limits the cores")
