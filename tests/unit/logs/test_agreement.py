"""One meaning: it matters neither how bytes are cut nor whether a block is read in bulk."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.logs import LogReader
from tests.log_corpus import build_lines, damage, join

ALWAYS, NEVER = 1, 1 << 60


def read(data, bulk_bytes=NEVER, cuts=()):
    """All that a reader says of the data, as comparable text, and the events that it gave out."""
    reader = LogReader("x", bulk_bytes=bulk_bytes)
    edges = [0, *sorted(cuts), len(data)]
    given_out = []
    for begin, end in zip(edges, edges[1:]):
        given_out.extend(reader.feed(data[begin:end]))
    given_out.extend(reader.close())
    report = reader.report()
    stored = {kind: [repr(event) for event in table] for kind, table in report.tables.items()}
    problems = [repr(problem) for problem in report.problems]
    counts = (report.problem_counts, report.n_lines, report.n_bytes)
    return stored, problems, counts, [repr(event) for event in given_out]


@pytest.mark.parametrize("doubled", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("damaged", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_bulk_reading_agrees_with_reading_line_by_line(seed, doubled, damaged):
    lines = build_lines(seed, 600, n_ranks=1 + seed * 3, doubled=doubled, others=0.1 * seed)
    data = join(damage(lines, seed, damaged), terminated=seed != 1)
    rng = random.Random(seed)
    cuts = [rng.randrange(len(data)) for _ in range(12)]
    wanted = read(data)
    assert sum(map(len, wanted[0].values())) > 100
    assert read(data, ALWAYS) == wanted
    assert read(data, ALWAYS, cuts) == wanted
    assert read(data, 5000, cuts) == wanted


def test_every_single_cut_gives_the_same():
    lines = build_lines(5, 12, n_ranks=1, doubled=0.7, others=1.0)
    data = join(lines)
    wanted = read(data)
    for cut in range(0, len(data), 5):
        assert read(data, NEVER, [cut]) == wanted


PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(build_lines(7, 60, doubled=0.5, others=1.0)),
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"loss_scale:", b"[65536.0]", b" ", b"I0521 "]),
)


@settings(max_examples=100)
@given(st.lists(PIECES, max_size=30), st.lists(st.integers(0, 3000), max_size=5))
def test_any_mixture_is_read_alike(pieces, cuts):
    data = b"".join(pieces)
    wanted = read(data)
    assert read(data, NEVER, [min(cut, len(data)) for cut in cuts]) == wanted
    if data:
        assert read(data, ALWAYS) == wanted


@pytest.mark.parametrize("old", [b" = ", b"= ", b" ", b": ", b"[", b"]", b"."])
@pytest.mark.parametrize("new", [b"", b"  ", b" = ", b"=", b"\t"])
def test_lines_that_are_nearly_right_are_read_alike(old, new):
    lines = build_lines(11, 80, n_ranks=1, doubled=0.2, others=0.5)
    changed = [line.replace(old, new, 1 + i % 4) for i, line in enumerate(lines)]
    changed += [new.join(line.rsplit(old, 1)) for line in lines]
    data = join(changed)
    assert read(data, ALWAYS) == read(data)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data):
    assert read(data, ALWAYS) == read(data)


@pytest.mark.parametrize("seed", range(4))
def test_a_log_cut_short_gives_no_event_that_the_whole_does_not_give(seed):
    data = join(build_lines(seed, 30, n_ranks=2, doubled=0.0, others=0.5))
    whole = read(data)[0]
    rng = random.Random(seed)
    for _ in range(40):
        cut = rng.randrange(len(data))
        for kind, events in read(data[:cut])[0].items():
            if kind not in ("notices", "errors", "flags", "checkpoints"):
                assert events == whole[kind][: len(events)], (kind, data[:cut][-100:])


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\rglobal_step/sec: 7\n"])
def test_lines_without_end_are_bounded_and_read_alike(length, ending):
    data = b"global_step/sec: 2.5\n" + b"x" * length + ending + b"global_step/sec: 3.5\n"
    wanted = read(data)
    assert len(wanted[0]["step_rates"]) == (3 if b"step" in ending else 2 if ending else 1)
    assert read(data, ALWAYS)[:3] == wanted[:3]
    cut = read(data, NEVER, range(100, len(data), 9_973))
    assert [cut[0], *cut[2:]] == [wanted[0], *wanted[2:]]


def test_a_line_of_progress_bars_is_read_in_bounded_memory():
    reader = LogReader("x")
    for _ in range(200):
        reader.feed(b"\r 10% [=>   ]" * 100 + b"\rglobal_step/sec: 2.5")
        assert len(reader._rest) < 70_000
    reader.feed(b"\n")
    assert len(reader.report().step_rates) == 200
    assert reader.report().n_lines == 1
