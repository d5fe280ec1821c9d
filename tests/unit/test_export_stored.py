"""Stored results as metrics: the last of each case, without what was not measured."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from bench.cli import main
from bench.errors import EXIT_OK
from bench.export.server import build_registry
from bench.export.stored import ResultCollector, ResultReader, build_stored, list_stored
from bench.measure.figures import Check, Measurement
from bench.results.model import SCHEMA_VERSION, Failure, RunResult
from bench.results.store import write_result
from bench.series import RESULT_SERIES

ROOT = Path(__file__).resolve().parent.parent.parent


def _build(
    run_id="a", cards=2, rate=100.0, session="s", started="2026-01-01T00:00:00.500Z", **more
):
    asked = {
        "cards": [cards],
        "batch_size": 16,
        "seq_length": 128,
        "model": "models/BERT tiny.json",
        "precision": "fp32",
        "task": "pretrain",
    }
    summary = {
        "sequences_per_second": Measurement(rate, "1/s", 5, "w", low=rate - 1.0, high=rate + 1.0),
        "step_time_p50_seconds": Measurement(0.25, "s", 5, "w"),
        "final_mlm_loss": Measurement(None, "nat", 0, "w", "no report"),
        "unheard_of": Measurement(1.0, "1", 1, "w"),
    }
    facts = {"environment": {"facts": {"host_name": "node1"}}, "backend": "cpu"}
    plain = {
        "run_id": run_id,
        "session": {"id": session},
        "state": "finished",
        "simulated": False,
        "asked": asked,
        "found": facts,
        "ranks": (),
        "summary": summary,
        "validity": (Check("ranks seen", True, "2", "2"), Check("band", None, "-", "-", False)),
        "started_at": started,
        "ended_at": "2026-01-01T00:01:00Z",
        "failure": None,
        "tool": {"name": "ascend-bert", "version": "1"},
        "schema_version": SCHEMA_VERSION,
    }
    return RunResult(**{**plain, **more})


def _store(output, result):
    folder = output / "runs" / result.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_result(folder, result)
    return folder


def _expose(output, **more):
    collector = ResultCollector(ResultReader(list_stored(output)), **more)
    return generate_latest(build_registry([collector])).decode()


def _read_values(body, key):
    lines = [line for line in body.splitlines() if line.startswith(f"ascend_bert_{key}{{")]
    return {line.partition("{")[2].rpartition("} ")[0]: float(line.split()[-1]) for line in lines}


def test_figures_and_facts_of_a_result(tmp_path):
    _store(tmp_path, _build())
    body = _expose(tmp_path)
    (case,) = _read_values(body, "result_valid")
    assert case.startswith('case="BERT_tiny-cpu-b16-s128-fp32-2p-')
    assert _read_values(body, "result_sequences_per_second") == {case: 100.0}
    assert _read_values(body, "result_sequences_per_second_low") == {case: 99.0}
    assert _read_values(body, "result_sequences_per_second_high") == {case: 101.0}
    assert _read_values(body, "result_step_time_p50_seconds") == {case: 0.25}
    assert _read_values(body, "result_start_timestamp_seconds") == {case: 1767225600.5}
    assert _read_values(body, "result_end_timestamp_seconds") == {case: 1767225660.0}
    assert list(_read_values(body, "result_check_passed")) == [f'{case},check="ranks seen"']
    (facts,) = _read_values(body, "result_info")
    for fact in ('run_id="a"', 'host="node1"', 'cards="2"', 'simulated="false"', 'version="1"'):
        assert fact in facts
    assert "final_mlm_loss" not in body
    assert "unheard_of" not in body
    assert "result_failed{" not in body


def test_every_name_is_in_the_catalogue(tmp_path):
    _store(tmp_path, _build())
    _store(tmp_path, _build("b", 4))
    names = {line.split()[2] for line in _expose(tmp_path).splitlines() if "# TYPE" in line}
    assert names <= {series.name for series in RESULT_SERIES}
    missing = {series.key for series in RESULT_SERIES if series.name not in names}
    assert all(key.startswith("result_") for key in missing)


def test_the_last_result_of_a_case_counts_and_all_are_counted(tmp_path):
    _store(tmp_path, _build("z", rate=90.0, started="2026-01-01T00:00:00Z"))
    _store(tmp_path, _build("a", rate=110.0, started="2026-01-02T00:00:00Z"))
    body = _expose(tmp_path)
    assert list(_read_values(body, "result_sequences_per_second").values()) == [110.0]
    assert list(_read_values(body, "result_runs").values()) == [2.0]


def test_cases_that_must_not_be_compared_are_apart(tmp_path):
    real = _build("a")
    _store(tmp_path, real)
    _store(tmp_path, _build("b", simulated=True))
    _store(tmp_path, _build("c", asked={**real.asked, "batch_size": 32}))
    assert len(_read_values(_expose(tmp_path), "result_valid")) == 3


def test_a_failed_run_shows_its_failure_and_no_figures(tmp_path):
    _store(tmp_path, _build("a", started="2026-01-01T00:00:00Z"))
    failure = Failure("trainer", "rank 1 died", 1, -9)
    _store(tmp_path, _build("b", started="2026-01-02T00:00:00Z", state="failed", failure=failure))
    body = _expose(tmp_path)
    (case,) = _read_values(body, "result_valid")
    assert _read_values(body, "result_valid") == {case: 0.0}
    assert _read_values(body, "result_failed") == {f'{case},kind="trainer"': 1.0}
    assert "result_sequences_per_second{" not in body


def test_a_run_that_still_goes_is_no_result(tmp_path):
    _store(tmp_path, _build("a", state="running", ended_at=None, summary={}))
    body = _expose(tmp_path)
    assert "result_info" not in body
    assert "ascend_bert_exporter_unreadable_results 0.0" in body


def test_scaling_efficiency_within_a_session_only(tmp_path):
    _store(tmp_path, _build("a", cards=1, rate=100.0))
    _store(tmp_path, _build("b", cards=2, rate=150.0))
    _store(tmp_path, _build("c", cards=4, rate=300.0, session="other"))
    values = _read_values(_expose(tmp_path), "result_scaling_efficiency_ratio")
    assert sorted(values.values()) == [0.75, 1.0]


def test_a_damaged_result_is_counted_and_hides_no_other(tmp_path):
    _store(tmp_path, _build("a"))
    folder = _store(tmp_path, _build("b"))
    (folder / "result.json").write_text("{")
    body = _expose(tmp_path)
    assert "ascend_bert_exporter_unreadable_results 1.0" in body
    assert len(_read_values(body, "result_valid")) == 1


def test_an_odd_document_is_damaged_not_a_crash(tmp_path):
    folder = _store(tmp_path, _build("a"))
    path = folder / "result.json"
    plain = json.loads(path.read_text())
    for key in ("asked", "found", "session", "tool", "started_at"):
        path.write_text(json.dumps({**plain, key: []}))
        assert "unreadable_results 1.0" in _expose(tmp_path), key


def test_too_many_cases_are_left_out_and_said(tmp_path):
    for number in range(1, 8):
        started = f"2026-01-0{number}T00:00:00Z"
        _store(tmp_path, _build(f"r{number}", cards=number, rate=float(number), started=started))
    body = _expose(tmp_path, max_cases=3)
    rates = _read_values(body, "result_sequences_per_second")
    assert sorted(rates.values()) == [5.0, 6.0, 7.0]
    assert "ascend_bert_exporter_cases_left_out 4.0" in body


def test_a_result_is_read_once_until_it_changes(tmp_path, monkeypatch):
    folder = _store(tmp_path, _build("a"))
    reader = ResultReader(list_stored(tmp_path))
    first = reader.read()
    assert reader.read()[0] is first[0]
    _store(tmp_path, _build("a", rate=5.0))
    os.utime(str(folder / "result.json"), (1, 1))
    assert reader.read()[0].figures["result_sequences_per_second"] == 5.0
    (folder / "result.json").unlink()
    assert reader.read() == []


def test_times_without_a_zone_are_utc():
    assert build_stored(_build(started="2026-01-01T00:00:00")).started_seconds == 1767225600.0
    assert dataclasses.replace(_build(), started_at="?").run_id == "a"
    assert build_stored(_build(started="?")).started_seconds == 0.0


def test_textfile_and_its_errors(tmp_path, capsys):
    _store(tmp_path, _build())
    target = tmp_path / "out.prom"
    assert main(["exporter", str(tmp_path), "--textfile", str(target)]) == EXIT_OK
    assert "ascend_bert_result_valid{" in target.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.prom", "runs"]
    for arguments, code, words in (
        ([str(tmp_path), "--textfile", str(tmp_path / "out.txt")], 2, "end in .prom"),
        ([str(tmp_path), "--textfile", "x.prom", "--listen", ":0"], 2, "drop --listen"),
        ([str(tmp_path), "--textfile", str(tmp_path / "no" / "x.prom")], 6, "cannot write"),
        ([str(tmp_path), "--listen", "nowhere"], 2, "is not HOST:PORT"),
        ([str(tmp_path), "--max-cases", "0"], 2, "--max-cases"),
        ([str(tmp_path), "--listen", ":0", "--web.config.file", "absent"], 2, "cannot read"),
        ([str(tmp_path / "absent")], 7, "no results directory"),
    ):
        assert main(["exporter", *arguments]) == code, arguments
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_exporter_serves_until_a_signal(tmp_path, number):
    _store(tmp_path, _build())
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "exporter", str(tmp_path), "--listen", "127.0.0.1:0"],
        cwd=str(ROOT),
        stderr=subprocess.PIPE,
    )
    try:
        url = process.stderr.readline().decode().split()[-1]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b"ascend_bert_result_valid" in answer.read()
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5.0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
