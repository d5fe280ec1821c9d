"""Offsets of clocks from messages with delays, and clocks that are set on the way."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.launch.clock_offset import OffsetBounds


def exchange(bounds, offset, now, there, back):
    """One message there and one back, with these delays in seconds."""
    seen_there = now + there + offset
    sent_there = seen_there + 0.01
    seen_back = sent_there - offset + back
    bounds.add(sent_there - seen_back, seen_there - now, now)


@given(st.floats(-1e5, 1e5), st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1))
def test_the_truth_is_within_the_bounds(offset, delays):
    bounds = OffsetBounds()
    for number, (there, back) in enumerate(delays):
        exchange(bounds, offset, float(number), there, back)
    found = bounds.get()
    assert abs(found.seconds - offset) <= found.uncertainty_seconds + 1e-6
    assert found.steps == 0


def test_many_exchanges_are_better_than_the_slowest_way():
    generator = random.Random(7)
    bounds = OffsetBounds()
    for number in range(200):
        exchange(bounds, 3.5, number * 0.25, generator.uniform(0, 0.2), generator.uniform(0, 0.2))
    found = bounds.get()
    assert found.seconds == pytest.approx(3.5, abs=0.01)
    assert found.uncertainty_seconds < 0.02


def test_a_clock_that_is_set_is_noticed_and_followed():
    bounds = OffsetBounds()
    exchange(bounds, 0.0, 0.0, 0.01, 0.01)
    exchange(bounds, 30.0, 1.0, 0.01, 0.01)
    exchange(bounds, 30.0, 2.0, 0.01, 0.01)
    found = bounds.get()
    assert found.seconds == pytest.approx(30.0, abs=0.02)
    assert found.steps == 1


def test_slow_drift_is_no_step():
    bounds = OffsetBounds()
    for number in range(3600):
        exchange(bounds, number * 5e-5, float(number), 0.002, 0.002)
    found = bounds.get()
    assert found.steps == 0
    assert found.seconds == pytest.approx(3599 * 5e-5, abs=0.01)


def test_nothing_is_known_before_the_first_exchange():
    assert OffsetBounds().get() is None
