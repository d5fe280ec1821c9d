"""Metric families of the catalogue with the values of one scrape."""

from __future__ import annotations

from typing import Iterable, Optional, Sequence, Tuple, Union

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from bench.series import SERIES

Family = Union[CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily]
Sample = Tuple[Sequence[str], Optional[float]]


def build_family(key: str, samples: Iterable[Sample]) -> Family:
    """A gauge or counter of the catalogue.

    Args:
        key: series name without the prefix.
        samples: label values and value; None is left out, never 0.
    """
    series = SERIES[key]
    kind = CounterMetricFamily if series.type == "counter" else GaugeMetricFamily
    family = kind(series.name, series.help, labels=series.labels)
    for labels, value in samples:
        if value is not None:
            family.add_metric([str(label) for label in labels], value)
    return family


def build_value(key: str, value: Optional[float]) -> Family:
    """A series without labels."""
    return build_family(key, [((), value)])


def build_histogram(
    key: str, bounds: Sequence[float], counts: Sequence[int], total: float
) -> Family:
    """A histogram without labels.

    Args:
        key: series name without the prefix.
        bounds: upper bounds, rising.
        counts: observations in each bucket alone, one more than bounds.
        total: all observations added up.
    """
    series = SERIES[key]
    family = HistogramMetricFamily(series.name, series.help)
    buckets = []
    below = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts):
        below += count
        buckets.append((bound, float(below)))
    if buckets:
        family.add_metric([], buckets, total)
    return family
