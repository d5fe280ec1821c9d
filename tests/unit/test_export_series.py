"""The table of series holds to the conventions of the Prometheus project."""

import re

import pytest

from bench.catalogue import METRICS
from bench.series import (
    ALL_SERIES,
    GROUPS,
    PREFIX,
    RESULT_SERIES,
    SERIES,
    STEP_TIME_BUCKETS,
)

UNITS = ("seconds", "bytes", "celsius", "watts", "joules", "hertz", "ratio", "tokens")
RESERVED_LABELS = ("job", "instance", "le", "quantile", "type", "env", "cluster", "service")


@pytest.mark.parametrize("series", ALL_SERIES, ids=lambda series: series.key)
def test_names_follow_the_conventions(series):
    assert re.fullmatch(PREFIX + "[a-z][a-z0-9_]*", series.name)
    assert series.name.endswith("_total") == (series.type == "counter")
    assert series.type in ("gauge", "counter", "histogram")
    assert series.help.endswith(".")
    assert "\n" not in series.help
    assert series.group in GROUPS
    assert not set(series.labels) & set(RESERVED_LABELS)
    assert not re.search("milli|kilo|mega|percent|hours|minutes", series.name)


def test_a_name_stands_once():
    assert len(SERIES) == len(ALL_SERIES)


def test_units_are_at_the_end_of_a_name():
    for series in ALL_SERIES:
        words = series.name.replace("_total", "").split("_")
        for unit in set(words) & set(UNITS):
            if series.key == "run_sequence_length_tokens" or unit != "tokens":
                place = words.index(unit)
                rest = "_".join(words[place + 1 :])
                assert rest in ("", "low", "high", "per_second"), series.name


def test_every_figure_of_a_result_is_a_series():
    names = {series.key for series in RESULT_SERIES}
    for metric in METRICS.values():
        assert f"result_{metric.key}" in names
        assert (f"result_{metric.key}_low" in names) == metric.gated


def test_buckets_rise():
    assert list(STEP_TIME_BUCKETS) == sorted(set(STEP_TIME_BUCKETS))
    steps = [high / low for low, high in zip(STEP_TIME_BUCKETS, STEP_TIME_BUCKETS[1:])]
    assert max(steps) < 1.29
