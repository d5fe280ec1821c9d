"""Who a process is, in a form that outlives it: number, start, and the name space of the number."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from typing import Any, Dict, Mapping, Optional

from bench.launch.host_facts import find_machine

RUN_ID_VARIABLE = "ASCEND_BERT_RUN_ID"
STARTER_VARIABLE = "ASCEND_BERT_STARTER"
"""In the environment of every rank: its run, and the process that started it."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that can be told from a later one of the same number.

    Attributes:
        process_id: its number.
        start_ticks: clock ticks from the machine's start to its own; no clock step changes them.
        name_space: identity of the name space that numbers processes, empty if not known.
        machine: identity of the machine until it is started anew, empty if not known.
        host: name of the machine, for people.
    """

    process_id: int
    start_ticks: int
    name_space: str = ""
    machine: str = ""
    host: str = ""


def find_own_identity() -> ProcessIdentity:
    """This process."""
    own = os.getpid()
    return ProcessIdentity(
        own, read_start_ticks(own) or 0, _find_name_space(), find_machine(), socket.gethostname()
    )


def is_alive(identity: ProcessIdentity) -> Optional[bool]:
    """Whether the process still lives.

    Returns:
        None for a process of another machine or of a container, of which we cannot know.
    """
    own = find_own_identity()
    if identity.machine != own.machine:
        # The same name with another start of the machine: nothing lived through that.
        return False if identity.host and identity.host == own.host else None
    if identity.name_space != own.name_space:
        return None
    return read_start_ticks(identity.process_id) == identity.start_ticks


def read_start_ticks(process_id: int) -> Optional[int]:
    """Field 22 of ``/proc/<pid>/stat``; None for a process that is gone or ended (a zombie)."""
    try:
        with open(f"/proc/{process_id}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def render_identity(identity: ProcessIdentity) -> str:
    """A word for an environment variable."""
    parts = (identity.process_id, identity.start_ticks, identity.name_space, identity.machine)
    return ":".join(map(str, parts))


def parse_identity(text: str) -> Optional[ProcessIdentity]:
    """The reverse of :func:`render_identity`; None for anything else."""
    parts = text.split(":")
    try:
        return ProcessIdentity(int(parts[0]), int(parts[1]), parts[2], parts[3])
    except (ValueError, IndexError):
        return None


def identity_to_dict(identity: ProcessIdentity) -> Dict[str, Any]:
    """Plain values, for a stored result."""
    return asdict(identity)


def identity_from_dict(plain: Optional[Mapping[str, Any]]) -> Optional[ProcessIdentity]:
    """The reverse; None for anything else."""
    try:
        return ProcessIdentity(**dict(plain or {}))
    except (TypeError, ValueError):
        return None


def _find_name_space() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""
