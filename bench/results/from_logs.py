"""From logs to the figures of a run: the one path, taken at the end of a run and by ``parse``."""

from __future__ import annotations

import collections
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.errors import DataError
from bench.logs.files import read_logs
from bench.logs.ranks import RankLog
from bench.logs.report import LogReport
from bench.measure import validity
from bench.measure.figures import Check, Measurement
from bench.measure.flops import PeakFlops
from bench.measure.intervals import Interval, RankTrack, build_intervals
from bench.measure.loss_band import LossBand, check_loss_band, describe_case
from bench.measure.summary import Sizes, summarise_launch
from bench.measure.windows import Windows, classify_intervals
from bench.results.model import RankRecord
from bench.results.tracks import (
    NOT_KNOWN,
    build_track,
    find_sizes,
    read_flags,
    read_model_of,
    read_scores,
)
from bench.spec import RunSpec
from bench.spec_downstream import PREDICT, PRETRAIN


@dataclass(frozen=True)
class LaunchFacts:
    """What is known of a launched run besides its logs.

    Attributes:
        spec: what was asked, one card count.
        exit_codes: of the rank processes; empty when none was started.
        flags: flag → value on the trainer's command line; empty for a foreign trainer.
        model_config: the BERT configuration, None if not known.
        peak: of one card, None where utilisation means nothing.
        steady_required: a run that never gets steady is invalid.
        loss_bands: where the loss of sound runs lies.
        foreign_processes: what else ran on the cards, None if not known.
        foreign_reason: why it is not.
    """

    spec: RunSpec
    exit_codes: Mapping[int, Optional[int]] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    model_config: Optional[Mapping[str, Any]] = None
    peak: Optional[PeakFlops] = None
    steady_required: bool = True
    loss_bands: Sequence[LossBand] = ()
    foreign_processes: Optional[Sequence[str]] = None
    foreign_reason: str = "no telemetry"


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
        origins: where each size comes from: ``told``, ``log``, ``asked``, ``ranks seen``,
            ``assumed`` or ``not known``.
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


def measure_run(logs_dir: Path, facts: LaunchFacts) -> RunMeasured:
    """Measures a launched run from its log folder.

    Args:
        logs_dir: folder of ``train_<device>.log`` files.
        facts: what else is known of it.
    """
    spec = facts.spec
    ranks = read_logs(sorted(logs_dir.glob("train_*.log"))).ranks
    tracks = [build_track(rank) for rank in ranks]
    told, windows = _classify(tracks)
    n_predictions = spec.max_predictions if spec.task == PRETRAIN else 0
    sizes = Sizes(spec.batch_size, spec.seq_length, spec.n_cards, n_predictions)
    losses = [track.losses for track in tracks]
    flags = [read_flags(rank.report) for rank in ranks]
    case = describe_case(asdict(spec), spec.n_cards)
    if spec.data is not None or spec.trainer_command:
        case["data_language"] = None
    checks = (
        validity.check_exit_codes(facts.exit_codes),
        validity.check_ranks_seen(
            [track.label for track in tracks if track.losses or track.rates], spec.n_cards
        ),
        validity.check_batches_timed([_last_step(track) for track in tracks], spec.steps)
        if spec.task == PREDICT
        else validity.check_steps_reached([_last_step(track) for track in tracks], spec.steps),
        validity.check_group_size(
            [one.get("collective_group_size") for one in flags], spec.n_cards
        ),
        validity.check_shards([one.get("input_shares") for one in flags], spec.n_cards),
        validity.check_declared(facts.flags, flags),
        validity.check_losses_finite(losses),
        check_loss_band(facts.loss_bands, case, losses),
        validity.check_skipped(windows),
        validity.check_no_foreign_processes(facts.foreign_processes, facts.foreign_reason),
        validity.check_clock(tracks),
        validity.check_intervals(windows),
        validity.check_steady(windows, facts.steady_required),
    )
    return RunMeasured(
        ranks=tuple(
            build_record(index, rank, track, tags, items, facts.exit_codes)
            for index, (rank, track, tags, items) in enumerate(
                zip(ranks, tracks, told, windows.ranks)
            )
        ),
        summary=summarise_launch(
            windows,
            tracks,
            sizes,
            facts.model_config,
            facts.peak,
            read_scores([rank.report for rank in ranks]),
            spec.downstream.target,
        ),
        checks=checks,
    )


def _classify(tracks: Sequence[RankTrack]) -> Tuple[List[List[str]], Windows]:
    """What the logs told of each interval, and what became of it."""
    intervals = [build_intervals(track) for track in tracks]
    return [[item.reason for item in items] for items in intervals], classify_intervals(intervals)


def measure_logs(
    paths: Sequence[Path],
    told: Sizes,
    target: Optional[float] = None,
    asked: Sizes = NOT_KNOWN,
) -> LogsMeasured:
    """Measures logs of which nothing else is known.

    Args:
        paths: log files, or folders, whose ``*.log`` files are meant.
        told: what the user knows; the rest is looked for in the logs.
        target: of the headline metric of fine-tuning, None for none.
        asked: of the run that wrote them, for what neither user nor logs say.

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
    sizes, origins = find_sizes(told, reports, ranks, asked)
    tracks = [build_track(rank) for rank in ranks]
    tags, windows = _classify(tracks)
    sizes = replace(sizes, cards=sizes.cards or len(ranks))
    losses = [track.losses for track in tracks]
    return LogsMeasured(
        sources=[report.source for report in reports],
        ranks=tuple(
            build_record(index, rank, track, told_of, items, {})
            for index, (rank, track, told_of, items) in enumerate(
                zip(ranks, tracks, tags, windows.ranks)
            )
        ),
        summary=summarise_launch(
            windows, tracks, sizes, read_model_of(reports), None, read_scores(reports), target
        ),
        checks=(
            validity.check_steps_reached([_last_step(track) for track in tracks], None),
            validity.check_losses_finite(losses),
            validity.check_skipped(windows),
            validity.check_clock(tracks),
            validity.check_intervals(windows),
            validity.check_steady(windows, False),
        ),
        counts=_count_records(reports),
        loss_scales=_count_loss_scales(reports),
        problems=[_describe_problems(report) for report in reports],
        sizes=sizes,
        origins=origins,
    )


def build_record(
    index: int,
    rank: RankLog,
    track: RankTrack,
    told: Sequence[str],
    intervals: Sequence[Interval],
    exit_codes: Mapping[int, Optional[int]],
) -> RankRecord:
    """The stored form of a rank; ``told`` is what its log says of each interval."""
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
            "told": list(told),
            "reason": [item.reason for item in intervals],
            "wall_seconds": [item.wall_seconds for item in intervals],
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


def _last_step(track: RankTrack) -> Optional[int]:
    if track.predicts:
        return max(record.batch for record in track.batches)
    return track.losses[-1].step if track.losses else None


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
