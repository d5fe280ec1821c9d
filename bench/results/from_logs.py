"""From logs to the figures of a run: the one path, taken at the end of a run and by ``parse``."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.errors import DataError
from bench.logs import patterns
from bench.logs.files import read_logs
from bench.logs.ranks import RankLog
from bench.logs.report import LogReport
from bench.measure.estimate import estimate_final_losses, estimate_throughput
from bench.measure.figures import Check, Measurement
from bench.measure.intervals import (
    Interval,
    LossRecord,
    RankTrack,
    RateRecord,
    build_intervals,
)
from bench.measure.validity import (
    check_enough_intervals,
    check_exit_codes,
    check_losses_finite,
    check_ranks_seen,
    check_steps_reached,
)
from bench.results.model import RankRecord
from bench.spec import RunSpec

SEED_BATCH_SIZE = 128
"""The batch per card of the ModelZoo document, taken when neither user nor log tells it."""

_START_PHASES = ("Calling model_fn", "Graph was finalized", "Running local_init_op")
_SIZE_FLAGS = {"train_batch_size": "batch_size", "max_seq_length": "seq_length"}


@dataclass(frozen=True)
class Sizes:
    """What turns steps into sequences; None where not known."""

    batch_size: Optional[int] = None
    seq_length: Optional[int] = None
    cards: Optional[int] = None


@dataclass(frozen=True)
class RunMeasured:
    """What the logs of a launched run give."""

    ranks: Tuple[RankRecord, ...]
    summary: Mapping[str, Measurement]
    checks: Tuple[Check, ...]


@dataclass(frozen=True)
class LogsMeasured:
    """What logs alone give.

    Attributes:
        sources: the logs.
        ranks: a record per rank found.
        summary: metric key → measurement.
        checks: those that need no knowledge of what was asked.
        counts: records read, by kind.
        loss_scales: how often each loss scale was reported, by ranks known or not.
        problems: unreadable places: counts by kind and the first texts.
        sizes: batch, sequence length and cards.
        origins: where each size comes from: ``told``, ``log``, ``ranks seen``, ``assumed`` or
            ``not known``.
    """

    sources: List[str]
    ranks: Tuple[RankRecord, ...]
    summary: Mapping[str, Measurement]
    checks: Tuple[Check, ...]
    counts: Dict[str, int]
    loss_scales: Dict[float, int]
    problems: List[Dict[str, Any]]
    sizes: Sizes
    origins: Dict[str, str] = field(default_factory=dict)


def measure_run(
    logs_dir: Path, spec: RunSpec, exit_codes: Mapping[int, Optional[int]]
) -> RunMeasured:
    """Measures a launched run from its log folder.

    Args:
        logs_dir: folder of ``train_<device>.log`` files.
        spec: what was asked, one card count.
        exit_codes: of the rank processes; empty when none was started.
    """
    ranks = read_logs(sorted(logs_dir.glob("train_*.log"))).ranks
    tracks = [build_track(rank) for rank in ranks]
    intervals = [build_intervals(track) for track in tracks]
    records = tuple(
        build_record(index, rank, track, items, exit_codes)
        for index, (rank, track, items) in enumerate(zip(ranks, tracks, intervals))
    )
    losses = [track.losses for track in tracks]
    summary = estimate_throughput(intervals, spec.batch_size, spec.seq_length, spec.n_cards)
    summary.update(estimate_final_losses(losses))
    checks = (
        check_exit_codes(exit_codes),
        check_ranks_seen(
            [track.label for track in tracks if track.losses or track.rates], spec.n_cards
        ),
        check_steps_reached([_last_step(track) for track in tracks], spec.steps),
        check_losses_finite(losses),
        check_enough_intervals(intervals),
    )
    return RunMeasured(records, summary, checks)


def measure_logs(paths: Sequence[Path], told: Sizes) -> LogsMeasured:
    """Measures logs of which nothing else is known.

    Args:
        paths: log files, or folders, whose ``*.log`` files are meant.
        told: what the user knows; the rest is looked for in the logs.

    Raises:
        DataError: a log cannot be opened, or none tells of training.
    """
    logs = read_logs(paths)
    reports, ranks = logs.reports, logs.ranks
    if not ranks:
        raise DataError(
            "no training record in {}: no line says global_step/sec or a loss".format(
                ", ".join(report.source for report in reports)
            )
        )
    sizes, origins = find_sizes(told, reports, ranks)
    tracks = [build_track(rank) for rank in ranks]
    intervals = [build_intervals(track) for track in tracks]
    losses = [track.losses for track in tracks]
    summary = estimate_throughput(
        intervals, sizes.batch_size, sizes.seq_length, sizes.cards or len(ranks)
    )
    summary.update(estimate_final_losses(losses))
    return LogsMeasured(
        sources=[report.source for report in reports],
        ranks=tuple(
            build_record(index, rank, track, items, {})
            for index, (rank, track, items) in enumerate(zip(ranks, tracks, intervals))
        ),
        summary=summary,
        checks=(
            check_steps_reached([_last_step(track) for track in tracks], None),
            check_losses_finite(losses),
            check_enough_intervals(intervals),
        ),
        counts=_count_records(reports),
        loss_scales=_count_loss_scales(reports),
        problems=[_describe_problems(report) for report in reports],
        sizes=sizes,
        origins=origins,
    )


def build_track(rank: RankLog) -> RankTrack:
    """What one rank's part of its log says, as plain records."""
    losses = rank.rows("losses")
    full = (losses["present"] & patterns.MASKED_LM) != 0
    if full.any():
        # The Estimator's own hook reports the total loss of the same steps once more.
        losses = losses[full]
    there = losses["present"]
    columns = zip(
        losses["line_number"].tolist(),
        losses["global_step"].tolist(),
        _optional(losses["elapsed_seconds"], there & patterns.ELAPSED),
        _optional(losses["masked_lm_loss"], there & patterns.MASKED_LM),
        _optional(losses["next_sentence_loss"], there & patterns.NEXT_SENTENCE),
        losses["total_loss"].tolist(),
    )
    rates = rank.rows("step_rates")
    phases = set(rank.report.phases.column("name").tolist())
    return RankTrack(
        label=rank.key.label,
        rank=rank.key.rank_id,
        rates=[
            RateRecord(line, value)
            for line, value in zip(
                rates["line_number"].tolist(), rates["steps_per_second"].tolist()
            )
        ],
        losses=[LossRecord(*row) for row in columns],
        checkpoint_lines=rank.rows("checkpoints")["line_number"].tolist(),
        loss_scales=rank.rows("loss_scales")["value"].tolist(),
        saw_start=any(name in phases for name in _START_PHASES),
        problem_count=sum(rank.report.problem_counts.values()),
    )


def build_record(
    index: int,
    rank: RankLog,
    track: RankTrack,
    intervals: Sequence[Interval],
    exit_codes: Mapping[int, Optional[int]],
) -> RankRecord:
    """The stored form of a rank."""
    number = index if track.rank is None else track.rank
    return RankRecord(
        rank=number,
        label=track.label,
        device=rank.key.device,
        exit_code=exit_codes.get(number),
        last_step=_last_step(track),
        intervals={
            "end_step": [item.end_step for item in intervals],
            "steps": [item.steps for item in intervals],
            "seconds": [item.seconds for item in intervals],
            "steps_per_second": [item.steps_per_second for item in intervals],
            "reason": [item.reason for item in intervals],
        },
        losses={
            "step": [record.step for record in track.losses],
            "mlm": [record.mlm for record in track.losses],
            "nsp": [record.nsp for record in track.losses],
            "total": [record.total for record in track.losses],
        },
        loss_scales=list(track.loss_scales),
        problems=_describe_problems(rank.report),
    )


def find_sizes(
    told: Sizes, reports: Sequence[LogReport], ranks: Sequence[RankLog]
) -> Tuple[Sizes, Dict[str, str]]:
    """Batch, sequence length and cards, and where each is known from."""
    found: Dict[str, int] = {}
    for report in reports:
        flags = report.flags
        for flag, value in zip(flags.column("name").tolist(), flags.column("value").tolist()):
            name = _SIZE_FLAGS.get(flag)
            if name is not None and value.isdigit():
                found.setdefault(name, int(value))
    sizes_said = {key.rank_size for key in (rank.key for rank in ranks) if key.rank_size}
    if len(sizes_said) == 1:
        found["cards"] = sizes_said.pop()
    values: Dict[str, Optional[int]] = {}
    origins: Dict[str, str] = {}
    for name in ("batch_size", "seq_length", "cards"):
        given = getattr(told, name)
        if given is not None:
            values[name], origins[name] = given, "told"
        elif name in found:
            values[name], origins[name] = found[name], "log"
        else:
            values[name], origins[name] = None, "not known"
    if values["batch_size"] is None:
        values["batch_size"], origins["batch_size"] = SEED_BATCH_SIZE, "assumed"
    if values["cards"] is None:
        values["cards"], origins["cards"] = len(ranks), "ranks seen"
    return Sizes(**values), origins


def _last_step(track: RankTrack) -> Optional[int]:
    return track.losses[-1].step if track.losses else None


def _optional(column: Any, present: Any) -> List[Optional[float]]:
    return [value if bit else None for value, bit in zip(column.tolist(), present.tolist())]


def _count_records(reports: Sequence[LogReport]) -> Dict[str, int]:
    counts: Dict[str, int] = collections.Counter()
    for report in reports:
        for name, table in report.tables.items():
            counts[name] += len(table)
        counts["lines"] += report.n_lines
        counts["bytes"] += report.n_bytes
    return {name: count for name, count in counts.items() if count}


def _count_loss_scales(reports: Sequence[LogReport]) -> Dict[float, int]:
    counts: Dict[float, int] = collections.Counter()
    for report in reports:
        counts.update(report.loss_scales.column("value").tolist())
    return dict(counts)


def _describe_problems(report: LogReport) -> Dict[str, Any]:
    return {
        "source": report.source,
        "counts": dict(report.problem_counts),
        "first": [
            {"line": problem.line_number, "kind": problem.kind, "text": problem.text}
            for problem in report.problems
        ],
    }
