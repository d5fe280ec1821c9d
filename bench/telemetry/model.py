"""What a sample of telemetry says: of each card, of the host and of each rank.

A value of None was not to be had; the reason stands once per source, not once per value. Values of
one snapshot can differ in age, because some sources are asked less often than others: every
:class:`SourceState` says how old its values are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Mapping, Optional, Tuple

SOURCES = ("host", "ranks", "npu_smi", "npu_details", "hccn")
"""Where values come from: psutil, psutil, ``npu-smi info``, ``npu-smi info -t``, ``hccn_tool``."""

HEALTH_STATES = ("ok", "warning", "alarm", "critical", "unknown")
"""States of a card; ``npu-smi`` writes them with other capitals."""


@dataclass(frozen=True)
class CardReading:
    """One card (chip) of the host.

    Attributes:
        device: physical id, also inside a container.
        name: such as ``910A``.
        bus_id: PCIe address.
        firmware_version: of the card.
        health: one of :data:`HEALTH_STATES`.
        error_codes: hexadecimal codes of present faults, blank-free; None where not told.
        power_watts: present power.
        energy_joules: power integrated over the time since sampling began.
        temperature_celsius: of the chip.
        hbm_temperature_celsius: of the high-bandwidth memory.
        core_usage_ratio: share of time in which the AI cores were busy, 0 to 1.
        core_frequency_hertz: present frequency of the AI cores.
        core_rated_frequency_hertz: the one they have when nothing slows them.
        hbm_used_bytes: high-bandwidth memory in use.
        hbm_total_bytes: high-bandwidth memory in all.
        hbm_bandwidth_usage_ratio: share of its bandwidth in use, 0 to 1.
        hbm_ecc_single_bit_errors: corrected errors, counted by the card.
        hbm_ecc_double_bit_errors: errors that could not be corrected.
        process_ids: processes that hold the card; None where the version has no such table.
        foreign_process_ids: those of them that are none of the run's ranks.
        link_up: state of the network port.
        network_health: word of ``hccn_tool -net_health``, such as ``Success``.
        link_up_count: how often the port came up since the card was started.
        link_speed_bytes_per_second: of the port.
        roce_receive_errors: packets received with an error.
        roce_transmit_errors: packets sent with an error.
        roce_retries: packets sent again.
    """

    device: int
    name: Optional[str] = None
    bus_id: Optional[str] = None
    firmware_version: Optional[str] = None
    health: Optional[str] = None
    error_codes: Optional[Tuple[str, ...]] = None
    power_watts: Optional[float] = None
    energy_joules: Optional[float] = None
    temperature_celsius: Optional[float] = None
    hbm_temperature_celsius: Optional[float] = None
    core_usage_ratio: Optional[float] = None
    core_frequency_hertz: Optional[float] = None
    core_rated_frequency_hertz: Optional[float] = None
    hbm_used_bytes: Optional[int] = None
    hbm_total_bytes: Optional[int] = None
    hbm_bandwidth_usage_ratio: Optional[float] = None
    hbm_ecc_single_bit_errors: Optional[int] = None
    hbm_ecc_double_bit_errors: Optional[int] = None
    process_ids: Optional[Tuple[int, ...]] = None
    foreign_process_ids: Optional[Tuple[int, ...]] = None
    link_up: Optional[bool] = None
    network_health: Optional[str] = None
    link_up_count: Optional[int] = None
    link_speed_bytes_per_second: Optional[float] = None
    roce_receive_errors: Optional[int] = None
    roce_transmit_errors: Optional[int] = None
    roce_retries: Optional[int] = None

    @property
    def network_healthy(self) -> Optional[bool]:
        """Whether the network test of the card succeeded; None before the first test."""
        if self.network_health is None or self.network_health.lower() in ("init", "unknown"):
            return None
        return self.network_health.lower() == "success"


@dataclass(frozen=True)
class HostReading:
    """The host, or the container as far as it sees the host.

    Attributes:
        cpu_seconds: processor time since boot by mode (``user``, ``system``, ``idle``, …).
        cpu_usage_ratio: share of all cores that was busy since the sample before, 0 to 1.
        load_average_1min: as the kernel forms it.
        memory_total_bytes: RAM.
        memory_available_bytes: what could be had without swapping.
        swap_used_bytes: swap in use.
        network_receive_bytes: received since boot, by interface; loopback is left out.
        network_transmit_bytes: sent since boot, by interface.
        output_total_bytes: size of the file system that holds the run's folder.
        output_free_bytes: free there for this user.
    """

    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    cpu_usage_ratio: Optional[float] = None
    load_average_1min: Optional[float] = None
    memory_total_bytes: Optional[int] = None
    memory_available_bytes: Optional[int] = None
    swap_used_bytes: Optional[int] = None
    network_receive_bytes: Mapping[str, int] = field(default_factory=dict)
    network_transmit_bytes: Mapping[str, int] = field(default_factory=dict)
    output_total_bytes: Optional[int] = None
    output_free_bytes: Optional[int] = None


@dataclass(frozen=True)
class RankReading:
    """The process of a rank together with its children.

    Attributes:
        rank: global rank id.
        device: physical device id.
        process_id: of the rank itself.
        cpu_seconds: processor time, user and system, since the start.
        cpu_usage_cores: cores kept busy since the sample before; 1.5 is one and a half.
        resident_bytes: memory in RAM.
        threads: number of them.
        open_files: descriptors of the rank itself.
    """

    rank: int
    device: int
    process_id: int
    cpu_seconds: Optional[float] = None
    cpu_usage_cores: Optional[float] = None
    resident_bytes: Optional[int] = None
    threads: Optional[int] = None
    open_files: Optional[int] = None


@dataclass(frozen=True)
class SourceState:
    """How the reading of one source goes.

    Attributes:
        name: one of :data:`SOURCES`.
        success: whether the last attempt gave values.
        reason: why not.
        duration_seconds: of the last attempt.
        last_success_seconds: Unix time of the last values, None before the first.
        collections: attempts so far.
        failures: those that gave no values.
        parse_errors: answers that were not understood.
    """

    name: str
    success: bool = False
    reason: Optional[str] = None
    duration_seconds: Optional[float] = None
    last_success_seconds: Optional[float] = None
    collections: int = 0
    failures: int = 0
    parse_errors: int = 0


@dataclass(frozen=True)
class TelemetrySample:
    """All that was known at one moment.

    Attributes:
        monotonic_seconds: clock that never steps; for differences.
        wall_seconds: Unix time; for holding against logs.
        cards: by physical device id.
        host: None before its first reading.
        ranks: by rank.
        ages_seconds: by source, how old its values were.
    """

    monotonic_seconds: float
    wall_seconds: float
    cards: Mapping[int, CardReading] = field(default_factory=dict)
    host: Optional[HostReading] = None
    ranks: Mapping[int, RankReading] = field(default_factory=dict)
    ages_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TelemetrySnapshot:
    """What an exporter reads: the last sample and how the sampling goes.

    Attributes:
        sample: the last one, None before it.
        sources: by name, only those that are asked in this run.
        simulated: the cards' values were made up, not read.
        samples: taken so far.
        missed: due but not taken because the one before took too long.
        cost_seconds: processor time of the sampling so far, its commands included.
    """

    sample: Optional[TelemetrySample] = None
    sources: Mapping[str, SourceState] = field(default_factory=dict)
    simulated: bool = False
    samples: int = 0
    missed: int = 0
    cost_seconds: float = 0.0

    def compute_ages(self, now_seconds: float) -> Dict[str, float]:
        """Age of each source's values in seconds; a source without values is left out.

        Args:
            now_seconds: Unix time.
        """
        return {
            name: max(0.0, now_seconds - state.last_success_seconds)
            for name, state in self.sources.items()
            if state.last_success_seconds is not None
        }
