"""Figures of telemetry: what cards, host and ranks did while a run went."""

from __future__ import annotations

import math
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from bench.report.plot import Area, Line, Plot, order_finite
from bench.telemetry.model import TelemetrySample
from bench.telemetry.store import StoredTelemetry

MOST_LINES = 8

_MIB = 1024.0 * 1024.0

# Title, unit, attribute of a card, factor.
_CARD_FIGURES: Tuple[Tuple[str, str, str, float], ...] = (
    ("Power of cards", "W", "power_watts", 1.0),
    ("Temperature of cards", "°C", "temperature_celsius", 1.0),
    ("AI-core usage", "%", "core_usage_ratio", 100.0),
    ("AI-core frequency", "MHz", "core_frequency_hertz", 1e-6),
    ("Memory of cards", "GiB", "hbm_used_bytes", 1.0 / (1024.0 * _MIB)),
)
_RANK_FIGURES: Tuple[Tuple[str, str, str, float], ...] = (
    ("Processor use of ranks", "cores", "cpu_usage_cores", 1.0),
    ("Memory of ranks", "MiB", "resident_bytes", 1.0 / _MIB),
)
_HOST_FIGURES: Tuple[Tuple[str, str, str, float], ...] = (
    ("Processor use of the host", "%", "cpu_usage_ratio", 100.0),
    ("Load of the host", "processes", "load_average_1min", 1.0),
    ("Available memory of the host", "GiB", "memory_available_bytes", 1.0 / (1024.0 * _MIB)),
)

Read = Callable[[TelemetrySample], Dict[str, Optional[float]]]


def plot_telemetry(telemetry: StoredTelemetry, name: str) -> List[Plot]:
    """A plot for each figure of which there are two values or more.

    Args:
        telemetry: of one run.
        name: of the run, for the titles.
    """
    if len(telemetry.samples) < 2:
        return []
    plots = [
        *(_plot(telemetry, name, *figure, _read_cards(figure[2])) for figure in _CARD_FIGURES),
        *(_plot(telemetry, name, *figure, _read_ranks(figure[2])) for figure in _RANK_FIGURES),
        *(_plot(telemetry, name, *figure, _read_host(figure[2])) for figure in _HOST_FIGURES),
    ]
    return [plot for plot in plots if plot is not None]


def _read_cards(attribute: str) -> Read:
    return lambda sample: {
        f"card {device}": getattr(card, attribute) for device, card in sample.cards.items()
    }


def _read_ranks(attribute: str) -> Read:
    return lambda sample: {
        f"rank {rank}": getattr(reading, attribute) for rank, reading in sample.ranks.items()
    }


def _read_host(attribute: str) -> Read:
    return lambda sample: (
        {} if sample.host is None else {"host": getattr(sample.host, attribute, None)}
    )


def _plot(
    telemetry: StoredTelemetry,
    name: str,
    title: str,
    unit: str,
    attribute: str,
    factor: float,
    read: Read,
) -> Optional[Plot]:
    first = telemetry.samples[0].monotonic_seconds
    columns: Dict[str, Tuple[List[float], List[float]]] = {}
    for sample in telemetry.samples:
        for label, value in read(sample).items():
            if value is not None and math.isfinite(value):
                times, values = columns.setdefault(label, ([], []))
                times.append(sample.monotonic_seconds - first)
                values.append(factor * value)
    found = {label: pair for label, pair in columns.items() if len(pair[0]) > 1}
    if not found:
        return None
    lines, areas = _draw(found)
    everything = [value for _, values in found.values() for value in values]
    return Plot(
        title=f"{title}, {name}",
        caption="SIMULATED values." if telemetry.simulated and "card" in title else "",
        description=f"{len(found)} line(s), from {min(everything):.4g} to "
        f"{max(everything):.4g} {unit}",
        x_label="time since the start [s]",
        y_label=unit,
        lines=lines,
        areas=areas,
        y_range=(0.0, 105.0) if unit == "%" else None,
    )


def _draw(
    found: Dict[str, Tuple[List[float], List[float]]],
) -> Tuple[List[Line], List[Area]]:
    if len(found) <= MOST_LINES:
        return [
            Line(label, *order_finite(*pair), place)
            for place, (label, pair) in enumerate(found.items())
        ], []
    times = np.unique(np.concatenate([np.array(pair[0]) for pair in found.values()]))
    table = _spread(times, list(found.values()))
    label = next(iter(found)).split(" ")[0]
    return (
        [Line(f"median of the {label}s", times, np.median(table, axis=0), 0)],
        [Area(f"range of {len(found)} {label}s", times, table.min(axis=0), table.max(axis=0), 0)],
    )


def _spread(times: np.ndarray, pairs: Sequence[Tuple[List[float], List[float]]]) -> np.ndarray:
    """Values of all at all times, each held in between, [lines, times]."""
    return np.array([np.interp(times, pair[0], pair[1]) for pair in pairs])
