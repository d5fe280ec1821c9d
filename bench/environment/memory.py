"""Memory, swap, huge pages, and the limits of this process."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Mapping, Optional, Union

from bench.environment.sources import (
    AbsentFactError,
    Facts,
    World,
    locate,
    read_text,
    read_word,
    take,
)

UNLIMITED = "unlimited"
Limit = Union[int, str]

_HUGE = "/sys/kernel/mm/transparent_hugepage"


def collect_memory(world: World) -> Facts:
    """Sizes and policies of memory."""

    def meminfo(name: str) -> Limit:
        return get_entry(parse_meminfo(read_text(world, "/proc/meminfo")), name, "/proc/meminfo")

    return {
        "memory_bytes": take(lambda: meminfo("MemTotal")),
        "swap_bytes": take(lambda: meminfo("SwapTotal")),
        "hugepages": take(lambda: meminfo("HugePages_Total")),
        "hugepage_bytes": take(lambda: meminfo("Hugepagesize")),
        "transparent_hugepages": take(
            lambda: parse_bracketed(read_text(world, f"{_HUGE}/enabled"))
        ),
        "transparent_hugepage_defrag": take(
            lambda: parse_bracketed(read_text(world, f"{_HUGE}/defrag"))
        ),
        "swappiness": take(lambda: int(read_word(world, "/proc/sys/vm/swappiness"))),
        "overcommit_memory": take(lambda: int(read_word(world, "/proc/sys/vm/overcommit_memory"))),
        "shared_memory_bytes": take(lambda: _read_capacity(world, "/dev/shm")),
    }


def collect_limits(world: World) -> Facts:
    """What this process, and so every rank that it starts, may use."""

    def limit(name: str) -> Limit:
        return get_entry(parse_limits(read_text(world, "/proc/self/limits")), name, "limits")

    return {
        "limit_open_files": take(lambda: limit("Max open files")),
        "limit_processes": take(lambda: limit("Max processes")),
        "limit_locked_memory_bytes": take(lambda: limit("Max locked memory")),
        "limit_stack_bytes": take(lambda: limit("Max stack size")),
        "limit_core_file_bytes": take(lambda: limit("Max core file size")),
        "limit_address_space_bytes": take(lambda: limit("Max address space")),
        "process_nice": take(lambda: os.getpriority(os.PRIO_PROCESS, 0)),
        "process_is_root": take(lambda: os.geteuid() == 0),
    }


def get_entry(entries: Mapping[str, Any], name: str, source: str) -> Any:
    """An entry of a parsed file.

    Raises:
        AbsentFactError: the file has no such entry.
    """
    if name not in entries:
        raise AbsentFactError(f"{source} has no {name}")
    return entries[name]


def parse_meminfo(text: str) -> Dict[str, int]:
    """``/proc/meminfo``: bytes where it says kB, plain counts elsewhere."""
    entries = {}
    for match in re.finditer(r"^(\S+):\s+(\d+)( kB)?\s*$", text, re.MULTILINE):
        entries[match.group(1)] = int(match.group(2)) * (1024 if match.group(3) else 1)
    return entries


def parse_bracketed(text: str) -> Optional[str]:
    """The chosen word of a kernel file such as ``always [madvise] never``."""
    match = re.search(r"\[([^\]]+)\]", text)
    return match.group(1) if match else None


def parse_limits(text: str) -> Dict[str, Limit]:
    """Soft limits of ``/proc/<pid>/limits`` by name."""
    limits: Dict[str, Limit] = {}
    for line in text.splitlines()[1:]:
        # Name, soft and hard limit stand in columns that are at least two blanks apart.
        columns = re.split(r"\s{2,}", line.strip())
        if len(columns) >= 3:
            soft = columns[1]
            limits[columns[0]] = UNLIMITED if soft == UNLIMITED else int(soft)
    return limits


def _read_capacity(world: World, path: str) -> int:
    try:
        found = os.statvfs(locate(world, path))
    except OSError as error:
        raise AbsentFactError(f"{path}: {error.strerror}") from error
    return found.f_frsize * found.f_blocks
