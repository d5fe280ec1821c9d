"""Stored nights for tests of judging: result folders with the values that a test wants."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from bench.judge.launches import Launch, launch_of_result
from bench.measure.figures import Check, Measurement
from bench.results.model import Failure, RunResult
from bench.results.store import write_result
from bench.spec import build_spec, for_cards, spec_to_dict

FACTS = {
    "host_name": "node-1",
    "architecture": "x86_64",
    "cpu_model": "Some CPU",
    "kernel": "5.4.0",
    "memory_bytes": 16 << 30,
    "hardware_model": "Some server",
    "model_config_sha256": "ab" * 32,
}
FIRST_NIGHT = datetime.datetime(2026, 3, 1, 22, 0, 0)


def build_run(
    night: int,
    repeat: int,
    rate: Optional[float],
    cards: int = 1,
    asked: Optional[Mapping[str, Any]] = None,
    facts: Optional[Mapping[str, Any]] = None,
    session: Optional[Mapping[str, Any]] = None,
    failure: Optional[Failure] = None,
    flaw: Optional[str] = None,
    more: Optional[Mapping[str, float]] = None,
) -> RunResult:
    """One launch of a night.

    Args:
        night: counted from 0; a session of its own.
        repeat: counted from 1.
        rate: sequences/s; None for not measured.
        cards: card count.
        asked: settings other than the defaults.
        facts: facts of the environment other than :data:`FACTS`.
        session: more of the session.
        failure: why it failed.
        flaw: a required check that failed.
        more: further figures.
    """
    spec = for_cards(build_spec([("test", dict(asked or {}))]), cards)
    start = FIRST_NIGHT + datetime.timedelta(days=night, minutes=10 * repeat + cards)
    name = f"{start - datetime.timedelta(minutes=10 * repeat + cards):%Y%m%dT%H%M%SZ}-{night:04x}"
    values = {"sequences_per_second": rate, **(more or {})}
    checks = [Check("every rank left a log", True, "1", "1")]
    if flaw is not None:
        checks.append(Check(flaw, False, "1 NaN", "none"))
    return RunResult(
        run_id=f"{name}-bert-tiny-cpu-{cards}p-r{repeat}",
        session={"id": name, "index": 0, "cards": [cards], "repeat": repeat, **(session or {})},
        state="finished" if failure is None else "failed",
        simulated=False,
        asked=spec_to_dict(spec),
        found={
            "backend": "cpu",
            "cores_per_card": 1,
            "oversubscribed": False,
            "iterations_per_loop": 1,
            "environment": {"facts": {**FACTS, **(facts or {})}, "absent": {}},
        },
        ranks=(),
        summary={
            key: Measurement(value, "1/s", 100, "steady intervals") for key, value in values.items()
        },
        validity=tuple(checks),
        started_at=start.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        ended_at=start.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        failure=failure,
        tool={"name": "ascend-bert", "version": "1"},
    )


def build_night(night: int, rates: Sequence[float], **options: Any) -> List[RunResult]:
    """The launches of a night; ``options`` as for :func:`build_run`."""
    return [build_run(night, index + 1, rate, **options) for index, rate in enumerate(rates)]


def to_launches(results: Sequence[RunResult]) -> List[Launch]:
    """What judging reads of them."""
    return [launch_of_result(result) for result in results]


def store(output: Path, results: Sequence[RunResult]) -> List[Path]:
    """Writes results below a results folder."""
    folders = []
    for result in results:
        folder = output / "runs" / result.run_id
        folder.mkdir(parents=True)
        write_result(folder, result)
        folders.append(folder)
    return folders


STEADY: Tuple[float, ...] = (100.0, 100.6, 99.5, 100.2, 99.8)
"""Five launches that differ by 0.4 %."""


def scale(rates: Sequence[float], factor: float) -> List[float]:
    """The same launches, faster or slower."""
    return [rate * factor for rate in rates]


def at_look(results: Sequence[RunResult], look: int) -> List[RunResult]:
    """Marks launches as those that a later look asked for."""
    return [replace(item, session={**item.session, "look": look}) for item in results]
