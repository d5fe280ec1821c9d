"""Rank processes: environment, logs, pinning, and that nothing is left behind."""

import os
import signal
import sys
import time

import psutil
import pytest

from bench.devices.base import Allocation, Placement
from bench.devices.simulated import SimulatedBackend
from bench.launch.plan import LaunchPlan, RankPlan, build_plan, fill_placeholders
from bench.launch.processes import RankGroup
from bench.session.failure import diagnose_failure, find_error_line
from bench.spec import build_spec


def _plan(tmp_path, *scripts, cores=None):
    ranks = tuple(
        RankPlan(
            rank=rank,
            device=rank,
            argv=(sys.executable, "-c", script),
            environment=dict(os.environ),
            cores=cores,
            log_path=tmp_path / "logs" / f"train_{rank}.log",
        )
        for rank, script in enumerate(scripts)
    )
    return LaunchPlan(ranks, tmp_path)


def _wait(group, seconds=20.0):
    deadline = time.monotonic() + seconds
    ended = []
    while group.running and time.monotonic() < deadline:
        ended += group.poll()
        time.sleep(0.01)
    return ended


def test_output_and_errors_of_a_rank_go_to_its_log(tmp_path):
    script = "import sys; print('out'); sys.stdout.flush(); sys.stderr.write('err\\n')"
    with RankGroup(_plan(tmp_path, script), 5) as group:
        _wait(group)
    assert (tmp_path / "logs" / "train_0.log").read_text().split() == ["out", "err"]
    assert group.exit_codes() == {0: 0}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_rank_starts_on_its_cores(tmp_path):
    core = sorted(os.sched_getaffinity(0))[-1]
    script = "import os; print(sorted(os.sched_getaffinity(0)))"
    with RankGroup(_plan(tmp_path, script, cores=(core,)), 5) as group:
        _wait(group)
    assert (tmp_path / "logs" / "train_0.log").read_text().strip() == str([core])


def test_command_that_does_not_exist_is_said_in_the_log(tmp_path):
    plan = _plan(tmp_path, "")
    rank = plan.ranks[0]
    absent = RankPlan(0, 0, ("no-such-trainer",), rank.environment, None, rank.log_path)
    with RankGroup(LaunchPlan((absent,), tmp_path), 5) as group:
        ended = _wait(group)
    failure = diagnose_failure(ended)
    assert failure.kind == "infrastructure"
    assert "cannot start 'no-such-trainer'" in failure.message


def test_stop_ends_stubborn_ranks_and_their_children(tmp_path):
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c',"
        " 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    notes = []
    log = tmp_path / "logs" / "train_0.log"
    with RankGroup(_plan(tmp_path, stubborn), 0.3) as group:
        deadline = time.monotonic() + 20
        while not log.read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.01)
        child = int(log.read_text())
        group.stop(notes.append)
    assert group.exit_codes() == {0: -signal.SIGKILL}
    assert notes == ["rank 0 did not end on SIGTERM; killing it"]
    deadline = time.monotonic() + 10
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_alive(child)


def _is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_leaving_the_block_by_an_error_ends_the_ranks(tmp_path):
    with pytest.raises(RuntimeError), RankGroup(
        _plan(tmp_path, "import time; time.sleep(600)"), 5
    ) as group:
        raise RuntimeError
    assert group.exit_codes() == {0: -signal.SIGTERM}
    assert group.ranks[0].stopped_by_us


def test_killed_rank_is_the_cause_not_the_ranks_that_follow(tmp_path):
    with RankGroup(
        _plan(tmp_path, "raise SystemExit(70)", "import os; os.kill(os.getpid(), 9)"), 5
    ) as group:
        ended = _wait(group)
    failure = diagnose_failure(ended)
    assert failure.rank == 1
    assert failure.exit_code == -9
    assert failure.message == "rank 1 was killed by SIGKILL (9)"


@pytest.mark.parametrize(
    ("code", "kind"), [(64, "usage"), (65, "data"), (69, "infrastructure"), (70, "trainer")]
)
def test_exit_code_of_the_trainer_gives_the_kind(tmp_path, code, kind):
    script = "import sys; sys.stderr.write('x\\nERROR: data: f.tfrecord: bad\\n'); sys.exit({})"
    with RankGroup(_plan(tmp_path, script.format(code)), 5) as group:
        ended = _wait(group)
    failure = diagnose_failure(ended)
    assert failure.kind == kind
    assert failure.message == f"rank 0 exited with code {code}: data: f.tfrecord: bad"


def test_last_line_stands_in_for_an_error_line(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("Traceback (most recent call last):\nValueError: no\n\n", encoding="utf-8")
    assert find_error_line(log) == "ValueError: no"
    assert find_error_line(tmp_path / "absent.log") is None


def test_plan_gives_each_rank_the_seeds_variables(tmp_path):
    spec = build_spec([("test", {"cards": "2"})])
    allocation = Allocation((Placement(0, 4, None), Placement(1, 5, None)), None, False)
    plan = build_plan(
        spec,
        SimulatedBackend(),
        allocation,
        ["train", "--rank={rank}", "--out={output_dir}", '{"json": {}}'],
        "job-1",
        tmp_path,
        {"PATH": "/bin", "RANK_ID": "77", "TF_CONFIG": "stale"},
        {},
        tmp_path,
    )
    first, second = plan.ranks
    assert "TF_CONFIG" not in first.environment
    names = ("RANK_ID", "RANK_SIZE", "RANK_INDEX", "DEVICE_ID", "DEVICE_INDEX", "JOB_ID", "PATH")
    assert [second.environment[name] for name in names] == [
        "1", "2", "0", "5", "1", "job-1", "/bin",
    ]  # fmt: skip
    assert second.argv == (
        "train",
        "--rank=1",
        "--out={}".format(tmp_path / "train"),
        '{"json": {}}',
    )
    assert second.log_path == tmp_path / "logs" / "train_5.log"


def test_unknown_braces_stay():
    assert fill_placeholders("{rank} {other} {", {"rank": "3"}) == "3 {other} {"
