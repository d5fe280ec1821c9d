"""Margins and night spreads from A/A runs: what the machine can tell, instead of a guess.

Launches of one and the same build over several nights give the spread of launches and of nights
for each case and metric. The margin is then the smallest loss for which the gate, with its first
look and as many nights in the baseline, passes an unchanged build with the stated power and finds
a loss of the margin with it. The spreads are estimates; the margin is made from their upper
confidence limits, so that it holds in most repetitions of the calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from bench.catalogue import LOWER, METRICS
from bench.errors import NoVerdictError
from bench.judge.contrast import SMALLEST_SD_RATIO
from bench.judge.gate import compute_detectable_loss
from bench.judge.launches import Launch, describe_case, group_cases, group_nights, name_cases
from bench.judge.model import Contrast
from bench.judge.rules import Rules
from bench.measure.distributions import normal_quantile

LEAST_LAUNCHES = 10
POWER = 0.95
UPPER = 0.8
"""Confidence of the upper limits of the spreads."""


@dataclass(frozen=True)
class CellNoise:
    """How much a metric of a case differs between launches of the same build.

    Attributes:
        name: of the cell.
        metric: key of the catalogue.
        case: facts of the case.
        n_launches, n_nights: that it rests on.
        launch_sd_ratio: within a night.
        night_sd_ratio: between nights, beyond what launches explain; 0 when they explain it all.
        margin_ratio: smallest margin that the gate can work with.
    """

    name: str
    metric: str
    case: Mapping[str, Any]
    n_launches: int
    n_nights: int
    launch_sd_ratio: float
    night_sd_ratio: float
    margin_ratio: float


def calibrate_launches(launches: Sequence[Launch], rules: Rules) -> Tuple[CellNoise, ...]:
    """Measures the noise of every case and judged metric.

    Args:
        launches: of one build; those that are not usable are left out.
        rules: metrics and plan.

    Raises:
        NoVerdictError: no case has ten launches.
    """
    cases = group_cases([launch for launch in launches if launch.usable])
    facts = [describe_case(case[0]) for case in cases]
    found: List[CellNoise] = []
    most = 0
    n_cells = len(cases) * len(rules.metrics)
    for case, described, name in zip(cases, facts, name_cases(facts)):
        for metric in rules.metrics:
            nights = [
                [math.log(launch.values[metric]) for launch in night if metric in launch.values]
                for night in group_nights(case)
            ]
            nights = [night for night in nights if night]
            count = sum(map(len, nights))
            most = max(most, count)
            if count >= LEAST_LAUNCHES and count > len(nights):
                label = f"{METRICS[metric].header}, {name}"
                found.append(_measure(label, metric, described, nights, rules, n_cells))
    if not found:
        raise NoVerdictError(
            f"calibration needs at least {LEAST_LAUNCHES} valid launches of a case, several of "
            f"them in one night; the most is {most}"
        )
    return tuple(found)


def build_overrides(noises: Sequence[CellNoise]) -> List[Dict[str, Any]]:
    """The ``overrides`` of a rules file."""
    return [
        {
            "when": {"cards": noise.case["cards"], "model": noise.case["model"]},
            "metric": noise.metric,
            "margin": noise.margin_ratio,
            "night_spread": {
                "sd_ratio": round(noise.night_sd_ratio, 6),
                "nights": float(noise.n_nights - 1),
            },
        }
        if noise.n_nights > 1
        else {
            "when": {"cards": noise.case["cards"], "model": noise.case["model"]},
            "metric": noise.metric,
            "margin": noise.margin_ratio,
        }
        for noise in noises
    ]


def _measure(
    name: str,
    metric: str,
    case: Mapping[str, Any],
    nights: Sequence[Sequence[float]],
    rules: Rules,
    n_cells: int,
) -> CellNoise:
    count, n_nights = sum(map(len, nights)), len(nights)
    means = [math.fsum(night) / len(night) for night in nights]
    within = math.fsum((v - m) ** 2 for night, m in zip(nights, means) for v in night)
    launch_degrees = count - n_nights
    launch2 = max(SMALLEST_SD_RATIO**2, within / launch_degrees)
    night2, night_degrees = 0.0, float(n_nights - 1)
    between = launch2
    size = count / n_nights
    if n_nights > 1:
        centre = math.fsum(map(math.fsum, nights)) / count
        squares = math.fsum(len(n) * (m - centre) ** 2 for n, m in zip(nights, means))
        size = (count - sum(len(n) ** 2 for n in nights) / count) / (n_nights - 1)
        between = squares / (n_nights - 1)
        night2 = max(0.0, (between - launch2) / size)
    upper_launch2 = launch2 * _widen(launch_degrees)
    upper_night2 = 0.0
    if night2 > 0.0:
        upper_night2 = max(0.0, (between * _widen(night_degrees) - launch2) / size)
    plan = rules.plan
    parts = (
        (upper_night2 * (1.0 + 1.0 / n_nights), max(1.0, night_degrees)),
        (
            upper_launch2 * (1.0 / plan.first_launches + 1.0 / count),
            float(launch_degrees + plan.first_launches - 1),
        ),
    )
    variance = sum(part for part, _ in parts)
    contrast = Contrast(
        difference=0.0,
        error=math.sqrt(variance),
        degrees=variance**2 / sum(part**2 / degrees for part, degrees in parts),
        launch_sd_ratio=math.sqrt(launch2),
        night_sd_ratio=math.sqrt(night2),
        n_baseline=count,
        n_candidate=plan.first_launches,
        n_nights=n_nights,
        separate=False,
    )
    better = METRICS[metric].better or LOWER
    share = plan.look_shares[0]
    margin = max(
        compute_detectable_loss(contrast, plan.alpha_pass * share, POWER, better),
        compute_detectable_loss(contrast, plan.alpha * share / max(1, n_cells), POWER, better),
    )
    return CellNoise(
        name,
        metric,
        case,
        count,
        n_nights,
        math.sqrt(launch2),
        math.sqrt(night2),
        min(0.99, math.ceil(margin * 1000.0) / 1000.0),
    )


def _widen(degrees: float) -> float:
    """Upper confidence limit of a variance over its estimate (Wilson and Hilferty 1931)."""
    spread = 2.0 / (9.0 * degrees)
    root = 1.0 - spread - normal_quantile(UPPER) * math.sqrt(spread)
    return 1.0 / max(0.2, root) ** 3
