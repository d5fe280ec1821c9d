"""How throughput grows with the number of cards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from bench.measure.distributions import normal_quantile, student_quantile

WEAK = "weak"
STRONG = "strong"

SUSPECT_EFFICIENCY = 1.02
"""More than this is better than perfect: the run with the fewest cards was probably disturbed."""


@dataclass(frozen=True)
class ScalingRow:
    """One card count of a scaling table.

    Attributes:
        n_cards: cards.
        n_launches: launches measured.
        throughput: mean over the launches, sequences/s of all cards; None where not measured.
        speed_up: throughput relative to the base.
        efficiency: speed-up over the ratio of the card counts.
        low, high: confidence limits of the efficiency; None for the base itself and where one side
            has fewer than two launches.
        suspect: the efficiency is above :data:`SUSPECT_EFFICIENCY`.
    """

    n_cards: int
    n_launches: int
    throughput: Optional[float]
    speed_up: Optional[float]
    efficiency: Optional[float]
    low: Optional[float]
    high: Optional[float]
    suspect: bool


@dataclass(frozen=True)
class ScalingTable:
    """Scaling over card counts of one session.

    Attributes:
        kind: :data:`WEAK` (same batch per card) or :data:`STRONG` (same batch in all).
        base: card count that all others are held against.
        level: of the confidence intervals.
        rows: by card count.
    """

    kind: str
    base: int
    level: float
    rows: Tuple[ScalingRow, ...]


def name_scaling(batch_sizes: Mapping[int, int]) -> Optional[str]:
    """Weak or strong, from the sequences per card and step at each card count.

    Returns:
        None when neither the batch per card nor the global batch is the same for all.
    """
    if len(set(batch_sizes.values())) == 1:
        return WEAK
    if len({n_cards * batch for n_cards, batch in batch_sizes.items()}) == 1:
        return STRONG
    return None


def build_scaling_table(
    launches: Mapping[int, Sequence[float]],
    kind: str,
    session_ids: Optional[Mapping[int, Sequence[str]]] = None,
    level: float = 0.95,
    seed: int = 0,
    n_resamples: int = 2000,
) -> ScalingTable:
    """Speed-up and efficiency with confidence intervals.

    The interval is a bootstrap of the ratio over launches on both sides, with the spread of the
    unbiased estimate and widened to Student's distribution with Welch's degrees of freedom, as for
    a single rate (:mod:`bench.measure.bootstrap`).

    Args:
        launches: card count → sequences/s of each launch; empty where none was measured.
        kind: :data:`WEAK` or :data:`STRONG`.
        session_ids: card count → session of each launch; all must be of one session, as a
            denominator of another day carries the difference of the days into every efficiency.
        level: of the intervals.
        seed: of the resampling.
        n_resamples: bootstrap samples.

    Raises:
        ValueError: nothing was measured, or launches of several sessions are mixed.
    """
    if session_ids is not None:
        sessions = {name for names in session_ids.values() for name in names}
        if len(sessions) > 1:
            raise ValueError(
                f"scaling needs all launches from one session, not from {len(sessions)}: "
                + ", ".join(sorted(sessions))
            )
    measured = {n: np.asarray(rates, dtype=float) for n, rates in launches.items() if len(rates)}
    if not measured:
        raise ValueError("no card count was measured")
    base = min(measured)
    rng = np.random.RandomState(seed)
    rows = []
    for n_cards in sorted(launches):
        rates = measured.get(n_cards)
        if rates is None:
            rows.append(ScalingRow(n_cards, 0, None, None, None, None, None, False))
            continue
        speed_up = float(rates.mean() / measured[base].mean())
        share = base / n_cards
        low = high = None
        if n_cards != base and min(len(rates), len(measured[base])) > 1:
            low, high = (
                share * limit
                for limit in bound_ratio(rates, measured[base], level, rng, n_resamples)
            )
        efficiency = share * speed_up
        rows.append(
            ScalingRow(
                n_cards,
                len(rates),
                float(rates.mean()),
                speed_up,
                efficiency,
                low,
                high,
                efficiency > SUSPECT_EFFICIENCY,
            )
        )
    return ScalingTable(kind, base, level, tuple(rows))


def bound_ratio(
    top: np.ndarray, bottom: np.ndarray, level: float, rng: np.random.RandomState, n: int
) -> Tuple[float, float]:
    """Confidence limits of the ratio of two means.

    Args:
        top, bottom: rates of launches, at least two each.
        level: of the interval.
        rng: source of the resampling.
        n: bootstrap samples.
    """
    parts = [
        float(side.var(ddof=1)) / len(side) / float(side.mean()) ** 2 for side in (top, bottom)
    ]
    spread = math.sqrt(sum(parts))
    ratio = float(top.mean() / bottom.mean())
    if spread == 0.0:
        return ratio, ratio
    degrees = sum(parts) ** 2 / sum(
        part * part / (len(side) - 1.0) for part, side in zip(parts, (top, bottom))
    )
    draws = [
        side[rng.randint(0, len(side), size=(n, len(side)))].mean(axis=1) for side in (top, bottom)
    ]
    logs = np.log(draws[0] / draws[1])
    logs -= logs.mean()
    tail = 0.5 * (1.0 + level)
    scale = spread / float(logs.std()) * student_quantile(tail, degrees) / normal_quantile(tail)
    limits = np.percentile(scale * logs, [100.0 * (1.0 - tail), 100.0 * tail])
    return ratio * math.exp(limits[0]), ratio * math.exp(limits[1])


def compute_scaling_efficiency(
    throughput: Mapping[int, Optional[float]],
) -> Dict[int, Optional[float]]:
    """Throughput per card relative to the smallest card count, weak scaling.

    ``efficiency(n) = (throughput(n) / n) / (throughput(m) / m)`` with m the smallest count that
    has a figure, so ``efficiency(m) = 1``.

    Args:
        throughput: card count → sequences per second of all cards, None where not measured.

    Returns:
        card count → ratio, None where not measured, and for a count that has no other beside it.
    """
    measured = {n: value for n, value in throughput.items() if value}
    if len(measured) < 2:
        return dict.fromkeys(throughput)
    base = min(measured)
    per_card = measured[base] / base
    return {n: (measured[n] / n / per_card if n in measured else None) for n in throughput}
