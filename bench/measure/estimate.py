"""Quantiles by weight, and the losses at the end of a run."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Sequence, Tuple

from bench.catalogue import METRICS
from bench.measure.figures import Measurement
from bench.measure.intervals import LossRecord

FINAL_REPORTS = 10
"""The loss at the end is the mean of so many last reports of each rank, at most; of fewer when a
tenth of its reports are fewer, as the loss falls fast in a short run."""


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
