"""What a process that hangs is doing: what the kernel tells of it, and the stacks it can write."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Dict, List, Optional

import psutil

STOPPED = ("T", "t")
"""States of a process that somebody stopped (SIGSTOP, or a debugger)."""

_MAX_THREADS = 64
_STATUS_KEYS = ("Name", "State", "Threads", "VmRSS", "SigCgt", "Cpus_allowed_list")


def list_tree(process_id: int) -> List[int]:
    """A process and all its descendants, itself first; empty when it is gone."""
    try:
        children = psutil.Process(process_id).children(recursive=True)
    except (psutil.Error, OSError):
        return []
    return [process_id] + [child.pid for child in children]


def read_state(process_id: int, root: str = "/") -> str:
    """One letter, as in ``ps``: ``R``, ``S``, ``D``, ``T``, ``Z``; empty when it is gone."""
    return _parse_status(_read(root, process_id, "status")).get("State", "")[:1]


def request_stacks(process_id: int, root: str = "/") -> str:
    """Asks a process for its stacks by the signal that it is ready for.

    Our trainer writes them on SIGUSR1 and lives on; any Python with ``PYTHONFAULTHANDLER=1``, which
    the launch plan sets, writes them on SIGABRT and dies of it. A process that catches neither is
    left alone: the signal would only kill it.

    Returns:
        Name of the signal that was sent, empty for none.
    """
    for number in (signal.SIGUSR1, signal.SIGABRT):
        if catches_signal(process_id, number, root):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process_id, number)
                return signal.Signals(number).name
    return ""


def catches_signal(process_id: int, number: int, root: str = "/") -> bool:
    """Whether a process has a handler for a signal, as the kernel knows it."""
    caught = _parse_status(_read(root, process_id, "status")).get("SigCgt", "")
    try:
        return bool(int(caught, 16) >> (number - 1) & 1)
    except ValueError:
        return False


def render_process(process_id: int, root: str = "/") -> str:
    """What ``/proc`` tells of a process and its threads: state, where each waits in the kernel.

    Args:
        process_id: whose.
        root: folder that stands for ``/``.
    """
    status = _parse_status(_read(root, process_id, "status"))
    if not status:
        return f"process {process_id}: gone\n"
    command = _read(root, process_id, "cmdline").replace("\0", " ").strip()
    lines = [f"process {process_id}: {command[:400]}"]
    lines += [f"  {key}: {status[key]}" for key in _STATUS_KEYS if key in status]
    tasks = Path(root) / "proc" / str(process_id) / "task"
    try:
        threads = sorted(int(entry.name) for entry in tasks.iterdir())
    except OSError:
        threads = []
    for thread in threads[:_MAX_THREADS]:
        where = f"{process_id}/task/{thread}"
        stat = _read(root, where, "stat").rpartition(")")[2].split()
        state = stat[0] if stat else "?"
        waits = _read(root, where, "wchan").strip() or "-"
        lines.append(f"  thread {thread}: state {state}, waits in {waits}")
        # Only root may read the kernel's stack; the name above is all that others get.
        lines += [f"    {frame.strip()}" for frame in _read(root, where, "stack").splitlines()]
    if len(threads) > _MAX_THREADS:
        lines.append(f"  … and {len(threads) - _MAX_THREADS} more threads")
    return "\n".join(lines) + "\n"


def find_stopped(process_ids: Dict[int, int], root: str = "/") -> Optional[int]:
    """The lowest rank whose process somebody stopped, None if there is none.

    Args:
        process_ids: rank → process id.
        root: folder that stands for ``/``.
    """
    stopped = [rank for rank, one in process_ids.items() if read_state(one, root) in STOPPED]
    return min(stopped, default=None)


def _read(root: str, process: object, name: str) -> str:
    try:
        with open(os.path.join(root, "proc", str(process), name), "rb") as stream:
            return stream.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""


def _parse_status(text: str) -> Dict[str, str]:
    pairs = [line.partition(":") for line in text.splitlines()]
    return {key.strip(): value.strip() for key, _, value in pairs}
