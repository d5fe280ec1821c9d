"""Confidence intervals of a rate: from several launches, or honestly less from one.

Two things make a rate uncertain: intervals of one launch differ, and launches differ from each
other (placement, clocks, memory layout) by more than their intervals explain. Only repeated
launches show the second. The bootstrap resamples at both levels, launches and then blocks of
neighbouring intervals (Davison and Hinkley 1997, sections 3.8 and 8.2.3). Taken as it comes it is
too narrow for few launches, and with many intervals of noise it counts that noise twice; so its
spread is set to the unbiased estimate and it is widened from the normal to Student's distribution
(Hesterberg 2015, "What teachers should know about the bootstrap", section 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from bench.measure.autocorrelation import (
    choose_block_length,
    count_effective,
    estimate_long_run_variance,
)
from bench.measure.distributions import normal_quantile, student_quantile
from bench.measure.intervals import Interval
from bench.measure.windows import MEASURED, Row, Windows, find_usual_steps

LEVEL = 0.95
N_RESAMPLES = 2000

WITHIN = "this launch only"
BETWEEN = "launches"


@dataclass(frozen=True)
class LaunchSeries:
    """Steps and time of the measured intervals of one launch, all ranks added up.

    Attributes:
        steps: [n], positive.
        seconds: [n], positive.
    """

    steps: np.ndarray
    seconds: np.ndarray

    @property
    def rate(self) -> float:
        """Σ steps ÷ Σ seconds."""
        return float(self.steps.sum() / self.seconds.sum())


@dataclass(frozen=True)
class RateEstimate:
    """A rate with its confidence interval.

    Attributes:
        value: Σ steps ÷ Σ seconds over all launches, 1/s.
        low, high: confidence limits, 1/s; None when there is too little for any.
        level: of the interval.
        covers: :data:`BETWEEN` when the interval speaks of further launches, :data:`WITHIN` when
            it only says how well the mean of this one launch is known.
        n_launches: launches.
        n_intervals: intervals of all launches.
        n_effective: independent intervals that they are worth.
        block_lengths: intervals in a block of the bootstrap, one per launch.
        launch_sd_ratio: standard deviation of the launches' rates relative to the rate; None for
            one launch.
    """

    value: float
    low: Optional[float]
    high: Optional[float]
    level: float
    covers: str
    n_launches: int
    n_intervals: int
    n_effective: float
    block_lengths: Tuple[int, ...]
    launch_sd_ratio: Optional[float]

    @property
    def half_width_ratio(self) -> Optional[float]:
        """Half the width of the interval relative to the rate."""
        if self.low is None or self.high is None:
            return None
        return 0.5 * (self.high - self.low) / self.value


def build_launch_series(windows: Windows) -> LaunchSeries:
    """Adds up the ranks of a run in each measured interval.

    Args:
        windows: the classified intervals.

    Returns:
        Steps and seconds, [n]; of the steady window, or where there is none of all intervals that
        carry no tag.
    """
    return sum_rows(windows.ranks, windows.rows)


def sum_rows(ranks: Sequence[Sequence[Interval]], rows: Sequence[Row]) -> LaunchSeries:
    """Adds up the ranks in each measured row.

    Args:
        ranks: classified intervals of each rank.
        rows: the same side by side (:func:`bench.measure.windows.align_ranks`).

    Returns:
        Steps and seconds, [n]. Where steps are unknown an interval counts as the usual number, or
        as 1 when none is told, which leaves the rate as it is.
    """
    usual = find_usual_steps(ranks) or 1
    steps, seconds = [], []
    for row in rows:
        if row.reason in MEASURED:
            items = [ranks[rank][at] for rank, at in enumerate(row.intervals) if at is not None]
            weights = [float(item.steps or usual) for item in items]
            steps.append(math.fsum(weights))
            seconds.append(
                math.fsum(weight / item.steps_per_second for weight, item in zip(weights, items))
            )
    return LaunchSeries(np.array(steps), np.array(seconds))


def estimate_rate(
    launches: Sequence[LaunchSeries],
    level: float = LEVEL,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> RateEstimate:
    """Rate and confidence interval of a case.

    Args:
        launches: independent launches of the same case, each with at least one interval.
        level: of the interval.
        seed: of the resampling; the same data and seed give the same limits.
        n_resamples: bootstrap samples.

    Raises:
        ValueError: no launch, or one without intervals.
    """
    if not launches or any(len(launch.steps) == 0 for launch in launches):
        raise ValueError("every launch needs at least one measured interval")
    n_launches = len(launches)
    total_steps = math.fsum(float(launch.steps.sum()) for launch in launches)
    rate = total_steps / math.fsum(float(launch.seconds.sum()) for launch in launches)
    # What each interval did more or less than its time at the overall rate would give.
    excess = [launch.steps - rate * launch.seconds for launch in launches]
    blocks = tuple(choose_block_length(part) for part in excess)
    n_intervals = sum(len(part) for part in excess)
    n_effective = math.fsum(count_effective(part) for part in excess)
    launch_sd = None
    if n_launches > 1:
        gaps = np.array([part.sum() for part in excess])
        spread = math.sqrt(n_launches / (n_launches - 1.0) * float(gaps @ gaps)) / total_steps
        launch_sd = spread * math.sqrt(n_launches)
        degrees = n_launches - 1.0
    elif n_intervals > 2:
        spread = math.sqrt(n_intervals * estimate_long_run_variance(excess[0])) / total_steps
        degrees = max(1.0, 0.5 * n_effective)
    else:
        spread = degrees = math.nan
    low = high = None
    if not math.isnan(spread):
        rng = np.random.RandomState(seed)
        logs = np.log(resample_rates(launches, blocks, rng, n_resamples) / rate)
        logs = _match_spread(logs, spread)
        # Student over normal quantile: few launches know their own spread badly.
        tail = 0.5 * (1.0 + level)
        widening = student_quantile(tail, degrees) / normal_quantile(tail)
        limits = widening * np.percentile(logs, [100.0 * (1.0 - tail), 100.0 * tail])
        low, high = (rate * float(np.exp(limit)) for limit in limits)
    return RateEstimate(
        value=rate,
        low=low,
        high=high,
        level=level,
        covers=BETWEEN if n_launches > 1 else WITHIN,
        n_launches=n_launches,
        n_intervals=n_intervals,
        n_effective=n_effective,
        block_lengths=blocks,
        launch_sd_ratio=launch_sd,
    )


def resample_rates(
    launches: Sequence[LaunchSeries],
    block_lengths: Sequence[int],
    rng: np.random.RandomState,
    n_resamples: int,
) -> np.ndarray:
    """Rates of bootstrap samples: launches drawn anew, in each of them blocks of intervals.

    Blocks are circular (Politis and Romano 1992), so that every interval is drawn equally often.

    Returns:
        [n_resamples].
    """
    n_launches = len(launches)
    drawn = rng.multinomial(n_launches, np.full(n_launches, 1.0 / n_launches), size=n_resamples)
    steps = np.zeros(n_resamples)
    seconds = np.zeros(n_resamples)
    for index, (launch, length) in enumerate(zip(launches, block_lengths)):
        # A launch drawn several times is resampled anew each time.
        times = drawn[:, index]
        n = len(launch.steps)
        n_blocks = -(-n // length)
        starts = rng.randint(0, n, size=(int(times.sum()), n_blocks))
        owner = np.repeat(np.arange(n_resamples), times)
        share = n / float(n_blocks * length)
        for total, column in ((steps, launch.steps), (seconds, launch.seconds)):
            running = np.concatenate([[0.0], np.cumsum(np.concatenate([column, column[:length]]))])
            sums = (running[starts + length] - running[starts]).sum(axis=1)
            total += share * np.bincount(owner, weights=sums, minlength=n_resamples)
    return steps / seconds


def _match_spread(logs: np.ndarray, spread: float) -> np.ndarray:
    """Centres deviations on 0 and scales them to a standard deviation."""
    centred = logs - logs.mean()
    own = float(centred.std())
    return centred * (spread / own) if own > 0.0 else np.zeros_like(centred)
