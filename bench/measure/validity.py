"""Whether a run's numbers may be used: named checks, each with what was found and wanted."""

from __future__ import annotations

import math
from typing import Mapping, Optional, Sequence

from bench.measure.figures import Check
from bench.measure.intervals import STEADY, Interval, LossRecord

MINIMUM_INTERVALS = 1


def check_ranks_seen(labels: Sequence[str], n_cards: int) -> Check:
    """Every rank left a log that says something."""
    return Check("ranks seen", len(labels) == n_cards, str(len(labels)), str(n_cards))


def check_steps_reached(last_steps: Sequence[Optional[int]], steps: Optional[int]) -> Check:
    """All ranks reported the same last step, and it is the one asked for.

    Args:
        last_steps: last step reported by each rank, None for no report.
        steps: what was asked, None when not known.
    """
    found = sorted({-1 if step is None else step for step in last_steps})
    text = ", ".join("none" if step < 0 else str(step) for step in found) or "none"
    agree = len(found) == 1 and found[0] >= 0
    if steps is None:
        return Check("ranks agree on the last step", agree, text, "one step")
    return Check("steps reached", agree and found[0] == steps, text, str(steps))


def check_exit_codes(exit_codes: Mapping[int, Optional[int]]) -> Check:
    """Every rank process ended by itself and well."""
    bad = [f"rank {rank}: {code}" for rank, code in sorted(exit_codes.items()) if code]
    return Check("exit codes", not bad, ", ".join(bad) or "all 0", "all 0")


def check_losses_finite(ranks: Sequence[Sequence[LossRecord]]) -> Check:
    """No report has a loss that is NaN or infinite."""
    bad = sum(
        1
        for losses in ranks
        for record in losses
        if any(
            value is not None and not math.isfinite(value)
            for value in (record.mlm, record.nsp, record.total)
        )
    )
    return Check("losses finite", bad == 0, f"{bad} not finite", "0 not finite")


def check_enough_intervals(ranks: Sequence[Sequence[Interval]]) -> Check:
    """Every rank has intervals left in the window."""
    fewest = min(
        (sum(1 for item in intervals if item.reason == STEADY) for intervals in ranks), default=0
    )
    return Check(
        "intervals measured",
        fewest >= MINIMUM_INTERVALS,
        f"{fewest} per rank at the least",
        f"at least {MINIMUM_INTERVALS}; raise --steps",
    )
