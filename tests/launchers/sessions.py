"""Running ``ascend-bert bench`` under launchers, and looking at what it stored."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from bench.results.model import RunResult
from bench.results.store import list_run_directories, read_result

ROOT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "bench", "bench", "--backend", "cpu", "--spec", "smoke", "--quiet"]


def start(argv: List[str], variables: Optional[Dict[str, str]] = None) -> subprocess.Popen[str]:
    """Starts a command at the root of the repository."""
    return subprocess.Popen(
        argv,
        cwd=str(ROOT),
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 200.0) -> tuple[int, str, str]:
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


def check_equal_in_form(result: RunResult, local: RunResult) -> None:
    """A result by a launcher says all that a local one says, and nothing else but its hosts."""
    found, wanted = dict(result.found), dict(local.found)
    hosts = found.pop("hosts")
    assert [host["index"] for host in hosts] == list(range(len(hosts)))
    assert sorted(rank for host in hosts for rank in host["ranks"]) == [0, 1]
    for host in hosts:
        clock = host["clock"]
        # All of these hosts read one clock, so the bounds must hold zero.
        assert abs(clock["seconds"]) <= clock["uncertainty_seconds"] < 1.0, clock
    assert sorted(found) == sorted(wanted)
    for part in ("session", "ranks", "summary", "validity"):
        mine, theirs = getattr(result, part), getattr(local, part)
        assert describe_form(_plain(mine)) == describe_form(_plain(theirs)), part
    assert result.valid, result.validity
    assert [rank.exit_code for rank in result.ranks] == [0, 0]
    # The same seed and data: where ranks ran makes no difference to what they learnt.
    for mine, theirs in zip(result.ranks, local.ranks):
        assert mine.losses["total"] == theirs.losses["total"]


def _plain(part: Any) -> Any:
    if isinstance(part, tuple):
        return [_plain(item) for item in part]
    if dataclasses.is_dataclass(part):
        return dataclasses.asdict(part)
    return {key: _plain(value) for key, value in part.items()} if isinstance(part, dict) else part
