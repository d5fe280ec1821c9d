"""The harness over the real trainer: real TensorFlow, real ranks, real logs."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from bench.cli import main
from bench.results.store import list_run_directories, read_result

SMOKE = ["bench", "--backend", "cpu", "--spec", "smoke", "--quiet"]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    before = os.environ.get("ASCEND_BERT_CACHE")
    os.environ["ASCEND_BERT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["ASCEND_BERT_CACHE"]
    else:
        os.environ["ASCEND_BERT_CACHE"] = before


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Output folder of a real sweep over one and two cards."""
    output = tmp_path_factory.mktemp("sweep")
    assert main([*SMOKE, "--cards", "1,2", "--format", "json", "--output", str(output)]) == 0
    return output


def test_sweep_stores_two_valid_runs(sweep):
    results = [read_result(folder) for folder in list_run_directories(sweep)]
    assert sorted(result.n_cards for result in results) == [1, 2]
    for result in results:
        assert result.valid, result.validity
        assert not result.simulated
        assert [record.exit_code for record in result.ranks] == [0] * result.n_cards
        assert [record.rank for record in result.ranks] == list(range(result.n_cards))
        assert all(record.last_step == 12 for record in result.ranks)
        assert result.value("sequences_per_second") > 0
        # The first reported interval follows the graph-building one and is left out.
        for record in result.ranks:
            told, reasons = record.intervals["told"], record.intervals["reason"]
            assert told == ["warm-up"] + ["steady"] * (len(told) - 1)
            assert reasons[0] in ("warm-up", "graph compile")
            # What a dozen steps on a busy machine look like is not ours to say.
            assert set(reasons[1:]) <= {"warm-up", "steady", "outlier", "not steady"}
            assert record.problems["counts"] == {}


def test_parse_gives_the_stored_numbers_to_the_last_digit(sweep, capsys):
    for folder in list_run_directories(sweep):
        assert main(["parse", str(folder / "logs"), "--format", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        stored = read_result(folder)
        assert document["sizes"]["batch_size"] == {"value": 4, "from": "log"}
        assert document["ranks_seen"] == stored.n_cards
        for key, measurement in stored.summary.items():
            if key == "sequences_per_joule":
                continue  # power is no matter of logs
            assert document["summary"][key]["value"] == measurement.value, key


def _copy_data(sweep, tmp_path):
    folder = list_run_directories(sweep)[0]
    source = read_result(folder).found["data"]["train"]
    name = sorted(name for name in os.listdir(source) if name.endswith(".tfrecord"))[0]
    with open(os.path.join(source, name), "rb") as stream:
        content = bytearray(stream.read())
    target = tmp_path / "data"
    target.mkdir()
    return target / name, content


def test_corrupt_record_is_named_and_nothing_is_lost(sweep, tmp_path, capsys):
    path, content = _copy_data(sweep, tmp_path)
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    output = str(tmp_path / "out")
    code = main([*SMOKE, "--data", str(path.parent), "--output", output, "--steps", "2000"])
    captured = capsys.readouterr()
    assert code == 7
    last = captured.err.splitlines()[-1]
    assert path.name in last
    assert "Traceback" not in captured.err
    result = read_result(list_run_directories(tmp_path / "out")[0])
    assert (result.state, result.failure.kind) == ("failed", "data")
    tolerant = ["--set", "trainer_options=--skip_corrupt=1", "--output", str(tmp_path / "again")]
    assert main([*SMOKE, "--data", str(path.parent), *tolerant]) == 0
    (again,) = list_run_directories(tmp_path / "again")
    log = (again / "logs" / "train_0.log").read_text(encoding="utf-8")
    assert "left out a damaged record: " in log


def test_data_of_another_length_is_refused(sweep, tmp_path, capsys):
    path, content = _copy_data(sweep, tmp_path)
    path.write_bytes(bytes(content))
    arguments = [*SMOKE, "--data", str(path.parent), "--output", str(tmp_path / "out")]
    code = main([*arguments, "--seq-length", "128"])
    assert code == 7
    assert "128" in capsys.readouterr().err.splitlines()[-1]


def test_killed_rank_ends_the_other(sweep, tmp_path):
    data = read_result(list_run_directories(sweep)[0]).found["data"]["directory"]
    arguments = [*SMOKE, "--cards", "2", "--steps", "100000", "--data", data]
    harness = subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments, "--output", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    with harness:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            logs = list(tmp_path.glob("runs/*/logs/train_*.log"))
            if len(logs) == 2 and all("global_step = 5," in log.read_text() for log in logs):
                break
            time.sleep(0.2)
        ranks = psutil.Process(harness.pid).children()
        assert len(ranks) == 2
        killed_at = time.monotonic()
        ranks[1].kill()
        _, err = harness.communicate(timeout=30)
        took_seconds = time.monotonic() - killed_at
    assert harness.returncode == 4
    assert "was killed by SIGKILL (9)" in err
    assert took_seconds < 10
    assert not [rank for rank in ranks if rank.is_running()]
    assert read_result(list_run_directories(tmp_path)[0]).state == "failed"
