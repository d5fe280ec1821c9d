"""What was found: the machine, its software and this checkout."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import psutil

import bench

_COMMAND_TIMEOUT_SECONDS = 5.0


def collect_environment() -> Dict[str, Any]:
    """Facts of this machine; a fact that cannot be had is None."""
    memory = psutil.virtual_memory()
    return {
        "host_name": platform.node(),
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu_model": parse_cpu_model(_read_text(Path("/proc/cpuinfo"))),
        "cpu_cores": os.cpu_count(),
        "cpu_cores_usable": (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        "memory_bytes": memory.total,
        "load_average_1min": os.getloadavg()[0],
        "python_version": platform.python_version(),
        "python_executable": sys.executable,
        "harness_version": bench.__version__,
        "git_commit": _run_git("rev-parse", "HEAD"),
        "git_dirty": _is_dirty(),
    }


def parse_cpu_model(cpuinfo: Optional[str]) -> Optional[str]:
    """Model name from ``/proc/cpuinfo``: x86 says ``model name``, some ARM kernels ``Model``."""
    for line in (cpuinfo or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip() or None
    return None


def _read_text(path: Path) -> Optional[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _is_dirty() -> Optional[bool]:
    status = _run_git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def _run_git(*arguments: str) -> Optional[str]:
    """Output of git in the checkout that holds this package, None outside one."""
    folder = Path(bench.__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", "replace").strip()
