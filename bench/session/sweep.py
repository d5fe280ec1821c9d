"""A sweep: the same case launched with each card count, in turn."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from bench.devices.base import Backend
from bench.devices.choose import build_backends, choose_backend
from bench.environment import Subject, collect_environment
from bench.errors import UsageError
from bench.launch.data import prepare_data
from bench.launch.trainer import (
    check_trainer_python,
    find_model_config,
    find_trainer_folder,
    read_model_config,
)
from bench.measure.live import LiveRun, RunSnapshot
from bench.results.model import RunResult
from bench.results.store import (
    build_run_id,
    build_session_id,
    create_output_directory,
    create_run_directory,
)
from bench.session.progress import Progress
from bench.session.run import RunContext, run_once
from bench.session.signals import SignalCatcher
from bench.spec import RunSpec, for_cards

_RECURRING = ("usage", "data", "infrastructure", "interrupted")
"""Kinds of failure that the next card count would meet again."""


@dataclass
class Sweep:
    """A checked and prepared session; :meth:`run` launches it.

    Attributes:
        spec: what was asked, every card count.
        backend: where it runs.
        backend_reason: one line that says why there.
        output: where results go; made when the session is launched.
        session_id: identity of this command.
        quiet: no progress.
        run_directories: folders of the runs launched so far.
    """

    spec: RunSpec
    backend: Backend
    backend_reason: str
    output: Path
    session_id: str
    quiet: bool
    run_directories: List[Path] = field(default_factory=list)
    _live: Optional[LiveRun] = None

    @property
    def runs_directory(self) -> Path:
        """Where the folders of the runs go."""
        return self.output / "runs"

    def get_snapshot(self) -> Optional[RunSnapshot]:
        """State of the current run, or of the last one after its end."""
        return None if self._live is None else self._live.snapshot()

    def note(self, text: str) -> None:
        """One line on standard error, unless quiet."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def run(self, signals: SignalCatcher) -> List[RunResult]:
        """Prepares the data, then launches every card count in the order asked.

        A failed run is a result like any other; the sweep goes on unless the next run would
        meet the same failure, or a signal asked for the end.

        Raises:
            BenchError: something is wrong before the first launch.
        """
        create_output_directory(self.output)
        self.note(self.backend_reason)
        data = self._prepare(signals)
        environment = collect_environment(self._build_subject(data))
        results: List[RunResult] = []
        for index, n_cards in enumerate(self.spec.cards):
            signals.check()
            result = self._run_cell(index, n_cards, data, environment, signals)
            results.append(result)
            if result.failure is not None and result.failure.kind in _RECURRING:
                break
        return results

    def _prepare(self, signals: SignalCatcher) -> Dict[str, str]:
        if self.backend.simulated:
            return {"kind": "simulated"}
        if self.spec.trainer_command:
            given = self.spec.data
            return (
                {"kind": "trainer's own"}
                if given is None
                else prepare_data(self.spec, self.spec.trainer_python, self.note)
            )
        check_trainer_python(self.spec.trainer_python or sys.executable)
        signals.check()
        return prepare_data(self.spec, self.spec.trainer_python, self.note)

    def _build_subject(self, data: Dict[str, str]) -> Subject:
        """What the runs of this session will use."""
        spec, folder = self.spec, find_trainer_folder()
        ours = not (self.backend.simulated or spec.trainer_command)
        first = spec.trainer_command[0] if spec.trainer_command else ""
        foreign_python = first if os.path.basename(first).startswith("python") else None
        return Subject(
            trainer_python=(spec.trainer_python or sys.executable) if ours else foreign_python,
            trainer_folder=str(folder) if ours and folder else None,
            output=str(self.runs_directory),
            data=data.get("directory"),
            model_config=str(find_model_config(spec.model)) if ours else None,
            rank_table=spec.rank_table,
        )

    def _run_cell(
        self,
        index: int,
        n_cards: int,
        data: Dict[str, str],
        environment: Dict[str, Any],
        signals: SignalCatcher,
    ) -> RunResult:
        spec = for_cards(self.spec, n_cards)
        run_id = build_run_id(self.session_id, spec.model, self.backend.name, n_cards, repeat=1)
        run_dir = create_run_directory(self.runs_directory, run_id)
        self.run_directories.append(run_dir)
        context = RunContext(
            spec=spec,
            sweep=self.spec.cards,
            backend=self.backend,
            backend_reason=self.backend_reason,
            run_id=run_id,
            run_dir=run_dir,
            session={"id": self.session_id, "index": index, "cards": list(self.spec.cards)},
            data=data,
            environment=environment,
            inherited=dict(os.environ),
            signals=signals,
            progress=Progress(f"{n_cards} card(s)", self.quiet),
            set_live=self._set_live,
        )
        return run_once(context)

    def _set_live(self, live: LiveRun) -> None:
        self._live = live


def open_sweep(spec: RunSpec, output: Path, quiet: bool) -> Sweep:
    """Checks everything that can be checked before anything is launched or written.

    Raises:
        UsageError: unknown model, or a trainer on simulated cards.
        BackendUnavailableError: the backend is not there.
        DataError: the data directory is unfit.
    """
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
    backend.allocate(for_cards(spec, max(spec.cards)), spec.cards)
    return Sweep(
        spec=spec,
        backend=backend,
        backend_reason=reason,
        output=output,
        session_id=build_session_id(time.time()),
        quiet=quiet,
    )
