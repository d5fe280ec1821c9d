"""Nightly series of each case and metric, with breaks, and what changed in them."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.catalogue import LOWER, METRICS
from bench.judge.change_points import Change, find_changes
from bench.judge.launches import (
    Launch,
    describe_case,
    group_cases,
    group_nights,
    name_cases,
)
from bench.judge.rules import KnownBreak

BREAK_FACTS = (
    "ascend_driver_version",
    "ascend_firmware_version",
    "npu_firmware_version",
    "hardware_model",
    "memory_gibibytes",
    "cpu_microcode",
)
"""Facts of hardware and drivers: a value never seen before in a series starts it anew."""

_TIME_FORMATS = ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Night:
    """A session's value.

    Attributes:
        session: its id.
        started_at: ISO 8601, UTC, of its first launch.
        value: geometric mean over the valid launches, in the metric's unit; None without any.
        n_launches: valid launches.
        problem: why there is no value.
        run_ids: of all launches.
    """

    session: str
    started_at: str
    value: Optional[float]
    n_launches: int
    problem: Optional[str]
    run_ids: Tuple[str, ...]


@dataclass(frozen=True)
class SeriesBreak:
    """A known change of the machine.

    Attributes:
        position: first night after it.
        reason: in words.
        change_ratio: level after it over the level before, minus 1; for information, as a break
            is no alarm; None where one side has no value.
    """

    position: int
    reason: str
    change_ratio: Optional[float]


@dataclass(frozen=True)
class Series:
    """A metric of a case, night by night.

    Attributes:
        name: case and metric, for people.
        metric: key of the catalogue.
        case: facts of the case.
        simulated: no real device was measured.
        nights: in order.
        breaks: known changes of the machine.
        changes: what was found, see :mod:`bench.judge.change_points`.
    """

    name: str
    metric: str
    case: Mapping[str, Any]
    simulated: bool
    nights: Tuple[Night, ...]
    breaks: Tuple[SeriesBreak, ...]
    changes: Tuple[Change, ...]

    def is_worse(self, change: Change) -> bool:
        """Whether a change goes the wrong way."""
        return (change.change_ratio > 0.0) == (METRICS[self.metric].better == LOWER)


def build_all_series(
    launches: Sequence[Launch], metrics: Sequence[str], breaks: Sequence[KnownBreak] = ()
) -> List[Series]:
    """The series of all cases.

    Args:
        launches: of all nights.
        metrics: keys of the catalogue.
        breaks: changes of the machine that the user knows of.
    """
    cases = group_cases(launches)
    facts = [describe_case(case[0]) for case in cases]
    found = []
    for case, described, name in zip(cases, facts, name_cases(facts)):
        for metric in metrics:
            label = f"{METRICS[metric].header}, {name}"
            found.append(_build_series(label, metric, described, group_nights(case), breaks))
    return found


def _build_series(
    name: str,
    metric: str,
    case: Mapping[str, Any],
    groups: Sequence[Sequence[Launch]],
    known: Sequence[KnownBreak],
) -> Series:
    nights = tuple(_build_night(group, metric) for group in groups)
    times = [parse_time(night.started_at) for night in nights]
    days = _spread_days(times)
    reasons = _find_breaks([group[0] for group in groups], times, known)
    values = [night.value for night in nights]
    return Series(
        name=name,
        metric=metric,
        case=case,
        simulated=bool(groups[0][0].fingerprint.values.get("simulated")),
        nights=nights,
        breaks=tuple(
            SeriesBreak(position, reason, _compare_around(values, position, sorted(reasons)))
            for position, reason in sorted(reasons.items())
        ),
        changes=find_changes(values, sorted(reasons), days),
    )


def _build_night(group: Sequence[Launch], metric: str) -> Night:
    values = [item.values[metric] for item in group if item.usable and metric in item.values]
    problem = None
    if not values:
        first = group[0]
        problem = first.failure.message if first.failure else ", ".join(first.flaws)
        problem = problem or f"no {METRICS[metric].header}"
    return Night(
        session=group[0].session,
        started_at=group[0].started_at,
        value=math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None,
        n_launches=len(values),
        problem=problem,
        run_ids=tuple(item.run_id for item in group),
    )


def parse_time(text: str) -> datetime.datetime:
    """A stored time; the epoch for what is none."""
    for form in _TIME_FORMATS:
        try:
            return datetime.datetime.strptime(text, form)
        except ValueError:
            continue
    return datetime.datetime(1970, 1, 1)


def _spread_days(times: Sequence[datetime.datetime]) -> List[float]:
    """Days since the first night, strictly rising."""
    days: List[float] = []
    for time in times:
        day = (time - times[0]).total_seconds() / 86400.0
        days.append(day if not days else max(day, days[-1] + 1e-6))
    return days


def _find_breaks(
    firsts: Sequence[Launch], times: Sequence[datetime.datetime], known: Sequence[KnownBreak]
) -> Dict[int, str]:
    """Position of the first night after each break → why."""
    reasons: Dict[int, List[str]] = {}
    seen: Dict[str, List[str]] = {}
    for position, launch in enumerate(firsts):
        for fact in BREAK_FACTS:
            value = launch.fingerprint.values.get(fact)
            if value is None:
                continue
            values = seen.setdefault(fact, [])
            if values and repr(value) not in values:
                reasons.setdefault(position, []).append(f"{fact.replace('_', ' ')} is now {value}")
            values.append(repr(value))
    for item in known:
        after = [i for i, time in enumerate(times) if time.date() >= item.date]
        if after and after[0] > 0:
            reasons.setdefault(after[0], []).append(item.reason)
    return {position: "; ".join(texts) for position, texts in reasons.items()}


def _compare_around(
    values: Sequence[Optional[float]], position: int, positions: Sequence[int]
) -> Optional[float]:
    """Level of the stretch after a break over that of the one before, minus 1."""
    begin = max([p for p in positions if p < position], default=0)
    end = min([p for p in positions if p > position], default=len(values))
    sides = []
    for part in (values[begin:position], values[position:end]):
        logs = sorted(math.log(value) for value in part if value is not None)
        if not logs:
            return None
        sides.append(0.5 * (logs[(len(logs) - 1) // 2] + logs[len(logs) // 2]))
    return math.expm1(sides[1] - sides[0])
