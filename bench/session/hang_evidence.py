"""What is kept of a run that hangs: stacks, kernel state, cards, links and the ends of device logs.

All of it goes into the folder ``hang`` of the run before its processes are ended. Nothing here may
hold up the end for long, and whatever cannot be had is said and left out.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from bench.devices.command import run_command
from bench.devices.vendor_tools import HCCN_TOOL_PATHS, NPU_SMI_PATHS, find_tool
from bench.launch.stacks import find_stopped, list_tree, render_process, request_stacks
from bench.session.hang import Hang, list_silent

FOLDER = "hang"
SUMMARY = "hang.json"

_TOOL_SECONDS = 8.0
_MAX_LINK_QUERIES = 16
_MAX_PROCESS_FILES = 64
_MAX_LOG_FILES = 64
_LOG_TAIL_BYTES = 64 * 1024
_LOG_MARGIN_SECONDS = 60.0
_MAX_SEEN_FILES = 20_000
_LOG_VARIABLES = ("ASCEND_PROCESS_LOG_PATH",)
_LOG_FOLDERS = ("~/ascend/log", "/var/log/npu/slog")
"""Where CANN writes plog, HCCL and device logs: by variable, else per user, else of the driver."""


def collect_evidence(
    run_dir: Path,
    hang: Hang,
    process_ids: Mapping[int, int],
    devices: Sequence[int],
    started_at: float,
    variables: Mapping[str, str],
    dump_seconds: float,
    root: str = "/",
) -> Dict[str, Any]:
    """Gathers what can be had, writes it, and returns what the result says of it.

    Args:
        run_dir: folder of the run.
        hang: what was found.
        process_ids: rank → process id, of the ranks on this host that still run.
        devices: physical devices of this host's ranks.
        started_at: Unix time of the launch; older log files are not of this run.
        variables: environment of the ranks.
        dump_seconds: wait for the stacks to be written.
        root: folder that stands for ``/``, for the logs and tools.

    Returns:
        ``first_silent_rank``, ``silent_ranks``, ``phase``, ``silent_seconds``, ``limit_seconds``,
        ``stopped_rank``, ``stacks`` (rank → signal that asked for them) and ``files``.
    """
    files: List[str] = []
    stopped = find_stopped(dict(process_ids))
    first = hang.first.rank if stopped is None else stopped
    asked: Dict[str, str] = {}
    silent = set(list_silent(hang)[:_MAX_PROCESS_FILES]) | {first}
    watched = [rank for rank in process_ids if rank in silent]
    watched += [rank for rank in process_ids if rank not in silent]
    for rank in watched[:_MAX_PROCESS_FILES]:
        # The kernel's view first: the signal changes what the process does.
        text = "".join(render_process(one) for one in list_tree(process_ids[rank]))
        _keep(run_dir, f"rank_{rank}.txt", text, files)
        asked[str(rank)] = request_stacks(process_ids[rank])
    deadline = time.monotonic() + (dump_seconds if any(asked.values()) else 0.0)
    for name, text in _ask_tools(devices, root):
        _keep(run_dir, name, text, files)
    for name, text in _list_log_tails(started_at, variables, root):
        _keep(run_dir, f"device_logs/{name}", text, files)
    time.sleep(max(0.0, deadline - time.monotonic()))
    told: Dict[str, Any] = {
        "first_silent_rank": first,
        "silent_ranks": list_silent(hang),
        "phase": hang.first.phase,
        "silent_seconds": round(hang.first.silent_seconds, 3),
        "limit_seconds": round(hang.first.limit_seconds, 3),
        "stopped_rank": stopped,
        "stacks": asked,
        "files": files,
    }
    summary = {**told, "ranks": [asdict(one) for one in hang.ranks]}
    _keep(run_dir, SUMMARY, json.dumps(summary, indent=1) + "\n", files)
    return told


def describe_hang(hang: Hang, evidence: Mapping[str, Any]) -> str:
    """One line for people: which rank, since when, and what is known of it."""
    stopped = evidence.get("stopped_rank")
    if stopped is None:
        return f"{hang.describe()}; stacks and logs in {FOLDER}/"
    return (
        f"rank {stopped} was stopped by a signal (state T) and the run made no progress for "
        f"{hang.first.silent_seconds:.1f} s; evidence in {FOLDER}/"
    )


def _ask_tools(devices: Sequence[int], root: str) -> Iterator[Tuple[str, str]]:
    smi, hccn = find_tool(NPU_SMI_PATHS, root), find_tool(HCCN_TOOL_PATHS, root)
    if smi is not None:
        answer = run_command([smi, "info"], _TOOL_SECONDS)
        yield "npu-smi.txt", (answer.reason or "") + answer.output + answer.errors
    if hccn is None:
        return
    parts = []
    deadline = time.monotonic() + _TOOL_SECONDS
    for device in sorted(set(devices))[:_MAX_LINK_QUERIES]:
        for query in ("-link", "-net_health", "-link_stat"):
            left = deadline - time.monotonic()
            if left <= 0.0:
                break
            answer = run_command([hccn, "-i", str(device), query, "-g"], left)
            said = answer.output or answer.reason or ""
            parts.append(f"# device {device} {query}\n{said.rstrip()}\n")
    yield "links.txt", "".join(parts)


def _list_log_tails(
    started_at: float, variables: Mapping[str, str], root: str
) -> Iterator[Tuple[str, str]]:
    """The ends of the latest log files of CANN and its driver that this run may have written."""
    named = [Path(variables[name]) for name in _LOG_VARIABLES if variables.get(name)]
    usual = [Path(root + os.path.expanduser(name)) for name in _LOG_FOLDERS]
    found: List[Tuple[float, Path]] = []
    for path in _walk_files(named + usual):
        try:
            changed = path.stat().st_mtime
        except OSError:
            continue
        if changed >= started_at - _LOG_MARGIN_SECONDS:
            found.append((changed, path))
    for _, path in sorted(found, reverse=True)[:_MAX_LOG_FILES]:
        text = _read_tail(path)
        if text:
            yield "__".join(path.parts[-3:]).lstrip("/_."), text


def _walk_files(folders: Sequence[Path]) -> Iterator[Path]:
    n_seen = 0
    for folder in folders:
        for where, _, names in os.walk(str(folder)):
            for name in names:
                n_seen += 1
                if n_seen > _MAX_SEEN_FILES:
                    return
                yield Path(where) / name


def _read_tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _LOG_TAIL_BYTES))
            return stream.read(_LOG_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _keep(run_dir: Path, name: str, text: str, files: List[str]) -> None:
    """Writes a file; on a full disk the run's end matters more than its evidence."""
    path = run_dir / FOLDER / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError:
        return
    files.append(f"{FOLDER}/{name}")
