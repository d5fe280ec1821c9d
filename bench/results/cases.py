"""Cases: the launches of one session that differ in nothing, taken together.

A case is what a row of a table stands for: a card count, and a build where two are compared. Its
rate is Σ steps ÷ Σ time over all its launches, its interval that of the two-level bootstrap. Only
valid launches count; where there is none the figures of the others are shown, and said to be so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.catalogue import METRICS
from bench.measure.bootstrap import (
    LaunchSeries,
    RateEstimate,
    estimate_rate,
    sum_rows,
)
from bench.measure.distributions import student_quantile
from bench.measure.figures import Check, Measurement
from bench.measure.intervals import Interval
from bench.measure.power import estimate_detectable_effect
from bench.measure.summary import RATES
from bench.measure.windows import align_ranks
from bench.results.model import RankRecord, RunResult

LEVEL = 0.95


@dataclass(frozen=True)
class Launch:
    """What one launch gives to its case.

    Attributes:
        name: run id, or where its logs lie.
        session: of the launch.
        build: label of the build, empty for only one.
        n_cards: cards.
        state: ``"finished"``, ``"failed"`` or ``"running"``.
        valid: its figures may be used.
        steady: its figures come from a steady state.
        series: measured steps and time; None where nothing was measured.
        summary: its own figures.
        checks: its validity checks.
        batch_size: sequences per card and step.
    """

    name: str
    session: str
    build: str
    n_cards: int
    state: str
    valid: bool
    steady: bool
    series: Optional[LaunchSeries]
    summary: Mapping[str, Measurement]
    checks: Sequence[Check]
    batch_size: Optional[int]


@dataclass(frozen=True)
class Case:
    """Launches taken together.

    Attributes:
        launches: all of them, in order.
        used: those that the figures rest on.
        rate: of the job in steps, None where nothing was measured.
        summary: metric key → figure of the case.
    """

    launches: Tuple[Launch, ...]
    used: Tuple[Launch, ...]
    rate: Optional[RateEstimate]
    summary: Mapping[str, Measurement]

    @property
    def first(self) -> Launch:
        """A launch to ask for what all have in common."""
        return self.launches[0]

    @property
    def valid(self) -> bool:
        """Whether all launches are valid."""
        return all(launch.valid for launch in self.launches)


def build_series(ranks: Sequence[RankRecord]) -> Optional[LaunchSeries]:
    """Measured steps and time of a stored run; None where nothing was measured."""
    intervals = [restore_intervals(record) for record in ranks]
    series = sum_rows(intervals, align_ranks(intervals))
    return series if len(series.steps) else None


def restore_intervals(record: RankRecord) -> List[Interval]:
    """The classified intervals of a stored rank."""
    columns = record.intervals
    if not columns:
        return []
    wall = columns.get("wall_seconds") or [None] * len(columns["reason"])
    return [
        Interval(*values)
        for values in zip(
            columns["end_step"],
            columns["steps"],
            columns["seconds"],
            columns["steps_per_second"],
            columns["reason"],
            wall,
        )
    ]


def launch_of_result(result: RunResult) -> Launch:
    """A stored run as a launch of its case."""
    return Launch(
        name=result.run_id,
        session=str(result.session.get("id")),
        build=result.build,
        n_cards=result.n_cards,
        state=result.state,
        valid=result.valid,
        steady=result.steady,
        series=build_series(result.ranks),
        summary=result.summary,
        checks=result.validity,
        batch_size=result.asked["batch_size"],
    )


def group_results(results: Sequence[RunResult]) -> List[List[RunResult]]:
    """Runs by case, cases in the order of their first run.

    Runs are of one case when session, build, and all that was asked are the same.
    """
    cases: Dict[Tuple[Any, ...], List[RunResult]] = {}
    for result in results:
        key = (result.session.get("id"), result.build, describe_asked(result))
        cases.setdefault(key, []).append(result)
    return list(cases.values())


def describe_asked(result: RunResult, free: Sequence[str] = ()) -> Tuple[Tuple[str, str], ...]:
    """All that was asked of a run but how often, as a key.

    Args:
        result: the run.
        free: settings that may differ.
    """
    asked = {k: v for k, v in result.asked.items() if k != "session" and k not in free}
    simulated = asked.get("simulated")
    if isinstance(simulated, Mapping):
        asked["simulated"] = {k: v for k, v in simulated.items() if k != "launch"}
    return tuple(sorted((key, repr(value)) for key, value in asked.items()))


def build_case(launches: Sequence[Launch], level: float = LEVEL, seed: int = 0) -> Case:
    """Figures of a case.

    Args:
        launches: at least one.
        level: of the intervals.
        seed: of the bootstrap.
    """
    with_series = [launch for launch in launches if launch.series is not None]
    used = [launch for launch in with_series if launch.valid] or with_series
    if not used:
        return Case(tuple(launches), (), None, dict(launches[0].summary))
    rate = estimate_rate([u.series for u in used if u.series is not None], level, seed)
    effect = estimate_detectable_effect(rate.launch_sd_ratio, rate.n_launches)
    summary: Dict[str, Measurement] = {}
    for key in METRICS:
        found = [launch.summary[key] for launch in used if key in launch.summary]
        if not found:
            continue
        if key in RATES:
            summary[key] = _scale_rate(found, used, rate, effect.ratio)
        else:
            summary[key] = _average(found, level)
    return Case(tuple(launches), tuple(used), rate, summary)


def _scale_rate(
    found: Sequence[Measurement],
    used: Sequence[Launch],
    rate: RateEstimate,
    effect: Optional[float],
) -> Measurement:
    """The step rate of the case, in the unit of one of its figures."""
    first = found[0]
    own = used[0].summary["steps_per_second"].value
    if first.value is None or not own:
        return replace(first, n_launches=len(used))
    factor = first.value / own

    def times(value: Optional[float]) -> Optional[float]:
        return None if value is None else value * factor

    if len(used) == 1:
        # To the last digit what the launch itself says.
        return first
    return Measurement(
        rate.value * factor,
        first.unit,
        sum(item.n for item in found),
        _join_windows(found),
        None,
        times(rate.low),
        times(rate.high),
        rate.level,
        rate.covers,
        rate.n_launches,
        effect,
    )


def _average(found: Sequence[Measurement], level: float) -> Measurement:
    """Mean of the launches' values, with Student's interval."""
    values = [item.value for item in found if item.value is not None]
    finite = [value for value in values if math.isfinite(value)]
    if len(found) == 1 or not values or len(finite) < len(values):
        return replace(found[0], n_launches=len(found))
    count = len(values)
    mean = math.fsum(values) / count
    low = high = None
    if count > 1:
        spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1.0) / count)
        half = student_quantile(0.5 * (1.0 + level), count - 1.0) * spread
        low, high = mean - half, mean + half
    return Measurement(
        mean,
        found[0].unit,
        sum(item.n for item in found),
        f"mean of {count} launches; {_join_windows(found)}",
        None,
        low,
        high,
        level if low is not None else None,
        "launches" if low is not None else None,
        count,
    )


def _join_windows(found: Sequence[Measurement]) -> str:
    windows = list(dict.fromkeys(item.window for item in found))
    if len(windows) == 1:
        return windows[0]
    return "; ".join(f"launch {place + 1}: {item.window}" for place, item in enumerate(found))
