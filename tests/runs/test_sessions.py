"""Sessions of several launches: repeats, A/B, precision, scaling, and the same from their logs."""

import json

import pytest

from bench import cli
from bench.measure.repeats import plan_launches
from bench.results.store import list_run_directories, read_result

SIMULATED = "bench --backend simulated --steps 200 --quiet".split()
NOISE = ["--set", "simulated.noise_ratio=0.01", "--set", "simulated.launch_noise_ratio=0.005"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _run(capsys, *argv):
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def _read_results(tmp_path):
    return [read_result(folder) for folder in list_run_directories(tmp_path / "results")]


def test_repeats_are_interleaved_and_counted(tmp_path, capsys):
    code, out, _ = _run(
        capsys, *SIMULATED, *NOISE, "--cards", "1,4", "--repeats", "3", "--set",
        "session.order_seed=7", "--format", "json",
    )  # fmt: skip
    assert code == 0
    rows = json.loads(out)
    assert [(row["cards"], row["launches"], row["launches_used"]) for row in rows] == [
        (1, 3, 3),
        (4, 3, 3),
    ]
    for row in rows:
        assert row["interval_covers"] == "launches"
        assert row["sequences_per_second_low"] < row["sequences_per_second"]
        assert row["sequences_per_second"] < row["sequences_per_second_high"]
        assert 0.0 < row["detectable_effect_ratio"] < 0.2
    assert rows[1]["scaling_efficiency_ratio_low"] < rows[1]["scaling_efficiency_ratio"]
    results = sorted(_read_results(tmp_path), key=lambda result: result.session["index"])
    launched = [f"{result.n_cards}p" for result in results]
    planned = [f"{n}p" for _, n in plan_launches([("", 1), ("", 4)], 3, 7)]
    assert launched == planned == results[0].session["order"]
    rates = {result.value("steps_per_second") for result in results}
    assert len(rates) == 6
    _check_logs_say_the_same(capsys, rows)


def _check_logs_say_the_same(capsys, rows):
    code, out, _ = _run(capsys, "parse", "results", "--format", "json")
    assert code == 0
    cases = json.loads(out)["cases"]
    told_by_logs = [key for key in rows[0] if key not in _NOT_IN_LOGS]
    assert len(told_by_logs) > 30
    for row, case in zip(rows, cases):
        assert {key: case[key] for key in told_by_logs} == {key: row[key] for key in told_by_logs}


_NOT_IN_LOGS = (
    *("run_id", "run_ids", "backend", "model", "task", "simulated", "validity"),
    "sequences_per_joule",
)


def test_two_builds_are_launched_in_turns_and_compared(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("simulated: {steps_per_second: 2.0}\n")
    (tmp_path / "b.yaml").write_text("simulated: {steps_per_second: 1.9}\n")
    code, out, _ = _run(
        capsys, *SIMULATED, *NOISE, "--cards", "2", "--ab", "a.yaml", "b.yaml", "--repeats", "2"
    )
    assert code == 0
    results = sorted(_read_results(tmp_path), key=lambda result: result.session["index"])
    builds = "".join(result.build for result in results)
    assert sorted(builds) == list("AABB")
    assert builds[:4] in ("ABBA", "BAAB")
    (line,) = [line for line in out.splitlines() if line.startswith("B runs at")]
    words = line.rstrip(".").split()
    ratio, low, high = float(words[3]), float(words[-3]), float(words[-1])
    assert low < ratio < high
    assert ratio == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("words", ["cards: [1, 2]", "session: {repeats: 2}"])
def test_what_concerns_both_builds_is_refused_in_one(tmp_path, capsys, words):
    (tmp_path / "a.yaml").write_text(words + "\n")
    (tmp_path / "b.yaml").write_text("")
    code, _, err = _run(capsys, *SIMULATED, "--ab", "a.yaml", "b.yaml")
    assert code == 2
    assert "say it on the command line" in err


def test_launches_go_on_until_the_interval_is_narrow(tmp_path, capsys):
    words = [*SIMULATED, *NOISE, "--cards", "1", "--format", "json"]
    code, out, _ = _run(capsys, *words, "--until-precision", "1%")
    assert code == 0
    (row,) = json.loads(out)
    half = 0.5 * (row["sequences_per_second_high"] - row["sequences_per_second_low"])
    assert half <= 0.01 * row["sequences_per_second"]
    assert 5 <= row["launches"] < 30
    code, out, _ = _run(
        capsys, *words, "--until-precision", "0.01%", "--set", "session.maximum_launches=5"
    )
    assert json.loads(out)[0]["launches"] == 5


@pytest.mark.parametrize("text", ["0", "200%", "x", ""])
def test_a_precision_that_cannot_be_is_refused(capsys, text):
    code, _, err = _run(capsys, *SIMULATED, "--until-precision", text)
    assert code == 2
    assert len(err.splitlines()) == 1


def test_strong_scaling_shares_the_batch(tmp_path, capsys):
    words = ["--cards", "1,4", "--set", "total_batch_size=64"]
    code, out, _ = _run(capsys, *SIMULATED, *words, "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert [row["global_batch"] for row in rows] == [64, 64]
    assert {row["scaling"] for row in rows} == {"strong"}
    assert rows[1]["speed_up"] == pytest.approx(4 * rows[1]["scaling_efficiency_ratio"])
    code, _, err = _run(capsys, *SIMULATED, "--cards", "3", "--set", "total_batch_size=64")
    assert code == 2
    assert "does not divide by 3 cards" in err


def test_a_run_that_never_gets_steady_is_kept_and_not_valid(tmp_path, capsys):
    drift = [*SIMULATED, "--set", "simulated.drift_ratio=0.3"]
    code, out, err = _run(capsys, *drift)
    assert code == 3
    assert "INVALID: steady state" in out
    assert "NO STEADY STATE (drifts" in out
    assert "not valid: steady state" in err
    code, out, _ = _run(capsys, *drift, "--set", "require_steady=false")
    assert code == 0
    assert "VALID, not steady" in out
    assert "(not required here)" in out


def test_better_than_perfect_is_a_suspect_baseline(tmp_path, capsys):
    from bench.measure.scaling import build_scaling_table

    assert [row.suspect for row in build_scaling_table({1: [100.0], 2: [210.0]}, "weak").rows] == [
        False,
        True,
    ]
    (tmp_path / "a.yaml").write_text("")
    _run(capsys, *SIMULATED, "--cards", "1,2")
    folder = next(f for f in list_run_directories(tmp_path / "results") if "-1p-" in f.name)
    path = folder / "result.json"
    document = json.loads(path.read_text())
    for key in ("sequences_per_second", "steps_per_second"):
        document["summary"][key]["value"] *= 0.9
    path.write_text(json.dumps(document))
    _, out, _ = _run(capsys, "show")
    assert "SUSPECT BASELINE" in out


def test_four_card_counts_give_a_prediction_marked_as_one(capsys):
    _, out, _ = _run(capsys, *SIMULATED, "--cards", "1,2,4,8")
    assert "PREDICTION, not measured" in out
    assert "4096 cards" in out
    _, out, _ = _run(capsys, *SIMULATED, "--cards", "1")
    assert "PREDICTION" not in out
    assert "not what another launch would give" in out


def test_a_failed_launch_leaves_the_others_their_figures(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "b.yaml").write_text("simulated: {fail_rank: 0, fail_step: 50}\n")
    code, out, _ = _run(
        capsys, *SIMULATED, "--cards", "1", "--ab", "a.yaml", "b.yaml", "--format", "json"
    )
    assert code == 4
    rows = json.loads(out)
    assert [row["state"] for row in rows] == ["finished", "failed"]
    assert rows[0]["valid"] is True
    assert rows[1]["valid"] is False
