"""Sides beside each other: ratio with its interval and one word, for each case and metric.

A comparison describes, it does not alarm: the intervals are those of single comparisons, and no
correction is made for their number. ``ascend-bert gate`` is for verdicts that must hold together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from bench.catalogue import LOWER, METRICS
from bench.errors import MismatchError
from bench.judge.contrast import build_contrast
from bench.judge.gate import compute_margin
from bench.judge.launches import Launch, describe_case, group_cases, group_nights, name_cases
from bench.judge.rules import Rules, get_margin, get_night_spread
from bench.measure.distributions import student_quantile
from bench.results.fingerprint import (
    NOT_COMPARABLE,
    Comparability,
    compare_fingerprints,
    render_comparability,
)

BETTER = "better"
WORSE = "worse"
SAME = "same"
NOT_CLEAR = "not clear"
UNKNOWN = "no verdict"


@dataclass(frozen=True)
class Ratio:
    """A metric of a case on two sides.

    Attributes:
        case: name of the case.
        metric: key of the catalogue.
        reference, value: geometric means over launches, in the metric's unit.
        n_reference, n_value: launches.
        change_ratio: ``value`` over ``reference`` minus 1.
        low_ratio, high_ratio: confidence limits; None where launches are too few for any.
        level: of the interval.
        word: :data:`BETTER` or :data:`WORSE` when the interval leaves out 0 change,
            :data:`SAME` when it lies within the margin, :data:`NOT_CLEAR` else;
            :data:`UNKNOWN` without an interval.
        margin_ratio: of ``SAME``.
    """

    case: str
    metric: str
    reference: float
    value: float
    n_reference: int
    n_value: int
    change_ratio: float
    low_ratio: Optional[float]
    high_ratio: Optional[float]
    level: float
    word: str
    margin_ratio: float


@dataclass(frozen=True)
class Comparison:
    """One side held against the reference.

    Attributes:
        reference, side: their names.
        ratios: case by case, metrics in the order of the catalogue.
        environments: name of the case → how the environments differ.
        left_out: what has no counterpart, one line each.
    """

    reference: str
    side: str
    ratios: Tuple[Ratio, ...]
    environments: Mapping[str, Comparability]
    left_out: Tuple[str, ...]


def compare_sides(
    reference: Tuple[str, Sequence[Launch]],
    side: Tuple[str, Sequence[Launch]],
    rules: Rules,
    ignore: Sequence[str] = (),
    level: float = 0.95,
) -> Comparison:
    """Pairs the cases of two sides and compares each metric.

    Args:
        reference: name and launches.
        side: name and launches.
        rules: margins and what is assumed of nights.
        ignore: facts that differ on purpose.
        level: of the intervals.

    Raises:
        MismatchError: no case of one side may be compared with one of the other.
    """
    own = [case for case in _group(side[1]) if case]
    others = [case for case in _group(reference[1]) if case]
    ratios: List[Ratio] = []
    environments: Dict[str, Comparability] = {}
    left_out: List[str] = []
    refused: Optional[str] = None
    facts = [describe_case(case[0]) for case in own]
    used = set()
    for case, described, name in zip(own, facts, name_cases(facts)):
        found = [
            (compare_fingerprints(other[0].fingerprint, case[0].fingerprint, ignore), index)
            for index, other in enumerate(others)
        ]
        allowed = [item for item in found if item[0].level != NOT_COMPARABLE]
        if not allowed:
            if found:
                nearest = min(found, key=lambda item: len(item[0].differences))[0]
                refused = refused or f"{name}: {render_comparability(nearest)}"
            left_out.append(f"{side[0]}, {name}: nothing comparable in {reference[0]}")
            continue
        comparability, index = min(allowed, key=lambda item: len(item[0].differences))
        used.add(index)
        environments[name] = comparability
        for metric in METRICS:
            ratio = _compare_metric(
                name,
                metric,
                others[index],
                case,
                rules,
                get_margin(rules, metric, described),
                level,
            )
            if ratio is not None:
                ratios.append(ratio)
    rest = [describe_case(other[0]) for index, other in enumerate(others) if index not in used]
    for name in name_cases(rest):
        left_out.append(f"{reference[0]}, {name}: nothing comparable in {side[0]}")
    if not ratios:
        raise MismatchError(
            refused or f"{reference[0]} and {side[0]} have no valid launches of a common case"
        )
    return Comparison(reference[0], side[0], tuple(ratios), environments, tuple(left_out))


def _group(launches: Sequence[Launch]) -> List[List[Launch]]:
    return group_cases([launch for launch in launches if launch.usable])


def _compare_metric(
    name: str,
    metric: str,
    reference: Sequence[Launch],
    side: Sequence[Launch],
    rules: Rules,
    margin: float,
    level: float,
) -> Optional[Ratio]:
    nights = [
        [launch.values[metric] for launch in night if metric in launch.values]
        for night in group_nights(reference)
    ]
    nights = [night for night in nights if night]
    own = [launch.values[metric] for launch in side if metric in launch.values]
    if not nights or not own:
        return None
    flat = [value for night in nights for value in night]
    before, after = _average(flat), _average(own)
    better = METRICS[metric].better
    low = high = None
    change = after / before - 1.0
    word = UNKNOWN
    try:
        if min(len(flat), len(own)) < 2:
            raise ValueError("one launch")
        spread = get_night_spread(rules, metric, describe_case(side[0]))
        contrast = build_contrast(
            nights, own, better or "higher", spread or rules.plan.night_spread
        )
    except ValueError:
        contrast = None
    if contrast is not None:
        reach = student_quantile(0.5 * (1.0 + level), contrast.degrees) * contrast.error
        limits = (contrast.difference - reach, contrast.difference + reach)
        sign = -1.0 if better == LOWER else 1.0
        change = math.expm1(sign * contrast.difference)
        low, high = sorted(math.expm1(sign * limit) for limit in limits)
        word = _choose_word(limits, compute_margin(margin, better or "higher"), better is not None)
    return Ratio(
        name, metric, before, after, len(flat), len(own), change, low, high, level, word, margin
    )


def _choose_word(limits: Tuple[float, float], margin: float, has_direction: bool) -> str:
    if -margin < limits[0] and limits[1] < margin:
        return SAME
    if not has_direction:
        return NOT_CLEAR
    if limits[0] > 0.0:
        return BETTER
    return WORSE if limits[1] < 0.0 else NOT_CLEAR


def _average(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
