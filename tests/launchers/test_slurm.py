"""A real Slurm of two nodes runs a session, and ends one."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from bench.results.store import list_run_directories, read_result
from tests.launchers.sessions import BENCH, ROOT, check_equal_in_form, read_only_result
from tests.launchers.slurm_cluster import SlurmCluster


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


def test_session_inside_an_allocation(slurm, local_result, tmp_path):
    argv = ["salloc", "--quiet", "--nodes=2", *BENCH]
    done = slurm.run(*argv, "--launcher", "slurm", "--cards", "2", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = read_only_result(tmp_path)
    check_equal_in_form(result, local_result)
    assert [host["ranks"] for host in result.found["hosts"]] == [[0], [1]]
    assert not (tmp_path / "hosts").exists()


def test_job_that_is_cancelled_keeps_what_was_measured(slurm, tmp_path):
    words = ["--backend", "cpu", "--spec", "smoke", "--cards", "2", "--steps", "100000"]
    written = subprocess.run(
        [sys.executable, "-m", "bench", "job", "slurm", "--hosts=2", "--sbatch=--export=ALL"]
        + ["--", *words, "--output", str(tmp_path)],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        check=True,
    )
    script = tmp_path / "job.sh"
    script.write_bytes(written.stdout)
    job = slurm.run("sbatch", "--parsable", str(script)).stdout.strip()
    assert job.isdigit()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        logs = list(tmp_path.glob("runs/*/logs/train_*.log"))
        if len(logs) == 2 and all("global_step = 5," in log.read_text() for log in logs):
            break
        time.sleep(0.2)
    # What Slurm sends before a job is preempted or out of time.
    slurm.run("scancel", "--batch", "--signal=TERM", job)
    while time.monotonic() < deadline and slurm.run("squeue", "--noheader").stdout.strip():
        time.sleep(0.2)
    (folder,) = list_run_directories(tmp_path)
    result = read_result(folder)
    assert (result.state, result.failure.kind) == ("failed", "interrupted")
    assert result.failure.message == "ended by SIGTERM"
    assert all(rank.last_step >= 5 for rank in result.ranks)
    left = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in str(p.info["cmdline"])]
    assert not left
    for path in ROOT.glob(f"slurm-{job}.out"):
        path.unlink()
