"""A log that grows, is cut short, or is replaced while it is followed."""

import os

from bench.logs import LogTail, follow
from bench.logs.tail import FileTail


def rates(events):
    return [event.steps_per_second for event in events]


def test_only_new_bytes_are_read_and_half_lines_wait(tmp_path):
    path = tmp_path / "train_0.log"
    tail = LogTail(str(path))
    assert tail.poll() == []
    with open(path, "wb", buffering=0) as log:
        log.write(b"global_step/sec: 1.5\nglobal_st")
        assert rates(tail.poll()) == [1.5]
        assert tail.poll() == []
        log.write(b"ep/sec: 2.5\n")
        assert rates(tail.poll()) == [2.5]
        log.write(b"global_step/sec: 3.5\r\nlast")
    assert rates(tail.close()) == [3.5]
    report = tail.reader.report()
    assert (report.n_lines, report.n_bytes) == (4, os.path.getsize(str(path)))
    assert report.problem_counts == {"unterminated_line": 1}


def test_truncation_and_rotation(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"global_step/sec: 1.5\nglobal_step/sec: 2.5\n")
    tail = LogTail(str(path))
    assert rates(tail.poll()) == [1.5, 2.5]
    path.write_bytes(b"global_step/sec: 3.5\n")
    assert rates(tail.poll()) == [3.5]
    with open(path, "ab") as log:
        log.write(b"global_step/sec: 4.5\n")
        path.rename(tmp_path / "a.log.1")
        path.write_bytes(b"global_step/sec: 5.5\n")
    assert rates(tail.poll()) == [4.5, 5.5]
    assert tail.reader.report().problem_counts == {"truncated_file": 2}
    tail.close()


def test_a_file_that_vanishes_is_kept_open(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n")
    tail = FileTail(str(path))
    path.unlink()
    assert tail.read() == b""
    tail.close()
    path.write_bytes(b"two\n")
    assert tail.read() == b"two\n"
    path.unlink()
    assert tail.read() == b""
    tail.close()


def test_follow_pauses_between_readings_and_ends(tmp_path):
    path = tmp_path / "a.log"
    log = open(path, "wb", buffering=0)  # noqa: SIM115
    steps = [b"global_step/sec: 1.5\n", b"", b"global_step/sec: 2.5\nglobal_step/sec: 3.5\n"]
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        log.write(steps.pop(0))

    found = list(follow(LogTail(str(path)), lambda: not steps, 0.25, sleep))
    log.close()
    assert rates(found) == [1.5, 2.5, 3.5]
    assert pauses == [0.25] * 3
