"""Head and agents as real processes over a shared folder; what happens when one of them goes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bench.errors import InfrastructureError, OutputError
from bench.launch import mailbox
from bench.launch.cluster import HostCluster, Launch
from bench.launch.plan import LaunchPlan, RankPlan

SLEEP = "import time; time.sleep(600)"
# Two agents as children of one launcher, as srun and mpirun have them.
LAUNCHER = """
import os, subprocess, sys
agents = [
    subprocess.Popen(
        [sys.executable, "-m", "bench", "host", sys.argv[1], "--index-from=mpi"],
        env={**os.environ, "OMPI_COMM_WORLD_RANK": str(i), "OMPI_COMM_WORLD_SIZE": "2"},
    )
    for i in range(2)
]
sys.exit(max(agent.wait() for agent in agents))
"""


@pytest.fixture
def folder(tmp_path):
    return mailbox.make_folder(tmp_path, "session")


@contextlib.contextmanager
def open_cluster(folder, **more):
    launch = Launch((sys.executable, "-c", LAUNCHER, str(folder)), None, "the launcher")
    with HostCluster(folder, launch, {}, start_timeout_seconds=60, **more) as cluster:
        yield cluster


def make_plan(tmp_path, *scripts):
    return LaunchPlan(
        tuple(
            RankPlan(
                rank=rank,
                device=0,
                argv=(sys.executable, "-c", script),
                environment={"RANK_ID": str(rank)},
                cores=None,
                log_path=tmp_path / "logs" / f"train_{rank}.log",
                host=rank,
            )
            for rank, script in enumerate(scripts)
        ),
        tmp_path,
    )


def wait(group, seconds=20.0):
    deadline = time.monotonic() + seconds
    ended = []
    while group.running and not group.trouble and time.monotonic() < deadline:
        ended += group.poll()
        time.sleep(0.02)
    return ended


def find_agents(folder):
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
        and "host" in process.info["cmdline"]
    ]


def test_two_runs_with_agents_on_two_hosts(tmp_path, folder):
    say = "import os, sys; print(os.environ['RANK_ID']); sys.exit(int(os.environ['RANK_ID']) * 3)"
    with open_cluster(folder) as cluster:
        assert [host.index for host in cluster.hosts] == [0, 1]
        for number in range(2):
            hosts = cluster.prepare(2)
            assert all(len(host.ports) == 2 for host in hosts)
            run_dir = tmp_path / str(number)
            with cluster.start(make_plan(run_dir, say, say), run_dir, 5) as group:
                ended = wait(group)
            assert sorted(rank.plan.rank for rank in ended) == [0, 1]
            assert group.exit_codes() == {0: 0, 1: 3}
            for rank in (0, 1):
                assert (run_dir / "logs" / f"train_{rank}.log").read_text().split() == [str(rank)]
        described = cluster.describe([0, 1], {"facts": {}})
    assert [host["ranks"] for host in described] == [[0], [1]]
    assert "cpu_model" in described[1]["differs"]
    # Both processes read the same clock, so the bounds must hold zero.
    for host in described:
        clock = host["clock"]
        assert abs(clock["seconds"]) <= clock["uncertainty_seconds"] < 0.2
        assert clock["steps"] == 0
    assert not folder.exists()
    assert not find_agents(folder)


def test_stop_ends_ranks_on_all_hosts(tmp_path, folder):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP
    with open_cluster(folder) as cluster:
        cluster.prepare(2)
        with cluster.start(make_plan(tmp_path, SLEEP, stubborn), tmp_path, 0.5) as group:
            # Time for the interpreter to come to where it ignores the signal.
            time.sleep(0.5)
            processes = [psutil.Process(rank.process_id) for rank in group.ranks]
            group.stop()
        assert group.exit_codes() == {0: -signal.SIGTERM, 1: -signal.SIGKILL}
        assert all(rank.stopped_by_us for rank in group.ranks)
        assert not [process for process in processes if process.is_running()]


def test_agent_that_is_told_to_end_says_so(tmp_path, folder):
    with open_cluster(folder) as cluster:
        cluster.prepare(2)
        with cluster.start(make_plan(tmp_path, SLEEP, SLEEP), tmp_path, 5) as group:
            agent = next(a for a in find_agents(folder) if "--index-from=mpi" in a.cmdline())
            agent.terminate()
            wait(group)
            assert "was ended by signal 15" in group.trouble
            started = time.monotonic()
        assert time.monotonic() - started < 10
    assert not find_agents(folder)


def test_host_that_falls_silent_is_lost(tmp_path, folder):
    with open_cluster(folder, host_timeout_seconds=3.0) as cluster:
        cluster.prepare(2)
        with cluster.start(make_plan(tmp_path, SLEEP, SLEEP), tmp_path, 0.5) as group:
            agent = find_agents(folder)[1]
            agent.suspend()
            wait(group)
            assert "is lost: no sign of life for 3 s" in group.trouble
            agent.resume()
    assert not find_agents(folder)


def test_agents_end_when_the_head_is_gone(tmp_path, folder):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from bench.launch.cluster import HostCluster, Launch\n"
        "launch = Launch((sys.executable, '-c', sys.argv[2], sys.argv[1]), None, 'x')\n"
        "with HostCluster(Path(sys.argv[1]), launch, {}, host_timeout_seconds=3) as cluster:\n"
        "    print('ready', flush=True); time.sleep(600)\n"
    )
    head = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), LAUNCHER],
        stdout=subprocess.PIPE,
    )
    with head:
        assert head.stdout.readline() == b"ready\n"
        agents = find_agents(folder)
        assert len(agents) == 2
        head.kill()
        _, alive = psutil.wait_procs(agents, timeout=15)
        assert not alive


def test_launcher_that_fails_is_quoted(folder):
    script = "import sys; sys.stderr.write('no route to node7\\n'); sys.exit(9)"
    launch = Launch((sys.executable, "-c", script), 2, "srun")
    with pytest.raises(
        InfrastructureError, match="srun ended with code 9; it said: no route"
    ), HostCluster(folder, launch, {}):
        pass
    launch = Launch(("no-such-launcher",), 2, "srun")
    with pytest.raises(InfrastructureError, match="cannot start no-such-launcher"), HostCluster(
        folder, launch, {}
    ):
        pass


def test_hosts_that_do_not_come_are_named(folder):
    launch = Launch((), 3, "--launcher env")
    with pytest.raises(
        InfrastructureError, match="host 0, 1, 2 of 3 did not say that it is ready"
    ), HostCluster(folder, launch, {}, start_timeout_seconds=1.0):
        pass


def test_folder_of_messages_is_for_its_owner_only(tmp_path):
    folder = mailbox.make_folder(tmp_path, "a")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(InfrastructureError, match="nobody else can write"):
        mailbox.check_folder(folder)
    with pytest.raises(InfrastructureError, match="same --output directory"):
        mailbox.check_folder(tmp_path / "absent")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InfrastructureError, match="must be a folder"):
        mailbox.check_folder(tmp_path / "link")
    for key in ("..", "a/b", "", "."):
        with pytest.raises(OutputError, match="cannot name a folder"):
            mailbox.make_folder(tmp_path, key)


def test_messages_are_whole_or_absent(tmp_path):
    mailbox.write_message(tmp_path, "host-0.json", {"a": 1})
    assert mailbox.read_message(tmp_path, "host-0.json") == {"a": 1}
    for content in (b"", b"{", b"[]", b"[" * 100000, b"\xff", b'{"a": 1}' + b" " * (9 << 20)):
        (tmp_path / "host-1.json").write_bytes(content)
        assert mailbox.read_message(tmp_path, "host-1.json") is None
    assert mailbox.read_message(tmp_path, "host-2.json") is None
