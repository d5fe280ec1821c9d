"""Running ``ascend-bert bench`` under launchers, and looking at what it stored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from bench.results.model import RunResult
from bench.results.store import list_run_directories, read_result

ROOT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "bench", "bench", "--backend", "cpu", "--spec", "smoke", "--quiet"]


def start(
    argv: List[str], variables: Optional[Dict[str, str]] = None
) -> "subprocess.Popen[str]":
    """Starts a command at the root of the repository."""
    return subprocess.Popen(
        argv,
        cwd=str(ROOT),
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def finish(process: "subprocess.Popen[str]", timeout: float = 200.0) -> "tuple[int, str, str]":
    """Waits for its end; returns exit code, output and errors."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still ran after {timeout} s:\n{out}\n{err}") from None
    return process.returncode, out, err


def read_only_result(output: Path) -> RunResult:
    """The result of the only run in a results directory."""
    (folder,) = list_run_directories(output)
    return read_result(folder)


def describe_form(value: Any, depth: int = 0) -> Any:
    """Keys and kinds of values without the values: two results of one form have the same."""
    if isinstance(value, dict):
        if depth >= 3:
            return "object"
        return {key: describe_form(item, depth + 1) for key, item in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [describe_form(value[0], depth + 1)] if value else []
    return "number" if isinstance(value, (int, float)) else type(value).__name__
