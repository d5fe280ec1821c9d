"""Telemetry as Prometheus metric families: the last sample, whose age stands beside it.

Nothing is read at a scrape: a background thread samples, and a scrape takes what it has.
"""

from __future__ import annotations

from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from prometheus_client.registry import Collector

from bench.export.families import Family, Sample, build_family, build_value
from bench.measure.live import RunFacts
from bench.series import MAX_RANK_SERIES
from bench.telemetry.model import (
    CardReading,
    HostReading,
    RankReading,
    SourceState,
    TelemetrySnapshot,
)

_MOUNT = "output"
_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""Guest time is left out: the kernel counts it in user time, too."""

_CARD_FIGURES: Dict[str, Callable[[CardReading], Optional[float]]] = {
    "npu_healthy": lambda card: _as_flag(_is_healthy(card)),
    "npu_core_utilization_ratio": lambda card: card.core_usage_ratio,
    "npu_core_frequency_hertz": lambda card: card.core_frequency_hertz,
    "npu_temperature_celsius": lambda card: card.temperature_celsius,
    "npu_power_watts": lambda card: card.power_watts,
    "npu_energy_joules_total": lambda card: card.energy_joules,
    "npu_hbm_used_bytes": lambda card: card.hbm_used_bytes,
    "npu_hbm_size_bytes": lambda card: card.hbm_total_bytes,
    "npu_foreign_processes": lambda card: _count(card.foreign_process_ids),
    "npu_link_up": lambda card: _as_flag(card.link_up),
    "npu_network_healthy": lambda card: _as_flag(card.network_healthy),
    "npu_link_up_transitions_total": lambda card: card.link_up_count,
    "npu_roce_receive_errors_total": lambda card: card.roce_receive_errors,
    "npu_roce_transmit_errors_total": lambda card: card.roce_transmit_errors,
}

_RANK_FIGURES: Dict[str, Callable[[RankReading], Optional[float]]] = {
    "rank_cpu_seconds_total": lambda rank: rank.cpu_seconds,
    "rank_resident_memory_bytes": lambda rank: rank.resident_bytes,
}

_SOURCE_FIGURES: Dict[str, Callable[[SourceState], Optional[float]]] = {
    "exporter_collector_success": lambda source: float(source.success),
    "exporter_collector_duration_seconds": lambda source: source.duration_seconds,
    "exporter_collector_last_success_timestamp_seconds": lambda s: s.last_success_seconds,
    "exporter_collections_total": lambda source: source.collections,
    "exporter_collection_failures_total": lambda source: source.failures,
    "exporter_collector_parse_errors_total": lambda source: source.parse_errors,
}


class TelemetryCollector(Collector):
    """Reads the last sample at each scrape.

    Args:
        get_snapshot: gives the state of the sampling, None when there is none.
        get_run: gives the present run, None before the first.
    """

    def __init__(
        self,
        get_snapshot: Callable[[], Optional[TelemetrySnapshot]],
        get_run: Callable[[], Optional[RunFacts]],
    ) -> None:
        self._get_snapshot = get_snapshot
        self._get_run = get_run

    def describe(self) -> List[Family]:
        """Nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """Families of the catalogue; a value that was not to be had is left out."""
        snapshot = self._get_snapshot()
        if snapshot is None:
            return
        yield from build_source_families(snapshot)
        sample, run = snapshot.sample, self._get_run()
        if sample is None:
            return
        if sample.host is not None:
            yield from build_host_families(sample.host)
        # Between two runs of a session the last sample is still that of the run before.
        if run is not None and sample.wall_seconds >= run.started_at_seconds:
            if len(sample.cards) <= MAX_RANK_SERIES:
                yield from build_card_families(sample.cards, run.run_id)
            if len(sample.ranks) <= MAX_RANK_SERIES:
                yield from build_process_families(sample.ranks, run.run_id)


def build_process_families(ranks: Mapping[int, RankReading], run_id: str) -> Iterator[Family]:
    """Families with one series per rank's process."""
    ordered = sorted(ranks.items())
    if ordered:
        for key, read in _RANK_FIGURES.items():
            samples = [((str(number),), read(rank)) for number, rank in ordered]
            yield build_family(key, samples, (run_id,))


def build_card_families(cards: Mapping[int, CardReading], run_id: str) -> Iterator[Family]:
    """Families with one series per card."""
    ordered = [card for _, card in sorted(cards.items())]
    if not ordered:
        return
    first = (run_id,)
    facts = [
        ((str(card.device), card.name or "", card.bus_id or "", card.firmware_version or ""), 1.0)
        for card in ordered
    ]
    yield build_family("npu_info", facts, first)
    for key, read in _CARD_FIGURES.items():
        yield build_family(key, [((str(card.device),), read(card)) for card in ordered], first)
    errors: List[Sample] = []
    for card in ordered:
        errors.append(((str(card.device), "single"), card.hbm_ecc_single_bit_errors))
        errors.append(((str(card.device), "double"), card.hbm_ecc_double_bit_errors))
    yield build_family("npu_hbm_ecc_errors_total", errors, first)
    # A fact of the kind of card, not of the card: once per kind keeps the scrape small.
    rated = {
        card.name or "": card.core_rated_frequency_hertz
        for card in ordered
        if card.core_rated_frequency_hertz is not None
    }
    yield build_family(
        "npu_core_rated_frequency_hertz",
        [((name,), value) for name, value in rated.items()],
        first,
    )


def build_host_families(host: HostReading) -> Iterator[Family]:
    """Families of the host."""
    yield build_family(
        "host_cpu_seconds_total", [((mode,), host.cpu_seconds.get(mode)) for mode in _CPU_MODES]
    )
    figures: Dict[str, Optional[float]] = {
        "host_load1": host.load_average_1min,
        "host_memory_size_bytes": host.memory_total_bytes,
        "host_memory_available_bytes": host.memory_available_bytes,
        "host_swap_used_bytes": host.swap_used_bytes,
        "host_network_receive_bytes_total": _add_up(host.network_receive_bytes),
        "host_network_transmit_bytes_total": _add_up(host.network_transmit_bytes),
    }
    for key, value in figures.items():
        yield build_value(key, value)
    yield build_family("host_filesystem_size_bytes", [((_MOUNT,), host.output_total_bytes)])
    yield build_family("host_filesystem_free_bytes", [((_MOUNT,), host.output_free_bytes)])


def build_source_families(snapshot: TelemetrySnapshot) -> Iterator[Family]:
    """How the sampling itself goes."""
    sources: List[Tuple[str, SourceState]] = sorted(snapshot.sources.items())
    for key, read in _SOURCE_FIGURES.items():
        yield build_family(key, [((name,), read(source)) for name, source in sources])
    yield build_value("exporter_samples_total", snapshot.samples)
    yield build_value("exporter_samples_missed_total", snapshot.missed)
    yield build_value("exporter_telemetry_cpu_seconds_total", snapshot.cost_seconds)


def _is_healthy(card: CardReading) -> Optional[bool]:
    return None if card.health in (None, "unknown") else card.health == "ok"


def _as_flag(value: Optional[bool]) -> Optional[float]:
    return None if value is None else float(value)


def _count(items: Optional[Tuple[int, ...]]) -> Optional[float]:
    return None if items is None else len(items)


def _add_up(by_interface: Mapping[str, int]) -> Optional[float]:
    return sum(by_interface.values()) if by_interface else None
