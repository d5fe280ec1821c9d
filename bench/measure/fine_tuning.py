"""What fine-tuning is judged by: the headline metric, and how long it takes to reach a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Sequence

from bench.catalogue import METRICS
from bench.measure.figures import Measurement
from bench.measure.intervals import RankTrack


@dataclass(frozen=True)
class Scores:
    """What the log of the scoring rank tells.

    Attributes:
        metric: name of the headline metric.
        best: its best value.
        by_step: global step of each scored checkpoint → its value.
    """

    metric: str
    best: float
    by_step: Mapping[int, float]


def estimate_scores(
    scores: Optional[Scores], tracks: Sequence[RankTrack], target: Optional[float]
) -> Dict[str, Measurement]:
    """Final metric and time to target.

    Checkpoints are scored after the training, so the time to the target is that from the start to
    the report of the step whose checkpoint reaches it first. It is known to the checkpoint only.

    Args:
        scores: None where nothing was scored.
        tracks: of all ranks.
        target: value to be reached, None for none.

    Returns:
        Empty where nothing was scored.
    """
    if scores is None:
        return {}
    metric = Measurement(
        scores.best,
        METRICS["final_metric"].unit,
        len(scores.by_step),
        f"{scores.metric} of the best of {len(scores.by_step)} scored checkpoints",
    )
    found = {"final_metric": metric}
    if target is not None:
        found["time_to_target_seconds"] = _estimate_time(scores, tracks, target)
    return found


def _estimate_time(scores: Scores, tracks: Sequence[RankTrack], target: float) -> Measurement:
    key = "time_to_target_seconds"
    window = f"{scores.metric} of at least {target:g}, known at {len(scores.by_step)} checkpoints"
    reached = [step for step, value in sorted(scores.by_step.items()) if value >= target]
    reason = f"no checkpoint reaches {target:g}"
    value = None
    if reached:
        reason = "no report with a time stamp at that step"
        times = [
            record.wall_seconds - track.start_seconds
            for track in tracks
            if track.start_seconds is not None
            for record in track.losses
            if record.step == reached[0] and record.wall_seconds is not None
        ]
        value = max(times, default=None)
    return Measurement(
        value, METRICS[key].unit, 1 if value is not None else 0, window, None if value else reason
    )
