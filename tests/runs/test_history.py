"""The index over results, nightly series with breaks, and their exports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.cli import main
from bench.errors import DataError
from bench.history.index import INDEX_NAME, read_launches, update_index
from bench.history.series import build_all_series
from bench.results.model import Failure
from tests.stored_nights import STEADY, build_night, scale, store, to_launches

ROOT = Path(__file__).resolve().parents[2]
METRIC = ("sequences_per_second",)


def _nights(factors, **options):
    rng = np.random.RandomState(2)
    return [
        run
        for night, factor in enumerate(factors)
        for run in build_night(night, 100.0 * factor * np.exp(0.005 * rng.randn(3)), **options)
    ]


@pytest.fixture(name="output")
def _output(tmp_path, monkeypatch):
    """Fourteen nights, 4 % slower from the tenth on."""
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "results", _nights([1.0] * 9 + [0.96] * 5))
    return tmp_path / "results"


def test_the_night_of_the_drop_is_named(output, capsys):
    assert main(["history"]) == 0
    out = capsys.readouterr().out
    assert "changed by -3.9 % (worse) from 2026-03-10 on" in out
    assert main(["history", "--format", "json"]) == 0
    (series,) = json.loads(capsys.readouterr().out)
    (change,) = series["changes"]
    assert (change["index"], change["kind"], change["worse"]) == (9, "step", True)
    assert change["session"].startswith("20260310T")
    assert main(["history", "--nights", "--format", "markdown"]) == 0
    assert "step begins" in capsys.readouterr().out


def test_only_a_fresh_change_for_the_worse_fails(output, capsys):
    assert main(["history", "--fail-on-change"]) == 0
    for folder in sorted((output / "runs").glob("2026031[345]*")):
        shutil.rmtree(str(folder))
    codes = [main(["history", "--fail-on-change"])]
    for folder in sorted((output / "runs").glob("20260312*")):
        shutil.rmtree(str(folder))
    codes.append(main(["history", "--fail-on-change"]))
    assert codes == [1, 0]


def test_the_index_follows_the_folders_and_can_be_made_anew(output):
    index = output / INDEX_NAME
    first = update_index(index, output)
    assert (first.n_read, first.n_runs, first.damaged) == (42, 42, ())
    assert update_index(index, output).n_read == 0
    gone, broken = sorted((output / "runs").iterdir())[:2]
    shutil.rmtree(str(gone))
    (broken / "result.json").write_text("{", encoding="utf-8")
    store(output, build_night(20, [99.0]))
    again = update_index(index, output)
    assert (again.n_read, again.n_removed, len(again.damaged)) == (1, 1, 1)
    before = read_launches(index)
    assert len(before) == 41
    index.unlink()
    update_index(index, output)
    assert read_launches(index) == before
    update_index(index, output, rebuild=True)
    assert read_launches(index) == before


def test_results_may_move(output, tmp_path, monkeypatch):
    update_index(output / INDEX_NAME, output)
    output.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = update_index(Path(INDEX_NAME), Path("."))
    assert (again.n_read, again.n_removed, again.n_runs) == (0, 0, 42)


def test_a_file_that_is_no_index_is_told(output):
    (output / INDEX_NAME).write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(DataError, match="delete it, the results hold all"):
        update_index(output / INDEX_NAME, output)


def test_two_writers_at_once(output):
    """Processes that update the same index while runs come and go end with the same index."""
    code = (
        "import sys; from pathlib import Path; from bench.history.index import update_index\n"
        "for _ in range(15): update_index(Path(sys.argv[1]), Path(sys.argv[2]), rebuild=True)"
    )
    index = output / INDEX_NAME
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(index), str(output)], cwd=str(ROOT),
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    store(output, build_night(20, STEADY))
    shutil.rmtree(str(sorted((output / "runs").iterdir())[0]))
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert (writer.returncode, errors) == (0, b"")
    update_index(index, output)
    assert len(read_launches(index)) == 46


def test_nights_without_a_value_stay_missing():
    runs = _nights([1.0] * 6)
    runs += build_night(6, [1.0], failure=Failure("trainer", "rank 0 was killed"))
    runs += build_night(7, [100.0], flaw="losses finite")
    (series,) = build_all_series(to_launches(runs), METRIC)
    assert [night.value is None for night in series.nights] == [False] * 6 + [True] * 2
    assert series.nights[6].problem == "rank 0 was killed"
    assert series.nights[7].problem == "losses finite"


def test_new_hardware_is_a_break_and_an_old_value_is_none():
    facts = [{"hardware_model": name} for name in "aaaaaaaaaabbbbbbbbbbab"]
    runs = []
    for night, fact in enumerate(facts):
        factor = 1.0 if night < 10 else 0.9
        runs += build_night(night, scale(STEADY, factor), facts=fact)
    (series,) = build_all_series(to_launches(runs), METRIC)
    assert series.changes == ()
    (found,) = series.breaks
    assert (found.position, found.reason) == (10, "hardware model is now b")
    assert found.change_ratio == pytest.approx(-0.1, abs=1e-6)


def test_breaks_that_the_user_knows(output, tmp_path, capsys):
    rules = tmp_path / "rules.yaml"
    rules.write_text("breaks: [{date: 2026-03-10, reason: cooling repaired}]", encoding="utf-8")
    assert main(["history", "--rules", str(rules)]) == 0
    out = capsys.readouterr().out
    assert "changed by" not in out
    assert "known break on 2026-03-10, level -3.9 %" in out


def test_otava_and_grafana_exports(output, tmp_path, capsys):
    # Otava reads no empty cells: a night without a value has no line.
    store(output, build_night(14, [1.0], flaw="losses finite"))
    assert main(["history", "--otava", "otava", "--annotations", "marks.json"]) == 0
    config = yaml.safe_load((tmp_path / "otava" / "otava.yaml").read_text(encoding="utf-8"))
    test = config["tests"]["sequences_per_second_1_card"]
    assert test["metrics"] == {
        "sequences_per_second": {"column": "sequences_per_second", "direction": 1}
    }
    lines = Path(test["file"]).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "time,session,sequences_per_second"
    assert len(lines) == 15
    assert lines[1].startswith("2026-03-01 22:11:00 +0000,20260301T")
    (mark,) = json.loads((tmp_path / "marks.json").read_text(encoding="utf-8"))
    assert mark["time"] == 1773180660000
    assert mark["tags"] == ["ascend-bert", "step", "worse", "sequences_per_second", "cards:1"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--metric", "speed"], 2, "unknown metric"),
        (["--output", "nowhere"], 7, "no results under nowhere"),
        (["--cards", "9"], 7, "no series"),
    ],
)
def test_wrong_usage(output, capsys, arguments, code, words):
    assert main(["history", *arguments]) == code
    assert words in capsys.readouterr().err
