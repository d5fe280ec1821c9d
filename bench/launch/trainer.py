"""The trainer as seen from outside: its files, its interpreter and its flags.

The trainer package is found by path and never imported.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from bench.errors import BackendUnavailableError, DataError, UsageError
from bench.spec import RunSpec, suggest

TRAINER_PACKAGE = "bert"
_PROBE_TIMEOUT_SECONDS = 60.0


def find_trainer_folder() -> Optional[Path]:
    """Folder of the trainer package, or None where only the harness is installed."""
    found = importlib.util.find_spec(TRAINER_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(list(found.submodule_search_locations)[0])


def list_model_presets() -> Dict[str, Path]:
    """Preset name → config JSON shipped with the trainer."""
    folder = find_trainer_folder()
    if folder is None:
        return {}
    return {path.stem: path for path in sorted((folder / "configs").glob("*bert*.json"))}


def read_model_config(model: str) -> Dict[str, Any]:
    """Reads the BERT config JSON of a preset or a file.

    Raises:
        UsageError: no such preset or file, or not a BERT config.
    """
    path = find_model_config(model)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"model config {path} cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("vocab_size"), int):
        raise UsageError(f"model config {path} is not a BERT config: no vocab_size")
    return config


def find_model_config(model: str) -> Path:
    """Path of the config JSON of a preset name or a file name.

    Raises:
        UsageError: neither a preset nor a file.
    """
    presets = list_model_presets()
    if model in presets:
        return presets[model]
    path = Path(model)
    if path.is_file():
        return path.resolve()
    raise UsageError(
        "unknown model {!r}{}; presets: {}; or give the path of a config JSON".format(
            model, suggest(model, presets), ", ".join(presets) or "none installed"
        )
    )


def check_trainer_python(python: str, module: str = "tensorflow") -> None:
    """Checks, without importing it, that an interpreter finds the trainer's framework.

    Raises:
        BackendUnavailableError: the interpreter does not run or finds no such module.
    """
    code = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"
    try:
        done = subprocess.run(
            [python, "-c", code, module],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendUnavailableError(
            f"trainer interpreter {python} does not run: {error}"
        ) from error
    if done.returncode != 0:
        raise BackendUnavailableError(
            f"{python} finds no {module}; install the extra 'cpu' (Python 3.7) or name another "
            "interpreter with --set trainer_python=PATH"
        )


def build_trainer_argv(
    spec: RunSpec,
    backend: str,
    iterations_per_loop: int,
    model_config: Path,
    data: Mapping[str, str],
    output_dir: Path,
    python: Optional[str] = None,
) -> List[str]:
    """The command line of our trainer; the same for every rank.

    Args:
        spec: the run.
        backend: ``"cpu"`` or ``"ascend"``.
        iterations_per_loop: steps per report.
        model_config: path of the config JSON.
        data: ``train`` and ``eval`` directories.
        output_dir: where the trainer may write checkpoints.
        python: interpreter; this one if None.
    """
    flags = {
        "backend": backend,
        "bert_config_file": str(model_config),
        "input_files_dir": data["train"],
        "eval_files_dir": data["eval"],
        "output_dir": str(output_dir),
        "train_batch_size": spec.batch_size,
        "max_seq_length": spec.seq_length,
        "max_predictions_per_seq": spec.max_predictions,
        "learning_rate": repr(spec.learning_rate),
        "num_warmup_steps": resolve_warmup_steps(spec),
        "num_train_steps": spec.steps,
        "iterations_per_loop": iterations_per_loop,
        "save_checkpoints_steps": spec.save_checkpoints_steps,
        "optimizer_type": spec.optimizer,
        "random_seed": spec.random_seed,
        "do_train": "true",
        "do_eval": "false",
    }
    flags.update(PRECISION_FLAGS[spec.precision])
    words = [f"--{name}={value}" for name, value in flags.items()]
    module = TRAINER_PACKAGE + ".pretrain"
    return [python or sys.executable, "-m", module, *words, *spec.trainer_options]


PRECISION_FLAGS: Dict[str, Dict[str, str]] = {
    "fp32": {"manual_fp16": "false", "use_fp16_cls": "false"},
    "fp16": {"manual_fp16": "true", "use_fp16_cls": "true"},
    "allow_mix_precision": {
        "manual_fp16": "false",
        "use_fp16_cls": "false",
        "precision_mode": "allow_mix_precision",
    },
}


def resolve_warmup_steps(spec: RunSpec) -> int:
    """Steps of learning-rate warm-up: as asked, else a tenth of the steps."""
    return spec.steps // 10 if spec.warmup_steps is None else spec.warmup_steps


def check_data_directory(directory: Path) -> List[Path]:
    """Looks at a directory of TFRecord files before anything is launched.

    Only names, sizes and the first record's framing are looked at; the trainer checks the rest.

    Returns:
        Its record files, sorted.

    Raises:
        DataError: absent, not a directory, without record files, or a file that does not start
            with a whole TFRecord.
    """
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise DataError(f"data directory {directory} {what}")
    try:
        files = sorted(path for path in directory.glob("*.tfrecord*") if path.is_file())
    except OSError as error:
        raise DataError(f"data directory {directory} cannot be read: {error}") from error
    if not files:
        raise DataError(
            f"data directory {directory} holds no *.tfrecord file; make some with "
            "'ascend-bert data synth'"
        )
    for path in files:
        _check_first_record(path)
    return files


def _check_first_record(path: Path) -> None:
    # A TFRecord is: length (8 bytes, little endian), its CRC (4), the data, their CRC (4).
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            header = stream.read(12)
    except OSError as error:
        raise DataError(f"record file {path} cannot be read: {error}") from error
    length = int.from_bytes(header[:8], "little")
    if len(header) < 12 or length == 0 or 16 + length > size:
        raise DataError(
            f"record file {path} is corrupt at byte 0: no whole TFRecord of {length} bytes; "
            "make it again"
        )
