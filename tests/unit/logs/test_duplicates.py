"""Messages that come by two handlers count once, and only those."""

import pytest

from bench.logs import LogReader, write
from bench.logs.duplicates import WINDOW
from tests.log_corpus import WHEN

RATE = "global_step/sec: 2.451"


def absl(message, thread=281473752813584):
    return write.render_absl(message, WHEN, thread, write.STEP_RATE_SOURCE)


def logger(message):
    return write.render_logger(message)


def read(lines, bulk_bytes):
    reader = LogReader("x", bulk_bytes=bulk_bytes)
    reader.consume("\n".join(lines).encode() + b"\n")
    reader.finish()
    report = reader.report()
    places = [(event.line_number, event.thread_id) for event in report.step_rates]
    return places, report.problem_counts.get("duplicate", 0)


@pytest.fixture(params=[1, 1 << 60], ids=["bulk", "single"], name="bulk_bytes")
def fixture_bulk_bytes(request):
    return request.param


@pytest.mark.parametrize(
    ("lines", "places", "n_doubles"),
    [
        ([logger(RATE), absl(RATE, 11)], [(1, 11)], 1),
        ([logger(RATE), absl(RATE, 11), logger(RATE), absl(RATE, 22)], [(1, 11), (3, 22)], 2),
        # Two ranks in one file say the same.
        ([absl(RATE, 11), absl(RATE, 22)], [(1, 11), (2, 22)], 0),
        ([logger(RATE), logger(RATE)], [(1, None), (2, None)], 0),
        ([RATE, RATE], [(1, None), (2, None)], 0),
        ([RATE, absl(RATE, 11)], [(1, None), (2, 11)], 0),
        # The pairs of several ranks interleave.
        ([logger(RATE), logger(RATE), absl(RATE, 11), absl(RATE, 22)], [(1, 22), (2, 11)], 2),
        ([logger(RATE), absl(RATE, 11), absl(RATE, 22)], [(1, 11), (3, 22)], 1),
        ([logger(RATE), "loss_scale: [1.0]", absl(RATE, 11)], [(1, 11)], 1),
        # The other handler's line ran into something else.
        ([logger(RATE), absl(RATE, 11) + "loss_scale: [1.0]"], [(1, 11)], 1),
        ([logger(RATE), absl(RATE + "7", 11)], [(1, None), (2, 11)], 0),
        ([absl(RATE, 11), logger(RATE)], [(1, 11), (2, None)], 0),
    ],
)
def test_pairs(lines, places, n_doubles, bulk_bytes):
    assert read(lines, bulk_bytes) == (places, n_doubles)


@pytest.mark.parametrize(("between", "n_events"), [(WINDOW - 1, 1), (WINDOW, 2)])
def test_the_second_form_comes_within_the_window(between, n_events, bulk_bytes):
    places, _ = read([logger(RATE)] + ["x"] * between + [absl(RATE)], bulk_bytes)
    assert len(places) == n_events


def test_live_events_are_given_once_and_with_their_place():
    reader = LogReader("x")
    assert reader.feed((absl("Calling model_fn.") + "\n").encode())
    # The next line may bring time and thread, so the event waits for it.
    assert reader.feed((logger(RATE) + "\n").encode()) == []
    (event,) = reader.feed((absl(RATE, 11) + "\n").encode())
    assert (event.line_number, event.thread_id) == (2, 11)
    assert reader.feed((logger(RATE) + "\n").encode()) == []
    (event,) = reader.close()
    assert (event.line_number, event.thread_id) == (4, None)


def test_live_events_do_not_wait_in_a_log_without_absl_lines():
    reader = LogReader("x")
    for _ in range(3):
        assert len(reader.feed((logger(RATE) + "\n").encode())) == 1


def test_memory_of_pairs_is_bounded():
    reader = LogReader("x")
    for number in range(3 * WINDOW):
        reader.feed((logger(f"global_step/sec: {number}") + "\n").encode())
    duplicates = reader._store.duplicates
    assert len(duplicates._by_key) <= WINDOW + 2
