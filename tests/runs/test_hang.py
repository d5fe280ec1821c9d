"""When a run counts as hanging, which rank fell silent first, and what is kept of it."""

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.launch.stacks import (
    catches_signal,
    find_stopped,
    list_tree,
    read_state,
    render_process,
    request_stacks,
)
from bench.logs.reader import LogReader
from bench.session.failure import read_memory_kills
from bench.session.hang import ProgressClock, list_silent
from bench.session.hang_evidence import collect_evidence, describe_hang
from bench.session.watch import Watch
from bench.spec_limits import LimitsSpec

LIMITS = LimitsSpec(hang_seconds=60.0, hang_intervals=5.0, compile_seconds=600.0, end_seconds=300.0)


def _clock(n_ranks=2, limits=LIMITS, steps=1000):
    return ProgressClock(limits, range(n_ranks), steps, 0.0)


def _report(clock, ranks, moments, first_step=1):
    for number, moment in enumerate(moments):
        for rank in ranks:
            clock.note(rank, moment, first_step + number)


def _everything_runs(rank):
    return True


@given(st.floats(0.1, 100.0), st.integers(2, 40))
def test_limit_is_the_larger_of_seconds_and_intervals(interval, n_reports):
    clock = _clock()
    moments = [30.0 + interval * n for n in range(n_reports)]
    _report(clock, (0, 1), moments)
    limit = max(60.0, 5.0 * interval)
    assert clock.find_hang(moments[-1] + 0.999 * limit, _everything_runs) is None
    hang = clock.find_hang(moments[-1] + 1.001 * limit, _everything_runs)
    assert hang.first.limit_seconds == pytest.approx(limit)
    assert hang.first.phase == "run"


def test_first_silent_rank_is_the_one_that_did_least():
    clock = _clock(4)
    _report(clock, (0, 1, 2, 3), (10.0, 20.0, 30.0))
    _report(clock, (0, 1, 3), (40.0,), first_step=4)
    hang = clock.find_hang(101.0, _everything_runs)
    assert hang.first.rank == 2
    assert list_silent(hang)[0] == 2
    assert "rank 2 fell silent first after step 3" in hang.describe()


def test_slow_checkpoint_is_no_hang_but_a_lasting_one_is():
    clock = _clock()
    _report(clock, (0, 1), [40.0 * n for n in range(1, 20)])
    assert clock.find_hang(760.0 + 199.0, _everything_runs) is None
    assert clock.find_hang(760.0 + 201.0, _everything_runs) is not None


@pytest.mark.parametrize("reports", [(), (300.0,)])
def test_first_compile_has_its_own_budget(reports):
    clock = _clock()
    _report(clock, (0, 1), reports)
    start = reports[-1] if reports else 0.0
    assert clock.find_hang(start + 599.0, _everything_runs) is None
    hang = clock.find_hang(start + 601.0, _everything_runs)
    assert hang.first.phase == "compile"
    assert "limits.compile_seconds" in hang.describe()


def test_end_has_its_own_budget():
    clock = _clock(steps=3)
    _report(clock, (0, 1), (10.0, 20.0, 30.0))
    assert clock.find_hang(329.0, _everything_runs) is None
    hang = clock.find_hang(331.0, _everything_runs)
    assert hang.first.phase == "end"
    assert "limits.end_seconds" in hang.describe()


def test_ranks_that_never_report_are_held_to_nothing_while_another_does():
    clock = _clock()
    _report(clock, (0,), [10.0 * n for n in range(1, 200)])
    assert clock.find_hang(1995.0, _everything_runs) is None


def test_ended_ranks_do_not_hang():
    clock = _clock()
    _report(clock, (0, 1), (10.0, 20.0))
    _report(clock, (1,), (30.0, 40.0, 50.0, 85.0), first_step=3)
    assert clock.find_hang(90.0, lambda rank: rank == 1) is None
    assert clock.find_hang(90.0, _everything_runs).first.rank == 0


def test_zero_turns_each_limit_off():
    clock = _clock(limits=LimitsSpec(hang_seconds=0.0, compile_seconds=0.0, end_seconds=0.0))
    assert clock.find_hang(1e9, _everything_runs) is None
    _report(clock, (0, 1), (10.0, 20.0))
    assert clock.find_hang(1e9, _everything_runs) is None


def test_reports_read_at_once_are_told_apart():
    clock = _clock(1)
    clock.note(0, 10.0, 4, reports=4)
    hang = clock.find_hang(71.0, _everything_runs)
    assert hang.first.phase == "run"
    assert hang.first.limit_seconds == 60.0


def test_watch_takes_a_rate_and_its_losses_for_one_report(tmp_path):
    class Live:
        def __getattr__(self, name):
            return lambda *arguments: None

    seen = []

    class Clock:
        def note(self, rank, now, step, reports):
            seen.append((rank, step, reports))

    watch = Watch([], Live(), Clock())
    rate = b"global_step/sec: 2\n"
    losses = b"global_step = 7, masked_lm_loss = 1, next_sentence_loss = 1, total_loss = 2\n"
    watch._note_progress(0, LogReader("log").feed(2 * (rate + losses)))
    watch._note_progress(1, LogReader("log").feed(rate))
    watch._note_progress(2, LogReader("log").feed(b"nothing of the training\n"))
    assert seen == [(0, 7, 1), (1, None, 1)]


SLEEPER = "import sys, time\nprint('up', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def sleeper(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", SLEEPER],
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 20.0
    while b"up" not in (tmp_path / "log").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_python_writes_its_stacks_when_asked(sleeper, tmp_path):
    assert request_stacks(sleeper.pid) == "SIGABRT"
    assert sleeper.wait(20) == -6
    assert b'File "<string>", line 3' in (tmp_path / "log").read_bytes()


def test_process_without_a_handler_is_left_alone():
    process = subprocess.Popen(["sleep", "600"])
    try:
        assert not catches_signal(process.pid, 10)
        assert request_stacks(process.pid) == ""
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert read_state(process.pid) == ""
    assert render_process(process.pid) == f"process {process.pid}: gone\n"
    assert list_tree(process.pid) == []


def test_evidence_is_written_and_names_a_stopped_rank(sleeper, tmp_path):
    logs = tmp_path / "root" / os.path.expanduser("~/ascend/log").lstrip("/") / "run" / "plog"
    logs.mkdir(parents=True)
    (logs / "plog-1.log").write_text("HCCL timed out\n", encoding="utf-8")
    old = logs / "plog-0.log"
    old.write_text("of another run\n", encoding="utf-8")
    os.utime(str(old), (1.0, 1.0))
    named = tmp_path / "named"
    named.mkdir()
    (named / "device-0.log").write_text("x" * 100_000, encoding="utf-8")
    clock = _clock()
    _report(clock, (0, 1), (10.0, 20.0))
    hang = clock.find_hang(100.0, _everything_runs)
    os.kill(sleeper.pid, 19)
    deadline = time.monotonic() + 10.0
    while read_state(sleeper.pid) != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert find_stopped({0: os.getpid(), 1: sleeper.pid}) == 1
    told = collect_evidence(
        tmp_path / "run", hang, {1: sleeper.pid}, [0], time.time(),
        {"ASCEND_PROCESS_LOG_PATH": str(named)}, 0.0, str(tmp_path / "root"),
    )  # fmt: skip
    assert told["first_silent_rank"] == told["stopped_rank"] == 1
    assert "rank 1 was stopped by a signal" in describe_hang(hang, told)
    tails = [name for name in told["files"] if "device_logs" in name]
    assert len(tails) == 2
    assert all((tmp_path / "run" / name).is_file() for name in told["files"])
    assert not any("plog-0" in name for name in tails)
    assert max((tmp_path / "run" / name).stat().st_size for name in tails) == 64 * 1024
    assert "State: T" in (tmp_path / "run/hang/rank_1.txt").read_text(encoding="utf-8")
    summary = json.loads((tmp_path / "run/hang/hang.json").read_text(encoding="utf-8"))
    assert [one["rank"] for one in summary["ranks"]] == [0, 1]


@pytest.mark.parametrize(("text", "count"), [("oom_kill 3\n", 3), ("pgfault 7\n", 0), ("", 0)])
def test_memory_kills_of_the_kernel(text, count):
    assert read_memory_kills(text) == count
