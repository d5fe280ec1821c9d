"""Experiments: how often the statistics say what is true, over many simulated runs.

Every experiment gives rows of counts with the bounds that they are promised to keep. A bound is
broken when the count would be so far out in less than one of a thousand repetitions of the whole
experiment, if the true share were just at the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Optional, Sequence

import numpy as np

from bench.measure.bootstrap import LaunchSeries, estimate_rate
from bench.measure.distributions import student_quantile
from bench.measure.power import (
    ALPHA,
    compute_detectable_effect,
    estimate_detectable_effect,
)
from bench.measure.repeats import decide_next_launch
from bench.measure.scaling import WEAK, build_scaling_table
from bench.measure.steady import detect_steady_state
from tests.simulation.traces import (
    NEVER_STEADY,
    STEADY_FROM,
    WANDERING,
    Trace,
    generate_noise,
)

RARE = 0.001
STEPS = 100.0
TRUE_RATE = 1.0


@dataclass(frozen=True)
class Row:
    """A count and what is promised of it.

    Attributes:
        what: the experiment.
        hits: how often it came out.
        n: of how many.
        at_least, at_most: promised share; NaN where nothing is promised.
    """

    what: str
    hits: int
    n: int
    at_least: float = math.nan
    at_most: float = math.nan

    @property
    def share(self) -> float:
        """Found share."""
        return self.hits / self.n

    @property
    def kept(self) -> bool:
        """Whether the count agrees with the promise."""
        low = math.isnan(self.at_least) or _sum_binomial(0, self.hits, self.n, self.at_least) > RARE
        high = math.isnan(self.at_most) or (
            _sum_binomial(self.hits, self.n, self.n, self.at_most) > RARE
        )
        return low and high


def _sum_binomial(first: int, last: int, n: int, p: float) -> float:
    """P(first ≤ X ≤ last) of a binomial X."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(first, last + 1)
    ]  # fmt: skip
    return math.fsum(math.exp(value) for value in logs)


def run_boundaries(n: int, seed: int) -> Iterator[Row]:
    """Traces that get steady: how often the first steady interval is found to ±1."""
    total = 0
    for what, build in STEADY_FROM.items():
        hits = sum(_is_hit(trace) for trace in _draw(build, n, seed))
        total += hits
        yield Row(f"boundary within 1 interval: {what}", hits, n, at_least=0.95)
    yield Row("boundary within 1 interval: all kinds", total, n * len(STEADY_FROM), at_least=0.95)


def run_false_steady(n: int, seed: int) -> Iterator[Row]:
    """Traces that never get steady: how often they are called so."""
    total = 0
    for what, build in NEVER_STEADY.items():
        hits = sum(_find_start(trace) is not None for trace in _draw(build, n, seed))
        total += hits
        yield Row(f"false steady: {what}", hits, n, at_most=0.01)
    yield Row("false steady: all kinds", total, n * len(NEVER_STEADY), at_most=0.01)
    for what, build in WANDERING.items():
        hits = sum(_find_start(trace) is not None for trace in _draw(build, n, seed))
        yield Row(f"false steady: {what} (nothing promised)", hits, n)


def _draw(build: Callable[[np.random.RandomState], Trace], n: int, seed: int) -> Iterator[Trace]:
    rng = np.random.RandomState(seed)
    return (build(rng) for _ in range(n))


def _find_start(trace: Trace) -> Optional[int]:
    untagged = np.flatnonzero(~trace.tagged)
    state = detect_steady_state(trace.seconds[untagged])
    return None if state.start is None else int(untagged[state.start])


def _is_hit(trace: Trace) -> bool:
    start = _find_start(trace)
    return start is not None and trace.boundary is not None and abs(start - trace.boundary) <= 1


def build_launch(
    rng: np.random.RandomState, n: int, rho: float, noise: float, launch_sd: float
) -> LaunchSeries:
    """A launch of true rate 1 with AR(1) interval noise and an effect of its own."""
    level = 1.0 + launch_sd * rng.standard_normal()
    seconds = STEPS * level * (1.0 + generate_noise(rng, n, rho, noise))
    return LaunchSeries(np.full(n, STEPS), seconds)


def run_coverage(n: int, seed: int) -> Iterator[Row]:
    """95 % intervals: how often they hold the true rate."""
    rng = np.random.RandomState(seed)
    for rho in (0.0, 0.3, 0.6, 0.8):
        hits = sum(_holds([build_launch(rng, 100, rho, 0.02, 0.0)], seed) for _ in range(n))
        yield Row(f"coverage, 1 launch, 100 intervals, AR(1) {rho:g}", hits, n, 0.93, 0.97)
    for count in (3, 5, 10):
        hits = 0
        for _ in range(n):
            launches = [build_launch(rng, 40, 0.5, 0.02, 0.01) for _ in range(count)]
            hits += _holds(launches, seed)
        yield Row(f"coverage, {count} launches, AR(1) 0.5", hits, n, 0.93, 0.97)


def _holds(launches: Sequence[LaunchSeries], seed: int) -> bool:
    found = estimate_rate(launches, seed=seed, n_resamples=500)
    return found.low is not None and found.low <= TRUE_RATE <= (found.high or 0.0)


def run_scaling(n: int, seed: int) -> Iterator[Row]:
    """Efficiency intervals: how often they hold the true efficiency."""
    rng = np.random.RandomState(seed)
    hits = 0
    for _ in range(n):
        launches = {
            cards: (cards * share * (1.0 + 0.01 * rng.standard_normal(5))).tolist()
            for cards, share in ((1, 1.0), (8, 0.9))
        }
        row = build_scaling_table(launches, WEAK, seed=seed, n_resamples=500).rows[1]
        hits += row.low is not None and row.low <= 0.9 <= (row.high or 0.0)
    yield Row("coverage of efficiency, 5 launches each", hits, n, 0.93, 0.97)


def run_power(n: int, seed: int) -> Iterator[Row]:
    """The detectable effect as stated: how often the test finds it, and finds what is not there."""
    rng = np.random.RandomState(seed)
    sd = 0.01
    for count in (3, 5, 8):
        effect = compute_detectable_effect(sd, count, count)
        found = _count_found(rng, n, count, sd, np.full(n, math.log1p(-effect)))
        yield Row(f"power at the detectable effect, {count} launches", found, n, 0.94, 0.96)
        # The effect is stated from an earlier estimate of the spread, drawn anew each time.
        unit = -math.log1p(-(estimate_detectable_effect(sd, count).ratio or 0.0)) / sd
        estimates = sd * np.sqrt(rng.chisquare(count - 1, n) / (count - 1.0))
        found = _count_found(rng, n, count, sd, -unit * estimates)
        yield Row(f"the same, spread from {count} launches", found, n, 0.94, 0.96)
        false = _count_found(rng, n, count, sd, np.zeros(n))
        yield Row(f"false alarms, {count} launches", false, n, 0.008, 0.012)


def _count_found(
    rng: np.random.RandomState, n: int, count: int, sd: float, changes: np.ndarray
) -> int:
    """How often a one-sided pooled t test on log rates finds a loss, of n comparisons."""
    before = sd * rng.standard_normal((n, count))
    after = sd * rng.standard_normal((n, count)) + changes[:, None]
    pooled = 0.5 * (before.var(axis=1, ddof=1) + after.var(axis=1, ddof=1))
    t = (before.mean(axis=1) - after.mean(axis=1)) / np.sqrt(2.0 * pooled / count)
    return int(np.sum(t > student_quantile(1.0 - ALPHA, 2.0 * count - 2.0)))


def run_stopping(n: int, seed: int) -> Iterator[Row]:
    """--until-precision: how often the interval holds the true rate after the rule has stopped."""
    rng = np.random.RandomState(seed)
    for launch_sd in (0.005, 0.01, 0.015):
        hits, launched = 0, 0
        for _ in range(n):
            launches = [build_launch(rng, 4, 0.0, 0.001, launch_sd) for _ in range(4)]
            needed = True
            while needed:
                launches.append(build_launch(rng, 4, 0.0, 0.001, launch_sd))
                choice = decide_next_launch(launches, 0.01, seed=seed, n_resamples=300)
                needed = choice.needed
            launched += len(launches)
            found = choice.estimate
            if found is not None and found.low is not None and found.high is not None:
                hits += found.low <= TRUE_RATE <= found.high
        yield Row(
            f"coverage after --until-precision 1%, launches differ by {launch_sd:.1%} "
            f"(mean {launched / n:.1f} launches)",
            hits, n, 0.93, 0.97,
        )  # fmt: skip


EXPERIMENTS: Mapping[str, Callable[[int, int], Iterator[Row]]] = {
    "boundaries": run_boundaries,
    "false steady": run_false_steady,
    "coverage": run_coverage,
    "scaling": run_scaling,
    "power": run_power,
    "stopping": run_stopping,
}
FULL_SIZES = {
    "boundaries": 1000,
    "false steady": 1000,
    "coverage": 2000,
    "scaling": 2000,
    "power": 50_000,
    "stopping": 1000,
}
QUICK_SIZES = {
    "boundaries": 40,
    "false steady": 60,
    "coverage": 200,
    "scaling": 400,
    "power": 20_000,
    "stopping": 60,
}
