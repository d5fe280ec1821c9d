"""In which order cases are launched, and when enough launches were made."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Hashable, List, Optional, Sequence, TypeVar

from bench.measure.bootstrap import LEVEL, N_RESAMPLES, LaunchSeries, RateEstimate, estimate_rate

DEFAULT_REPEATS = 5
MINIMUM_LAUNCHES = 5
MAXIMUM_LAUNCHES = 30
SEQUENTIAL_SHARE = 0.7
"""Of the allowed error, what is used for the interval of a rule that stops when it is narrow."""

Case = TypeVar("Case", bound=Hashable)

ONE_LAUNCH_SAYS = (
    "one launch: the interval tells how well the mean of this launch is known, "
    "not what another launch would give"
)


def plan_launches(cases: Sequence[Case], repeats: int, seed: int) -> List[Case]:
    """Order in which cases (card counts, builds, or pairs of both) are launched.

    Rounds hold every case once. Each second round is the one before it in reverse (A B B A), so
    that a machine that gets steadily slower or faster is felt by all cases alike; the order of each
    pair of rounds is drawn anew.

    Args:
        cases: distinct cases.
        repeats: launches of each, at least 1.
        seed: same seed, same order; to be recorded with the results.

    Returns:
        ``len(cases) * repeats`` cases.

    Raises:
        ValueError: a case is there twice, or repeats is less than 1.
    """
    if len(set(cases)) != len(cases):
        raise ValueError("each case may be given once only")
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    rng = random.Random(f"launch order {seed}")
    order: List[Case] = []
    current: List[Case] = []
    for round_index in range(repeats):
        if round_index % 2:
            current = current[::-1]
        else:
            current = list(cases)
            rng.shuffle(current)
        order.extend(current)
    return order


@dataclass(frozen=True)
class NextLaunch:
    """Whether another launch is needed.

    Attributes:
        needed: launch again.
        met: the wanted precision was reached.
        reason: why, in words, with the figures.
        estimate: of the launches so far, with the narrower error; None before the first.
    """

    needed: bool
    met: bool
    reason: str
    estimate: Optional[RateEstimate]


def decide_next_launch(
    launches: Sequence[LaunchSeries],
    target_ratio: float,
    minimum: int = MINIMUM_LAUNCHES,
    maximum: int = MAXIMUM_LAUNCHES,
    level: float = LEVEL,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> NextLaunch:
    """The rule of ``--until-precision``: launch until the interval is narrow enough.

    To look after each launch and stop at the first narrow interval picks intervals that are narrow
    by chance: an interval meant to hold the truth in 95 % of cases then does so in 92 %. So there
    is no look before ``minimum`` launches, and the interval is built with 0.7 times the error that
    ``level`` allows, which by simulation brings its coverage back (``scripts/prove-statistics``).

    Args:
        launches: made so far.
        target_ratio: wanted half width of the interval relative to the rate.
        minimum: launches before the first look, at least 2.
        maximum: launches after which to stop in any case.
        level: that the interval shall have after the stop.
        seed: of the bootstrap.
        n_resamples: bootstrap samples.

    Raises:
        ValueError: the limits contradict each other.
    """
    if minimum < 2 or maximum < minimum:
        raise ValueError(f"2 <= minimum <= maximum is needed, not {minimum} and {maximum}")
    count = len(launches)
    inner_level = 1.0 - SEQUENTIAL_SHARE * (1.0 - level)
    estimate = estimate_rate(launches, inner_level, seed, n_resamples) if count else None
    if estimate is None or count < minimum:
        return NextLaunch(True, False, f"{count} of at least {minimum} launches", estimate)
    half_width = estimate.half_width_ratio
    if half_width is None:
        raise AssertionError("several launches always give an interval")
    text = f"half width {half_width:.2%} after {count} launches, {target_ratio:.2%} wanted"
    if half_width <= target_ratio:
        return NextLaunch(False, True, text, estimate)
    if count >= maximum:
        return NextLaunch(False, False, f"{text}; the limit of launches is reached", estimate)
    return NextLaunch(True, False, text, estimate)
