"""Faults of the real trainer: damaged data and checkpoints, a stopped rank, a launch made again."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from bench.results.store import list_run_directories
from tests.faults.harness import ROOT, build_argv, finish, list_processes, start

SIZES = "--model bert-tiny --batch-size 4 --seq-length 32 --set max_predictions=5".split()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A synthetic corpus of these sizes, made once."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ASCEND_BERT_CACHE")
    os.environ["ASCEND_BERT_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ASCEND_BERT_CACHE"]
    else:
        os.environ["ASCEND_BERT_CACHE"] = before


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    """A run that left data and a checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    outcome = _run(folder, "--cards", "1", "--steps", "6", save_checkpoints_steps=3)
    assert outcome.exit_code == 0, outcome.errors
    return outcome


def _run(folder, *flags, **settings):
    return finish(start(build_argv(folder, *SIZES, "--quiet", *flags, **settings)), folder, 200)


def _find_train(outcome):
    return outcome.folder / "runs" / outcome.result["run_id"] / "train"


def test_corrupt_record(trained, tmp_path, matrix):
    data = tmp_path / "data"
    data.mkdir()
    source = sorted(Path(trained.result["found"]["data"]["train"]).glob("*.tfrecord"))[0]
    content = bytearray(source.read_bytes())
    content[2000] ^= 0xFF
    path = data / source.name
    path.write_bytes(bytes(content))
    outcome = _run(tmp_path / "out", "--data", str(data))
    matrix.append(("real: corrupt TFRecord", "-", outcome.result["failure"]["kind"],
                   outcome.exit_code, outcome.count_steps(), len(outcome.orphans)))  # fmt: skip
    assert (outcome.exit_code, outcome.result["failure"]["kind"]) == (7, "data")
    assert path.name in outcome.errors
    assert outcome.orphans == []


def test_corrupt_checkpoint(trained, tmp_path, matrix):
    source = _find_train(trained)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in source.glob("model.ckpt-6*"):
        content = bytearray(path.read_bytes())
        if ".data-" in path.name:
            content[100:4000] = os.urandom(3900)
            content = content[: len(content) // 2]
        (folder / path.name).write_bytes(bytes(content))
    options = f"trainer_options=--init_checkpoint={folder / 'model.ckpt-6'}"
    outcome = _run(tmp_path / "out", "--set", options)
    failure = outcome.result["failure"]
    matrix.append(("real: corrupt checkpoint", "-", failure["kind"], outcome.exit_code,
                   outcome.count_steps(), len(outcome.orphans)))  # fmt: skip
    assert (outcome.exit_code, failure["kind"]) == (7, "data"), outcome.errors
    assert "checkpoint" in failure["message"]
    assert outcome.orphans == []


def _wait_for_steps(folder, process, count=3):
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        logs = list((folder / "runs").glob("*/logs/train_*.log"))
        if len(logs) == 2 and all(p.read_bytes().count(b"global_step/sec") >= count for p in logs):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("no steps")


def test_stopped_rank_is_named_and_the_others_write_their_stacks(trained, tmp_path, matrix):
    folder = tmp_path / "out"
    limits = {"limits.hang_seconds": 3, "limits.hang_intervals": 5, "limits.dump_seconds": 2}
    argv = build_argv(folder, *SIZES, "--quiet", "--steps", "5000", **limits)
    process = start(argv)
    _wait_for_steps(folder, process)
    stopped = next(one for one in list_processes(folder) if _get_rank(one) == "1")
    os.kill(stopped, signal.SIGSTOP)
    began = time.time()
    outcome = finish(process, folder, 120)
    matrix.append(("real: rank 1 stopped", f"{outcome.ended_at - began:.1f} s",
                   outcome.result["failure"]["kind"], outcome.exit_code,
                   outcome.count_steps(), len(outcome.orphans)))  # fmt: skip
    assert outcome.exit_code == 5, outcome.errors
    assert "rank 1 was stopped by a signal" in outcome.errors
    (run,) = list_run_directories(folder)
    # Rank 0 waits in a collective, in C code; its handler is that of the trainer.
    assert outcome.result["found"]["hang"]["stacks"]["0"] == "SIGUSR1"
    log = (run / "logs" / "train_0.log").read_text(encoding="utf-8", errors="replace")
    assert "most recent call first" in log
    assert "session.py" in log
    assert outcome.count_steps() >= 6
    assert outcome.orphans == []
    assert (run / "hang" / "rank_1.txt").read_text().count("State: T") == 1


def _get_rank(process_id):
    with open(f"/proc/{process_id}/environ", "rb") as stream:
        words = stream.read().decode().split("\0")
    return next(word[len("RANK_ID=") :] for word in words if word.startswith("RANK_ID="))


def test_retry_goes_on_from_the_checkpoint(trained, tmp_path, matrix):
    folder = tmp_path / "out"
    flags = ("--quiet", "--cards", "1", "--steps", "60", "--retries", "1")
    process = start(build_argv(folder, *SIZES, *flags, save_checkpoints_steps=10))
    deadline = time.monotonic() + 120.0
    while not list((folder / "runs").glob("*/train/model.ckpt-10.index")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for one in list_processes(folder):
        os.kill(one, signal.SIGKILL)
    outcome = finish(process, folder, 120)
    matrix.append(("real: killed, --retries 1", "-", "valid", outcome.exit_code,
                   outcome.count_steps(), len(outcome.orphans)))  # fmt: skip
    assert outcome.exit_code == 0, outcome.errors
    first, second = outcome.result["found"]["attempts"]
    assert first["failure"]["kind"] == "trainer"
    assert second["failure"] is None
    assert second["first_step"] > 10
    assert second["last_step"] == 60
    plain = json.loads((list_run_directories(folder)[0] / "result.json").read_text())
    assert min(plain["ranks"][0]["losses"]["step"]) == second["first_step"]


def test_this_stage_runs_where_tensorflow_is():
    assert sys.version_info[:2] == (3, 7), "scripts/test runs tests/faults with .venv"
    assert (ROOT / "bert" / "pretrain.py").is_file()
