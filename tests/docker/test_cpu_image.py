"""The image with TensorFlow on the CPU: real runs, under the restrictions of ``docker-args``."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--batch-size", "4", "--seq-length", "64")
RESTRICTED = (
    *("--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)
CALLER = ("--user", "4321:4321")

pytestmark = pytest.mark.docker


def read_results(folder: Path) -> List[Dict[str, Any]]:
    """Stored results below a results directory."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/result.json"))]


def owners(folder: Path) -> Sequence[int]:
    """User ids of everything below a folder."""
    return sorted({path.stat().st_uid for path in folder.rglob("*")})


def mount(folder: Path) -> Sequence[str]:
    """The results directory where the image looks for it."""
    return ("-v", f"{folder}:/ascend-bert/results")


def test_command_of_the_user_card(lab, record_property):
    """Literally: no option for the engine at all."""
    done = lab.engine.run("run", "ascend-bert", "bench", "--cards", "2", *SMALL, "--steps", "20")
    assert done.returncode == 0, done.stderr
    assert "VALID" in done.stdout and "backend cpu chosen" in done.stderr
    rate = next(line.split()[3] for line in done.stdout.splitlines() if line.split()[:1] == ["2"])
    record_property("seen", f"{rate} sequences/s")


def test_eight_simulated_cards(lab):
    words = ["bench", "--cards", "8", "--backend", "simulated", "--format", "json"]
    done = lab.engine.run("run", "--rm", "ascend-bert", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_restricted_run_writes_results_of_the_caller(lab, results):
    words = ["bench", "--cards", "2", *SMALL, "--steps", "20"]
    done = lab.engine.run("run", *RESTRICTED, *CALLER, *mount(results), "ascend-bert", *words)
    assert done.returncode == 0, done.stderr
    (result,) = read_results(results)
    assert result["state"] == "finished" and len(result["ranks"]) == 2
    assert all(rank["exit_code"] == 0 for rank in result["ranks"])
    assert owners(results) == [4321]
    facts = json.dumps(result["found"]["environment"])
    assert '"docker"' in facts and "-cpu" in facts


def test_script_runs_as_the_caller_and_notes_the_digest(lab, tmp_path):
    client = str(Path(lab.engine.client).parent)
    environment = {**lab.engine.variables, "CONTAINER_ENGINE": "docker"}
    environment["PATH"] = f"{client}{os.pathsep}{os.environ['PATH']}"
    words = ["--network", "none", "bench", "--cards", "1", *SMALL, "--steps", "10"]
    done = subprocess.run(
        [str(ROOT / "scripts" / "docker-run"), *words],
        cwd=str(tmp_path),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (result,) = read_results(tmp_path / "results")
    assert owners(tmp_path / "results") == [os.getuid()]
    assert "sha256:" in json.dumps(result["found"]["environment"])


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["bench", "--steps", "none"], 2, "steps"),
        (["no-such-verb"], 2, "invalid choice"),
        (["bench", "--backend", "ascend"], 6, "no /dev/davinci"),
        (["bench", "--data", "/tmp"], 7, "/tmp"),
        (["bench", "--output", "/proc/none", "--steps", "10"], 6, "/proc/none"),
        (["--version"], 0, ""),
    ],
)
def test_exit_codes(lab, words, code, said):
    done = lab.engine.run("run", *RESTRICTED, "ascend-bert", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


def test_results_of_somebody_else_are_one_clear_line(lab, results):
    words = ["bench", "--backend", "simulated", "--cards", "1"]
    user = ("--user", "4322:4322")
    done = lab.engine.run("run", *RESTRICTED, *user, *mount(results), "ascend-bert", *words)
    assert done.returncode == 6, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("ascend-bert: error:")


def test_stop_ends_the_ranks_and_keeps_a_partial_result(lab, results, record_property):
    words = ["bench", "--cards", "2", *SMALL, "--steps", "100000"]
    options = [option for option in RESTRICTED if option != "--rm"]
    started = lab.engine.run(
        *("run", "-d", "--name", "stopped", *options, *CALLER, *mount(results)),
        *("ascend-bert", *words),
        check=True,
    )
    try:
        deadline = time.monotonic() + 180
        while not any(
            "global_step/sec" in log.read_text(errors="replace")
            for log in results.glob("runs/*/logs/*.log")
        ):
            assert time.monotonic() < deadline, lab.engine.run("logs", "stopped").stderr
            time.sleep(0.5)
        # Process 1 is there to pass signals on.
        first = lab.engine.run("exec", "stopped", "cat", "/proc/1/comm", check=True).stdout
        assert first.strip() == "dumb-init"
        begin = time.monotonic()
        lab.engine.run("stop", "-t", "60", "stopped", check=True)
        took = time.monotonic() - begin
        code = lab.engine.run("inspect", "-f", "{{.State.ExitCode}}", "stopped").stdout.strip()
    finally:
        lab.engine.run("rm", "-f", started.stdout.strip())
    assert code == "143" and took < 30
    (result,) = read_results(results)
    assert result["state"] == "failed" and result["failure"]["kind"] == "interrupted"
    assert sum(len(rank["intervals"]) for rank in result["ranks"]) > 0
    record_property("seen", f"stopped in {took:.1f} s")


def test_health(lab, results):
    check = ("python3.7", "-E", "-S", "/usr/local/lib/ascend-bert/healthcheck.py")
    entry = ("--entrypoint", check[0], *CALLER, *mount(results))
    well = lab.engine.run("run", *RESTRICTED, *entry, "ascend-bert", *check[1:])
    assert (well.returncode, well.stdout.strip()) == (0, "well")
    gone = ("-e", "ASCEND_BERT_HEALTH_URL=http://127.0.0.1:9/metrics")
    ill = lab.engine.run("run", *RESTRICTED, *gone, *entry, "ascend-bert", *check[1:])
    assert ill.returncode == 1 and "127.0.0.1:9" in ill.stdout
