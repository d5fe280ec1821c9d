"""Figures over a stretch of telemetry, and its marks on the intervals of a run."""

import datetime
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.telemetry.join import (
    ECC,
    FOREIGN,
    FREQUENCY_DROP,
    HEALTH,
    LINK,
    NETWORK,
    THROTTLED,
    Annotation,
    Span,
    build_spans,
    compute_unix_seconds,
    join,
)
from bench.telemetry.model import (
    CardReading,
    HostReading,
    RankReading,
    SourceState,
    TelemetrySample,
    TelemetrySnapshot,
)
from bench.telemetry.summary import sum_increases, summarise, weigh_samples

START = 1.6e9


def build(seconds, device=0, **values):
    return TelemetrySample(seconds, START + seconds, {device: CardReading(device, **values)})


def build_series(count, **columns):
    """Samples a second apart; a column is a value or a function of the second."""
    return [
        build(
            float(second),
            **{
                name: value(second) if callable(value) else value for name, value in columns.items()
            },
        )
        for second in range(count)
    ]


# --- summary -------------------------------------------------------------------------------------


def test_energy_is_the_mean_power_times_the_window():
    samples = build_series(61, power_watts=lambda second: 100.0 if second < 30 else 200.0)
    card = summarise(samples)["cards"]["0"]
    assert card["power_mean_watts"] == pytest.approx(150.0)
    assert card["energy_joules"] == pytest.approx(9000.0)
    half = summarise(samples, START + 40.5, START + 50.0)["cards"]["0"]
    assert half["energy_joules"] == pytest.approx(9.5 * 200.0)


def test_unequal_steps_weigh_by_their_time():
    samples = [build(0.0, power_watts=100.0), build(1.0, power_watts=200.0), build(4.0)]
    assert summarise(samples)["cards"]["0"]["power_mean_watts"] == pytest.approx(175.0)


def test_a_card_that_stopped_answering_gives_no_mean():
    samples = build_series(60, power_watts=lambda second: 100.0 if second < 50 else None)
    card = summarise(samples)["cards"]["0"]
    assert card["power_mean_watts"] is None
    assert card["energy_joules"] is None
    assert summarise(samples, START, START + 49.0)["cards"]["0"]["power_mean_watts"] == 100.0


def test_a_gap_is_not_bridged():
    samples = [build(0.0, power_watts=100.0), build(100.0, power_watts=100.0)]
    assert [seconds for _, seconds in weigh_samples(samples, START, START + 100.0)] == [5.0, 0.0]
    assert summarise(samples)["cards"]["0"]["power_mean_watts"] is None


def test_extremes_counters_and_worst_health():
    samples = build_series(
        20,
        temperature_celsius=lambda second: 50.0 + second,
        core_frequency_hertz=lambda second: 9e8 if second == 7 else 1e9,
        core_rated_frequency_hertz=1e9,
        hbm_ecc_single_bit_errors=lambda second: 5 + second // 10,
        hbm_ecc_double_bit_errors=0,
        health=lambda second: {3: "alarm", 4: "unknown"}.get(second, "ok"),
        error_codes=lambda second: ("A4025021",) if second == 3 else (),
        link_up=lambda second: second != 9,
        link_up_count=lambda second: 2 if second > 9 else 1,
        roce_receive_errors=lambda second: second // 5,
        roce_transmit_errors=0,
    )
    card = summarise(samples)["cards"]["0"]
    assert card["temperature_max_celsius"] == 69.0
    assert card["core_frequency_min_hertz"] == 9e8
    assert (card["hbm_ecc_single_bit_errors"], card["hbm_ecc_double_bit_errors"]) == (1, 0)
    assert (card["health_worst"], card["error_codes"]) == ("alarm", ["A4025021"])
    assert (card["link_down_seen"], card["link_up_transitions"]) == (True, 1)
    assert card["roce_errors"] == 3
    calm = summarise(samples, START + 15.0, START + 18.0)["cards"]["0"]
    assert (calm["hbm_ecc_single_bit_errors"], calm["health_worst"]) == (0, "ok")
    assert calm["link_down_seen"] is False


def test_what_is_not_told_is_none_and_has_a_reason():
    figures = summarise(build_series(3), sources={"hccn": SourceState("hccn", reason="absent")})
    card = figures["cards"]["0"]
    assert {name for name, value in card.items() if value not in (None, [])} == set()
    assert figures["reasons"] == {"hccn": "absent"}
    assert figures["foreign_processes"] is None
    assert summarise([])["cards"] == {}


def test_foreign_processes_of_the_run_s_cards_only():
    samples = build_series(3, foreign_process_ids=lambda second: (4242,) if second == 1 else ())
    assert summarise(samples)["foreign_processes"] == ["process 4242 on card 0"]
    assert summarise(samples, ranks_of_devices={0: 5})["cards"]["0"]["rank"] == 5
    assert summarise(samples, ranks_of_devices={1: 0})["foreign_processes"] is None
    assert summarise(samples[:1])["foreign_processes"] == []


def test_host_and_ranks():
    samples = [
        TelemetrySample(
            float(second),
            START + second,
            host=HostReading(
                cpu_usage_ratio=None if second == 0 else 0.5,
                memory_available_bytes=1000 - second,
                network_receive_bytes={"a": 10 * second, "b": 1},
            ),
            ranks={
                4: RankReading(
                    4, 0, 99, cpu_usage_cores=None if second == 0 else 1.5, resident_bytes=second
                )
            },
        )
        for second in range(8)
    ]
    figures = summarise(samples)
    assert figures["host"]["cpu_usage_mean_ratio"] == pytest.approx(0.5)
    assert figures["host"]["memory_available_min_bytes"] == 993
    assert figures["host"]["network_receive_bytes"] == 70
    assert figures["ranks"]["4"]["cpu_usage_mean_cores"] == pytest.approx(1.5)
    assert figures["ranks"]["4"]["resident_max_bytes"] == 7


def test_who_else_computed_on_the_host():
    samples = [
        TelemetrySample(
            float(second),
            START + second,
            host=HostReading(
                cpu_seconds={"user": 100.0 + 1.5 * second, "idle": 9.0 + second, "guest": 7.0}
            ),
            ranks={
                rank: RankReading(rank, rank, 90 + rank, cpu_seconds=0.5 * second)
                for rank in range(2)
            },
        )
        for second in range(11)
    ]
    host = summarise(samples)["host"]
    assert host["cpu_busy_mean_cores"] == pytest.approx(1.5)
    assert host["cpu_others_mean_cores"] == pytest.approx(0.5)
    assert summarise(samples[:1])["host"]["cpu_others_mean_cores"] is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_a_counter_that_starts_again_never_falls(values):
    grown = sum_increases(values)
    assert grown >= 0
    if values == sorted(values):
        assert grown == values[-1] - values[0]


def test_ages_of_a_snapshot():
    snapshot = TelemetrySnapshot(
        sources={
            "host": SourceState("host", last_success_seconds=90.0),
            "hccn": SourceState("hccn"),
        }
    )
    assert snapshot.compute_ages(100.0) == {"host": 10.0}


@pytest.mark.parametrize(
    ("word", "healthy"),
    [("Success", True), ("Fault", False), ("Init", None), ("Unknown", None), (None, None)],
)
def test_network_health_before_the_first_test_is_not_known(word, healthy):
    assert CardReading(0, network_health=word).network_healthy is healthy


# --- join ----------------------------------------------------------------------------------------

QUIET = {
    "core_usage_ratio": 0.9,
    "core_frequency_hertz": 1e9,
    "core_rated_frequency_hertz": 1e9,
    "hbm_ecc_single_bit_errors": 3,
    "link_up": True,
    "link_up_count": 1,
    "network_health": "Success",
    "roce_receive_errors": 0,
    "health": "ok",
    "foreign_process_ids": (),
    "temperature_celsius": 60.0,
    "power_watts": 200.0,
}
SPANS = [Span(START + 10.0 * index, START + 10.0 * (index + 1), 0) for index in range(4)]


def mark(**odd):
    """Marks of four spans of 10 s when the second one is odd."""
    samples = build_series(40, **QUIET)
    for second in range(12, 18):
        card = replace(samples[second].cards[0], **odd)
        samples[second] = replace(samples[second], cards={0: card})
    return [annotation.marks for annotation in join(samples, SPANS)]


@pytest.mark.parametrize(
    ("odd", "marks"),
    [
        ({"core_frequency_hertz": 8e8}, (THROTTLED, FREQUENCY_DROP)),
        ({"core_frequency_hertz": 8e8, "core_rated_frequency_hertz": 8e8}, (FREQUENCY_DROP,)),
        ({"core_frequency_hertz": 8e8, "core_usage_ratio": 0.1}, ()),
        ({"core_frequency_hertz": 9.6e8}, ()),
        ({"link_up": False}, (LINK,)),
        ({"network_health": "Fault"}, (NETWORK,)),
        ({"health": "critical"}, (HEALTH,)),
        ({"health": "unknown"}, ()),
        ({"foreign_process_ids": (7,)}, (FOREIGN,)),
        ({"temperature_celsius": None, "power_watts": None}, ()),
    ],
)
def test_an_odd_state_is_marked_on_its_interval_alone(odd, marks):
    assert mark(**odd) == [(), marks, (), ()]


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("hbm_ecc_single_bit_errors", (ECC,)),
        ("hbm_ecc_double_bit_errors", (ECC,)),
        ("link_up_count", (LINK,)),
        ("roce_receive_errors", (NETWORK,)),
        ("roce_transmit_errors", (NETWORK,)),
    ],
)
@pytest.mark.parametrize("second", [10, 15, 20])
def test_a_counter_marks_the_interval_in_which_it_grew(name, marks, second):
    """Between samples at 19 s and 20 s it happened before 20 s."""
    samples = build_series(40, **{**QUIET, name: lambda now: 5 + (now >= second)})
    found = [annotation.marks for annotation in join(samples, SPANS)]
    assert [index for index, item in enumerate(found) if item] == [(second - 1) // 10]
    assert found[(second - 1) // 10] == marks


def test_a_change_between_samples_on_both_sides_of_a_border_marks_both():
    samples = [
        replace(sample, wall_seconds=sample.wall_seconds + 0.5)
        for sample in build_series(40, **{**QUIET, "link_up_count": lambda now: int(now >= 20)})
    ]
    assert [annotation.marks for annotation in join(samples, SPANS)] == [(), (LINK,), (LINK,), ()]


def test_a_port_that_is_never_up_is_not_wired():
    samples = build_series(40, **{**QUIET, "link_up": False, "network_health": "Init"})
    assert [annotation.marks for annotation in join(samples, SPANS)] == [()] * 4


def test_figures_of_an_interval():
    samples = build_series(
        40,
        temperature_celsius=lambda now: 50.0 + now,
        power_watts=lambda now: 100.0 if now < 20 else 300.0,
        core_frequency_hertz=9e8,
        core_rated_frequency_hertz=1e9,
    )
    found = join(samples, SPANS)
    assert found[0].temperature_max_celsius == 60.0
    assert found[3].temperature_max_celsius == 89.0
    assert found[3].power_mean_watts == 300.0
    assert found[0].frequency_min_ratio == pytest.approx(0.9)
    assert found[0].n_samples == 11


def test_only_the_rank_s_own_card_counts_unless_all_do():
    sample = build(0.0, 0, power_watts=100.0, health="alarm")
    both = replace(sample, cards={**sample.cards, 1: CardReading(1, power_watts=50.0)})
    own, other, whole = join([both], [Span(START, START + 1.0, device) for device in (0, 1, None)])
    assert (own.marks, other.marks, whole.marks) == ((HEALTH,), (), (HEALTH,))
    assert (own.power_mean_watts, other.power_mean_watts, whole.power_mean_watts) == (
        100.0,
        50.0,
        150.0,
    )


def test_without_samples_nothing_is_known():
    samples = build_series(5, **QUIET)
    before, after = join(
        samples, [Span(START - 9.0, START - 8.0), Span(START + 99.0, START + 100.0)]
    )
    assert before == after == Annotation()
    assert join([], SPANS) == [Annotation()] * 4


def test_an_interval_shorter_than_the_sampling_takes_the_sample_that_holds():
    samples = build_series(10, **QUIET)
    (found,) = join(samples, [Span(START + 3.2, START + 3.4, 0)])
    assert (found.n_samples, found.temperature_max_celsius) == (1, 60.0)


# --- the calendar of logs ------------------------------------------------------------------------


def calendar(year, month, day, hour=0):
    """Seconds of a log's calendar, which always has a 29 February."""
    leap = datetime.datetime(2020, month, day, hour) - datetime.datetime(2020, 1, 1)
    return leap.total_seconds() + (year * 366 * 86400.0)


@pytest.mark.parametrize("year", [2021, 2024, 2026])
@pytest.mark.parametrize(("month", "day"), [(1, 1), (2, 28), (3, 1), (7, 15), (12, 31)])
def test_the_year_of_a_log_is_that_of_the_run(year, month, day):
    moment = datetime.datetime(year, month, day, 13).timestamp()
    assert compute_unix_seconds(calendar(0, month, day, 13), moment - 60.0) == moment
    assert compute_unix_seconds(calendar(0, month, day, 13), moment + 86400.0) == moment


def test_a_log_that_runs_into_the_new_year():
    start = datetime.datetime(2025, 12, 31, 23).timestamp()
    end = datetime.datetime(2026, 1, 1, 2).timestamp()
    assert compute_unix_seconds(calendar(1, 1, 1, 2), start) == end
    assert compute_unix_seconds(calendar(0, 12, 31, 23), end) == start


def test_spans_of_intervals():
    moment = datetime.datetime(2026, 7, 15, 13).timestamp()
    ends = [(calendar(0, 7, 15, 13), 41.0), (None, 41.0), (calendar(0, 7, 15, 13), None)]
    assert build_spans(ends, moment, 3) == [Span(moment - 41.0, moment, 3), None, None]


@given(st.floats(0.0, 366 * 86400.0 - 1.0), st.integers(2000, 2037))
def test_the_calendar_is_never_half_a_year_off(seconds, year):
    near = datetime.datetime(year, 6, 15).timestamp()
    found = compute_unix_seconds(seconds, near)
    assert math.isfinite(found)
    assert abs(found - near) <= 200 * 86400.0
