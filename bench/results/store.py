"""Result directories: ``<output>/runs/<run id>/{result.json, spec.yaml, logs/}``."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, Iterable, List

import yaml

from bench.errors import DataError, OutputError
from bench.results.model import RunResult, result_from_dict, result_to_dict

RESULT_NAME = "result.json"
SPEC_NAME = "spec.yaml"

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def build_session_id(now_seconds: float) -> str:
    """Identity of one command: UTC time to the second and four random hexadecimal digits."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_seconds))
    return f"{stamp}-{secrets.token_hex(2)}"


def build_run_id(session_id: str, model: str, backend: str, n_cards: int, repeat: int) -> str:
    """Identity of one run, readable and safe as a file name and as a metric label."""
    safe_model = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).stem).strip("-.") or "model"
    return f"{session_id}-{safe_model[:40]}-{backend}-{n_cards}p-r{repeat}"


def choose_run_id(runs: Path, run_id: str) -> str:
    """The run id, or with ``.2``, ``.3``… behind it where earlier launches of it left results."""
    number, chosen = 1, run_id
    while (runs / chosen / RESULT_NAME).exists():
        number += 1
        chosen = f"{run_id}.{number}"
    return chosen


def check_run_id(run_id: str) -> None:
    """Refuses names that could leave the results folder.

    Raises:
        DataError: not a plain file name.
    """
    if not _RUN_ID.match(run_id):
        raise DataError(f"{run_id!r} is not a run id")


def create_output_directory(output: Path) -> Path:
    """Makes ``<output>/runs`` and proves that it can be written.

    Raises:
        OutputError: it cannot be made or written.
    """
    runs = output / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        probe = runs / f".write-probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write results under {output}: {error.strerror}; choose another --output"
        ) from error
    return runs


def create_run_directory(runs: Path, run_id: str) -> Path:
    """Makes the folder of a new run; one of a run that never began is taken away first.

    Raises:
        OutputError: it is there already or cannot be made.
    """
    check_run_id(run_id)
    folder = runs / run_id
    try:
        remove_unbegun(folder)
        folder.mkdir()
        (folder / "logs").mkdir()
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from error
    return folder


def remove_unbegun(folder: Path) -> bool:
    """Removes the folder of a run whose harness died before its first result was written.

    Nothing has been launched by then. Only what the harness itself writes until that moment is
    touched; anything else in the folder keeps it in place.

    Returns:
        Whether there was such a folder and it is gone.

    Raises:
        OSError: it cannot be removed.
    """
    if not folder.is_dir() or (folder / RESULT_NAME).exists():
        return False
    ours = [entry for entry in folder.iterdir() if entry.name != "logs"]
    logs = list((folder / "logs").iterdir()) if (folder / "logs").is_dir() else []
    if logs or not all(_is_of_start(entry.name) for entry in ours):
        return False
    for entry in ours:
        entry.unlink()
    with contextlib.suppress(FileNotFoundError):
        (folder / "logs").rmdir()
    folder.rmdir()
    return True


def _is_of_start(name: str) -> bool:
    return name == SPEC_NAME or name.startswith((f".{SPEC_NAME}.", f".{RESULT_NAME}."))


def write_result(run_dir: Path, result: RunResult) -> Path:
    """Writes ``result.json`` whole or not at all.

    Raises:
        OutputError: the disk is full or not writable; an older file stays as it was.
    """
    text = json.dumps(encode_floats(result_to_dict(result)), indent=1, allow_nan=False)
    path = run_dir / RESULT_NAME
    write_text_atomically(path, text + "\n")
    return path


def write_spec(run_dir: Path, plain_spec: Any) -> None:
    """Writes the spec as YAML, in a form that ``--spec`` reads."""
    write_text_atomically(run_dir / SPEC_NAME, yaml.safe_dump(plain_spec, sort_keys=False))


def write_text_atomically(path: Path, text: str) -> None:
    """Writes to a temporary name in the same folder, syncs, then renames over ``path``.

    Raises:
        OutputError: the text could not be written; no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(str(temporary), str(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def read_result(path: Path) -> RunResult:
    """Reads a result file, or the ``result.json`` of a run folder.

    Raises:
        DataError: absent, not JSON, or not a result.
    """
    if path.is_dir():
        path = path / RESULT_NAME
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read result {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise DataError(f"{path} is not a result")
    return result_from_dict(decode_floats(plain), str(path))


def list_run_directories(output: Path) -> List[Path]:
    """Folders under ``<output>/runs`` that hold a result, oldest name first."""
    return sorted(path.parent for path in (output / "runs").glob("*/" + RESULT_NAME))


def read_results(paths: Iterable[Path]) -> List[RunResult]:
    """Reads several results; see :func:`read_result`."""
    return [read_result(path) for path in paths]


def encode_floats(value: Any) -> Any:
    """Replaces floats that JSON cannot hold by words: a loss that became NaN must be kept."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value
    if isinstance(value, dict):
        return {key: encode_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode_floats(item) for item in value]
    return value


def decode_floats(value: Any, in_list: bool = False) -> Any:
    """The reverse; only in columns of numbers, so that a text ``NaN`` elsewhere stays a text."""
    if in_list and isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {
            key: _NON_FINITE[item]
            if key == "value" and isinstance(item, str) and item in _NON_FINITE
            else decode_floats(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [decode_floats(item, in_list=True) for item in value]
    return value
