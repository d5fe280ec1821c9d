"""``parse`` on the folders of sessions: cases, sizes and validity are those of the session."""

import json
import sys

import pytest

from bench import cli
from bench.results.store import list_run_directories

SIMULATED = "bench --backend simulated --quiet --format json".split()


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _run(capsys, *argv):
    code = cli.main([str(word) for word in argv])
    return code, capsys.readouterr().out


def _parse(capsys):
    code, out = _run(capsys, "parse", "results", "--format", "json")
    assert code == 0
    return json.loads(out)["cases"]


FIGURES = ("build", "cards", "launches", "launches_used", "valid", "sequences_per_second")


def _check_same(rows, cases):
    def order(row):
        return (row["build"] or "", row["cards"], row["global_batch"])

    assert len(rows) == len(cases)
    for row, case in zip(sorted(rows, key=order), sorted(cases, key=order)):
        assert {key: case[key] for key in FIGURES} == {key: row[key] for key in FIGURES}


def test_builds_are_not_taken_together(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("simulated: {steps_per_second: 2.0}\n")
    (tmp_path / "b.yaml").write_text("simulated: {steps_per_second: 1.0}\n")
    words = [*SIMULATED, "--cards", "1", "--ab", "a.yaml", "b.yaml", "--repeats", "2"]
    _, out = _run(capsys, *words)
    cases = _parse(capsys)
    assert [case["launches"] for case in cases] == [2, 2]
    _check_same(json.loads(out), cases)


def test_sessions_are_not_taken_together(capsys):
    for _ in range(2):
        _run(capsys, *SIMULATED, "--cards", "1")
    assert [case["launches"] for case in _parse(capsys)] == [1, 1]


def test_a_launch_that_was_not_valid_does_not_count_from_its_logs(tmp_path, capsys):
    _, out = _run(capsys, *SIMULATED, "--cards", "1", "--repeats", "3")
    assert json.loads(out)[0]["launches_used"] == 3
    path = list_run_directories(tmp_path / "results")[0] / "result.json"
    document = json.loads(path.read_text())
    (check,) = [item for item in document["validity"] if item["name"] == "cards to itself"]
    check.update(passed=False, found="pid 7")
    path.write_text(json.dumps(document))
    _, out = _run(capsys, "show", "--format", "json")
    (row,) = json.loads(out)
    (case,) = _parse(capsys)
    assert case["launches_used"] == row["launches_used"] == 2
    assert "cards to itself" in case["validity"]
    _check_same([row], [case])


def test_what_must_be_steady_for_the_run_must_be_for_its_logs(capsys):
    words = ["--cards", "1,2", "--set", "simulated.drift_ratio=0.3"]
    code, out = _run(capsys, *SIMULATED, *words)
    assert code == 3
    cases = _parse(capsys)
    assert [case["valid"] for case in cases] == [False, False]
    assert [case["scaling_efficiency_ratio"] for case in cases] == [None, None]
    _check_same(json.loads(out), cases)


def test_sizes_that_the_log_does_not_tell_are_those_asked_for(tmp_path, capsys):
    script = tmp_path / "train.py"
    script.write_text(
        "import time\n"
        "for step in range(1, 21):\n"
        "    time.sleep(0.01)\n"
        "    print('INFO:tensorflow:global_step/sec: 100')\n"
        "    print('INFO:tensorflow:loss = 1.0, step = %d (0.010 sec)' % step)\n"
    )
    words = "bench --backend cpu --cards 1 --steps 20 --batch-size 24 --quiet --format json".split()
    _, out = _run(capsys, *words, "--trainer-command", f"{sys.executable} {script}")
    (row,) = json.loads(out)
    code, out = _run(capsys, "parse", "results", "--format", "json")
    document = json.loads(out)
    assert document["sizes"]["batch_size"] == {"value": 24, "from": "asked"}
    value = document["summary"]["sequences_per_second"]["value"]
    assert value == row["sequences_per_second"] == pytest.approx(2400)


def test_builds_are_compared_at_each_batch_size(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("simulated: {steps_per_second: 2.0}\n")
    (tmp_path / "b.yaml").write_text("simulated: {steps_per_second: 1.0}\n")
    words = "bench --backend simulated --quiet --cards 1 --set batch_sizes=8,16".split()
    _, out = _run(capsys, *words, "--ab", "a.yaml", "b.yaml", "--repeats", "2")
    lines = [line for line in out.splitlines() if line.startswith("B runs at")]
    assert len(lines) == 2
    assert all("0.50" in line or "0.49" in line for line in lines)
    assert {"batch 8", "batch 16"} == {line.split(", ")[1] for line in lines}


def test_that_a_case_is_precise_is_told_once(capsys):
    words = "bench --backend simulated --steps 60 --cards 1 --until-precision 50%".split()
    assert cli.main([*words, "--set", "simulated.launch_noise_ratio=0.01"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "50.00% wanted" in line]
    assert len(told) == 1
    assert told[0].startswith("1p: half width")


def test_a_precision_that_was_not_reached_is_told(capsys):
    words = "bench --backend simulated --quiet --cards 1 --until-precision 0.1%".split()
    words += ["--set", "simulated.launch_noise_ratio=0.05", "--set", "session.maximum_launches=5"]
    _, out = _run(capsys, *words)
    (line,) = [line for line in out.splitlines() if line.startswith("PRECISION NOT REACHED")]
    assert "1 card(s)" in line
    assert "after 5 launches, 0.10% wanted" in line
    words[words.index("0.1%")] = "50%"
    _, out = _run(capsys, *words, "--steps", "60")
    assert "PRECISION NOT REACHED" not in out
