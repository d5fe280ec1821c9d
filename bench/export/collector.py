"""A run's live state as Prometheus metric families, built anew at each scrape."""

from __future__ import annotations

import platform
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import bench
from bench.catalogue import RUN_STATES, SERIES
from bench.measure.live import RankLive, RunSnapshot

Family = Union[CounterMetricFamily, GaugeMetricFamily]
Sample = Tuple[Sequence[str], Optional[float]]


class LiveCollector(Collector):
    """Reads the current run at each scrape.

    Args:
        get_snapshot: gives the state of the current run, None between runs.
    """

    def __init__(self, get_snapshot: Callable[[], Optional[RunSnapshot]]) -> None:
        self._get_snapshot = get_snapshot

    def describe(self) -> List[Family]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """Families of the catalogue; a series without a value is left out, never 0."""
        yield build_family(
            "exporter_build_info", [((bench.__version__, platform.python_version()), 1.0)]
        )
        snapshot = self._get_snapshot()
        if snapshot is not None:
            yield from build_run_families(snapshot)
            yield from build_rank_families(snapshot)


def build_family(name: str, samples: Iterable[Sample]) -> Family:
    """A family of the catalogue.

    Args:
        name: series name without the prefix.
        samples: label values and value; None is left out.
    """
    series = SERIES[name]
    kind = CounterMetricFamily if series.type == "counter" else GaugeMetricFamily
    family = kind(series.name, series.help, labels=series.labels)
    for labels, value in samples:
        if value is not None:
            family.add_metric([str(label) for label in labels], value)
    return family


def build_run_families(snapshot: RunSnapshot) -> Iterator[Family]:
    """Families that describe the run as a whole."""
    facts = snapshot.facts
    labels = (
        facts.run_id,
        facts.model,
        facts.backend,
        "true" if facts.simulated else "false",
        facts.precision,
        facts.task,
        bench.__version__,
    )
    yield build_family("run_info", [(labels, 1.0)])
    yield build_family(
        "run_state", [((state,), float(state == snapshot.state)) for state in RUN_STATES]
    )
    sizes: Dict[str, float] = {
        "run_start_timestamp_seconds": facts.started_at_seconds,
        "run_world_size": facts.world_size,
        "run_global_batch_size": facts.world_size * facts.batch_size,
        "run_sequence_length_tokens": facts.seq_length,
        "run_target_steps": facts.steps,
        "run_iterations_per_loop": facts.iterations_per_loop,
    }
    for name, value in sizes.items():
        yield build_family(name, [((), value)])


def build_rank_families(snapshot: RunSnapshot) -> Iterator[Family]:
    """Families with one series per rank."""
    facts = snapshot.facts
    sequences = facts.batch_size
    tokens = facts.batch_size * facts.seq_length
    columns: Dict[str, Callable[[RankLive], Optional[float]]] = {
        "train_global_step": lambda rank: rank.step,
        "train_steps_total": lambda rank: rank.steps_done,
        "train_sequences_total": lambda rank: rank.steps_done * sequences,
        "train_tokens_total": lambda rank: rank.steps_done * tokens,
        "train_loss": lambda rank: rank.total_loss,
        "train_mlm_loss": lambda rank: rank.mlm_loss,
        "train_nsp_loss": lambda rank: rank.nsp_loss,
        "train_loss_scale": lambda rank: rank.loss_scale,
        "train_nonfinite_loss_total": lambda rank: rank.nonfinite_losses,
        "train_checkpoints_total": lambda rank: rank.checkpoints,
        "train_last_step_timestamp_seconds": lambda rank: rank.last_report_seconds,
        "exporter_parse_errors_total": lambda rank: rank.problems,
    }
    ranks = list(enumerate(snapshot.ranks))
    for name, read in columns.items():
        yield build_family(name, [((str(number),), read(rank)) for number, rank in ranks])
    yield build_family(
        "rank_up",
        [((str(number), str(facts.devices[number])), float(rank.up)) for number, rank in ranks],
    )
