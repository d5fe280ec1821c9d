"""Figures of a window: sums over sums, never means of rates."""

from __future__ import annotations

import collections
import math
from typing import Dict, List, Optional, Sequence, Tuple

from bench.catalogue import METRICS
from bench.measure.figures import Measurement
from bench.measure.intervals import STEADY, Interval, LossRecord

FINAL_REPORTS = 10
"""The loss at the end is the mean of so many last reports of each rank, at most; of fewer when a
tenth of its reports are fewer, as the loss falls fast in a short run."""

WINDOW = "the steady intervals of all ranks"
NO_WINDOW = "no interval is left after the first of each rank"


def estimate_throughput(
    ranks: Sequence[Sequence[Interval]],
    batch_size: Optional[int],
    seq_length: Optional[int],
    n_cards: int,
) -> Dict[str, Measurement]:
    """Rates and step times of a run.

    ``steps/s = Σ steps ÷ Σ seconds`` over the steady intervals of all ranks. Ranks step together,
    so adding their steps and their times up weighs each rank by how long it was seen.

    Args:
        ranks: intervals of each rank.
        batch_size: sequences per card and step, None if unknown.
        seq_length: tokens per sequence, None if unknown.
        n_cards: cards of the run.
    """
    steady = [item for intervals in ranks for item in intervals if item.reason == STEADY]
    # TensorFlow reports every so many steps, the same for all ranks: where a log does not tell
    # the steps of an interval they are those of the others, and cancel out when none are told.
    told = collections.Counter(item.steps for item in steady if item.steps)
    usual = told.most_common(1)[0][0] if told else 1
    weights = [float(item.steps or usual) for item in steady]
    times = [weight / item.steps_per_second for weight, item in zip(weights, steady)]
    rate = math.fsum(weights) / math.fsum(times) if steady else None
    sequences = None if rate is None or batch_size is None else rate * batch_size * n_cards
    per_card = None if sequences is None else sequences / n_cards
    tokens = None if sequences is None or seq_length is None else sequences * seq_length
    pairs = [(time / weight, weight) for time, weight in zip(times, weights)]
    values = {
        "steps_per_second": rate,
        "sequences_per_second": sequences,
        "sequences_per_second_per_card": per_card,
        "tokens_per_second": tokens,
        "step_time_p50_seconds": compute_weighted_quantile(pairs, 0.50),
        "step_time_p95_seconds": compute_weighted_quantile(pairs, 0.95),
    }
    return {
        key: Measurement(
            value,
            METRICS[key].unit,
            len(steady),
            WINDOW,
            None if value is not None else (NO_WINDOW if rate is None else "size not known"),
        )
        for key, value in values.items()
    }


def compute_weighted_quantile(
    pairs: Sequence[Tuple[float, float]], share: float
) -> Optional[float]:
    """Smallest value at which the weights of all values up to it reach ``share`` of the whole.

    Args:
        pairs: (value, weight), weights positive.
        share: 0 to 1.

    Returns:
        None for no pairs.
    """
    if not pairs:
        return None
    ordered = sorted(pairs)
    wanted = share * math.fsum(weight for _, weight in ordered)
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        # The last bits of a sum must not push the quantile to the next value.
        if reached >= wanted * (1.0 - 1e-12):
            return value
    return ordered[-1][0]


def estimate_final_losses(ranks: Sequence[Sequence[LossRecord]]) -> Dict[str, Measurement]:
    """Mean of the last reports of every rank, for each of the three losses."""
    last: List[LossRecord] = []
    counts = set()
    for losses in ranks:
        count = max(1, min(FINAL_REPORTS, len(losses) // 10))
        counts.add(min(count, len(losses)))
        last.extend(losses[-count:])
    most = max(counts, default=0)
    window = (
        "the last report of each rank" if most == 1 else f"the last {most} reports of each rank"
    )
    columns: Dict[str, List[Optional[float]]] = {
        "final_mlm_loss": [record.mlm for record in last],
        "final_nsp_loss": [record.nsp for record in last],
        "final_total_loss": [record.total for record in last],
    }
    measurements = {}
    for key, column in columns.items():
        known = [value for value in column if value is not None]
        value = sum(known) / len(known) if known else None
        measurements[key] = Measurement(
            value, METRICS[key].unit, len(known), window, None if known else "never reported"
        )
    return measurements
