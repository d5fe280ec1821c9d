"""Results of runs whose harness died: rebuilt from what is on disk, and never while it lives."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence

import bench
from bench.devices.simulated import count_processes
from bench.errors import BenchError, DataError, UsageError
from bench.launch.identity import identity_from_dict, is_alive
from bench.logs.files import read_logs
from bench.results.model import Failure, RunResult
from bench.results.store import (
    RESULT_NAME,
    SPEC_NAME,
    list_run_directories,
    read_result,
    remove_unbegun,
    write_result,
)
from bench.session.failure import describe_exit, find_error_line
from bench.session.finish import build_final_result, render_time
from bench.session.launching import read_exits
from bench.session.plan_file import SessionLock, find_plan
from bench.session.telemetry import describe_telemetry
from bench.spec import RunSpec, build_spec, read_spec_file, spec_from_dict

REBUILT, REMOVED, LEFT, DAMAGED = "rebuilt", "removed", "left alone", "damaged"


@dataclass(frozen=True)
class Recovery:
    """What became of one run folder.

    Attributes:
        run_id: its name.
        action: ``"rebuilt"``, ``"removed"``, ``"left alone"`` or ``"damaged"``.
        text: why, or what the result says now; one line.
        result: the new result, for a rebuilt one.
        waits: it could be rebuilt once its processes are gone.
    """

    run_id: str
    action: str
    text: str
    result: Optional[RunResult] = None
    waits: bool = False


def recover_runs(
    output: Path,
    busy: Collection[str],
    session_id: Optional[str] = None,
    assume_dead: bool = False,
    locked: bool = False,
) -> List[Recovery]:
    """Rebuilds every result that says ``running`` though its harness is gone.

    Args:
        output: results directory.
        busy: run ids that still have processes; they are left alone.
        session_id: only the runs of this session.
        assume_dead: take harnesses of other machines and containers for dead.
        locked: the caller holds the lock of the session.
    """
    found = []
    for folder in sorted(_list_folders(output)):
        if session_id is not None and not folder.name.startswith(session_id + "-"):
            continue
        recovery = _recover_folder(output, folder, busy, assume_dead, locked)
        if recovery is not None:
            found.append(recovery)
    return found


def _list_folders(output: Path) -> List[Path]:
    runs = output / "runs"
    with contextlib.suppress(OSError):
        return [entry for entry in runs.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return []


def _recover_folder(
    output: Path, folder: Path, busy: Collection[str], assume_dead: bool, locked: bool
) -> Optional[Recovery]:
    if not (folder / RESULT_NAME).exists():
        return _remove_shell(output, folder, locked)
    try:
        result = read_result(folder)
    except DataError as error:
        return Recovery(folder.name, DAMAGED, str(error))
    if result.state != "running":
        return None
    session_id = str(result.session.get("id"))
    harness = result.found.get("harness")
    identity = identity_from_dict(harness)
    alive = None if identity is None else is_alive(identity)
    if identity is not None and alive:
        return Recovery(folder.name, LEFT, f"its harness lives (process {identity.process_id})")
    if alive is None and not assume_dead and not locked:
        where = f"on {identity.host or 'another machine'}" if identity else "of an older version"
        return Recovery(
            folder.name,
            LEFT,
            f"its harness {where} cannot be seen from here; recover there, or say --assume-dead",
        )
    if folder.name in busy:
        return Recovery(
            folder.name,
            LEFT,
            "its harness is gone but its ranks still run; wait, or end them with --end-orphans",
            waits=True,
        )
    try:
        with contextlib.ExitStack() as stack:
            if not locked and find_plan(output, session_id).exists():
                stack.enter_context(SessionLock(output, session_id))
            rebuilt = rebuild_result(folder, read_result(folder))
            write_result(folder, rebuilt)
            _remove_temporary(folder)
    except UsageError as error:
        return Recovery(folder.name, LEFT, str(error))
    except (BenchError, OSError) as error:
        return Recovery(folder.name, DAMAGED, str(error))
    return Recovery(folder.name, REBUILT, _describe(rebuilt), rebuilt)


def _remove_shell(output: Path, folder: Path, locked: bool) -> Optional[Recovery]:
    """A folder without a result: made just before the harness died, unless it is being made now."""
    session_id = "-".join(folder.name.split("-")[:2])
    try:
        with contextlib.ExitStack() as stack:
            if not locked:
                stack.enter_context(SessionLock(output, session_id))
            if remove_unbegun(folder):
                return Recovery(folder.name, REMOVED, "it never began; its folder was empty")
    except (BenchError, OSError):
        pass
    # Without the plan of its session nobody knows whose folder it is.
    return None


def rebuild_result(folder: Path, started: RunResult) -> RunResult:
    """The final result of a run from its logs, exit codes seen and telemetry.

    It is ``finished`` when every rank reached the last step and ended well as far as is known;
    else ``failed``, as the first rank that failed, or as ``lost``.

    Args:
        folder: of the run.
        started: the result that says ``running``.
    """
    spec = _read_spec(folder, started)
    processes = count_processes(spec) if started.simulated else spec.n_cards
    seen = read_exits(folder)
    exit_codes = {rank: seen.get(rank) for rank in range(processes)}
    devices = {
        int(place["device"]): int(place["rank"]) for place in started.found.get("placements", [])
    }
    found: Dict[str, Any] = dict(started.found)
    found["recovered"] = {"at": render_time(), "by": bench.__version__}
    result = build_final_result(
        folder,
        spec,
        started,
        found,
        None,
        exit_codes,
        describe_telemetry(folder, devices),
        render_time(_find_last_change(folder)),
    )
    failure = _find_failure(folder, spec, result, exit_codes)
    if failure is None:
        return result
    return replace(result, state="failed", failure=failure)


def _read_spec(folder: Path, started: RunResult) -> RunSpec:
    try:
        return build_spec([read_spec_file(folder / SPEC_NAME)])
    except UsageError:
        return spec_from_dict(started.asked, str(folder / RESULT_NAME))


def _find_failure(
    folder: Path, spec: RunSpec, result: RunResult, exit_codes: Mapping[int, Optional[int]]
) -> Optional[Failure]:
    bad = {rank: code for rank, code in exit_codes.items() if code}
    if bad:
        rank, code = min(bad.items(), key=lambda item: (item[1] > 0, item[0]))
        places = [p for p in result.found.get("placements", []) if p["rank"] == rank]
        log = folder / "logs" / f"train_{places[0]['device'] if places else rank}.log"
        return describe_exit(rank, code, find_error_line(log), log)
    if _is_whole(folder, spec, result, exit_codes):
        return None
    reached = [rank.last_step for rank in result.ranks]
    step = min((one for one in reached if one is not None), default=None)
    told = "before any step" if step is None else f"after step {step} of {spec.steps}"
    harness = result.found.get("harness") or {}
    return Failure(
        "lost",
        f"the harness (process {harness.get('process_id', 'not known')}) died {told}; "
        "what stands here was rebuilt from the logs",
    )


def _is_whole(
    folder: Path, spec: RunSpec, result: RunResult, exit_codes: Mapping[int, Optional[int]]
) -> bool:
    """Whether all ranks trained to the end: steps reached, and a good exit or the last line."""
    ranks = result.ranks
    if len(ranks) < spec.n_cards or any((rank.last_step or 0) < spec.steps for rank in ranks):
        return False
    if all(code == 0 for code in exit_codes.values()):
        return True
    logs = read_logs(sorted((folder / "logs").glob("train_*.log"))).reports
    return all(len(report.final_losses) for report in logs)


def _find_last_change(folder: Path) -> float:
    changes = [path.stat().st_mtime for path in (folder / "logs").glob("*.log")]
    return max(changes, default=(folder / RESULT_NAME).stat().st_mtime)


def _remove_temporary(folder: Path) -> None:
    """Removes half-written files of the dead harness; the whole ones are under their names."""
    for name in (RESULT_NAME, SPEC_NAME):
        for path in folder.glob(f".{name}.*"):
            with contextlib.suppress(OSError):
                path.unlink()


def _describe(result: RunResult) -> str:
    if result.failure is None:
        return "finished; all of its log is there"
    return f"{result.state} ({result.failure.kind}): {result.failure.message}"


def list_results(output: Path, session_id: str) -> List[RunResult]:
    """Readable results of a session, in the order of their launch."""
    results: List[RunResult] = []
    for folder in list_run_directories(output):
        if folder.name.startswith(session_id + "-"):
            with contextlib.suppress(DataError):
                results.append(read_result(folder))
    return sorted(results, key=lambda result: (result.session.get("index", 0), result.started_at))


def select_done(results: Sequence[RunResult], repeated: Collection[str]) -> Dict[int, RunResult]:
    """Place in the session → the result that counts for it.

    Args:
        results: of one session.
        repeated: kinds of failure after which a launch is made again.
    """
    done: Dict[int, RunResult] = {}
    for result in results:
        again = result.failure is not None and result.failure.kind in repeated
        if result.state != "running" and not again and "index" in result.session:
            done[int(result.session["index"])] = result
    return done
