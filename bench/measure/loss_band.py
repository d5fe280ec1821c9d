"""Reference bands: where the loss of a sound run lies at a few steps.

A run that computes nonsense may be fast. So the loss at some steps is held against bands learned
from runs of the same case that differ in their seed alone (compare the reference convergence points
of MLPerf Training). The band of a step is the prediction interval of one more run, mean ± t · sd ·
sqrt(1 + 1/n), widened by a share of the mean for other hardware and arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import yaml

from bench.measure.distributions import student_quantile
from bench.measure.figures import Check
from bench.measure.intervals import LossRecord

AROUND_STEPS = 10
"""The loss at a step is the mean over the reports of so many last steps, all ranks together."""
LEVEL = 0.999
ALLOWANCE_RATIO = 0.01
MINIMUM_RUNS = 5

CASE_KEYS = (
    "task",
    "model",
    "optimizer",
    "learning_rate",
    "warmup_steps",
    "batch_size",
    "seq_length",
    "max_predictions",
    "steps",
    "data_language",
)
"""What must be the same for two runs to have the same loss curve, with the card count and data."""


@dataclass(frozen=True)
class LossBand:
    """The band of a case.

    Attributes:
        case: values of :data:`CASE_KEYS`, and ``cards``.
        n_runs: runs that it was learned from.
        points: (step, low, high) of the total loss, nats.
    """

    case: Mapping[str, Any]
    n_runs: int
    points: Tuple[Tuple[int, float, float], ...]


def read_loss_bands(path: Path) -> List[LossBand]:
    """Reads bands as :func:`render_loss_bands` writes them."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    return [
        LossBand(
            item["case"],
            int(item["runs"]),
            tuple((int(step), float(low), float(high)) for step, low, high in item["points"]),
        )
        for item in loaded
    ]


def render_loss_bands(bands: Sequence[LossBand]) -> str:
    """Bands as YAML."""
    plain = [
        {
            "case": dict(band.case),
            "runs": band.n_runs,
            "points": [[step, round(low, 4), round(high, 4)] for step, low, high in band.points],
        }
        for band in bands
    ]
    text: str = yaml.safe_dump(plain, sort_keys=True, default_flow_style=None)
    return text


def describe_case(asked: Mapping[str, Any], n_cards: int) -> Dict[str, Any]:
    """The case of a run by what was asked of it."""
    return {**{key: asked.get(key) for key in CASE_KEYS}, "cards": n_cards}


def learn_loss_band(
    case: Mapping[str, Any], runs: Sequence[Sequence[Sequence[LossRecord]]], steps: Sequence[int]
) -> LossBand:
    """Learns a band.

    Args:
        case: of all runs.
        runs: losses of each rank of each run.
        steps: where to look.

    Raises:
        ValueError: fewer than five runs, or a run that has no loss near a step.
    """
    if len(runs) < MINIMUM_RUNS:
        raise ValueError(f"a band needs at least {MINIMUM_RUNS} runs, not {len(runs)}")
    factor = student_quantile(0.5 * (1.0 + LEVEL), len(runs) - 1.0)
    points = []
    for step in steps:
        values = []
        for ranks in runs:
            loss = compute_loss_at(ranks, step)
            if loss is None:
                raise ValueError(f"a run has no loss near step {step}")
            values.append(loss)
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1.0))
        half = factor * spread * math.sqrt(1.0 + 1.0 / len(values)) + ALLOWANCE_RATIO * mean
        points.append((step, mean - half, mean + half))
    return LossBand(case, len(runs), tuple(points))


def compute_loss_at(ranks: Sequence[Sequence[LossRecord]], step: int) -> Optional[float]:
    """Mean total loss over the reports of the last steps up to ``step``; None without any."""
    near = [
        record.total
        for losses in ranks
        for record in losses
        if step - AROUND_STEPS < record.step <= step and record.total is not None
    ]
    return math.fsum(near) / len(near) if near else None


def check_loss_band(
    bands: Sequence[LossBand], case: Mapping[str, Any], ranks: Sequence[Sequence[LossRecord]]
) -> Check:
    """Holds the losses of a run against the band of its case.

    Args:
        bands: all that are known.
        case: of the run, :func:`describe_case`; ``data_language`` None for data of the user's own.
        ranks: losses of each rank.
    """
    name = "loss in reference band"
    band = next((band for band in bands if dict(band.case) == dict(case)), None)
    if band is None:
        return Check(name, None, "no band is on file for this case", "inside the band")
    wanted, outside, found = [], False, []
    for step, low, high in band.points:
        loss = compute_loss_at(ranks, step)
        wanted.append(f"{low:.3f} to {high:.3f} at step {step}")
        found.append("none" if loss is None else f"{loss:.3f}")
        outside = outside or loss is None or not low <= loss <= high
    return Check(name, not outside, ", ".join(found), "; ".join(wanted))
