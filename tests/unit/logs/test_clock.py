"""Stamps without a year: order, the turn of the year, and real calendars."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.logs import LogReader, write
from bench.logs.clock import (
    NO_STAMP,
    compute_wall_seconds,
    find_shift,
    get_wall_seconds,
    parse_stamp,
    unwrap_stamp,
)

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2023, 12, 31))


def stamp_of(moment):
    return parse_stamp(f"{moment:%m%d %H:%M:%S.%f}".encode())


def test_both_forms_of_a_stamp():
    assert parse_stamp(b"0521 19:45:05.731803") == parse_stamp(b"05-21 19:45:05.731803")
    assert parse_stamp(b"0101 00:00:00.000007") == 7


@given(MOMENTS)
def test_seconds_are_those_of_the_calendar(moment):
    seconds = compute_wall_seconds(np.array([stamp_of(moment), NO_STAMP]), moment.year)
    wanted = (moment - datetime(moment.year, 1, 1)).total_seconds()
    assert seconds[0] == pytest.approx(wanted, abs=1e-6)
    assert np.isnan(seconds[1])
    assert get_wall_seconds(stamp_of(moment), moment.year) == seconds[0]
    assert get_wall_seconds(NO_STAMP, moment.year) is None


@given(MOMENTS, st.lists(st.integers(-5_000_000, 150 * 86_400_000_000), max_size=12))
def test_a_series_over_several_years_keeps_its_distances(start, gaps):
    moments = [start]
    for gap in gaps:
        moments.append(moments[-1] + timedelta(microseconds=gap))
    stamps = []
    last = NO_STAMP
    for moment in moments:
        last = unwrap_stamp(stamp_of(moment), last)
        stamps.append(last)
    seconds = compute_wall_seconds(np.array(stamps), start.year)
    wanted = [(moment - datetime(start.year, 1, 1)).total_seconds() for moment in moments]
    assert seconds.tolist() == pytest.approx(wanted, abs=1e-5)


@given(st.lists(MOMENTS, min_size=1, max_size=6), st.one_of(st.none(), MOMENTS))
def test_one_shift_for_a_block_does_what_single_stamps_do(moments, before):
    last = NO_STAMP if before is None else stamp_of(before)
    stamps = [stamp_of(moment) for moment in moments]
    shift = find_shift(np.array(stamps), last)
    if shift is not None:
        for stamp in stamps:
            last = unwrap_stamp(stamp, last)
            assert last == stamp + shift


@pytest.mark.parametrize("bulk_bytes", [1, 1 << 60])
@pytest.mark.parametrize(("year", "days"), [(2019, 365), (2020, 366), (None, 366)])
def test_new_year_in_a_log(bulk_bytes, year, days):
    reader = LogReader("x", year=year, bulk_bytes=bulk_bytes)
    late, early = datetime(2020, 12, 31, 23, 59, 59, 999999), datetime(2021, 1, 1, 0, 0, 0, 1)
    for moment in (late, early, late, early):
        line = write.render_absl("global_step/sec: 2.5", moment, 281473752813584, "a.py:1")
        reader.consume(line.encode() + b"\n")
    seconds = reader.report().step_rates.column("wall_seconds")
    assert seconds[0] == pytest.approx(days * 86400, abs=1e-4)
    assert np.diff(seconds) == pytest.approx([2e-6, -2e-6, 2e-6], abs=1e-7)


def test_february_of_a_year_that_is_told_and_of_one_that_is_not():
    stamps = np.array([parse_stamp(b"0228 12:00:00.000000"), parse_stamp(b"0301 12:00:00.000000")])
    assert np.diff(compute_wall_seconds(stamps, 2021)) == [86400]
    assert np.diff(compute_wall_seconds(stamps, None)) == [2 * 86400]
