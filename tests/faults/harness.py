"""Runs the harness as a process of its own and looks at all that is left when it has ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import psutil

from bench.results.check import check_document
from bench.results.store import list_run_directories

ROOT = Path(__file__).resolve().parents[2]
FAKE_TRAINER = Path(__file__).resolve().parent / "fake_trainer.py"
ORPHAN_SECONDS = 30.0

STRICT = {
    "limits.hang_seconds": 1.0,
    "limits.compile_seconds": 3.0,
    "limits.end_seconds": 1.0,
    "limits.dump_seconds": 0.5,
}
"""Limits for faults that are hangs anyway; others keep the usual ones on a slow machine, too."""


@dataclass
class Outcome:
    """What a run of the harness left.

    Attributes:
        exit_code: of the harness.
        errors: its standard error.
        output: its standard output.
        ended_at: Unix time of its end.
        folder: results directory.
        results: the documents, oldest first.
        orphans: processes of its runs that lived on.
        damage: files of others that were changed or removed.
    """

    exit_code: int
    errors: str
    output: str
    ended_at: float
    folder: Path
    results: List[Dict[str, Any]] = field(default_factory=list)
    orphans: List[int] = field(default_factory=list)
    damage: List[str] = field(default_factory=list)

    @property
    def result(self) -> Dict[str, Any]:
        """The only one, or the last."""
        return self.results[-1]

    def count_steps(self) -> int:
        """Steps that the results hold, over all ranks."""
        steps = [rank["last_step"] or 0 for one in self.results for rank in one["ranks"]]
        return sum(steps)

    def find_delay(self) -> Optional[float]:
        """Seconds from the fault to the end of the harness."""
        marks = list((self.folder / "runs").glob("*/fault_at"))
        if not marks:
            return None
        return self.ended_at - max(float(mark.read_text()) for mark in marks)


def build_fake(fault: str = "", *more: str, python: str = sys.executable) -> List[str]:
    """Flags by which the harness starts the fake trainer."""
    words = [python, "-S", str(FAKE_TRAINER), "--rank {rank} --world {world_size}"]
    words += ["--run {run_dir} --steps {steps}", *more]
    if fault:
        words.append(f"--fault {fault}")
    return ["--trainer-command", " ".join(words)]


def build_argv(folder: Path, *flags: str, **settings: Any) -> List[str]:
    """The command line of ``bench`` on two CPU ranks."""
    argv = [sys.executable, "-m", "bench", "bench", "--output", str(folder)]
    argv += ["--backend", "cpu", "--cards", "2", "--steps", "20", *flags]
    argv += ["--set", "rank_timeout_seconds=1"]
    for key, value in settings.items():
        argv += ["--set", f"{key}={value}"]
    return argv


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen:
    """Starts the harness with its output kept apart."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        env={**variables, **options.pop("env", {})},
        cwd=str(options.pop("cwd", ROOT)),
        **options,
    )


def finish(process: subprocess.Popen, folder: Path, timeout_seconds: float = 90.0) -> Outcome:
    """Waits for the harness and looks at what is left."""
    output, errors = process.communicate(timeout=timeout_seconds)
    ended_at = time.time()
    outcome = Outcome(
        process.returncode,
        (errors or b"").decode("utf-8", "replace"),
        (output or b"").decode("utf-8", "replace"),
        ended_at,
        folder,
    )
    outcome.results = read_documents(folder)
    outcome.orphans = wait_for_orphans(folder)
    outcome.damage = list_damage(folder)
    return outcome


def read_documents(folder: Path) -> List[Dict[str, Any]]:
    """All results, each held to its schema."""
    documents = []
    for run in list_run_directories(folder):
        plain = json.loads((run / "result.json").read_text(encoding="utf-8"))
        check_document(plain, run.name)
        documents.append(plain)
    return documents


def list_processes(folder: Path) -> List[int]:
    """Processes that belong to runs of a results directory."""
    runs = {run.name for run in (folder / "runs").glob("*")}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mine = process.environ().get("ASCEND_BERT_RUN_ID") in runs
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def wait_for_orphans(folder: Path, seconds: float = ORPHAN_SECONDS) -> List[int]:
    """Those that live on after so many seconds; returns at once when there are none."""
    deadline = time.monotonic() + seconds
    while True:
        found = list_processes(folder)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


FOREIGN = ("note.txt", "runs/somebody/model.ckpt", "runs/somebody/logs/train_0.log")


def plant_foreign(folder: Path) -> None:
    """Puts files of others where the harness works."""
    for name in FOREIGN:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def list_damage(folder: Path) -> List[str]:
    """Which of them are no longer as they were."""
    if not (folder / FOREIGN[0]).parent.exists():
        return []
    return [
        name
        for name in FOREIGN
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != name
    ]


def wait_for_step(folder: Path, process: subprocess.Popen, seconds: float = 60.0) -> None:
    """Until some rank has reported a step."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for log in (folder / "runs").glob("*/logs/train_0.log"):
            if log.parent.parent.name != "somebody" and b"global_step/sec" in log.read_bytes():
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no step was reported")
