"""The rows of the result table: one per case, as plain values for people and programs alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.catalogue import METRICS
from bench.measure.figures import Measurement
from bench.measure.scaling import ScalingTable, build_scaling_table, name_scaling
from bench.results.cases import (
    Case,
    Launch,
    build_case,
    describe_asked,
    group_results,
    launch_of_result,
)
from bench.results.model import RunResult

WITH_LIMITS = ("steps_per_second", "sequences_per_second", "sequences_per_second_per_card")
EFFICIENCY = "scaling_efficiency_ratio"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CaseView:
    """A case and what a table says of it.

    Attributes:
        case: the launches and their figures.
        results: the stored runs behind it; empty for bare logs.
        scaling: the scaling table that its efficiency is from, None without one.
    """

    case: Case
    results: Tuple[RunResult, ...]
    scaling: Optional[ScalingTable]


def view_results(results: Sequence[RunResult]) -> List[CaseView]:
    """Cases of stored runs, in the order given."""
    groups = group_results(results)
    cases = [build_case([launch_of_result(result) for result in group]) for group in groups]
    scopes = [_describe_scope(group[0]) for group in groups]
    scaling = build_scaling(cases, scopes)
    return [
        CaseView(case, tuple(group), table) for case, group, table in zip(cases, groups, scaling)
    ]


def view_launches(launches: Sequence[Launch]) -> List[CaseView]:
    """Cases of bare launches: those of one session, build, card count and batch are one."""
    groups: Dict[Tuple[Any, ...], List[Launch]] = {}
    for launch in launches:
        key = (launch.session, launch.build, launch.n_cards, launch.batch_size)
        groups.setdefault(key, []).append(launch)
    cases = [build_case(group) for group in groups.values()]
    scaling = build_scaling(cases, [(case.first.session, case.first.build) for case in cases])
    return [CaseView(case, (), table) for case, table in zip(cases, scaling)]


def order_by_cards(view: CaseView) -> Tuple[str, int, int, str]:
    """Sorts cases by session, cards, batch and build: launches of a session go in turns."""
    first = view.case.first
    return first.session, first.n_cards, first.batch_size or 0, first.build


def _describe_scope(result: RunResult) -> Tuple[Any, ...]:
    """What must be the same for two card counts to be held against each other."""
    # With a total batch given each card count has a batch of its own: strong scaling.
    strong = result.asked.get("total_batch_size") is not None
    asked = describe_asked(result, free=("cards", "batch_size") if strong else ("cards",))
    return (result.session.get("id"), result.build, asked)


def build_scaling(
    cases: Sequence[Case], scopes: Sequence[Tuple[Any, ...]]
) -> List[Optional[ScalingTable]]:
    """The scaling table of each case; None where there is nothing to scale against.

    Args:
        cases: all of a report.
        scopes: of each case, equal for those that may be compared.
    """
    members: Dict[Tuple[Any, ...], List[int]] = {}
    for index, scope in enumerate(scopes):
        members.setdefault(scope, []).append(index)
    tables: List[Optional[ScalingTable]] = [None] * len(cases)
    for indices in members.values():
        batches = {
            cases[index].first.n_cards: cases[index].first.batch_size or 1 for index in indices
        }
        kind = name_scaling(batches)
        if kind is None or len(batches) < len(indices):
            continue
        rates = {
            cases[index].first.n_cards: [
                launch.summary["sequences_per_second"].value
                for launch in cases[index].launches
                if launch.valid
                and launch.summary.get("sequences_per_second")
                and launch.summary["sequences_per_second"].value
            ]
            for index in indices
        }
        if sum(1 for values in rates.values() if values) < 2:
            continue
        table = build_scaling_table(
            {n: [float(v) for v in values if v] for n, values in rates.items()}, kind
        )
        for index in indices:
            tables[index] = table
    return tables


def describe_validity(launches: Sequence[Launch], failures: Sequence[Optional[str]]) -> str:
    """``VALID``, or what is wrong in a few words; how many launches are valid if not all are.

    Args:
        launches: of one case.
        failures: kind of failure of each, None where there is none.
    """
    texts = [describe_launch(launch, kind) for launch, kind in zip(launches, failures)]
    kinds = list(dict.fromkeys(texts))
    if len(kinds) == 1:
        return kinds[0]
    n_valid = sum(1 for launch in launches if launch.valid)
    if n_valid == len(launches):
        unsteady = sum(1 for launch in launches if not launch.steady)
        return f"VALID, {unsteady} of {n_valid} not steady"
    bad = [text for text in kinds if not text.startswith("VALID")]
    return f"{n_valid} of {len(launches)} VALID" + "".join(f"; {text}" for text in bad)


def describe_launch(launch: Launch, failure: Optional[str]) -> str:
    """One launch's validity."""
    if launch.state == "running":
        return "UNFINISHED"
    if failure is not None:
        return f"FAILED: {failure}"
    failed = [check.name for check in launch.checks if check.fatal]
    if failed:
        return "INVALID: {}".format(", ".join(failed))
    return "VALID" if launch.steady else "VALID, not steady"


def build_rows(views: Sequence[CaseView]) -> List[Row]:
    """One row per case."""
    return [_build_row(view) for view in views]


def _build_row(view: CaseView) -> Row:
    case, results = view.case, view.results
    first = case.first
    kinds = [None if r.failure is None else r.failure.kind for r in results]
    kinds = kinds or [None] * len(case.launches)
    row: Dict[str, Any] = {
        "run_id": first.name,
        "run_ids": [launch.name for launch in case.launches],
        "build": first.build or None,
        "cards": first.n_cards,
        "global_batch": None if first.batch_size is None else first.batch_size * first.n_cards,
        "backend": results[0].found.get("backend") if results else None,
        "model": results[0].asked["model"] if results else None,
        "task": results[0].asked.get("task") if results else None,
        "simulated": any(result.simulated for result in results),
        "oversubscribed": any(bool(r.found.get("oversubscribed")) for r in results),
        "state": "finished"
        if all(launch.state == "finished" for launch in case.launches)
        else next(x.state for x in case.launches if x.state != "finished"),
        "launches": len(case.launches),
        "launches_used": len(case.used),
        "valid": case.valid,
        "steady": all(launch.steady for launch in case.used or case.launches),
        "validity": describe_validity(case.launches, kinds),
    }
    for key in METRICS:
        if key == EFFICIENCY:
            continue
        item = case.summary.get(key)
        row[key] = None if item is None else item.value
        if key in WITH_LIMITS:
            row[key + "_low"] = None if item is None else item.low
            row[key + "_high"] = None if item is None else item.high
    rate = case.summary.get("steps_per_second")
    row.update(_describe_rate(rate))
    row.update(_describe_scaling(view))
    return row


def _describe_rate(rate: Optional[Measurement]) -> Dict[str, Any]:
    if rate is None:
        rate = Measurement(None, METRICS["steps_per_second"].unit, 0, "nothing was measured")
    return {
        "level": rate.level,
        "interval_covers": rate.covers,
        "detectable_effect_ratio": rate.detectable_effect_ratio,
        "intervals": rate.n,
        "window": rate.window,
    }


def _describe_scaling(view: CaseView) -> Dict[str, Any]:
    table = view.scaling
    found: Dict[str, Any] = dict.fromkeys(
        ("scaling", "speed_up", EFFICIENCY, EFFICIENCY + "_low", EFFICIENCY + "_high")
    )
    if table is None or not any(launch.valid for launch in view.case.launches):
        return found
    scaled = next(row for row in table.rows if row.n_cards == view.case.first.n_cards)
    return {
        "scaling": table.kind,
        "speed_up": scaled.speed_up,
        EFFICIENCY: scaled.efficiency,
        EFFICIENCY + "_low": scaled.low,
        EFFICIENCY + "_high": scaled.high,
    }
