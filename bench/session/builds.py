"""The builds of a session: opened before anything is launched, prepared before their launches."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict

from bench.devices.base import Backend
from bench.devices.choose import build_backends, choose_backend
from bench.environment import Subject
from bench.errors import UsageError
from bench.launch.data import prepare_data
from bench.launch.downstream import describe_downstream, plan_downstream
from bench.launch.launchers import check_launcher
from bench.launch.trainer import (
    check_trainer_python,
    find_model_config,
    find_trainer_folder,
    read_model_config,
)
from bench.session.signals import SignalCatcher
from bench.spec import RunSpec, for_cards
from bench.spec_downstream import PRETRAIN


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


def open_build(label: str, spec: RunSpec) -> Build:
    """Checks everything of a build that can be checked before anything is launched or written.

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
    if spec.task != PRETRAIN and not spec.trainer_command:
        plan_downstream(spec)
    check_launcher(spec, os.environ)
    if spec.launcher == "local":
        backend.allocate(for_cards(spec, max(spec.cards)), spec.cards)
    return Build(label, spec, backend, reason)


def prepare_build(
    build: Build, note: Callable[[str], None], signals: SignalCatcher
) -> Dict[str, str]:
    """Finds or makes the data of a build; see :func:`bench.launch.data.prepare_data`."""
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


def build_subject(build: Build, data: Dict[str, str], output: Path) -> Subject:
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
