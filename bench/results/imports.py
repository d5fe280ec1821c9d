"""Results that others measured: their logs, their summary files, result files of other machines.

An imported result is marked in ``found.imported`` with its sources and their hashes. Training logs
are measured as our own are; a summary file holds one figure of doubtful formula and no interval, so
its result is kept and shown but never valid.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import bench
from bench.catalogue import METRICS
from bench.errors import DataError
from bench.measure.figures import Check, Measurement
from bench.results.check import check_document
from bench.results.from_logs import Sizes, measure_logs
from bench.results.model import RunResult, result_from_dict
from bench.results.modelzoo import (
    ESTIMATE,
    KNOWN_ERRORS,
    OUR_ESTIMATE,
    CaseLog,
    is_case_log,
    parse_case_log,
)
from bench.results.store import decode_floats
from bench.spec import RunSpec, spec_to_dict

TRAINING_LOG = "training-log"
SUMMARY = "modelzoo-summary"
RESULT = "result"
MEASURED = "ours"

_HEAD_BYTES = 65_536
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Told:
    """What the user says about imported measurements; None where nothing is said."""

    batch_size: Optional[int] = None
    seq_length: Optional[int] = None
    cards: Optional[int] = None
    model: Optional[str] = None
    backend: Optional[str] = None
    precision: Optional[str] = None


def import_files(paths: Sequence[Path], told: Told) -> List[RunResult]:
    """Reads files of any of the three kinds, each told by its contents.

    Args:
        paths: result files and ModelZoo summaries, each a result of its own; all training logs
            together are one run, a log per rank or all ranks in one.
        told: what the files do not say.

    Returns:
        The results, those of training logs last.

    Raises:
        DataError: a file cannot be read, or a needed size is neither told nor in the files.
    """
    results: List[RunResult] = []
    logs: List[Path] = []
    for path in paths:
        kind = RESULT if path.is_dir() and (path / "result.json").is_file() else _detect_kind(path)
        if kind == RESULT:
            results.append(_import_result(path / "result.json" if path.is_dir() else path))
        elif kind == SUMMARY:
            results.append(_import_summary(path, told))
        else:
            logs.append(path)
    if logs:
        results.append(_import_logs(logs, told))
    return results


def _detect_kind(path: Path) -> str:
    if path.is_dir():
        return TRAINING_LOG
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if head.lstrip().startswith("{"):
        return RESULT
    return SUMMARY if is_case_log(head) else TRAINING_LOG


def _import_result(path: Path) -> RunResult:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a result: {error}") from error
    if not isinstance(plain, dict):
        raise DataError(f"{path} is not a result")
    check_document(plain, str(path))
    result = result_from_dict(decode_floats(plain), str(path))
    earlier = result.found.get("imported")
    if earlier:
        return result
    found = {
        **result.found,
        "imported": _describe_sources(RESULT, [path], MEASURED, []),
    }
    return replace(result, found=found)


def _import_logs(paths: List[Path], told: Told) -> RunResult:
    measured = measure_logs(paths, Sizes(told.batch_size, told.seq_length, told.cards))
    sources = [Path(source) for source in measured.sources]
    warnings = [
        f"{name} {getattr(measured.sizes, name)}: {origin}"
        for name, origin in sorted(measured.origins.items())
        if origin not in ("told", "log")
    ]
    imported = _describe_sources(TRAINING_LOG, sources, MEASURED, warnings)
    cards = measured.sizes.cards or len(measured.ranks)
    last_steps = [rank.last_step for rank in measured.ranks if rank.last_step is not None]
    asked = _build_asked(
        told,
        cards=cards,
        batch_size=measured.sizes.batch_size,
        seq_length=measured.sizes.seq_length,
        steps=max(last_steps, default=None),
    )
    return _build_result(
        imported,
        sources,
        asked,
        told,
        ranks=measured.ranks,
        summary=dict(measured.summary),
        validity=measured.checks,
    )


def _import_summary(path: Path, told: Told) -> RunResult:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    case = parse_case_log(text, str(path))
    cards = told.cards or case.ranks
    batch_size = told.batch_size or case.batch_size
    if cards is None or batch_size is None:
        missing = "--cards" if cards is None else "--batch-size"
        raise DataError(f"{path} does not tell it: give {missing}")
    warnings = [*(() if case.is_ours else KNOWN_ERRORS), *case.problems]
    estimate = OUR_ESTIMATE if case.is_ours else ESTIMATE
    imported = _describe_sources(SUMMARY, [path], estimate, warnings)
    asked = _build_asked(
        told, cards=cards, batch_size=batch_size, seq_length=told.seq_length, steps=None
    )
    asked["model"] = told.model or case.network
    result = _build_result(
        imported,
        [path],
        asked,
        told,
        ranks=(),
        summary=_build_summary(case, cards, batch_size, estimate),
        validity=(
            Check("intervals measured", False, "none: the file holds a figure only", "at least 1"),
        ),
    )
    facts = {} if case.device_type is None else {"architecture": case.device_type}
    found = {**result.found, "environment": {"facts": facts, "absent": {}}}
    return replace(result, found=found, simulated=case.simulated)


def _build_summary(
    case: CaseLog, cards: int, batch_size: int, estimate: str
) -> Dict[str, Measurement]:
    rate = case.sequences_per_second
    values = {
        "steps_per_second": None if rate is None else rate / (batch_size * cards),
        "sequences_per_second": rate,
        "sequences_per_second_per_card": None if rate is None else rate / cards,
        "final_total_loss": case.loss,
    }
    return {
        key: Measurement(
            value,
            METRICS[key].unit,
            0,
            f"a window that the file does not tell; {estimate}",
            None if value is not None else "the file does not say",
        )
        for key, value in values.items()
    }


def _build_asked(
    told: Told,
    cards: int,
    batch_size: Optional[int],
    seq_length: Optional[int],
    steps: Optional[int],
) -> Dict[str, Any]:
    """The spec with every setting that nobody knows set to null: defaults were not asked for."""
    asked: Dict[str, Any] = dict.fromkeys(spec_to_dict(RunSpec()))
    asked.update(
        cards=[cards],
        batch_size=batch_size,
        seq_length=seq_length,
        steps=steps,
        model=told.model,
        backend=told.backend,
        precision=told.precision,
    )
    return asked


def _describe_sources(
    kind: str, paths: Sequence[Path], estimate: str, warnings: Sequence[str]
) -> Dict[str, Any]:
    sources = []
    for path in paths:
        digest, size = _hash_file(path)
        sources.append({"name": path.name, "bytes": size, "sha256": digest})
    return {"kind": kind, "sources": sources, "estimate": estimate, "warnings": list(warnings)}


def _hash_file(path: Path) -> Tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest(), size


def _build_result(
    imported: Mapping[str, Any],
    paths: Sequence[Path],
    asked: Dict[str, Any],
    told: Told,
    ranks: Tuple[Any, ...],
    summary: Mapping[str, Measurement],
    validity: Tuple[Check, ...],
) -> RunResult:
    together = hashlib.sha256(
        "".join(source["sha256"] for source in imported["sources"]).encode("ascii")
    ).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", paths[0].stem).strip("-.") or "log"
    # The logs have no year; the time of the file is the nearest thing there is.
    written = datetime.datetime.fromtimestamp(
        max(path.stat().st_mtime for path in paths), datetime.timezone.utc
    ).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    identity = f"imported-{together[:12]}"
    return RunResult(
        run_id=f"{identity}-{stem[:40]}-{asked['cards'][0]}p",
        session={"id": identity, "index": 0, "cards": list(asked["cards"])},
        state="finished",
        simulated=False,
        asked=asked,
        found={
            "backend": told.backend,
            "imported": dict(imported),
            "environment": {"facts": {}, "absent": {}},
        },
        ranks=ranks,
        summary=summary,
        validity=validity,
        started_at=written,
        ended_at=written,
        failure=None,
        tool={"name": "ascend-bert", "version": bench.__version__},
    )
