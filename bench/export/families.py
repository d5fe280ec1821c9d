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


def build_family(key: str, samples: Iterable[Sample], first: Sequence[str] = ()) -> Family:
    """A gauge or counter of the catalogue.

    Args:
        key: series name without the prefix.
        samples: label values and value; None is left out, never 0.
        first: values of the first labels, the same for all samples.
    """
    series = SERIES[key]
    kind = CounterMetricFamily if series.type == "counter" else GaugeMetricFamily
    family = kind(series.name, series.help, labels=series.labels)
    for labels, value in samples:
        if value is not None:
            family.add_metric([*first, *map(str, labels)], value)
    return family


def build_value(key: str, value: Optional[float], first: Sequence[str] = ()) -> Family:
    """A series with no other labels than those given."""
    return build_family(key, [((), value)], first)


def build_histogram(
    key: str,
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float,
    first: Sequence[str] = (),
) -> Family:
    """A histogram with no other labels than those given.

    Args:
        key: series name without the prefix.
        bounds: upper bounds, rising.
        counts: observations in each bucket alone, one more than bounds.
        total: all observations added up.
        first: values of its labels.
    """
    series = SERIES[key]
    family = HistogramMetricFamily(series.name, series.help, labels=series.labels)
    buckets = []
    below = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts):
        below += count
        buckets.append((bound, float(below)))
    if buckets:
        family.add_metric(list(first), buckets, total)
    return family
