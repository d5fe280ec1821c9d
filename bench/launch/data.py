"""Training data for a run: the user's directory, or a synthetic corpus made once and cached."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Type

from bench.errors import (
    BackendUnavailableError,
    BenchError,
    DataError,
    InfrastructureError,
    OutputError,
    StalledError,
    UsageError,
)
from bench.launch.trainer import TRAINER_PACKAGE, check_data_directory, find_trainer_folder
from bench.spec import RunSpec

CACHE_VARIABLE = "ASCEND_BERT_CACHE"
_POLL_SECONDS = 0.2

DATA_TOOLS: Dict[str, str] = {
    "create": "create_pretraining_data",
    "inspect": "inspect",
    "synth": "synthetic",
    "vocab": "vocabulary",
}
"""Tool → module of the trainer's ``data`` package."""

_EXIT_CODES = {64: 2, 65: 7, 69: 6, 74: 6}
"""The trainer's exit codes (sysexits.h) → ours."""


def find_cache_directory() -> Path:
    """``$ASCEND_BERT_CACHE``, else ``ascend-bert`` in the user's cache folder (XDG)."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ascend-bert"


def prepare_data(
    spec: RunSpec,
    python: Optional[str],
    note: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> Dict[str, str]:
    """Finds or makes the data of a run.

    Args:
        spec: the run; ``data`` names a directory, or is None for the synthetic corpus.
        python: interpreter that has the trainer's data tools; this one if None.
        note: told, in one line, what is being done.
        check: called while waiting; raises to end the wait.

    Returns:
        ``train`` and ``eval`` directories, ``kind``, ``"given"`` or ``"synthetic"``, and
        ``masked_token_entropy_nats`` where it is known.

    Raises:
        DataError: the directory is unfit.
        StalledError: the synthetic corpus takes longer than ``limits.prepare_seconds``.
        BackendUnavailableError: the data tools are not installed.
    """
    if spec.data is not None:
        data = _use_directory(Path(spec.data))
    else:
        check_trainer_installed()
        directory = _make_synthetic(spec, python or sys.executable, note, check)
        data = {
            "kind": "synthetic",
            "directory": str(directory),
            "train": str(directory / "train"),
            "eval": str(directory / "eval"),
        }
    entropy = read_masked_token_entropy(Path(data["directory"]))
    if entropy is not None:
        data["masked_token_entropy_nats"] = repr(entropy)
    return data


def check_trainer_installed() -> None:
    """Checks that the trainer package, which holds the data tools, can be found.

    Raises:
        BackendUnavailableError: it cannot.
    """
    if find_trainer_folder() is None:
        raise BackendUnavailableError(
            f"the trainer package {TRAINER_PACKAGE!r} is not installed, so no data can be made; "
            "give a directory with --data"
        )


def read_masked_token_entropy(directory: Path) -> Optional[float]:
    """Entropy of the masked tokens' frequencies that our tools noted with the data.

    Returns:
        Nats; None for data without such a note.
    """
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        return float(manifest["statistics"]["train"]["masked_token_entropy_nats"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _use_directory(directory: Path) -> Dict[str, str]:
    # A directory that our own tools made keeps its shards in train/ and eval/.
    train = directory / "train" if (directory / "train").is_dir() else directory
    held_out = directory / "eval" if (directory / "eval").is_dir() else train
    check_data_directory(train)
    return {
        "kind": "given",
        "directory": str(directory.resolve()),
        "train": str(train.resolve()),
        "eval": str(held_out.resolve()),
    }


def _make_synthetic(
    spec: RunSpec, python: str, note: Callable[[str], None], check: Callable[[], None]
) -> Path:
    flags: List[str] = [
        "--cache_dir={}".format(find_cache_directory() / "data"),
        f"--language={spec.data_language}",
        f"--max_seq_length={spec.seq_length}",
        f"--max_predictions_per_seq={spec.max_predictions}",
    ]
    note(f"preparing the synthetic corpus ({spec.data_language})")
    argv = [python, "-m", TRAINER_PACKAGE + ".data.synthetic", *flags]
    code, output, errors = _run_bounded(argv, spec.limits.prepare_seconds, check)
    words = [line for line in output.decode("utf-8", "replace").split("\n") if line.strip()]
    if code != 0 or not words:
        problems = errors.decode("utf-8", "replace").strip().splitlines()
        last = problems[-1] if problems else f"exit code {code}"
        wrong: Dict[int, Type[BenchError]] = {
            64: UsageError,
            69: InfrastructureError,
            74: OutputError,
        }
        raise wrong.get(code, DataError)(f"the synthetic corpus could not be made: {last}")
    directory = Path(words[-1].strip())
    check_data_directory(directory / "train")
    return directory


def _run_bounded(
    argv: Sequence[str], timeout_seconds: float, check: Callable[[], None]
) -> Tuple[int, bytes, bytes]:
    """Runs a command to its end; it and its workers are killed when its time is over."""
    deadline = time.monotonic() + timeout_seconds
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise DataError(f"the synthetic corpus could not be made: {error}") from error
    try:
        while True:
            try:
                output, errors = process.communicate(timeout=_POLL_SECONDS)
                return process.returncode, output, errors
            except subprocess.TimeoutExpired:
                check()
                if time.monotonic() > deadline:
                    raise StalledError(
                        f"the synthetic corpus was not made within {timeout_seconds:g} s "
                        "(limits.prepare_seconds)"
                    ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)


def run_data_tool(tool: str, flags: Sequence[str]) -> int:
    """Runs a data tool with this process's standard streams.

    Args:
        tool: a key of :data:`DATA_TOOLS`.
        flags: its flags.

    Returns:
        An exit code of ``bench.errors``.

    Raises:
        BackendUnavailableError: the trainer package is not installed.
    """
    check_trainer_installed()
    module = f"{TRAINER_PACKAGE}.data.{DATA_TOOLS[tool]}"
    done = subprocess.run([sys.executable, "-m", module, *flags], check=False)
    return _EXIT_CODES.get(done.returncode, done.returncode)
