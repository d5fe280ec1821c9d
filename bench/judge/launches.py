"""Stored runs as launches: what judging needs of each, and which of them form a case."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.catalogue import METRICS
from bench.results.fingerprint import (
    FORBIDS,
    RULES,
    Fingerprint,
    build_fingerprint,
    hash_fingerprint,
)
from bench.results.model import Failure, RunResult

CASE_FIELDS = tuple(
    rule.field for rule in RULES if rule.role == FORBIDS and rule.field[:6] == "asked."
)
"""What was asked of a run and makes it another case."""


@dataclass(frozen=True)
class Launch:
    """One launch.

    Attributes:
        run_id: of the run.
        session: the night.
        build: label of the build where a session has two.
        started_at: ISO 8601, UTC.
        look: at which look of a session that launches more it was made, from 1.
        state: of the run.
        usable: finished and valid.
        flaws: names of the required checks that failed.
        failure: why it did not finish.
        fingerprint: what decides comparability.
        values: metric key → value, positive ones only.
    """

    run_id: str
    session: str
    build: str
    started_at: str
    look: int
    state: str
    usable: bool
    flaws: Tuple[str, ...]
    failure: Optional[Failure]
    fingerprint: Fingerprint
    values: Mapping[str, float] = field(default_factory=dict)


def launch_of_result(result: RunResult) -> Launch:
    """Takes out of a stored run what judging needs."""
    values = {}
    for key in METRICS:
        value = result.value(key)
        if value is not None and math.isfinite(value) and value > 0.0:
            values[key] = value
    return Launch(
        run_id=result.run_id,
        session=str(result.session.get("id")),
        build=result.build,
        started_at=result.started_at,
        look=int(result.session.get("look") or 1),
        state=result.state,
        usable=result.valid,
        flaws=tuple(check.name for check in result.validity if check.fatal),
        failure=result.failure,
        fingerprint=build_fingerprint(result),
        values=values,
    )


def group_cases(launches: Sequence[Launch]) -> List[List[Launch]]:
    """Launches of one build with the same forbidding facts, by card count, then as they came."""
    cases: Dict[Tuple[str, str], List[Launch]] = {}
    for launch in launches:
        key = (hash_fingerprint(launch.fingerprint), launch.build)
        cases.setdefault(key, []).append(launch)
    return sorted(cases.values(), key=lambda case: get_cards(case[0]))


def group_nights(launches: Sequence[Launch]) -> List[List[Launch]]:
    """Launches by session, sessions in the order of their first launch."""
    nights: Dict[Tuple[str, str], List[Launch]] = {}
    for launch in sorted(launches, key=lambda item: (item.started_at, item.run_id)):
        nights.setdefault((launch.session, launch.build), []).append(launch)
    return list(nights.values())


def get_cards(launch: Launch) -> int:
    """Card count of a launch."""
    return int((launch.fingerprint.values.get("asked.cards") or [0])[0])


def count_looks(launches: Sequence[Launch]) -> int:
    """How often the launches may have been looked at: sessions, and looks within each."""
    last: Dict[str, int] = {}
    for launch in launches:
        last[launch.session] = max(last.get(launch.session, 1), launch.look)
    return max(1, sum(last.values()))


def describe_case(launch: Launch) -> Dict[str, Any]:
    """The facts by which rules select a case: what was asked and the backend."""
    values = launch.fingerprint.values
    case = {name[len("asked.") :]: values.get(name) for name in CASE_FIELDS}
    case["cards"] = get_cards(launch)
    case["backend"] = values.get("backend")
    return case


def name_cases(cases: Sequence[Mapping[str, Any]]) -> List[str]:
    """A short name for each case: its cards, and whatever else differs among the cases."""
    keys = [key for key in cases[0] if key != "cards"] if cases else []
    differing = [key for key in keys if len({repr(case.get(key)) for case in cases}) > 1]
    names = []
    for case in cases:
        parts = ["{} card{}".format(case["cards"], "" if case["cards"] == 1 else "s")]
        parts += [f"{key.replace('_', ' ')} {case.get(key)}" for key in differing]
        names.append(", ".join(parts))
    # Cases that only differ in found facts (another device) still need names of their own.
    return [
        f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
