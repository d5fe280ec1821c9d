"""Whole files: errors, digests, and memory that stays bounded."""

import hashlib
import io

import numpy as np
import pytest

from bench.errors import DataError
from bench.logs import LogReader, read_log, read_logs, read_stream
from bench.logs.tables import MAX_TEXTS, Storage, Texts
from tests.log_corpus import build_lines, join


def snapshot(report):
    return {kind: [repr(event) for event in table] for kind, table in report.tables.items()}


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="cannot read the log .*none.log: No such file"):
        read_log(tmp_path / "none.log")
    with pytest.raises(DataError, match="no [*].log files in .*: name the log files themselves"):
        read_logs([tmp_path])


def test_digest_and_source(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"global_step/sec: 2.5\n")
    report = read_log(path, source="somewhere", sha256=True)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.source == "somewhere"
    assert read_log(path).sha256 is None
    assert read_log(path).source == str(path)


@pytest.mark.parametrize("bulk_bytes", [1, 1 << 60])
def test_rows_that_moved_to_a_file_read_the_same(bulk_bytes):
    data = join(build_lines(3, 3000, doubled=0.5))
    kept = read_stream(io.BytesIO(data), "x")
    storage = Storage(limit_bytes=10_000)
    reader = LogReader("x", storage=storage, bulk_bytes=bulk_bytes)
    for start in range(0, len(data), 10_000):
        reader.consume(data[start : start + 10_000])
        assert storage.used_bytes < 400_000
    reader.finish()
    assert storage.used_bytes <= 10_000
    moved = reader.report()
    assert snapshot(moved) == snapshot(kept)
    for name in ("global_step", "total_loss", "wall_seconds"):
        np.testing.assert_array_equal(moved.losses.column(name), kept.losses.column(name))
    assert moved.geops.column("kernel").tolist() == kept.geops.column("kernel").tolist()


def test_columns_of_an_empty_table(tmp_path):
    report = read_stream(io.BytesIO(b""), "x")
    assert report.losses.column("total_loss").tolist() == []
    assert report.losses.column("wall_seconds").tolist() == []
    assert len(report.losses.rows()) == 0
    assert list(report.losses) == []


def test_absent_values_and_nan_differ():
    data = b"loss = nan, step = 1\n"
    (event,) = read_stream(io.BytesIO(data), "x").losses
    assert event.masked_lm_loss is None
    assert event.total_loss != event.total_loss


def test_different_strings_are_bounded():
    texts = Texts()
    codes = [texts.encode(str(number)) for number in range(MAX_TEXTS + 10)]
    assert texts.decode(codes[5]) == "5"
    assert [texts.decode(code) for code in codes[-10:]] == ["..."] * 10


def test_every_block_size_of_a_stream_gives_the_same(monkeypatch):
    data = join(build_lines(4, 2000, doubled=0.3))
    wanted = snapshot(read_stream(io.BytesIO(data), "x"))
    for size in (1000, 33_000, 70_001):
        monkeypatch.setattr("bench.logs.files.BLOCK_BYTES", size)
        assert snapshot(read_stream(io.BytesIO(data), "x")) == wanted
