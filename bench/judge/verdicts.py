"""Verdicts on disk, the last one of each session, for whoever shows them later.

``<output>/verdicts/<session>.json`` has the words and the figures that a board shows, and the runs
that each rests on. Every number behind a verdict is in what ``gate --file`` writes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from bench.errors import DataError, OutputError
from bench.judge.evaluate import Outcome
from bench.judge.launches import Launch, describe_case, group_cases
from bench.judge.model import NO_VERDICT, VERDICTS
from bench.results.store import check_run_id, write_text_atomically

VERDICTS_FOLDER = "verdicts"
VERDICT_VERSION = 1


@dataclass(frozen=True)
class StoredCell:
    """The verdict on a metric of a case.

    Attributes:
        name: case and metric, for people.
        metric: key of the catalogue.
        verdict: one of :data:`bench.judge.model.VERDICTS`.
        waived: a regression that does not count.
        reason: one line.
        change_ratio: of the candidate over the baseline minus 1; None when not compared.
        margin_ratio: the loss that had to be ruled out.
        look: at which look.
        run_ids: of the candidate's launches of the case.
    """

    name: str
    metric: str
    verdict: str
    waived: bool
    reason: str
    change_ratio: Optional[float]
    margin_ratio: float
    look: int
    run_ids: Tuple[str, ...]


@dataclass(frozen=True)
class StoredVerdict:
    """The verdict on a session.

    Attributes:
        session: the latest one of the candidate.
        judged_at: ISO 8601, UTC.
        verdict: one of :data:`bench.judge.model.VERDICTS`.
        exit_code: of the gate.
        reason: one line.
        error: what forbade a verdict; None when nothing did.
        cells: of all metrics and cases.
    """

    session: str
    judged_at: str
    verdict: str
    exit_code: int
    reason: str
    error: Optional[str]
    cells: Tuple[StoredCell, ...]


def build_stored_verdict(
    outcome: Outcome, candidate: Sequence[Launch], judged_at: str
) -> StoredVerdict:
    """What is kept of an outcome.

    Args:
        outcome: of the gate.
        candidate: all launches that were judged, at least one.
        judged_at: ISO 8601, UTC.
    """
    cases = [(describe_case(case[0]), case) for case in group_cases(candidate)]
    cells = []
    for item in outcome.gate.cells:
        # A case that was not measured has a cell as well, but no runs.
        mine = [case for facts, case in cases if facts == item.cell.case]
        own = set(item.cell.candidate)
        if len(mine) > 1:
            # The same was asked twice and other things were found: the figures tell them apart.
            mine = [
                case
                for case in mine
                if own == {one.values.get(item.cell.metric) for one in case if one.usable} - {None}
            ]
        cells.append(
            StoredCell(
                name=item.cell.name,
                metric=item.cell.metric,
                verdict=item.verdict,
                waived=item.waiver is not None,
                reason=item.waiver or item.reason,
                change_ratio=item.change_ratio,
                margin_ratio=item.cell.margin_ratio,
                look=item.cell.look,
                run_ids=tuple(launch.run_id for launch in mine[0]) if len(mine) == 1 else (),
            )
        )
    return StoredVerdict(
        session=max(candidate, key=lambda launch: (launch.started_at, launch.session)).session,
        judged_at=judged_at,
        verdict=outcome.gate.verdict if outcome.error is None else NO_VERDICT,
        exit_code=outcome.exit_code,
        reason=outcome.gate.reason,
        error=outcome.error,
        cells=tuple(cells),
    )


def write_verdict(output: Path, verdict: StoredVerdict) -> Path:
    """Writes the verdict whole or not at all, in the place of an earlier one on the session.

    Raises:
        OutputError: it cannot be written.
        DataError: the session's id is no name of a file.
    """
    check_run_id(verdict.session)
    folder = output / VERDICTS_FOLDER
    path = folder / f"{verdict.session}.json"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from error
    document = {"verdict_version": VERDICT_VERSION, **asdict(verdict)}
    write_text_atomically(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
    return path


def read_verdict(path: Path) -> StoredVerdict:
    """Reads a verdict back.

    Raises:
        DataError: it is absent or damaged.
    """
    try:
        plain: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if plain.pop("verdict_version") != VERDICT_VERSION:
            raise DataError(f"{path} was written by another version of ascend-bert")
        cells = tuple(
            StoredCell(**{**cell, "run_ids": tuple(map(str, cell["run_ids"]))})
            for cell in plain["cells"]
        )
        stored = StoredVerdict(**{**plain, "cells": cells})
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no verdict: {error!r}") from error
    if not {stored.verdict, *(cell.verdict for cell in cells)} <= set(VERDICTS):
        raise DataError(f"{path} has a verdict that is none of {', '.join(VERDICTS)}")
    return stored


def list_verdicts(output: Path) -> List[Path]:
    """The files of all sessions, oldest session first."""
    return sorted((output / VERDICTS_FOLDER).glob("*.json"))
