"""What a comparison can show: the minimum detectable effect, and the launches that it takes.

Two builds, ``n_a`` and ``n_b`` launches, are compared by a one-sided t test on the logarithms of
their rates with pooled variance. Its power is exact (noncentral t), not the normal approximation,
which promises too much for few launches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from bench.measure.distributions import (
    noncentral_student_tail,
    student_quantile,
    tabulate_chi,
)

ALPHA = 0.01
POWER = 0.95

ONE_LAUNCH = "one launch says nothing about how launches differ; repeat it"


@dataclass(frozen=True)
class DetectableEffect:
    """The smallest true slow-down that a comparison finds with the stated power.

    Attributes:
        ratio: share of the rate that is lost, 0 to 1; None when it cannot be known.
        n_launches: on each side.
        launch_sd_ratio: standard deviation of the rates of launches that it rests on.
        alpha: chance of a false alarm, one side.
        power: chance to find it.
        reason: why ``ratio`` is None.
    """

    ratio: Optional[float]
    n_launches: int
    launch_sd_ratio: Optional[float]
    alpha: float = ALPHA
    power: float = POWER
    reason: Optional[str] = None


def estimate_detectable_effect(
    launch_sd_ratio: Optional[float],
    n_launches: int,
    alpha: float = ALPHA,
    power: float = POWER,
) -> DetectableEffect:
    """The effect that two cases with so many launches each can show, for a table.

    The standard deviation is itself an estimate from ``n_launches``; the effect is widened so that
    the power holds on the average over such estimates.

    Args:
        launch_sd_ratio: as found; None for one launch.
        n_launches: on each side.
        alpha: chance of a false alarm, one side.
        power: chance to find it.
    """
    if launch_sd_ratio is None or n_launches < 2:
        return DetectableEffect(None, n_launches, None, alpha, power, ONE_LAUNCH)
    ratio = compute_detectable_effect(
        launch_sd_ratio, n_launches, n_launches, alpha, power, sd_degrees=n_launches - 1.0
    )
    return DetectableEffect(ratio, n_launches, launch_sd_ratio, alpha, power)


def compute_detectable_effect(
    launch_sd_ratio: float,
    n_a: int,
    n_b: int,
    alpha: float = ALPHA,
    power: float = POWER,
    sd_degrees: float = math.inf,
) -> float:
    """Smallest true loss of rate that is found with the stated power.

    Args:
        launch_sd_ratio: standard deviation of the rates of launches, relative.
        n_a, n_b: launches on the two sides, together at least 3.
        alpha: chance of a false alarm, one side.
        power: chance to find it.
        sd_degrees: degrees of freedom of ``launch_sd_ratio`` when it comes from earlier launches;
            infinite when it is known.

    Returns:
        Share of the rate that is lost, 0 to 1.

    Raises:
        ValueError: fewer than three launches, or none on one side.
    """
    if min(n_a, n_b) < 1 or n_a + n_b < 3:
        raise ValueError(f"{n_a} and {n_b} launches leave no degree of freedom for a test")
    low, high = 0.0, 1.0
    while compute_power(high, n_a, n_b, alpha, sd_degrees) < power and high < 1e9:
        low, high = high, 2.0 * high
    while high - low > 1e-6 * high:
        middle = 0.5 * (low + high)
        if compute_power(middle, n_a, n_b, alpha, sd_degrees) < power:
            low = middle
        else:
            high = middle
    return 1.0 - math.exp(-high * launch_sd_ratio)


def compute_power(
    effect: float, n_a: int, n_b: int, alpha: float = ALPHA, sd_degrees: float = math.inf
) -> float:
    """Chance that the test finds an effect.

    Args:
        effect: true difference of the mean logarithms, in standard deviations of a launch (known,
            or as estimated with ``sd_degrees``).
        n_a, n_b: launches on the two sides.
        alpha: chance of a false alarm, one side.
        sd_degrees: degrees of freedom of the standard deviation.
    """
    degrees = n_a + n_b - 2.0
    critical = student_quantile(1.0 - alpha, degrees)
    shift = effect / math.sqrt(1.0 / n_a + 1.0 / n_b)
    if math.isinf(sd_degrees):
        return noncentral_student_tail(critical, degrees, shift)
    estimates, weights = tabulate_chi(sd_degrees)
    return float(
        sum(
            weight * noncentral_student_tail(critical, degrees, shift * estimate)
            for estimate, weight in zip(estimates, weights)
            if weight > 1e-9
        )
    )


def count_launches_needed(
    effect_ratio: float,
    launch_sd_ratio: float,
    alpha: float = ALPHA,
    power: float = POWER,
    most: int = 1000,
) -> Optional[int]:
    """Launches on each side to find a loss of rate with the stated power.

    Args:
        effect_ratio: share of the rate that is lost, 0 to 1.
        launch_sd_ratio: known standard deviation of the rates of launches, relative.
        alpha: chance of a false alarm, one side.
        power: chance to find it.
        most: give up beyond.

    Returns:
        At least 2; None when ``most`` do not suffice.
    """
    if launch_sd_ratio <= 0.0:
        return 2
    effect = -math.log1p(-effect_ratio) / launch_sd_ratio
    for count in range(2, most + 1):
        if compute_power(effect, count, count, alpha) >= power:
            return count
    return None
