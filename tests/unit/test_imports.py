"""Measurements of others, marked as such and never taken for ours."""

import json
from pathlib import Path

import pytest

from bench import cli
from bench.results.check import check_document
from bench.results.fingerprint import NOT_COMPARABLE, build_fingerprint, compare_fingerprints
from bench.results.imports import Told, import_files
from bench.results.model import SCHEMA_VERSION
from bench.results.store import list_run_directories, read_result
from tests.unit.test_exports import CASE

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SAMPLE = GOLDEN / "logs" / "seed_sample.log"
RESULT = GOLDEN / "results" / "result-v2.json"


@pytest.fixture
def case_log(tmp_path):
    path = tmp_path / "Bert_bs128_8p_perf.log"
    path.write_text(CASE, encoding="utf-8")
    return path


def _import(tmp_path, capsys, *argv):
    code = cli.main(["import", *map(str, argv), "--output", str(tmp_path / "out")])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_training_logs_are_measured_as_parse_does(tmp_path, capsys):
    code, out, _ = _import(tmp_path, capsys, SAMPLE, "--backend", "ascend", "--model", "bert-base")
    assert code == 0
    assert "note: batch_size 128: assumed" in out
    (folder,) = list_run_directories(tmp_path / "out")
    result = read_result(folder)
    assert cli.main(["parse", str(SAMPLE), "--format", "json"]) == 0
    parsed = json.loads(capsys.readouterr().out)["summary"]
    assert {key: item.value for key, item in result.summary.items()} == {
        key: item["value"] for key, item in parsed.items()
    }
    assert len(result.ranks) == 7
    imported = result.found["imported"]
    assert (imported["kind"], imported["estimate"]) == ("training-log", "ours")
    assert imported["sources"][0]["name"] == "seed_sample.log"
    assert imported["sources"][0]["bytes"] == SAMPLE.stat().st_size
    check_document(json.loads((folder / "result.json").read_text()), "stored")


def test_a_summary_is_kept_but_never_valid(tmp_path, capsys, case_log):
    code, out, _ = _import(tmp_path, capsys, case_log)
    assert code == 0
    assert "INVALID: intervals measured" in out
    assert "quoted: mean of printed rates of one device" in out
    assert "ActualFPS is the arithmetic mean" in out
    (folder,) = list_run_directories(tmp_path / "out")
    result = read_result(folder)
    assert not result.valid
    assert result.value("sequences_per_second") == 2509.6
    assert result.value("steps_per_second") == pytest.approx(2.45078125)
    assert result.asked["batch_size"] == 128
    assert result.asked["seq_length"] is None
    check_document(json.loads((folder / "result.json").read_text()), "stored")
    ours = build_fingerprint(read_result(RESULT))
    found = compare_fingerprints(ours, build_fingerprint(result))
    assert found.level == NOT_COMPARABLE
    assert "estimate" in found.fields


def test_importing_twice_stores_once(tmp_path, capsys, case_log):
    _import(tmp_path, capsys, case_log)
    code, out, _ = _import(tmp_path, capsys, case_log)
    assert code == 0
    assert out.startswith("already there: ")
    assert len(list_run_directories(tmp_path / "out")) == 1


def test_a_result_of_another_machine_is_checked_and_marked(tmp_path, capsys):
    code, _, _ = _import(tmp_path, capsys, RESULT)
    assert code == 0
    (folder,) = list_run_directories(tmp_path / "out")
    result = read_result(folder)
    original = read_result(RESULT)
    assert result.summary == original.summary
    assert result.found["imported"]["kind"] == "result"
    (again,) = import_files([folder], Told())
    assert again == result


def test_an_old_result_is_upgraded_on_the_way(tmp_path, capsys):
    _import(tmp_path, capsys, GOLDEN / "results" / "result-v1.json")
    (folder,) = list_run_directories(tmp_path / "out")
    assert json.loads((folder / "result.json").read_text())["schema_version"] == SCHEMA_VERSION


def test_what_we_exported_comes_back_the_same(tmp_path, capsys):
    exported = tmp_path / "own.log"
    assert cli.main(["export", str(RESULT), "--to", "modelzoo", "--file", str(exported)]) == 0
    (result,) = import_files([exported], Told())
    original = read_result(RESULT)
    for key in ("sequences_per_second", "final_total_loss"):
        assert result.value(key) == original.value(key)
    # What was simulated stays so, and the errors of the scripts are not in it.
    assert result.simulated
    assert result.found["imported"]["estimate"] == "exported by ascend-bert"
    assert result.found["imported"]["warnings"] == []


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("x.json", "{}", 7, "no schema_version"),
        ("x.json", '{"schema_version": 2}', 7, "breaks the result schema"),
        ("x.json", "{nonsense", 7, "is not a result"),
        ("x.log", "ActualFPS = 5\nCaseName = odd\n", 7, "give --cards"),
        ("x.log", "ActualFPS = 5\nRankSize = 8\n", 7, "give --batch-size"),
        ("x.log", "hello\n", 7, "no training record"),
    ],
)
def test_what_is_no_measurement_is_refused_in_one_line(tmp_path, capsys, name, text, code, words):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found, _, err = _import(tmp_path, capsys, path)
    assert found == code
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there(tmp_path, capsys):
    code, _, err = _import(tmp_path, capsys, tmp_path / "absent")
    assert code == 7
    assert "No such file" in err


def test_sizes_that_are_told_win(tmp_path, case_log):
    (result,) = import_files([case_log], Told(cards=4, batch_size=64, seq_length=128))
    assert result.value("steps_per_second") == pytest.approx(2509.6 / 256)
    assert (result.n_cards, result.asked["seq_length"]) == (4, 128)
