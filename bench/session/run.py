"""One run: plan, launch, watch, end, measure, store."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import bench
from bench.devices.base import Allocation, resolve_iterations_per_loop
from bench.environment import Subject, collect_state, redact_words
from bench.errors import BenchError, OutputError
from bench.launch.downstream import build_downstream_argv, plan_downstream
from bench.launch.identity import find_own_identity, identity_to_dict
from bench.launch.plan import build_plan
from bench.launch.trainer import (
    build_trainer_argv,
    find_model_config,
    find_trainer_folder,
)
from bench.measure.live import LiveRun, RunFacts
from bench.results.model import Failure, RunResult
from bench.results.store import write_result, write_spec
from bench.session.attempts import describe_attempt, may_retry, set_aside
from bench.session.context import RunContext
from bench.session.finish import build_final_result, render_time
from bench.session.launching import LaunchEnd, launch_and_watch
from bench.session.telemetry import describe_telemetry
from bench.spec import RunSpec, spec_to_dict
from bench.spec_downstream import PRETRAIN
from bench.spec_session import SessionSpec


def run_once(context: RunContext) -> RunResult:
    """Launches a run and stores its result, whatever becomes of it.

    The result is on disk as ``running`` before the first process starts, so that a killed
    harness leaves a trace, and is replaced by the final one at the end.
    """
    spec, backend = context.spec, context.backend
    iterations_per_loop = resolve_iterations_per_loop(spec, backend)
    allocation = backend.allocate(spec, context.sweep, context.cluster.hosts)
    argv = _build_argv(context, iterations_per_loop)
    result = _build_started_result(context, allocation, iterations_per_loop, argv)
    try:
        write_spec(context.run_dir, spec_to_dict(_resolve_spec(context, allocation)))
        write_result(context.run_dir, result)
    except OutputError:
        shutil.rmtree(str(context.run_dir), ignore_errors=True)
        raise
    attempts: List[Dict[str, Any]] = []
    while True:
        live = LiveRun(_build_facts(context, allocation, iterations_per_loop))
        context.set_live(live)
        began = render_time()
        end = _launch(context, allocation, argv, live)
        if not may_retry(end.failure, spec.limits.retries, len(attempts) + 1):
            break
        logs = set_aside(context.run_dir, len(attempts) + 1) / "logs"
        attempts.append(describe_attempt(logs, len(attempts) + 1, began, render_time(), end))
        result = replace(result, found={**result.found, "attempts": list(attempts)})
        write_result(context.run_dir, result)
        context.progress.note(f"attempt {len(attempts) + 1} of {spec.limits.retries + 1}")
    if attempts:
        logs = context.run_dir / "logs"
        attempts.append(describe_attempt(logs, len(attempts) + 1, began, render_time(), end))
        result = replace(result, found={**result.found, "attempts": attempts})
    finished = _build_final_result(context, result, end)
    live.set_state(finished.state)
    context.progress.close(live.snapshot())
    write_result(context.run_dir, finished)
    return finished


def _launch(
    context: RunContext, allocation: Allocation, argv: Sequence[str], live: LiveRun
) -> LaunchEnd:
    """One launch; an error of ours becomes the run's failure, so that it does not stay running."""
    spec, backend = context.spec, context.backend
    try:
        plan = build_plan(
            spec,
            backend,
            allocation,
            argv,
            context.run_id,
            context.run_dir,
            context.cluster.filter_inherited(context.inherited),
            backend.prepare_shared(
                spec, allocation, context.cluster.prepare(spec.n_cards), context.run_dir
            ),
            Path.cwd(),
        )
        return launch_and_watch(context, allocation, plan, live)
    except BenchError as error:
        return LaunchEnd(Failure(error.kind, str(error)))
    except Exception as error:
        return LaunchEnd(Failure("internal", f"{type(error).__name__}: {error}"))


def _resolve_spec(context: RunContext, allocation: Allocation) -> RunSpec:
    """What to ask for to get this very run again, whatever the rest of its session was."""
    data = context.spec.data
    return replace(
        context.spec,
        session=SessionSpec(),
        total_batch_size=None,
        backend=context.backend.name,
        cores_per_card=allocation.cores_per_card,
        data=None if data is None else str(Path(data).resolve()),
    )


def _build_argv(context: RunContext, iterations_per_loop: int) -> List[str]:
    spec = context.spec
    if context.backend.simulated:
        return [
            sys.executable,
            "-m",
            "bench.devices.simulated_rank",
            "--spec",
            str(context.run_dir / "spec.yaml"),
            "--iterations-per-loop",
            str(iterations_per_loop),
            *_name_model(spec),
        ]
    if spec.trainer_command:
        return list(spec.trainer_command)
    if spec.task != PRETRAIN:
        return build_downstream_argv(
            spec,
            plan_downstream(spec),
            context.backend.name,
            iterations_per_loop,
            context.run_dir / "train",
            spec.trainer_python,
        )
    return build_trainer_argv(
        spec,
        context.backend.name,
        iterations_per_loop,
        find_model_config(spec.model),
        context.data,
        context.run_dir / "train",
        spec.trainer_python,
    )


def _name_model(spec: RunSpec) -> List[str]:
    """The model's configuration, so that a simulated log tells it like a real one."""
    if find_trainer_folder() is None:
        return []
    return ["--model-config", str(find_model_config(spec.model))]


def _build_facts(context: RunContext, allocation: Allocation, iterations_per_loop: int) -> RunFacts:
    spec = context.spec
    return RunFacts(
        run_id=context.run_id,
        model=spec.model,
        backend=context.backend.name,
        simulated=context.backend.simulated,
        precision=spec.precision,
        task=spec.task,
        world_size=spec.n_cards,
        batch_size=spec.batch_size,
        seq_length=spec.seq_length,
        steps=spec.steps,
        iterations_per_loop=iterations_per_loop,
        started_at_seconds=time.time(),
        devices=tuple(placement.device_index for placement in allocation.placements),
    )


def _build_started_result(
    context: RunContext, allocation: Allocation, iterations_per_loop: int, argv: Sequence[str]
) -> RunResult:
    found = {
        "backend": context.backend.name,
        "backend_reason": context.backend_reason,
        "cores_per_card": allocation.cores_per_card,
        "oversubscribed": allocation.oversubscribed,
        "placements": [
            {
                "rank": placement.rank,
                "device": placement.device,
                "cores": None if placement.cores is None else list(placement.cores),
            }
            for placement in allocation.placements
        ],
        "iterations_per_loop": iterations_per_loop,
        "trainer_argv": redact_words(argv),
        "trainer_folder": str(find_trainer_folder() or ""),
        "data": dict(context.data),
        "environment": dict(context.environment),
        "harness": identity_to_dict(find_own_identity()),
        "state_before": collect_state(Subject(output=str(context.run_dir))),
    }
    if context.cluster.hosts:
        owners = [placement.host for placement in allocation.placements]
        found["hosts"] = context.cluster.describe(owners, context.environment)
    return RunResult(
        run_id=context.run_id,
        session=context.session,
        state="running",
        simulated=context.backend.simulated,
        asked=_describe_asked(context.spec),
        found=found,
        ranks=(),
        summary={},
        validity=(),
        started_at=render_time(),
        ended_at=None,
        failure=None,
        tool={"name": "ascend-bert", "version": bench.__version__},
    )


def _describe_asked(spec: RunSpec) -> Dict[str, Any]:
    """The spec for others to read; only ``spec.yaml`` keeps the secrets of its command lines."""
    asked = spec_to_dict(spec)
    for key in ("trainer_command", "trainer_options"):
        asked[key] = redact_words(asked[key])
    return asked


def _build_final_result(context: RunContext, started: RunResult, end: LaunchEnd) -> RunResult:
    # First the state: reading the logs loads the machine, too.
    state = collect_state(Subject(output=str(context.run_dir)))
    found = {**started.found, "state_after": state}
    telemetry, hosts = _describe_hosts(context, started)
    if hosts:
        found["hosts"] = hosts
    if end.hang is not None:
        found["hang"] = dict(end.hang)
    return build_final_result(
        context.run_dir,
        context.spec,
        started,
        found,
        end.failure,
        end.exit_codes,
        telemetry,
        render_time(),
    )


def _describe_hosts(
    context: RunContext, started: RunResult
) -> Tuple[Dict[str, Any], List[Dict[str, Any]]]:
    """Telemetry of this host, and all hosts of the run, each with its own."""
    before = started.found.get("hosts", [])
    owners = {rank: host["index"] for host in before for rank in host["ranks"]}
    devices: Dict[int, Dict[int, int]] = {}
    for place in started.found["placements"]:
        host = owners.get(place["rank"], 0)
        devices.setdefault(host, {})[place["device"]] = place["rank"]
    here = context.cluster.list_here()
    near = {device: rank for host in here for device, rank in devices.get(host, {}).items()}
    telemetry = describe_telemetry(context.run_dir, near)
    order = [owners[rank] for rank in sorted(owners)]
    hosts = context.cluster.describe(order, context.environment)
    for host in hosts:
        if host["index"] not in here:
            folder = context.run_dir / "hosts" / str(host["index"])
            host["telemetry"] = describe_telemetry(folder, devices.get(host["index"], {}))
    return telemetry, hosts
