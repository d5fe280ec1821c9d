"""Sides beside each other: pairing, intervals, words, and what must not be compared."""

import json

import pytest

from bench.cli import main
from bench.errors import MismatchError
from bench.judge.compare import compare_sides
from bench.judge.rules import Rules
from tests.stored_nights import STEADY, build_night, scale, store, to_launches


def _compare(left, right, **options):
    return compare_sides(("A", to_launches(left)), ("B", to_launches(right)), Rules(), **options)


@pytest.mark.parametrize(
    ("factor", "word"), [(1.05, "better"), (0.95, "worse"), (1.001, "same"), (1.03, "better")]
)
def test_words(factor, word):
    found = _compare(build_night(0, STEADY), build_night(1, scale(STEADY, factor)))
    (ratio,) = found.ratios
    assert ratio.word == word
    assert ratio.change_ratio == pytest.approx(factor - 1.0, abs=1e-9)
    assert ratio.low_ratio < ratio.change_ratio < ratio.high_ratio
    assert (ratio.n_reference, ratio.n_value) == (5, 5)


def test_a_time_that_falls_is_better():
    more = {"more": {"step_time_p95_seconds": 0.5}}
    less = {"more": {"step_time_p95_seconds": 0.4}}
    found = _compare(build_night(0, STEADY, **more), build_night(1, STEADY, **less))
    words = {ratio.metric: ratio.word for ratio in found.ratios}
    assert words == {"sequences_per_second": "same", "step_time_p95_seconds": "better"}


def test_noise_is_not_clear_and_one_launch_has_no_interval():
    noisy = (100.0, 112.0, 90.0, 106.0, 95.0)
    assert _compare(build_night(0, noisy), build_night(1, noisy)).ratios[0].word == "not clear"
    (ratio,) = _compare(build_night(0, [100.0]), build_night(1, [90.0])).ratios
    assert (ratio.word, ratio.low_ratio) == ("no verdict", None)
    assert ratio.change_ratio == pytest.approx(-0.1)


def test_cases_are_paired_and_the_rest_is_named():
    left = build_night(0, STEADY) + build_night(0, STEADY, cards=2)
    right = build_night(1, STEADY) + build_night(1, STEADY, cards=8)
    found = _compare(left, right)
    assert [ratio.case for ratio in found.ratios] == ["1 card"]
    assert found.left_out == (
        "B, 8 cards: nothing comparable in A",
        "A, 2 cards: nothing comparable in B",
    )


def test_what_must_not_be_compared_unless_told():
    left, right = build_night(0, STEADY), build_night(1, STEADY, asked={"precision": "fp16"})
    with pytest.raises(MismatchError, match=r"asked\.precision"):
        _compare(left, right)
    assert len(_compare(left, right, ignore=["asked.precision"]).ratios) == 1


def test_failed_launches_do_not_count():
    right = build_night(1, [*STEADY, 1.0])
    spoilt = right[:5] + build_night(1, [1.0], flaw="losses finite")
    (ratio,) = _compare(build_night(0, STEADY), spoilt).ratios
    assert (ratio.n_value, ratio.word) == (5, "same")


@pytest.fixture(name="output")
def _output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for night, factor in enumerate((1.0, 0.95, 1.02)):
        facts = {"kernel": "6.1.0"} if night == 1 else {}
        store(tmp_path / "results", build_night(night, scale(STEADY, factor), facts=facts))
    return tmp_path / "results"


def test_any_number_of_sides_as_table_markdown_and_json(output, capsys):
    sides = ["20260301T", "20260302T", "20260303T"]
    assert main(["compare", *sides]) == 0
    table = capsys.readouterr().out
    assert "20260302T against 20260301T" in table
    assert 'comparable with warning: kernel "5.4.0" / "6.1.0"' in table
    assert main(["compare", *sides, "--format", "markdown"]) == 0
    assert "| 1 card | sequences/s" in capsys.readouterr().out
    assert main(["compare", *sides, "--format", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [item["ratios"][0]["word"] for item in plain] == ["worse", "same"]


def test_several_sessions_are_one_side(output, capsys):
    assert main(["compare", "20260301T,20260303T", "20260302T", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["ratios"][0]["n_reference"] == 10


def test_two_builds_of_one_session(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = build_night(0, STEADY, session={"build": "A"})
    others = build_night(0, scale(STEADY, 0.9), session={"build": "B"})
    renamed = [item.__class__(**{**vars(item), "run_id": item.run_id + "-B"}) for item in others]
    store(tmp_path / "results", runs + renamed)
    assert main(["compare", "20260301T", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["reference"], found["side"]) == ("20260301T:A", "20260301T:B")
    assert found["ratios"][0]["word"] == "worse"
    assert main(["gate", "20260301T:B", "--baseline", "20260301T:A"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["20260301T"], 2, "one side only"),
        (["20260301T", "results", "--ignore", "simulated"], 2, "unknown fact"),
        (["20260301T", "nothing-here"], 2, "no run folder"),
    ],
)
def test_wrong_usage(output, capsys, arguments, code, words):
    assert main(["compare", *arguments]) == code
    assert words in capsys.readouterr().err


def test_nothing_comparable_is_a_mismatch(output, capsys):
    store(output, build_night(7, STEADY, facts={"cpu_model": "Another CPU"}))
    assert main(["compare", "20260301T", "20260308T"]) == 8
    assert "cpu_model" in capsys.readouterr().err
