"""A sweep: cases (card counts, of one build or two) launched in turn, as often as asked."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.devices.base import Backend
from bench.devices.choose import build_backends, choose_backend
from bench.environment import Subject, collect_environment
from bench.errors import UsageError
from bench.launch.cluster import LocalCluster
from bench.launch.data import prepare_data
from bench.launch.downstream import describe_downstream, plan_downstream
from bench.launch.launchers import Cluster, check_launcher, open_cluster
from bench.launch.trainer import (
    check_trainer_python,
    find_model_config,
    find_trainer_folder,
    read_model_config,
)
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
    create_output_directory,
    create_run_directory,
)
from bench.session.context import RunContext
from bench.session.progress import Progress
from bench.session.run import run_once
from bench.session.signals import SignalCatcher
from bench.spec import RunSpec, for_cards, list_cases
from bench.spec_downstream import PRETRAIN
from bench.spec_session import SessionSpec
from bench.telemetry.model import TelemetrySnapshot
from bench.telemetry.sampler import TelemetrySampler

_LAUNCHES_OF_A = 10_000
_RECURRING = ("usage", "data", "infrastructure", "interrupted")
"""Kinds of failure that the next card count would meet again."""


@dataclass(frozen=True)
class Build:
    """One of the builds that a session compares, or its only one.

    Attributes:
        label: ``"A"`` or ``"B"``; empty for only one.
        spec: what was asked, every card count.
        backend: where it runs.
        reason: one line that says why there.
    """

    label: str
    spec: RunSpec
    backend: Backend
    reason: str


@dataclass(frozen=True)
class Prepared:
    """What the launches of a build share."""

    data: Dict[str, str]
    environment: Dict[str, Any]


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
    """

    builds: Tuple[Build, ...]
    output: Path
    session_id: str
    quiet: bool
    run_directories: List[Path] = field(default_factory=list)
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
        if not self.quiet:
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
        prepared: Dict[str, Prepared] = {}
        for build in self.builds:
            self.note((f"{build.label}: " if build.label else "") + build.reason)
            data = _prepare(build, self.note, signals)
            subject = _build_subject(build, data, self.runs_directory)
            prepared[build.label] = Prepared(data, collect_environment(subject))
        first = self.builds[0]
        with open_cluster(
            first.spec,
            self.output,
            self.session_id,
            _build_subject(first, prepared[first.label].data, self.runs_directory),
            os.environ,
            signals.check,
        ) as self._cluster:
            return self._launch_all(prepared, signals)

    def _launch_all(
        self, prepared: Mapping[str, Prepared], signals: SignalCatcher
    ) -> List[RunResult]:
        results: List[RunResult] = []
        order = self._order_launches()
        for index, key in enumerate(order):
            signals.check()
            if not self._is_needed(key, results):
                continue
            result = self._run_cell(index, key, prepared[key[0]], signals, results)
            results.append(result)
            if result.failure is not None and result.failure.kind in _RECURRING:
                break
        return sorted(results, key=self._place)

    def _order_launches(self) -> List[CaseKey]:
        cases = [(b.label, n, size) for b in self.builds for n, size in list_cases(b.spec)]
        if self.plan.until_precision is None and self.repeats == 1:
            return cases
        if self.plan.until_precision is None:
            return plan_launches(cases, self.repeats, self.plan.order_seed)
        return plan_launches(cases, self.plan.maximum_launches, self.plan.order_seed)

    def _is_needed(self, key: CaseKey, results: Sequence[RunResult]) -> bool:
        """Whether a case wants one more launch, for a session that runs until it is precise."""
        if self.plan.until_precision is None:
            return True
        mine = [result for result in results if _get_key(result) == key]
        series = [build_series(result.ranks) for result in mine if result.valid]
        decision = decide_next_launch(
            [one for one in series if one is not None],
            self.plan.until_precision,
            maximum=self.plan.maximum_launches,
        )
        if len(mine) >= MINIMUM_LAUNCHES:
            self.note(f"{self._name_case(key)}: {decision.reason}")
        return decision.needed and len(mine) < self.plan.maximum_launches

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
        run_id = build_run_id(self.session_id, spec.model, name, n_cards, repeat)
        run_dir = create_run_directory(self.runs_directory, run_id)
        self.run_directories.append(run_dir)
        launches = [*map(_get_key, results), key]
        session = {
            "id": self.session_id,
            "index": index,
            "cards": list(build.spec.cards),
            "build": build.label or None,
            "repeat": repeat,
            "repeats": None if self.plan.until_precision is not None else self.repeats,
            "until_precision": self.plan.until_precision,
            "order_seed": self.plan.order_seed,
            # What was launched until then: with --until-precision no more is known.
            "order": [self._name_case(one) for one in launches]
            if self.plan.until_precision is not None
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
        if self.plan.until_precision is not None:
            return f"{text}, launch {repeat}"
        return text if self.repeats == 1 else f"{text}, launch {repeat} of {self.repeats}"

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


def _prepare(build: Build, note: Callable[[str], None], signals: SignalCatcher) -> Dict[str, str]:
    spec = build.spec
    if build.backend.simulated:
        return {"kind": "simulated"}
    if spec.trainer_command:
        if spec.data is None:
            return {"kind": "trainer's own"}
        return prepare_data(spec, spec.trainer_python, note, signals.check)
    check_trainer_python(spec.trainer_python or sys.executable)
    signals.check()
    if spec.task != PRETRAIN:
        return describe_downstream(plan_downstream(spec))
    return prepare_data(spec, spec.trainer_python, note, signals.check)


def _build_subject(build: Build, data: Dict[str, str], output: Path) -> Subject:
    """What the runs of a build will use."""
    spec, folder = build.spec, find_trainer_folder()
    ours = not (build.backend.simulated or spec.trainer_command)
    first = spec.trainer_command[0] if spec.trainer_command else ""
    foreign_python = first if os.path.basename(first).startswith("python") else None
    return Subject(
        trainer_python=(spec.trainer_python or sys.executable) if ours else foreign_python,
        trainer_folder=str(folder) if ours and folder else None,
        output=str(output),
        data=data.get("directory"),
        model_config=str(find_model_config(spec.model)) if ours else None,
        rank_table=spec.rank_table,
    )


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
        builds=tuple(_open_build(label, spec) for label, spec in zip(labels, specs)),
        output=output,
        session_id=build_session_id(time.time()),
        quiet=quiet,
    )


def _open_build(label: str, spec: RunSpec) -> Build:
    backends = build_backends(spec.trainer_python)
    backend, reason = choose_backend(spec.backend, backends)
    if backend.simulated and spec.trainer_command:
        raise UsageError("simulated cards run no trainer: drop --trainer-command or the backend")
    if backend.simulated and spec.data is not None:
        raise UsageError("simulated cards read no data: drop --data or the backend")
    if not spec.trainer_command and (find_trainer_folder() is not None or not backend.simulated):
        read_model_config(spec.model)
    if spec.data is not None and not backend.simulated:
        prepare_data(spec, spec.trainer_python, lambda text: None)
    if spec.task != PRETRAIN and not spec.trainer_command:
        plan_downstream(spec)
    check_launcher(spec, os.environ)
    if spec.launcher == "local":
        backend.allocate(for_cards(spec, max(spec.cards)), spec.cards)
    return Build(label, spec, backend, reason)
