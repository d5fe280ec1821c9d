"""One launch of a run's ranks: started, watched through their logs, and ended."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.devices.base import Allocation
from bench.launch.group import Group, Rank
from bench.launch.plan import LaunchPlan
from bench.measure.live import LiveRun
from bench.results.model import Failure
from bench.session.context import RunContext
from bench.session.failure import diagnose_failure, read_memory_kills
from bench.session.hang import Hang, ProgressClock
from bench.session.hang_evidence import collect_evidence, describe_hang
from bench.session.signals import build_interruption
from bench.session.telemetry import build_sampler
from bench.session.watch import Watch, reserve_files

EXITS_NAME = "exits.jsonl"
"""One line per rank that ended: what a dead harness had seen of exit codes."""

_POLL_SECONDS = 0.2
_LONGEST_POLL_SECONDS = 2.0
_WATCH_SHARE = 0.1
"""Share of time that watching may take: with thousands of logs it is done less often."""
_READ_SHARE = 0.003
"""Share of a core that reading the logs and showing what they say may take."""


@dataclass(frozen=True)
class LaunchEnd:
    """How a launch ended.

    Attributes:
        failure: why it ended badly, None if it did not.
        exit_codes: by rank; None where it is not known.
        hang: what was found of a hang, None if there was none.
    """

    failure: Optional[Failure]
    exit_codes: Dict[int, Optional[int]] = field(default_factory=dict)
    hang: Optional[Mapping[str, Any]] = None


def launch_and_watch(
    context: RunContext, allocation: Allocation, plan: LaunchPlan, live: LiveRun
) -> LaunchEnd:
    """Runs the ranks to their end.

    Raises:
        InfrastructureError: they cannot be started.
    """
    spec = context.spec
    started_at = time.time()
    logs = _list_logs(context.run_dir, allocation)
    reserve_files(len(logs))
    clock = ProgressClock(spec.limits, [rank for rank, _ in logs], spec.steps, time.monotonic())
    watch = Watch(logs, live, clock)
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
        failure, hang = _watch_ranks(context, group, watch, clock, live)
        told: Optional[Dict[str, Any]] = None
        if hang is not None:
            context.progress.note(f"{hang.describe()}; looking at the ranks before they are ended")
            running = {rank.plan.rank for rank in group.running}
            told = collect_evidence(
                context.run_dir,
                hang,
                {rank: one for rank, one in process_ids.items() if rank in running},
                [place.device for place in near.placements],
                started_at,
                plan.ranks[0].environment,
                spec.limits.dump_seconds,
            )
            failure = Failure("stalled", describe_hang(hang, told), told["first_silent_rank"])
        if failure is not None:
            context.progress.note(f"{failure.message}; ending the other ranks")
            group.stop(context.progress.note, lambda: context.signals.impatient)
        _note_up(context, live, [rank.plan.rank for rank in group.ranks], False)
        watch.close()
        return LaunchEnd(failure, group.exit_codes(), told)


def _watch_ranks(
    context: RunContext, group: Group, watch: Watch, clock: ProgressClock, live: LiveRun
) -> Tuple[Optional[Failure], Optional[Hang]]:
    """Waits until all ranks have ended, or there is a reason to end them."""
    started = time.monotonic()
    first_end: Optional[float] = None
    pause = _POLL_SECONDS
    read_at = started
    memory_kills = _read_memory_kills()
    is_running = _build_is_running(context, group)
    while group.running:
        time.sleep(pause)
        began = time.monotonic()
        ended = group.poll()
        _note_up(context, live, [rank.plan.rank for rank in ended], False)
        _note_exits(context.run_dir, ended)
        if ended and first_end is None:
            first_end = time.monotonic()
        if ended or began >= read_at:
            read_at = began + _read_logs(context, watch, live)
        failure = _find_interruption(context)
        if failure is None:
            failure = diagnose_failure(ended)
        if failure is not None and failure.exit_code == -signal.SIGKILL:
            failure = _add_memory_kill(failure, memory_kills)
        if failure is None and group.trouble:
            failure = Failure("infrastructure", group.trouble)
        now = time.monotonic()
        if failure is None:
            failure = _check_deadlines(context, group, now - started, first_end, now)
        if failure is not None:
            return failure, None
        hang = clock.find_hang(now, is_running)
        if hang is not None:
            return None, hang
        cost = time.monotonic() - began
        pause = min(_LONGEST_POLL_SECONDS, max(_POLL_SECONDS, cost / _WATCH_SHARE))
    return None, None


def _read_logs(context: RunContext, watch: Watch, live: LiveRun) -> float:
    """Reads what is new and shows it; returns for how many seconds that is enough."""
    before = time.thread_time()
    watch.poll()
    context.progress.update(live.snapshot())
    cost = time.thread_time() - before
    return min(_LONGEST_POLL_SECONDS, max(_POLL_SECONDS, cost / _READ_SHARE))


def _find_interruption(context: RunContext) -> Optional[Failure]:
    """The signal that asked for the end; a scheduler that sends it to all ends ranks by it, too."""
    if context.signals.received is None:
        return None
    interruption = build_interruption(context.signals.received)
    return Failure(interruption.kind, str(interruption))


def _read_memory_kills() -> int:
    try:
        return read_memory_kills(Path("/proc/vmstat").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _add_memory_kill(failure: Failure, before: int) -> Failure:
    if _read_memory_kills() <= before:
        return failure
    told = "the kernel ended a process of this machine for lack of memory at that time"
    return replace(failure, message=f"{failure.message}; {told}")


def _check_deadlines(
    context: RunContext, group: Group, elapsed: float, first_end: Optional[float], now: float
) -> Optional[Failure]:
    spec = context.spec
    if spec.run_timeout_seconds is not None and elapsed > spec.run_timeout_seconds:
        return Failure("stalled", f"the run took longer than {spec.run_timeout_seconds:g} s")
    waited = 0.0 if first_end is None else now - first_end
    if group.running and waited > spec.last_rank_timeout_seconds:
        return Failure(
            "stalled",
            f"rank {group.running[0].plan.rank} still ran "
            f"{spec.last_rank_timeout_seconds:g} s after the first rank had ended",
        )
    return None


def _build_is_running(context: RunContext, group: Group) -> Callable[[int], bool]:
    """Whether the process that stands for a rank lives."""
    n_processes = context.backend.count_processes(context.spec)
    ranks = {rank.plan.rank: rank for rank in group.ranks}
    return lambda rank: ranks[rank % n_processes].ended_at is None


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


def _note_exits(run_dir: Path, ended: Sequence[Rank]) -> None:
    if not ended:
        return
    lines = [
        json.dumps({"rank": r.plan.rank, "exit_code": r.exit_code, "ended_at": r.ended_at}) + "\n"
        for r in ended
    ]
    # Only a harness that dies later needs them; a full disk is told of elsewhere.
    with contextlib.suppress(OSError), (run_dir / EXITS_NAME).open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def read_exits(run_dir: Path) -> Dict[int, Optional[int]]:
    """Exit code by rank, of the ranks whose end was seen; a torn last line is left out."""
    found: Dict[int, Optional[int]] = {}
    try:
        text = (run_dir / EXITS_NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(line)
            found[int(told["rank"])] = told["exit_code"]
    return found
