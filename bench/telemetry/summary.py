"""Figures of telemetry over a stretch of time: what cards, host and ranks did in it.

A sample holds until the next one, for at most :data:`LONGEST_HOLD_SECONDS` or three of the usual
steps between samples, whichever is longer. Means are weighted by
the time that samples hold; a mean counts only when at least nine tenths of the stretch are covered,
so that a card which stopped answering gives no figure instead of a wrong one. Counters are summed
over their increases, so a counter that starts again from 0 does no harm.
"""

from __future__ import annotations

import math
import statistics
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.telemetry.model import (
    HEALTH_STATES,
    CardReading,
    HostReading,
    RankReading,
    SourceState,
    TelemetrySample,
)

LONGEST_HOLD_SECONDS = 5.0
LEAST_COVER_RATIO = 0.9

_NOT_BUSY = ("idle", "iowait", "guest", "guest_nice")
"""Guest time is counted in user time, too."""

Weighted = List[Tuple[TelemetrySample, float]]
"""Samples and the seconds for which each holds in the stretch."""


def summarise(
    samples: Sequence[TelemetrySample],
    start_seconds: Optional[float] = None,
    end_seconds: Optional[float] = None,
    ranks_of_devices: Optional[Mapping[int, int]] = None,
    sources: Optional[Mapping[str, SourceState]] = None,
) -> Dict[str, Any]:
    """Figures over a stretch, ready for JSON; None for what is not known.

    Args:
        samples: in order of time.
        start_seconds: Unix time at which the stretch begins; the first sample if None.
        end_seconds: Unix time at which it ends; the last sample if None.
        ranks_of_devices: physical device → rank, for the cards of the run.
        sources: how the sources did, for the reasons of what is missing.

    Returns:
        ``seconds`` and ``samples`` of the stretch; ``cards`` by device, ``ranks`` by rank and
        ``host``; ``foreign_processes`` on the cards of the run as texts, None where no driver
        tells them; ``reasons`` by source.
    """
    start = _pick(start_seconds, samples[0].wall_seconds if samples else 0.0)
    end = _pick(end_seconds, samples[-1].wall_seconds if samples else 0.0)
    weighted = weigh_samples(samples, start, end)
    # Counters grow from what they were when the stretch began.
    seen = [sample for sample in samples if sample.wall_seconds <= start][-1:]
    seen += [sample for sample, _ in weighted if sample.wall_seconds > start]
    devices = sorted({device for sample in seen for device in sample.cards})
    own = devices if ranks_of_devices is None else sorted(ranks_of_devices)
    span = max(0.0, end - start)
    backwards = weigh_backwards(samples, start, end)
    return {
        "start_seconds": start if samples else None,
        "seconds": span,
        "samples": sum(1 for sample in samples if start <= sample.wall_seconds <= end),
        "cards": {
            str(device): {
                "rank": (ranks_of_devices or {}).get(device),
                **_summarise_card(device, weighted, seen, span),
            }
            for device in devices
        },
        "ranks": {
            str(rank): _summarise_rank(rank, weighted, backwards, span)
            for rank in sorted({rank for sample in seen for rank in sample.ranks})
        },
        "host": _summarise_host(weighted, backwards, seen, span),
        "foreign_processes": list_foreign_processes(seen, own),
        "reasons": {name: state.reason for name, state in (sources or {}).items() if state.reason},
    }


def weigh_backwards(
    samples: Sequence[TelemetrySample], start_seconds: float, end_seconds: float
) -> Weighted:
    """As :func:`weigh_samples`, for values that tell of the time since the sample before."""
    found: Weighted = []
    hold = find_hold(samples)
    for before, sample in zip(samples, samples[1:]):
        since = max(before.wall_seconds, sample.wall_seconds - hold)
        seconds = min(sample.wall_seconds, end_seconds) - max(since, start_seconds)
        if seconds > 0.0:
            found.append((sample, seconds))
    return found


def weigh_samples(
    samples: Sequence[TelemetrySample], start_seconds: float, end_seconds: float
) -> Weighted:
    """The samples that hold in a stretch, and for how many seconds of it; 0 for one at its end."""
    found: Weighted = []
    hold = find_hold(samples)
    for index, sample in enumerate(samples):
        until = sample.wall_seconds + hold
        if index + 1 < len(samples):
            until = min(until, samples[index + 1].wall_seconds)
        seconds = min(until, end_seconds) - max(sample.wall_seconds, start_seconds)
        if seconds > 0.0 or start_seconds <= sample.wall_seconds <= end_seconds:
            found.append((sample, max(0.0, seconds)))
    return found


def list_foreign_processes(
    samples: Sequence[TelemetrySample], devices: Sequence[int]
) -> Optional[List[str]]:
    """``process 4242 on card 0`` for each; None when no sample tells of processes."""
    known = False
    found = set()
    for sample in samples:
        for device in devices:
            card = sample.cards.get(device)
            if card is not None and card.foreign_process_ids is not None:
                known = True
                found |= {(device, number) for number in card.foreign_process_ids}
    if not known:
        return None
    return [f"process {number} on card {device}" for device, number in sorted(found)]


def find_hold(samples: Sequence[TelemetrySample]) -> float:
    """How long a sample holds at the most, in seconds."""
    steps = [
        after.wall_seconds - before.wall_seconds for before, after in zip(samples, samples[1:])
    ]
    return (
        max(LONGEST_HOLD_SECONDS, 3.0 * statistics.median(steps))
        if len(steps) > 2
        else (LONGEST_HOLD_SECONDS)
    )


def sum_increases(values: Sequence[Optional[float]]) -> Optional[float]:
    """How much a counter grew; a fall means that it began again from 0."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return sum(
        after - before if after >= before else after for before, after in zip(known, known[1:])
    )


def _summarise_card(
    device: int, weighted: Weighted, seen: Sequence[TelemetrySample], span: float
) -> Dict[str, Any]:
    def values(name: str) -> List[Any]:
        return [
            getattr(sample.cards[device], name)
            for sample, _ in weighted
            if device in sample.cards and getattr(sample.cards[device], name) is not None
        ]

    def mean(name: str) -> Optional[float]:
        return _mean(weighted, span, lambda sample: _get(sample.cards.get(device), name))

    def growth(name: str) -> Optional[int]:
        if not weighted:
            return None
        grown = sum_increases([_get(sample.cards.get(device), name) for sample in seen])
        return None if grown is None else int(grown)

    power = mean("power_watts")
    healths = [HEALTH_STATES.index(word) for word in values("health") if word in HEALTH_STATES]
    # Not known is no worse than a warning, and no better than being well.
    order = [0, 2, 3, 4, 1]
    worst = max(healths, key=lambda index: order[index]) if healths else None
    links = values("link_up")
    receive, transmit = growth("roce_receive_errors"), growth("roce_transmit_errors")
    return {
        "power_mean_watts": power,
        "energy_joules": None if power is None else power * span,
        "temperature_max_celsius": max(values("temperature_celsius"), default=None),
        "hbm_temperature_max_celsius": max(values("hbm_temperature_celsius"), default=None),
        "core_usage_mean_ratio": mean("core_usage_ratio"),
        "core_frequency_min_hertz": min(values("core_frequency_hertz"), default=None),
        "core_rated_frequency_hertz": max(values("core_rated_frequency_hertz"), default=None),
        "hbm_used_max_bytes": max(values("hbm_used_bytes"), default=None),
        "hbm_ecc_single_bit_errors": growth("hbm_ecc_single_bit_errors"),
        "hbm_ecc_double_bit_errors": growth("hbm_ecc_double_bit_errors"),
        "health_worst": None if worst is None else HEALTH_STATES[worst],
        "error_codes": sorted({code for codes in values("error_codes") for code in codes}),
        "link_down_seen": None if not links else not all(links),
        "link_up_transitions": growth("link_up_count"),
        "roce_errors": None
        if receive is None and transmit is None
        else (receive or 0) + (transmit or 0),
    }


def _summarise_rank(
    rank: int, weighted: Weighted, backwards: Weighted, span: float
) -> Dict[str, Any]:
    readings = [sample.ranks[rank] for sample, _ in weighted if rank in sample.ranks]

    def cores(sample: TelemetrySample) -> Optional[float]:
        reading: Optional[RankReading] = sample.ranks.get(rank)
        return None if reading is None else reading.cpu_usage_cores

    return {
        "cpu_usage_mean_cores": _mean(backwards, span, cores),
        "resident_max_bytes": max(
            (item.resident_bytes for item in readings if item.resident_bytes is not None),
            default=None,
        ),
        "threads_max": max(
            (item.threads for item in readings if item.threads is not None), default=None
        ),
    }


def _summarise_host(
    weighted: Weighted, backwards: Weighted, seen: Sequence[TelemetrySample], span: float
) -> Dict[str, Any]:
    hosts = [sample.host for sample, _ in weighted if sample.host is not None]

    def known(name: str) -> List[Any]:
        values = [getattr(host, name) for host in hosts]
        return [value for value in values if value is not None]

    def bytes_of(host: Optional[HostReading], name: str) -> Optional[float]:
        return None if host is None else float(sum(getattr(host, name).values()))

    def usage(sample: TelemetrySample) -> Optional[float]:
        return None if sample.host is None else sample.host.cpu_usage_ratio

    busy = _compute_busy_cores(seen)
    own = _compute_rank_cores(seen)
    return {
        "cpu_usage_mean_ratio": _mean(backwards, span, usage),
        "cpu_busy_mean_cores": busy,
        # Whoever else computed here, the harness itself included.
        "cpu_others_mean_cores": None if busy is None or own is None else max(0.0, busy - own),
        "load_average_max": max(known("load_average_1min"), default=None),
        "memory_available_min_bytes": min(known("memory_available_bytes"), default=None),
        "swap_used_max_bytes": max(known("swap_used_bytes"), default=None),
        "output_free_min_bytes": min(known("output_free_bytes"), default=None),
        **{
            name: sum_increases([bytes_of(sample.host, name) for sample in seen])
            for name in ("network_receive_bytes", "network_transmit_bytes")
        },
    }


def _compute_busy_cores(seen: Sequence[TelemetrySample]) -> Optional[float]:
    """Cores that were busy on the whole host, from the kernel's own sums."""
    known = [sample for sample in seen if sample.host is not None and sample.host.cpu_seconds]
    if len(known) < 2:
        return None
    first, last = known[0], known[-1]
    assert first.host is not None and last.host is not None
    seconds = last.monotonic_seconds - first.monotonic_seconds
    busy = sum(
        value - first.host.cpu_seconds.get(mode, value)
        for mode, value in last.host.cpu_seconds.items()
        if mode not in _NOT_BUSY
    )
    return busy / seconds if seconds > 0.0 else None


def _compute_rank_cores(seen: Sequence[TelemetrySample]) -> Optional[float]:
    """Cores that all ranks together kept busy; None where the samples tell of no rank."""
    used: Dict[int, List[Optional[float]]] = {}
    for sample in seen:
        for rank, reading in sample.ranks.items():
            used.setdefault(rank, []).append(reading.cpu_seconds)
    grown = [sum_increases(values) for values in used.values()]
    known = [value for value in grown if value is not None]
    seconds = seen[-1].monotonic_seconds - seen[0].monotonic_seconds if seen else 0.0
    return sum(known) / seconds if known and seconds > 0.0 else None


def _mean(
    weighted: Weighted, span: float, read: Callable[[TelemetrySample], Optional[float]]
) -> Optional[float]:
    """Mean over the time that is covered; None when too little of the stretch is."""
    total = covered = 0.0
    for sample, seconds in weighted:
        value = read(sample)
        if value is not None and math.isfinite(value):
            total += value * seconds
            covered += seconds
    if covered <= 0.0 or covered < LEAST_COVER_RATIO * span:
        return None
    return total / covered


def _get(card: Optional[CardReading], name: str) -> Any:
    return None if card is None else getattr(card, name)


def _pick(value: Optional[float], other: float) -> float:
    return other if value is None else value
