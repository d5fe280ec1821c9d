"""One run: plan, launch, watch, end, measure, store."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import bench
from bench.devices.base import Allocation, Backend, resolve_iterations_per_loop
from bench.environment import Subject, collect_state, redact_words
from bench.errors import BenchError, OutputError
from bench.launch.cluster import LocalCluster
from bench.launch.launchers import Cluster
from bench.launch.plan import LaunchPlan, build_plan
from bench.launch.trainer import (
    build_trainer_argv,
    find_model_config,
    find_trainer_folder,
    read_model_config,
)
from bench.measure.flops import find_peak_flops
from bench.measure.live import LiveRun, RunFacts
from bench.measure.loss_band import read_loss_bands
from bench.results.from_logs import LaunchFacts, measure_run
from bench.results.model import Failure, RunResult
from bench.results.store import write_result, write_spec
from bench.session.failure import diagnose_failure
from bench.session.progress import Progress
from bench.session.signals import SignalCatcher, build_interruption
from bench.session.telemetry import (
    build_sampler,
    describe_telemetry,
    get_foreign_processes,
    join_telemetry,
)
from bench.session.watch import Watch
from bench.spec import RunSpec, spec_to_dict
from bench.spec_session import SessionSpec
from bench.telemetry.sampler import TelemetrySampler

LOSS_BANDS = Path(bench.__file__).resolve().parent / "measure" / "loss_bands.yaml"

_POLL_SECONDS = 0.2
_PEAK_NAMES = {"fp32": "fp32", "fp16": "fp16", "allow_mix_precision": "mixed"}


@dataclass(frozen=True)
class RunContext:
    """All that a run needs from its session."""

    spec: RunSpec
    sweep: Sequence[int]
    backend: Backend
    backend_reason: str
    run_id: str
    run_dir: Path
    session: Mapping[str, Any]
    data: Mapping[str, str]
    environment: Mapping[str, Any]
    inherited: Mapping[str, str]
    signals: SignalCatcher
    progress: Progress
    set_live: Callable[[LiveRun], None]
    set_telemetry: Callable[[TelemetrySampler], None]
    cluster: Cluster = LocalCluster()


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
    live = LiveRun(_build_facts(context, allocation, iterations_per_loop))
    context.set_live(live)
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
        failure, exit_codes = _launch_and_watch(context, allocation, plan, live)
    except BenchError as error:
        failure, exit_codes = Failure(error.kind, str(error)), {}
    except Exception as error:  # a result must not stay "running" because of our own mistake
        failure, exit_codes = Failure("internal", f"{type(error).__name__}: {error}"), {}
    finished = _build_final_result(context, result, failure, exit_codes)
    live.set_state(finished.state)
    context.progress.close(live.snapshot())
    write_result(context.run_dir, finished)
    return finished


def _launch_and_watch(
    context: RunContext, allocation: Allocation, plan: LaunchPlan, live: LiveRun
) -> Tuple[Optional[Failure], Dict[int, Optional[int]]]:
    """Runs the ranks to their end; returns why it ended badly, and the exit codes."""
    spec = context.spec
    failure: Optional[Failure] = None
    deadline = (
        None if spec.run_timeout_seconds is None else time.monotonic() + spec.run_timeout_seconds
    )
    first_end: Optional[float] = None
    watch = Watch(_list_logs(context.run_dir, allocation), live)
    live.set_state("compiling")
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(
            context.cluster.start(plan, context.run_dir, spec.rank_timeout_seconds)
        )
        here = context.cluster.list_here()
        near = replace(
            allocation,
            placements=tuple(place for place in allocation.placements if place.host in here),
        )
        process_ids = {r.plan.rank: r.process_id for r in group.ranks if r.plan.host in here}
        sampler = stack.enter_context(
            build_sampler(context.run_dir, spec, context.backend.name, near, process_ids)
        )
        context.set_telemetry(sampler)
        _note_up(context, live, [rank.plan.rank for rank in group.ranks], True)
        while group.running and failure is None:
            time.sleep(_POLL_SECONDS)
            ended = group.poll()
            _note_up(context, live, [rank.plan.rank for rank in ended], False)
            if ended and first_end is None:
                first_end = time.monotonic()
            watch.poll()
            context.progress.update(live.snapshot())
            failure = diagnose_failure(ended)
            if failure is None and group.trouble:
                failure = Failure("infrastructure", group.trouble)
            if failure is None and context.signals.received is not None:
                interruption = build_interruption(context.signals.received)
                failure = Failure(interruption.kind, str(interruption))
            if failure is None and deadline is not None and time.monotonic() > deadline:
                failure = Failure(
                    "stalled", f"the run took longer than {spec.run_timeout_seconds:g} s"
                )
            waited = 0.0 if first_end is None else time.monotonic() - first_end
            if failure is None and group.running and waited > spec.last_rank_timeout_seconds:
                failure = Failure(
                    "stalled",
                    f"rank {group.running[0].plan.rank} still ran "
                    f"{spec.last_rank_timeout_seconds:g} s after the first rank had ended",
                )
        if failure is not None:
            context.progress.note(f"{failure.message}; ending the other ranks")
            group.stop(context.progress.note, lambda: context.signals.impatient)
        _note_up(context, live, [rank.plan.rank for rank in group.ranks], False)
        watch.close()
        return failure, group.exit_codes()


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


def _list_logs(run_dir: Path, allocation: Allocation) -> List[Tuple[int, Path]]:
    """Rank and log of every rank, whether it has a process of its own or not."""
    return [
        (place.rank, run_dir / "logs" / f"train_{place.device_index}.log")
        for place in allocation.placements
    ]


def _note_up(context: RunContext, live: LiveRun, leaders: Sequence[int], up: bool) -> None:
    """Notes the life of processes for every rank that they stand for."""
    n_processes = context.backend.count_processes(context.spec)
    for leader in leaders:
        for rank in range(leader, context.spec.n_cards, n_processes):
            live.set_up(rank, up)


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
        started_at=_now(),
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


def _build_final_result(
    context: RunContext,
    started: RunResult,
    failure: Optional[Failure],
    exit_codes: Mapping[int, Optional[int]],
) -> RunResult:
    # First the state: reading the logs loads the machine, too.
    state = collect_state(Subject(output=str(context.run_dir)))
    found = {**started.found, "state_after": state}
    telemetry, hosts = _describe_hosts(context, started)
    if hosts:
        found["hosts"] = hosts
    measured = measure_run(
        context.run_dir / "logs", build_launch_facts(context, started, exit_codes, telemetry)
    )
    ranks, telemetry = join_telemetry(context.run_dir, telemetry, measured.ranks)
    return replace(
        started,
        state="finished" if failure is None else "failed",
        found={**found, "telemetry": telemetry},
        ranks=ranks,
        summary=measured.summary,
        validity=measured.checks,
        failure=failure,
        ended_at=_now(),
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


def build_launch_facts(
    context: RunContext,
    started: RunResult,
    exit_codes: Mapping[int, Optional[int]],
    telemetry: Mapping[str, Any],
) -> LaunchFacts:
    """What is known of a run besides its logs."""
    spec, backend = context.spec, context.backend
    ours = not (backend.simulated or spec.trainer_command)
    has_model = find_trainer_folder() is not None and not spec.trainer_command
    steady = spec.require_steady
    foreign_processes, foreign_reason = get_foreign_processes(telemetry)
    kinds = dict(context.environment.get("facts", {})).get("npu_names") or []
    return LaunchFacts(
        spec=spec,
        exit_codes=exit_codes,
        flags=_parse_flags(started.found["trainer_argv"]) if ours else {},
        model_config=read_model_config(spec.model) if has_model else None,
        peak=find_peak_flops(str(kinds[0]) if kinds else None, _PEAK_NAMES[spec.precision])
        if backend.name == "ascend"
        else None,
        steady_required=backend.name != "cpu" if steady is None else steady,
        loss_bands=read_loss_bands(LOSS_BANDS) if ours else (),
        foreign_processes=foreign_processes,
        foreign_reason=foreign_reason,
    )


def _parse_flags(argv: Sequence[str]) -> Dict[str, str]:
    pairs = [word[2:].partition("=") for word in argv if word.startswith("--")]
    # A repeated flag counts as it was given last.
    return {name: value for name, separator, value in pairs if separator}


def _now() -> str:
    return (
        datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"
    )
