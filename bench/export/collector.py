"""A run's live state as Prometheus metric families, built anew at each scrape."""

from __future__ import annotations

import math
import platform
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from prometheus_client.registry import Collector

import bench
from bench.catalogue import RUN_STATES
from bench.export.families import Family, build_family, build_histogram, build_value
from bench.measure.live import RankLive, RunSnapshot
from bench.series import MAX_RANK_SERIES, STEP_TIME_BUCKETS

QUANTILES = (0, 0.05, 0.5, 0.95, 1)
"""Shares of the ranks at which their figures are shown; 0 and 1 are the extremes."""

MAX_ENDED = 20
"""Runs of a session whose end is still shown."""


class BuildCollector(Collector):
    """Says which harness exports."""

    def describe(self) -> List[Family]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """One constant."""
        yield build_family(
            "exporter_build_info", [((bench.__version__, platform.python_version()), 1.0)]
        )


class LiveCollector(Collector):
    """Reads the current run at each scrape.

    Args:
        get_snapshot: gives the state of the current run, None before the first.
        list_ended: gives the last states of the runs before it in the same session.
    """

    def __init__(
        self,
        get_snapshot: Callable[[], Optional[RunSnapshot]],
        list_ended: Callable[[], Sequence[RunSnapshot]] = tuple,
    ) -> None:
        self._get_snapshot = get_snapshot
        self._list_ended = list_ended

    def describe(self) -> List[Family]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """Families of the catalogue; a series without a value is left out, never 0."""
        snapshot = self._get_snapshot()
        if snapshot is not None:
            ended = self._list_ended()[-MAX_ENDED:]
            yield from build_state_families([*ended, snapshot])
            yield from build_run_families(snapshot)
            yield from build_quantile_families(snapshot)
            if len(snapshot.ranks) <= MAX_RANK_SERIES:
                yield from build_rank_families(snapshot)


def build_state_families(snapshots: Sequence[RunSnapshot]) -> Iterator[Family]:
    """What every run of a session keeps to its end: its facts and how it stands.

    The next run of a sweep starts at once; without this nobody would see how the one before ended.
    """
    facts, states = [], []
    for snapshot in snapshots:
        run = snapshot.facts
        simulated = "true" if run.simulated else "false"
        labels = (run.run_id, run.model, run.backend, simulated, run.precision, run.task)
        facts.append(((*labels, bench.__version__), 1.0))
        states += [((run.run_id, state), float(state == snapshot.state)) for state in RUN_STATES]
    yield build_family("run_info", facts)
    yield build_family("run_state", states)


def build_run_families(snapshot: RunSnapshot) -> Iterator[Family]:
    """Families that describe the current run as a whole."""
    facts = snapshot.facts
    first = (facts.run_id,)
    ranks = snapshot.ranks
    sequences = sum(rank.steps_done for rank in ranks) * facts.batch_size
    figures: Dict[str, float] = {
        "run_start_timestamp_seconds": facts.started_at_seconds,
        "run_world_size": facts.world_size,
        "run_global_batch_size": facts.world_size * facts.batch_size,
        "run_sequence_length_tokens": facts.seq_length,
        "run_target_steps": facts.steps,
        "run_iterations_per_loop": facts.iterations_per_loop,
        "train_sequences_total": sequences,
        "train_tokens_total": sequences * facts.seq_length,
        "train_nonfinite_loss_total": sum(rank.nonfinite_losses for rank in ranks),
        # Whether one rank saves or all do, it is one checkpoint.
        "train_checkpoints_total": max((rank.checkpoints for rank in ranks), default=0),
        "exporter_parse_errors_total": sum(rank.problems for rank in ranks),
    }
    for key, value in figures.items():
        yield build_value(key, value, first)
    yield build_histogram(
        "train_step_duration_seconds",
        STEP_TIME_BUCKETS,
        snapshot.step_time_counts,
        snapshot.step_time_sum_seconds,
        first,
    )


def build_quantile_families(snapshot: RunSnapshot) -> Iterator[Family]:
    """The ranks as a whole: all that thousands of them show, and cheap for a few."""
    first = (snapshot.facts.run_id,)
    columns: Dict[str, Callable[[RankLive], Optional[float]]] = {
        "ranks_global_step": lambda rank: rank.step,
        "ranks_interval_step_seconds": _compute_step_seconds,
        "ranks_loss": lambda rank: rank.total_loss,
        "ranks_last_step_timestamp_seconds": lambda rank: rank.last_report_seconds,
    }
    yield build_value("ranks_up", float(sum(rank.up for rank in snapshot.ranks)), first)
    for key, read in columns.items():
        found = [value for value in map(read, snapshot.ranks) if value is not None]
        # A loss that is no number has no place in an order; it is counted elsewhere.
        ordered = sorted(value for value in found if not math.isnan(value))
        samples = [
            ((str(share),), ordered[round(share * (len(ordered) - 1))] if ordered else None)
            for share in QUANTILES
        ]
        yield build_family(key, samples, first)


def build_rank_families(snapshot: RunSnapshot) -> Iterator[Family]:
    """Families with one series per rank."""
    devices, first = snapshot.facts.devices, (snapshot.facts.run_id,)
    columns: Dict[str, Callable[[RankLive], Optional[float]]] = {
        "train_global_step": lambda rank: rank.step,
        "train_steps_total": lambda rank: rank.steps_done,
        "train_interval_step_seconds": _compute_step_seconds,
        "train_loss": lambda rank: rank.total_loss,
        "train_mlm_loss": lambda rank: rank.mlm_loss,
        "train_nsp_loss": lambda rank: rank.nsp_loss,
        "train_loss_scale": lambda rank: rank.loss_scale,
        "train_last_step_timestamp_seconds": lambda rank: rank.last_report_seconds,
    }
    ranks = list(enumerate(snapshot.ranks))
    for key, read in columns.items():
        yield build_family(key, [((str(number),), read(rank)) for number, rank in ranks], first)
    lives = [((str(number), str(devices[number])), float(rank.up)) for number, rank in ranks]
    yield build_family("rank_up", lives, first)


def _compute_step_seconds(rank: RankLive) -> Optional[float]:
    return 1.0 / rank.steps_per_second if rank.steps_per_second else None
