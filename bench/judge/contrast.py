"""Candidate against baseline in one cell: the difference of log rates and its standard error.

The launch is the unit of replication, the night the unit above it: intervals within a launch say
nothing of how launches differ, and launches of one night nothing of how nights differ. The model
is the one-way random-effects layout on logarithms (Searle, Casella and McCulloch 1992, chapter 3)::

    log value = level + night + launch        var(night) = τ², var(launch) = σ²

σ² comes from all launches of both sides. τ² can come from the baseline's nights only, and few
nights say little of it: with two nights an unbiased test finds nothing, and one that takes τ² = 0
gives false alarms up to thirty times as often as it says when nights do differ by 1 %. So the mean
square between nights is averaged with what is assumed beforehand (:class:`NightSpread`; by default
no spread, worth four nights) and never put below the spread of the launches. With ten nights the
data decide. ``ascend-bert calibrate`` measures the spread, which then replaces the assumption.

Against one single night the test speaks of launches only; the verdict says so.
"""

from __future__ import annotations

import math
from typing import List, Sequence, Tuple

from bench.catalogue import LOWER
from bench.judge.model import Contrast, NightSpread
from bench.measure.distributions import incomplete_beta

SMALLEST_SD_RATIO = 1e-4
"""Launches are never taken to differ by less: a log prints rates with six digits."""

DOUBTED_CHANCE = 0.02
"""Below this chance of nights as different as found, what was assumed of them counts for less."""

UNEQUAL_SPREAD_CHANCE = 0.02
"""Below this chance of an equal spread, the candidate's own is used (Welch 1947)."""


def build_contrast(
    baseline: Sequence[Sequence[float]],
    candidate: Sequence[float],
    better: str,
    night_spread: NightSpread,
) -> Contrast:
    """Compares the launches of two sides.

    Args:
        baseline: nights with the values of their launches, all positive.
        candidate: values of the launches of one night, all positive.
        better: ``"higher"`` or ``"lower"``.
        night_spread: what is assumed of nights beforehand.

    Raises:
        ValueError: an empty side, a value that is not positive and finite, or no two launches
            of the same night and not two nights: then nothing tells of any spread.
    """
    nights = [_take_logs(night) for night in baseline if night]
    own = _take_logs(candidate)
    if not nights or not own:
        raise ValueError("both sides need at least one launch")
    sigma2, sigma2_degrees = _pool([*nights, own])
    if sigma2_degrees == 0 and len(nights) < 2:
        raise ValueError("nothing tells how launches differ: repeat them")
    sigma2 = max(sigma2, SMALLEST_SD_RATIO**2)
    tau2, tau2_degrees = _estimate_between(nights, sigma2, sigma2_degrees, night_spread)
    variances = [tau2 + sigma2 / len(night) for night in nights]
    total = math.fsum(1.0 / variance for variance in variances)
    shares = [1.0 / variance / total for variance in variances]
    level = math.fsum(share * _mean(night) for share, night in zip(shares, nights))
    squares = math.fsum(share * share for share in shares)
    per_launch = math.fsum(share * share / len(night) for share, night in zip(shares, nights))
    # Parts of the variance with their degrees of freedom, for Satterthwaite's approximation.
    parts = [(tau2 * (1.0 + squares), tau2_degrees)]
    own2, base2 = _pool([own]), _pool(nights)
    separate = _spreads_more(own2, base2)
    if separate:
        parts.append((own2[0] / len(own), own2[1]))
        parts.append((max(base2[0], SMALLEST_SD_RATIO**2) * per_launch, base2[1]))
    else:
        parts.append((sigma2 * (1.0 / len(own) + per_launch), sigma2_degrees))
    variance = math.fsum(part for part, _ in parts)
    doubt = math.fsum(part * part / degrees for part, degrees in parts if degrees > 0.0)
    difference = _mean(own) - level
    return Contrast(
        difference=-difference if better == LOWER else difference,
        error=math.sqrt(variance),
        degrees=variance * variance / doubt if doubt > 0.0 else max(1.0, tau2_degrees),
        launch_sd_ratio=math.sqrt(own2[0] if separate else sigma2),
        night_sd_ratio=math.sqrt(tau2),
        n_baseline=sum(map(len, nights)),
        n_candidate=len(own),
        n_nights=len(nights),
        separate=separate,
    )


def _take_logs(values: Sequence[float]) -> List[float]:
    wrong = [value for value in values if not (value > 0.0 and math.isfinite(value))]
    if wrong:
        raise ValueError(f"a value that is not positive cannot be judged: {wrong[0]:g}")
    return [math.log(value) for value in values]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _pool(groups: Sequence[Sequence[float]]) -> Tuple[float, int]:
    """Variance within groups and its degrees of freedom; 0 and 0 when no group has two."""
    squares, degrees = 0.0, 0
    for group in groups:
        centre = _mean(group)
        squares += math.fsum((value - centre) ** 2 for value in group)
        degrees += len(group) - 1
    return (squares / degrees, degrees) if degrees else (0.0, 0)


def _estimate_between(
    nights: Sequence[Sequence[float]], sigma2: float, sigma2_degrees: int, known: NightSpread
) -> Tuple[float, float]:
    """τ² and its degrees of freedom, the assumption averaged in."""
    n_nights = len(nights)
    n_launches = sum(map(len, nights))
    assumed = known.sd_ratio**2
    if n_nights < 2:
        return assumed, max(known.nights, 1.0)
    if sigma2_degrees == 0:
        # One launch a night: nights and launches cannot be told apart, and need not be.
        values = [night[0] for night in nights]
        return max(_pool([values])[0] - sigma2, assumed), n_nights - 1.0
    centre = math.fsum(value for night in nights for value in night) / n_launches
    between = math.fsum(len(night) * (_mean(night) - centre) ** 2 for night in nights)
    # Nights that plainly differ by more than was assumed take the word from the assumption.
    mean_square = between / (n_nights - 1)
    chance = _compute_f_tail(
        mean_square / (sigma2 + n_launches / n_nights * assumed), n_nights - 1, sigma2_degrees
    )
    weight = known.nights * min(1.0, chance / DOUBTED_CHANCE)
    # What a night of unequal size counts for (Searle et al., equation 3.51).
    size = (n_launches - sum(len(night) ** 2 for night in nights) / n_launches) / (n_nights - 1)
    expected = sigma2 + size * assumed
    degrees = n_nights - 1 + weight
    mean_square = (between + weight * expected) / degrees
    return max(0.0, (mean_square - sigma2) / size), degrees


def _spreads_more(own: Tuple[float, int], base: Tuple[float, int]) -> bool:
    """Whether the candidate's launches differ more than chance lets the baseline's."""
    (own2, own_degrees), (base2, base_degrees) = own, base
    if own_degrees < 2 or base_degrees < 2 or own2 <= SMALLEST_SD_RATIO**2:
        return False
    ratio = own2 / max(base2, SMALLEST_SD_RATIO**2)
    if ratio <= 1.0:
        return False
    return _compute_f_tail(ratio, own_degrees, base_degrees) < UNEQUAL_SPREAD_CHANCE


def _compute_f_tail(ratio: float, degrees_above: float, degrees_below: float) -> float:
    """P(F > ratio), by the incomplete beta function (Abramowitz and Stegun 26.6.2)."""
    x = degrees_below / (degrees_below + degrees_above * ratio)
    return incomplete_beta(x, 0.5 * degrees_below, 0.5 * degrees_above)
