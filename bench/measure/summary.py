"""The summary of one launch: every figure of the catalogue, from classified intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence

from bench.catalogue import METRICS
from bench.measure.bootstrap import LEVEL, WITHIN, build_launch_series, estimate_rate
from bench.measure.estimate import estimate_final_losses
from bench.measure.figures import Measurement
from bench.measure.fine_tuning import Scores, estimate_scores
from bench.measure.flops import PeakFlops, count_model_flops
from bench.measure.intervals import RankTrack
from bench.measure.overheads import (
    count_skipped_steps,
    estimate_checkpoint_overhead,
    estimate_time_to_first_step,
)
from bench.measure.steptimes import estimate_step_times
from bench.measure.stragglers import find_stragglers
from bench.measure.windows import Windows

RATES = (
    "steps_per_second",
    "sequences_per_second",
    "sequences_per_second_per_card",
    "tokens_per_second",
    "model_flops_per_second_per_card",
    "model_flops_utilisation_ratio",
)
"""Figures that are the step rate times a constant of the run, and share its interval."""

NO_WINDOW = "no interval is left after the first of each rank"


@dataclass(frozen=True)
class Sizes:
    """What turns steps into sequences, tokens and FLOPs; None where not known.

    Attributes:
        batch_size: sequences per card and step.
        seq_length: tokens per sequence.
        cards: cards of the run.
        max_predictions: masked positions per sequence.
    """

    batch_size: Optional[int] = None
    seq_length: Optional[int] = None
    cards: Optional[int] = None
    max_predictions: Optional[int] = None


def summarise_launch(
    windows: Windows,
    tracks: Sequence[RankTrack],
    sizes: Sizes,
    model_config: Optional[Mapping[str, Any]] = None,
    peak: Optional[PeakFlops] = None,
    scores: Optional[Scores] = None,
    target: Optional[float] = None,
) -> Dict[str, Measurement]:
    """All figures of a launch that its log can give.

    Args:
        windows: the classified intervals.
        tracks: what each rank's log says.
        sizes: batch, sequence length, cards.
        model_config: the BERT configuration, None if not known.
        peak: of one card, None if not asked for.
        scores: of fine-tuning, None without any.
        target: of the headline metric, None for none.

    Returns:
        Metric key → measurement, in the order of the catalogue.
    """
    found = _estimate_rates(windows, sizes, model_config, peak)
    found.update(_estimate_step_times(windows))
    found.update(_estimate_rest(windows, tracks))
    found.update(estimate_final_losses([track.losses for track in tracks]))
    found.update(estimate_scores(scores, tracks, target))
    return {key: found[key] for key in METRICS if key in found}


def _estimate_rates(
    windows: Windows,
    sizes: Sizes,
    model_config: Optional[Mapping[str, Any]],
    peak: Optional[PeakFlops],
) -> Dict[str, Measurement]:
    series = build_launch_series(windows)
    text = windows.describe()
    n = len(series.steps)
    base = Measurement(None, METRICS["steps_per_second"].unit, n, text, NO_WINDOW)
    if n:
        rate = estimate_rate([series])
        base = replace(
            base,
            value=rate.value,
            reason=None,
            low=rate.low,
            high=rate.high,
            level=LEVEL if rate.low is not None else None,
            covers=WITHIN if rate.low is not None else None,
        )
    factors: Dict[str, Optional[float]] = {"steps_per_second": 1.0}
    reasons: Dict[str, str] = {}
    batch, length, cards = sizes.batch_size, sizes.seq_length, sizes.cards
    per_step = None if batch is None or cards is None else float(batch * cards)
    factors["sequences_per_second"] = per_step
    factors["sequences_per_second_per_card"] = None if batch is None else float(batch)
    factors["tokens_per_second"] = None if per_step is None or length is None else per_step * length
    flops, why = _count_flops(sizes, model_config)
    factors["model_flops_per_second_per_card"] = (
        None if flops is None or batch is None else flops * batch
    )
    reasons["model_flops_per_second_per_card"] = why
    if peak is not None:
        share = None if flops is None or batch is None else flops * batch
        per_second = peak.per_second
        factors["model_flops_utilisation_ratio"] = (
            None if share is None or not per_second else share / per_second
        )
        reasons["model_flops_utilisation_ratio"] = peak.reason or why
    return {
        key: scale_measurement(base, key, factor, reasons.get(key, "size not known"))
        for key, factor in factors.items()
    }


def scale_measurement(
    base: Measurement, key: str, factor: Optional[float], reason: str
) -> Measurement:
    """A figure that is another one times a constant, limits and all.

    Args:
        base: the other figure.
        key: catalogue key of the new one.
        factor: the constant; None where it is not known.
        reason: why it is not.
    """

    def times(value: Optional[float]) -> Optional[float]:
        return None if value is None or factor is None else value * factor

    known = base.value is not None and factor is not None
    return replace(
        base,
        value=times(base.value),
        unit=METRICS[key].unit,
        reason=None if known else (base.reason if base.value is None else reason),
        low=times(base.low),
        high=times(base.high),
        level=base.level if known else None,
        covers=base.covers if known else None,
    )


def _count_flops(
    sizes: Sizes, model_config: Optional[Mapping[str, Any]]
) -> tuple[Optional[float], str]:
    """FLOPs to train on one sequence, or why they are not known."""
    if model_config is None:
        return None, "the model's configuration is not known"
    if sizes.seq_length is None or sizes.max_predictions is None:
        return None, "sequence length or masked positions not known"
    try:
        counted = count_model_flops(model_config, sizes.seq_length, sizes.max_predictions)
    except (KeyError, TypeError, ValueError) as error:
        return None, f"the model's configuration has no usable {error}"
    return counted.training, ""


def _estimate_step_times(windows: Windows) -> Dict[str, Measurement]:
    times = estimate_step_times(windows)
    keys = {0.5: "step_time_p50_seconds", 0.95: "step_time_p95_seconds"}
    keys[0.99] = "step_time_p99_seconds"
    found = {}
    for share, key in keys.items():
        value = times.quantiles_seconds[share]
        reason = None
        if value is None:
            reason = NO_WINDOW if not times.n else f"{times.n} intervals are too few for it"
        found[key] = Measurement(value, METRICS[key].unit, times.n, times.basis, reason)
    return found


def _estimate_rest(windows: Windows, tracks: Sequence[RankTrack]) -> Dict[str, Measurement]:
    found: Dict[str, Measurement] = {}

    def note(key: str, value: Optional[float], n: int, window: str, reason: str) -> None:
        why = None if value is not None else reason
        found[key] = Measurement(value, METRICS[key].unit, n, window, why)

    stragglers = find_stragglers(windows)
    slowest = "" if stragglers.slowest is None else tracks[stragglers.slowest].label
    told = "all ranks in lockstep" if stragglers.lockstep else f"slowest: {slowest}"
    n_ranks = sum(1 for time in stragglers.step_seconds if time is not None)
    several = n_ranks > 1
    note(
        "straggler_index",
        stragglers.index if several else None,
        n_ranks,
        told if several else "one rank",
        NO_WINDOW if not n_ranks else "one rank alone",
    )
    series = build_launch_series(windows)
    step_seconds = 1.0 / series.rate if len(series.steps) else None
    first = _find_first_steps(tracks, step_seconds)
    note(
        "time_to_first_step_seconds",
        max(first) if len(first) == len(tracks) and first else None,
        len(first),
        "slowest rank, from the first line of its log",
        "the log does not hold the start, or has no time stamps",
    )
    overhead = estimate_checkpoint_overhead(windows)
    why = "no checkpoint in the log" if not overhead.n else NO_WINDOW
    for key, value in (
        ("checkpoint_overhead_seconds", overhead.seconds_each),
        ("checkpoint_overhead_ratio", overhead.share),
    ):
        note(key, value, overhead.n, "intervals with a checkpoint", why)
    skipped, n = _compute_skipped(windows, tracks)
    note("skipped_steps_ratio", skipped, n, "all intervals", "no loss scale is reported")
    return found


def _find_first_steps(tracks: Sequence[RankTrack], step_seconds: Optional[float]) -> List[float]:
    times = []
    for track in tracks:
        report = track.losses[0] if track.losses else None
        if report is None or not track.saw_start:
            continue
        if report.wall_seconds is None or track.start_seconds is None:
            continue
        # A run that went on from a checkpoint starts at a step of which the log tells nothing.
        gained = track.losses[1].step - report.step if len(track.losses) > 1 else 1
        if not 1 <= report.step <= max(1, gained):
            continue
        time = estimate_time_to_first_step(
            track.start_seconds, report.wall_seconds, report.step, step_seconds
        )
        if time is not None:
            times.append(time)
    return times


def _compute_skipped(windows: Windows, tracks: Sequence[RankTrack]) -> tuple[Optional[float], int]:
    n_scales = max((len(track.loss_scales) for track in tracks), default=0)
    if n_scales < 2 and not any(track.overflow_lines for track in tracks):
        return None, n_scales
    return count_skipped_steps(windows).share, len(windows.rows)
