"""The same numbers in every form, and back."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import cli
from bench.measure.figures import Check, Measurement
from bench.results.exports import (
    EXPORTS,
    compute_duration_seconds,
    render_csv,
    render_intervals,
    render_markdown,
    render_modelzoo,
)
from bench.results.model import Failure, result_from_dict
from bench.results.modelzoo import CaseLog, is_case_log, parse_case_log, render_case_log
from bench.results.store import decode_floats, read_result

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "results" / "result-v2.json"


def _result(**changes):
    plain = decode_floats(json.loads(GOLDEN.read_text(encoding="utf-8")))
    return replace(result_from_dict(plain, "golden"), **changes)


def _with_rate(value):
    result = _result()
    summary = dict(result.summary)
    steps = Measurement(value, "1/s", 8, "the steady intervals")
    summary["steps_per_second"] = steps
    summary["sequences_per_second"] = replace(steps, value=value * 32)
    return replace(result, summary=summary)


def _read_markdown(text):
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[1].strip(): row[2].strip() for row in cells}


@given(st.floats(1e-9, 1e9))
def test_all_forms_hold_the_same_digits(rate):
    result = _with_rate(rate)
    figures = {row["figure"]: row for row in csv.DictReader(io.StringIO(render_csv(result)))}
    assert float(figures["sequences_per_second"]["value"]) == rate * 32
    assert float(_read_markdown(render_markdown(result))["sequences_per_second"]) == rate * 32
    case = parse_case_log(render_modelzoo(result), "export")
    assert case.sequences_per_second == rate * 32
    assert case.step_seconds == pytest.approx(1.0 / rate, rel=1e-12)


def test_the_forms_agree_on_every_figure():
    result = _result()
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(render_csv(result)))}
    marked = _read_markdown(render_markdown(result))
    assert set(rows) == set(result.summary)
    for key, measurement in result.summary.items():
        assert rows[key]["value"] == marked[key] == repr(measurement.value)
        assert rows[key]["unit"] == measurement.unit
        assert int(rows[key]["n"]) == measurement.n
        # A field that is absent is an empty cell, not a word.
        assert rows[key]["reason"] == ""


def test_raw_intervals_are_all_there():
    result = _result()
    rows = list(csv.DictReader(io.StringIO(render_intervals(result))))
    assert len(rows) == sum(len(rank.intervals["seconds"]) for rank in result.ranks) > 0
    last = rows[-1]
    assert float(last["seconds"]) == result.ranks[-1].intervals["seconds"][-1]
    assert last["reason"] == result.ranks[-1].intervals["reason"][-1]


def test_simulated_is_said_for_people_and_to_the_scripts():
    assert "SIMULATED: no device was measured" in render_markdown(_result())
    assert render_modelzoo(_result()).startswith("# SIMULATED: no device was measured")
    assert "SIMULATED" not in render_modelzoo(_result(simulated=False))


def test_what_was_not_measured_has_no_line_in_the_summary_of_the_scripts():
    failed = _result(
        summary={"sequences_per_second": Measurement(None, "1/s", 0, "w", "no interval is left")},
        failure=Failure("trainer", "rank 1 was killed", 1, -9),
        state="failed",
    )
    text = render_modelzoo(failed)
    assert "ActualFPS =" not in text
    assert "# sequences_per_second is absent: no interval is left" in text
    assert "# Validity: failed: rank 1 was killed." in text
    assert re.search(r"^RankSize = 2$", text, re.MULTILINE)


def test_notes_are_no_entries():
    notes = [line for line in render_modelzoo(_result()).splitlines() if line.startswith("#")]
    assert len(notes) >= 8
    assert not any(" = " in note for note in notes)


def test_cells_cannot_break_the_table():
    result = _result()
    check = replace(result.validity[0], found="a|b\nc")
    text = render_markdown(replace(result, validity=(check,)))
    assert "a\\|b c" in text


def test_duration():
    assert compute_duration_seconds(_result(ended_at=None)) is None
    timed = _result(started_at="2026-01-01T00:00:00.500Z", ended_at="2026-01-01T00:01:00Z")
    assert compute_duration_seconds(timed) == 59.5


def test_the_verb_prints_or_writes(tmp_path, capsys):
    for form in EXPORTS:
        assert cli.main(["export", str(GOLDEN), "--to", form]) == 0
        printed = capsys.readouterr().out
        target = tmp_path / form
        assert cli.main(["export", str(GOLDEN), "--to", form, "--file", str(target)]) == 0
        assert target.read_text(encoding="utf-8") == printed
        assert printed == EXPORTS[form](read_result(GOLDEN)) + "\n"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["export", "absent", "--to", "csv"], 7),
        (["export", str(GOLDEN), "--to", "xml"], 2),
        (["export", str(GOLDEN), "--to", "csv", "--file", "/nowhere/x"], 6),
    ],
)
def test_the_verb_says_what_is_wrong(argv, code, capsys):
    assert cli.main(argv) == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


CASE = """Network = Bert-base_ID0060_for_TensorFlow
RankSize = 8
BatchSize = 128
DeviceType = aarch64
CaseName = Bert-base_ID0060_for_TensorFlow_bs128_8p_perf
ActualFPS = 2509.6
TrainingTime = 408.033
ActualLoss = 7.89
E2ETrainingTime = 600
"""


def test_a_summary_of_the_scripts_is_read():
    case = parse_case_log(CASE, "case.log")
    assert case == CaseLog(
        network="Bert-base_ID0060_for_TensorFlow",
        ranks=8,
        batch_size=128,
        device_type="aarch64",
        case_name="Bert-base_ID0060_for_TensorFlow_bs128_8p_perf",
        sequences_per_second=2509.6,
        step_seconds=pytest.approx(0.408033),
        loss=7.89,
        duration_seconds=600.0,
    )
    assert is_case_log(CASE)
    assert not is_case_log("global_step/sec: 2.451\n")


def test_the_unit_of_the_time_is_found_by_the_rate():
    in_seconds = parse_case_log(CASE.replace("408.033", "0.408033"), "case.log")
    assert in_seconds.step_seconds == pytest.approx(0.408033)
    odd = parse_case_log(CASE.replace("408.033", "9"), "case.log")
    assert odd.step_seconds is None
    assert "neither in ms nor in s" in odd.problems[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2509.6", "-nan", "ActualFPS is nan: the script found no rate"),
        ("2509.6", "0", "ActualFPS is 0: the script found no rate"),
        ("2509.6", "", "ActualFPS is no number"),
        ("RankSize = 8", "RankSize = 16", "RankSize is 16, but the case is named"),
    ],
)
def test_what_the_scripts_got_wrong_is_a_problem(old, new, words):
    case = parse_case_log(CASE.replace(old, new), "case.log")
    assert words in " ".join(case.problems)


@given(
    st.builds(
        CaseLog,
        network=st.just("n"),
        ranks=st.integers(1, 4096),
        batch_size=st.integers(1, 1024),
        device_type=st.just("x86_64"),
        case_name=st.just("some case"),
        sequences_per_second=st.floats(1e-6, 1e9),
        loss=st.none() | st.floats(allow_nan=False),
        duration_seconds=st.none() | st.floats(0, 1e9),
    )
)
def test_a_summary_survives_the_round(case):
    assert parse_case_log(render_case_log(case, ("a note",)), "round") == case
    assert math.isfinite(case.sequences_per_second)


def test_a_check_that_could_not_be_made_is_no_failure():
    checks = (
        Check("ranks seen", True, "2", "2"),
        Check("cards to itself", None, "no telemetry", "no other process"),
        Check("steady state", False, "drifts", "a steady state", required=False),
    )
    result = _result(validity=checks)
    assert result.valid
    text = render_markdown(result)
    assert "; valid." in text
    assert "FAILED" not in text
    marked = _read_markdown(text)
    assert marked["cards to itself"] == "not checked"
    assert marked["steady state"] == "failed (not required here)"
    assert "# Validity: valid." in render_modelzoo(result)
    result = _result(validity=(*checks, Check("skipped updates", False, "6 of 40", "at most 1%")))
    assert "Validity: invalid: skipped updates." in render_modelzoo(result)


def test_markdown_has_the_interval_and_says_what_it_covers():
    result = _with_rate(2.0)
    summary = dict(result.summary)
    summary["steps_per_second"] = replace(
        summary["steps_per_second"], low=1.5, high=2.5, level=0.95, covers="this launch only"
    )
    text = render_markdown(replace(result, summary=summary))
    (row,) = [line for line in text.splitlines() if line.startswith("| steps_per_second ")]
    assert "1.5 to 2.5" in row
    assert "95 %: one launch:" in text


def test_markdown_leaves_out_what_is_not_known():
    asked = {**_result().asked, "model": None, "seq_length": None, "precision": None}
    (line,) = [
        line for line in render_markdown(_result(asked=asked)).splitlines() if "; started " in line
    ]
    assert "None" not in line
    assert "sequence length" not in line
    assert "card(s)" in line
