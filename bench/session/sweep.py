"""A sweep: cases (card counts, of one build or two) launched in turn, as often as asked."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Set, Tuple

from bench.environment import collect_environment
from bench.launch.cluster import LocalCluster
from bench.launch.launchers import Cluster, open_cluster
from bench.launch.orphans import list_orphans
from bench.measure.live import LiveRun, RunSnapshot
from bench.measure.repeats import (
    DEFAULT_REPEATS,
    MINIMUM_LAUNCHES,
    decide_next_launch,
    plan_launches,
)
from bench.results.cases import build_series
from bench.results.model import RunResult
from bench.results.store import (
    build_run_id,
    build_session_id,
    choose_run_id,
    create_output_directory,
    create_run_directory,
)
from bench.session.builds import Build, Prepared, build_subject, open_build, prepare_build
from bench.session.context import RunContext
from bench.session.judged import Judge, plan_next_look
from bench.session.plan_file import SessionLock, SessionPlan, write_plan
from bench.session.progress import Progress
from bench.session.run import run_once
from bench.session.signals import SignalCatcher
from bench.spec import RunSpec, for_cards, list_cases
from bench.spec_session import SessionSpec
from bench.telemetry.model import TelemetrySnapshot
from bench.telemetry.sampler import TelemetrySampler

_LAUNCHES_OF_A = 10_000
RECURRING = ("usage", "data", "infrastructure", "interrupted")
"""Kinds of failure that the next card count would meet again."""


CaseKey = Tuple[str, int, int]
"""Label of the build, card count, and sequences per card and step."""


@dataclass
class Sweep:
    """A checked and prepared session; :meth:`run` launches it.

    Attributes:
        builds: what is launched, one build or two.
        output: where results go; made when the session is launched.
        session_id: identity of this command.
        quiet: no progress.
        run_directories: folders of the runs launched so far.
        done: place in the order → result of an earlier command, for a session that goes on.
        resumed: it goes on; its plan stands and is locked.
        judge: after each look says what is to be launched again; None for a single look.
    """

    builds: Tuple[Build, ...]
    output: Path
    session_id: str
    quiet: bool
    run_directories: List[Path] = field(default_factory=list)
    done: Mapping[int, RunResult] = field(default_factory=dict)
    resumed: bool = False
    judge: Optional[Judge] = None
    _look: int = 1
    _enough: Set[CaseKey] = field(default_factory=set)
    _live: Optional[LiveRun] = None
    _ended: List[RunSnapshot] = field(default_factory=list)
    _sampler: Optional[TelemetrySampler] = None
    _cluster: Cluster = field(default_factory=LocalCluster)

    @property
    def plan(self) -> SessionSpec:
        """How often and in which order to launch; that of the first build."""
        return self.builds[0].spec.session

    @property
    def repeats(self) -> int:
        """Launches of each case: as asked, else what suits the backend."""
        if self.plan.repeats is not None:
            return self.plan.repeats
        return DEFAULT_REPEATS if self.builds[0].backend.name == "ascend" else 1

    @property
    def runs_directory(self) -> Path:
        """Where the folders of the runs go."""
        return self.output / "runs"

    def get_snapshot(self) -> Optional[RunSnapshot]:
        """State of the current run, or of the last one after its end."""
        return None if self._live is None else self._live.snapshot()

    def list_ended(self) -> List[RunSnapshot]:
        """Last state of each run before the current one."""
        return list(self._ended)

    def get_telemetry(self) -> Optional[TelemetrySnapshot]:
        """Last sample of the current run, or of the last one after its end."""
        return None if self._sampler is None else self._sampler.latest()

    def note(self, text: str) -> None:
        """One line on standard error, unless quiet."""
        # The session goes on when the terminal is gone.
        if not self.quiet:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(text + "\n")
                sys.stderr.flush()

    def run(self, signals: SignalCatcher) -> List[RunResult]:
        """Prepares the data, then launches every case as often as asked.

        A failed run is a result like any other; the sweep goes on unless the next run would
        meet the same failure, or a signal asked for the end.

        Raises:
            BenchError: something is wrong before the first launch.
        """
        create_output_directory(self.output)
        with contextlib.ExitStack() as stack:
            if not self.resumed:
                write_plan(self.output, self._build_plan())
                stack.enter_context(SessionLock(self.output, self.session_id))
            self._note_orphans()
            return self._prepare_and_launch(signals)

    def _build_plan(self) -> SessionPlan:
        return SessionPlan(
            self.session_id,
            os.getcwd(),
            tuple((build.label, build.spec, build.backend.name) for build in self.builds),
            tuple(self._name_case(key) for key in self._order_launches()),
        )

    def _note_orphans(self) -> None:
        orphans = list_orphans()
        if orphans:
            self.note(
                f"{len(orphans)} processes of dead harnesses still run and disturb what is "
                "measured; 'ascend-bert recover --list-orphans' shows them"
            )

    def _prepare_and_launch(self, signals: SignalCatcher) -> List[RunResult]:
        prepared: Dict[str, Prepared] = {}
        for build in self.builds:
            self.note((f"{build.label}: " if build.label else "") + build.reason)
            data = prepare_build(build, self.note, signals)
            subject = build_subject(build, data, self.runs_directory)
            prepared[build.label] = Prepared(data, collect_environment(subject))
        first = self.builds[0]
        with open_cluster(
            first.spec,
            self.output,
            self.session_id,
            build_subject(first, prepared[first.label].data, self.runs_directory),
            os.environ,
            signals.check,
        ) as self._cluster:
            return self._launch_all(prepared, signals)

    def _launch_all(
        self, prepared: Mapping[str, Prepared], signals: SignalCatcher
    ) -> List[RunResult]:
        results: List[RunResult] = []
        order = self._order_launches()
        cases = list(dict.fromkeys(order))
        goes_on = self._launch_in_order(order, 0, prepared, signals, results)
        while goes_on and self.judge is not None:
            folders, seed = self.run_directories, self.plan.order_seed
            more = plan_next_look(self.judge, folders, self._look, cases, seed)
            if not more:
                break
            self._look += 1
            goes_on = self._launch_in_order(more, len(order), prepared, signals, results)
            order = [*order, *more]
        return sorted(results, key=self._place)

    def _launch_in_order(
        self,
        order: Sequence[CaseKey],
        first_index: int,
        prepared: Mapping[str, Prepared],
        signals: SignalCatcher,
        results: List[RunResult],
    ) -> bool:
        """Adds to ``results``; False when the next launch would fail like the last one."""
        for index, key in enumerate(order, start=first_index):
            signals.check()
            if index in self.done:
                results.append(self.done[index])
                continue
            if not self._is_needed(key, results):
                continue
            result = self._run_cell(index, key, prepared[key[0]], signals, results)
            results.append(result)
            if result.failure is not None and result.failure.kind in RECURRING:
                return False
        return True

    def _order_launches(self) -> List[CaseKey]:
        cases = [(b.label, n, size) for b in self.builds for n, size in list_cases(b.spec)]
        if self.plan.until_precision is None and self.repeats == 1:
            return cases
        if self.plan.until_precision is None:
            return plan_launches(cases, self.repeats, self.plan.order_seed)
        return plan_launches(cases, self.plan.maximum_launches, self.plan.order_seed)

    def _is_needed(self, key: CaseKey, results: Sequence[RunResult]) -> bool:
        """Whether a case wants one more launch, for a session that runs until it is precise."""
        if self.plan.until_precision is None or self._look > 1:
            return True
        if key in self._enough:
            return False
        mine = [result for result in results if _get_key(result) == key]
        series = [build_series(result.ranks) for result in mine if result.valid]
        decision = decide_next_launch(
            [one for one in series if one is not None],
            self.plan.until_precision,
            maximum=self.plan.maximum_launches,
        )
        if len(mine) >= MINIMUM_LAUNCHES:
            self.note(f"{self._name_case(key)}: {decision.reason}")
        if decision.needed and len(mine) < self.plan.maximum_launches:
            return True
        # No launch is added any more, so the answer stays: it is found and told once.
        self._enough.add(key)
        return False

    def _place(self, result: RunResult) -> Tuple[int, int, int]:
        """Where a run stands in a report: by build, then case as asked, then repeat."""
        labels = [build.label for build in self.builds]
        cases = list_cases(self.builds[labels.index(result.build)].spec)
        return (
            labels.index(result.build),
            cases.index((result.n_cards, int(result.asked["batch_size"]))),
            int(result.session.get("repeat", 1)),
        )

    def _run_cell(
        self,
        index: int,
        key: CaseKey,
        prepared: Prepared,
        signals: SignalCatcher,
        results: Sequence[RunResult],
    ) -> RunResult:
        build = next(build for build in self.builds if build.label == key[0])
        n_cards = key[1]
        repeat = 1 + sum(1 for result in results if _get_key(result) == key)
        spec = for_cards(build.spec, n_cards, key[2] if build.spec.batch_sizes else None)
        if build.backend.simulated:
            # Launches of real cards differ by themselves; simulated ones are told to.
            launch = repeat + (_LAUNCHES_OF_A if build.label == "B" else 0)
            spec = replace(spec, simulated=replace(spec.simulated, launch=launch))
        name = build.backend.name + (f"-{build.label}" if build.label else "")
        if build.spec.batch_sizes:
            name += f"-b{spec.batch_size}"
        run_id = choose_run_id(
            self.runs_directory,
            build_run_id(self.session_id, spec.model, name, n_cards, repeat),
        )
        run_dir = create_run_directory(self.runs_directory, run_id)
        self.run_directories.append(run_dir)
        launches = [*map(_get_key, results), key]
        session = {
            "id": self.session_id,
            "index": index,
            "cards": list(build.spec.cards),
            "build": build.label or None,
            "repeat": repeat,
            "look": self._look,
            "repeats": None if self._is_open else self.repeats,
            "until_precision": self.plan.until_precision,
            "order_seed": self.plan.order_seed,
            # What was launched until then: in an open session no more is known.
            "order": [self._name_case(one) for one in launches]
            if self._is_open
            else [self._name_case(one) for one in self._order_launches()],
        }
        context = RunContext(
            spec=spec,
            sweep=build.spec.cards,
            backend=build.backend,
            backend_reason=build.reason,
            run_id=run_id,
            run_dir=run_dir,
            session=session,
            data=prepared.data,
            environment=prepared.environment,
            inherited=dict(os.environ),
            signals=signals,
            progress=Progress(self._caption(key, repeat), self.quiet),
            set_live=self._set_live,
            set_telemetry=self._set_telemetry,
            cluster=self._cluster,
        )
        return run_once(context)

    def _caption(self, key: CaseKey, repeat: int) -> str:
        label, n_cards, batch_size = key
        text = f"{label}, {n_cards} card(s)" if label else f"{n_cards} card(s)"
        if self._has_sizes:
            text += f", batch {batch_size}"
        if self._is_open:
            return f"{text}, launch {repeat}"
        return text if self.repeats == 1 else f"{text}, launch {repeat} of {self.repeats}"

    @property
    def _is_open(self) -> bool:
        """Whether the number of launches follows from what they give."""
        return self.plan.until_precision is not None or self._look > 1

    @property
    def _has_sizes(self) -> bool:
        return any(build.spec.batch_sizes for build in self.builds)

    def _name_case(self, key: CaseKey) -> str:
        label, n_cards, batch_size = key
        size = f"-b{batch_size}" if self._has_sizes else ""
        return f"{label}{'-' if label else ''}{n_cards}p{size}"

    def _set_live(self, live: LiveRun) -> None:
        if self._live is not None:
            self._ended.append(self._live.snapshot())
        self._live = live

    def _set_telemetry(self, sampler: TelemetrySampler) -> None:
        self._sampler = sampler


def _get_key(result: RunResult) -> CaseKey:
    return (result.build, result.n_cards, int(result.asked["batch_size"]))


def open_sweep(specs: Sequence[RunSpec], output: Path, quiet: bool) -> Sweep:
    """Checks everything that can be checked before anything is launched or written.

    Args:
        specs: one, or two to be compared.
        output: where results go.
        quiet: no progress.

    Raises:
        UsageError: unknown model, or a trainer on simulated cards.
        BackendUnavailableError: the backend is not there.
        DataError: the data directory is unfit.
    """
    labels = ("",) if len(specs) == 1 else ("A", "B")
    return Sweep(
        builds=tuple(open_build(label, spec) for label, spec in zip(labels, specs)),
        output=output,
        session_id=build_session_id(time.time()),
        quiet=quiet,
    )
