"""The disks under the results and the data: file system, kind, free space."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import List, Optional

from bench.environment.sources import (
    AbsentFactError,
    Facts,
    Subject,
    World,
    exists,
    read_text,
    read_word,
    take,
)

_IN_MEMORY = {"tmpfs", "ramfs"}
_ON_NETWORK = re.compile(r"(?:nfs|cifs|smb|ceph|glusterfs|lustre|gpfs|beegfs|9p|fuse\.)\w*")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/self/mountinfo``.

    Attributes:
        device: ``major:minor``.
        path: where it is mounted.
        kind: type of the file system.
        source: what is mounted there.
        options: options of this mount.
    """

    device: str
    path: str
    kind: str
    source: str
    options: str


def collect_storage(world: World, subject: Subject) -> Facts:
    """File systems of the results directory and of the data."""

    def mount(folder: Optional[str], what: str) -> Mount:
        if folder is None:
            raise AbsentFactError(f"the run has no {what}")
        mounts = parse_mounts(read_text(world, "/proc/self/mountinfo"))
        return find_mount(mounts, os.path.realpath(folder))

    return {
        "output_filesystem": take(lambda: mount(subject.output, "results directory").kind),
        "output_disk": take(lambda: _classify(world, mount(subject.output, "results directory"))),
        "output_mount_options": take(lambda: mount(subject.output, "results directory").options),
        "data_filesystem": take(lambda: mount(subject.data, "data").kind),
        "data_disk": take(lambda: _classify(world, mount(subject.data, "data"))),
        "temporary_filesystem": take(lambda: mount("/tmp", "temporary folder").kind),
    }


def collect_storage_state(subject: Subject) -> Facts:
    """Free space where the results go."""
    return {"output_free_bytes": take(lambda: _read_free(subject.output))}


def parse_mounts(text: str) -> List[Mount]:
    """Parses ``/proc/<pid>/mountinfo``; lines of another form are passed over."""
    mounts = []
    for line in text.splitlines():
        left, dash, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if dash and len(before) >= 6 and len(after) >= 2:
            path = _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), before[4])
            mounts.append(Mount(before[2], path, after[0], after[1], before[5]))
    return mounts


def find_mount(mounts: List[Mount], path: str) -> Mount:
    """The mount that holds a path: the longest that is above it, the last of equals.

    Raises:
        AbsentFactError: none does.
    """
    above = [
        mount
        for mount in mounts
        if path == mount.path or path.startswith(mount.path.rstrip("/") + "/")
    ]
    if not above:
        raise AbsentFactError(f"no mount holds {path}")
    longest = max(len(mount.path) for mount in above)
    return [mount for mount in above if len(mount.path) == longest][-1]


def _classify(world: World, mount: Mount) -> str:
    """``memory``, ``network``, ``overlay``, ``nvme``, ``solid state`` or ``rotating``."""
    if mount.kind in _IN_MEMORY:
        return "memory"
    if _ON_NETWORK.match(mount.kind):
        return "network"
    if mount.kind == "overlay":
        return "overlay"
    if mount.source.startswith("/dev/nvme"):
        return "nvme"
    device = f"/sys/dev/block/{mount.device}"
    # A partition has no queue of its own; that of the disk stands one folder up.
    for queue in (f"{device}/queue/rotational", f"{device}/../queue/rotational"):
        if exists(world, queue):
            return "rotating" if read_word(world, queue) == "1" else "solid state"
    raise AbsentFactError(f"the kernel does not tell of {mount.kind} on {mount.source}")


def _read_free(folder: Optional[str]) -> int:
    if folder is None:
        raise AbsentFactError("the run has no results directory")
    # The folder may not be there yet; the one above it is on the same disk.
    path = os.path.realpath(folder)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_frsize * found.f_bavail
