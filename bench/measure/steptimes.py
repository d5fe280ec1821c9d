"""Distribution of step times, honest about what a log can show.

A trainer that reports every n steps gives the mean of n steps, not their times: a quantile of such
means is narrower than one of steps, and no arithmetic gets the steps back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

from bench.measure.estimate import compute_weighted_quantile
from bench.measure.windows import MEASURED, Windows

SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class StepTimes:
    """Quantiles of step time over the measured intervals.

    Attributes:
        quantiles_seconds: share → seconds; None where too few intervals were seen for it.
        n: intervals.
        steps_per_interval: (fewest, most) steps that an interval averages; None where not known.
        basis: what the quantiles are of, in words.
    """

    quantiles_seconds: Mapping[float, Optional[float]]
    n: int
    steps_per_interval: Optional[Tuple[int, int]]
    basis: str


def estimate_step_times(windows: Windows, shares: Sequence[float] = SHARES) -> StepTimes:
    """Quantiles of the job's step time.

    One value per interval, the median over its ranks, weighted by its steps. A quantile needs at
    least one interval expected beyond it: 20 for 0.95, 100 for 0.99.

    Args:
        windows: the classified intervals of a run.
        shares: 0 to 1.
    """
    pairs: List[Tuple[float, float]] = []
    sizes = set()
    for row in windows.rows:
        if row.reason in MEASURED:
            steps = [
                windows.ranks[r][at].steps for r, at in enumerate(row.intervals) if at is not None
            ]
            known = [count for count in steps if count]
            sizes.add(max(known) if known else None)
            pairs.append((row.step_seconds, float(max(known) if known else 1)))
    counts = [size for size in sizes if size is not None]
    complete = bool(counts) and None not in sizes
    spread = (min(counts), max(counts)) if complete else None
    if spread is None:
        basis = "intervals of unknown length"
    elif spread == (1, 1):
        basis = "single steps"
    elif spread[0] == spread[1]:
        basis = f"means of {spread[0]} steps"
    else:
        basis = f"means of {spread[0]} to {spread[1]} steps"
    quantiles = {
        share: compute_weighted_quantile(pairs, share)
        if len(pairs) * min(share, 1.0 - share) >= 1.0 - 1e-9
        else None
        for share in shares
    }
    return StepTimes(quantiles, len(pairs), spread, basis)
