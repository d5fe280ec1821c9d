"""Results on disk and in tables."""

import csv
import io
import json
import math
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError, OutputError
from bench.results import store
from bench.results.cases import launch_of_result
from bench.results.model import (
    SCHEMA_VERSION,
    Check,
    Failure,
    Measurement,
    RankRecord,
    RunResult,
    result_from_dict,
    result_to_dict,
)
from bench.spec import build_spec, for_cards, spec_to_dict
from bench.views.rows import build_rows, describe_validity, view_results
from bench.views.tables import format_figure, render_report, render_rows

WINDOW = "the steady intervals"


def build_result(n_cards=1, per_card=300.0, session="s", **changes):
    spec = for_cards(build_spec([("test", {"cards": "1,2,8", "batch_size": 128})]), n_cards)
    total = per_card * n_cards
    summary = {
        "steps_per_second": Measurement(per_card / 128, "1/s", 30, WINDOW),
        "sequences_per_second": Measurement(total, "1/s", 30, WINDOW),
        "sequences_per_second_per_card": Measurement(per_card, "1/s", 30, WINDOW),
        "step_time_p50_seconds": Measurement(0.41, "s", 30, WINDOW),
        "step_time_p95_seconds": Measurement(0.43, "s", 30, WINDOW),
        "final_mlm_loss": Measurement(1.25, "nat", 10, "the last reports"),
        "final_nsp_loss": Measurement(math.nan, "nat", 10, "the last reports"),
        "final_total_loss": Measurement(None, "nat", 0, "the last reports", "no report"),
    }
    result = RunResult(
        run_id=f"{session}-{n_cards}p",
        session={"id": session, "index": 0, "cards": [1, 2, 8]},
        state="finished",
        simulated=False,
        asked=spec_to_dict(spec),
        found={"backend": "cpu", "cores_per_card": 1, "oversubscribed": False},
        ranks=(
            RankRecord(
                0, "train_0.log", losses={"step": [1, 2], "mlm": [1.0, math.nan]}, last_step=2
            ),
        ),
        summary=summary,
        validity=(Check("steps reached", True, "100", "100"),),
        started_at="2026-01-01T00:00:00.000Z",
        ended_at="2026-01-01T00:01:00.000Z",
        failure=None,
        tool={"name": "ascend-bert", "version": "0"},
    )
    return replace(result, **changes)


def test_result_survives_the_disk(tmp_path):
    result = build_result()
    path = store.write_result(tmp_path, result)
    assert json.loads(path.read_text())["schema_version"] == SCHEMA_VERSION
    again = store.read_result(tmp_path)
    assert math.isnan(again.value("final_nsp_loss"))
    assert math.isnan(again.ranks[0].losses["mlm"][1])
    assert repr(again) == repr(result)


@given(st.floats())
def test_any_float_survives_json(value):
    result = build_result(ranks=(RankRecord(0, "NaN", losses={"mlm": [value]}),))
    text = json.dumps(store.encode_floats(result_to_dict(result)), allow_nan=False)
    again = result_from_dict(store.decode_floats(json.loads(text)), "text")
    assert repr(again.ranks[0].losses["mlm"][0]) == repr(value)
    assert again.ranks[0].label == "NaN"


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    store.write_result(tmp_path, build_result())
    before = (tmp_path / "result.json").read_text()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        store.write_result(tmp_path, build_result(n_cards=2))
    assert (tmp_path / "result.json").read_text() == before
    assert os.listdir(str(tmp_path)) == ["result.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a result"),
        ("{}", "has no schema_version"),
        ('{"schema_version": 99}', "use a newer one"),
        ('{"schema_version": 1}', "is not a whole result"),
    ],
)
def test_what_is_not_a_result_is_refused(tmp_path, text, words):
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        store.read_result(tmp_path)


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "../x", "a\nb", ".hidden", "x" * 200])
def test_run_ids_cannot_leave_the_folder(tmp_path, run_id):
    with pytest.raises(DataError):
        store.create_run_directory(tmp_path, run_id)


def test_run_ids_of_hostile_models_are_plain(tmp_path):
    run_id = store.build_run_id("20260101T000000Z-abcd", "../../etc/pass wd.json", "cpu", 2, 1)
    assert run_id == "20260101T000000Z-abcd-pass-wd-cpu-2p-r1"
    folder = store.create_run_directory(tmp_path, run_id)
    (folder / "result.json").touch()
    with pytest.raises(OutputError):
        store.create_run_directory(tmp_path, run_id)


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another --output"):
        store.create_output_directory(tmp_path / "file")


def test_efficiency_is_relative_to_the_smallest_count_of_the_session():
    results = [build_result(1, 100.0), build_result(2, 90.0), build_result(8, 50.0, session="t")]
    rows = build_rows(view_results(results))
    assert [row["scaling_efficiency_ratio"] for row in rows] == [1.0, 0.9, None]


def test_failed_and_invalid_runs_stay_in_the_table_without_an_efficiency():
    failed = build_result(
        2,
        state="failed",
        failure=Failure("trainer", "rank 1 was killed", 1, -9),
        summary={},
    )
    invalid = build_result(8, validity=(Check("steps reached", False, "90", "100"),))
    text = render_report([build_result(1), failed, invalid], "table")
    assert "FAILED: trainer" in text
    assert "2 card(s): rank 1 was killed" in text
    assert "INVALID: steps reached" in text
    assert "steps reached: found 90, wanted 100" in text
    rows = build_rows(view_results([build_result(1), failed, invalid]))
    assert [row["scaling_efficiency_ratio"] for row in rows] == [None, None, None]
    assert rows[1]["sequences_per_second"] is None


def test_simulated_is_said_in_every_form():
    results = [build_result(simulated=True)]
    assert "SIMULATED, no device was measured" in render_report(results, "table")
    assert "(simulated)" in render_report(results, "markdown")
    assert json.loads(render_report(results, "json"))[0]["simulated"] is True
    assert next(csv.DictReader(io.StringIO(render_report(results, "csv"))))["simulated"] == "True"


def test_oversubscribed_is_said_in_every_form():
    results = [build_result(found={"backend": "cpu", "oversubscribed": True})]
    assert "1*" in render_report(results, "table")
    assert "more cards than cores" in render_report(results, "markdown")
    assert json.loads(render_report(results, "json"))[0]["oversubscribed"] is True


def test_machine_forms_keep_every_digit():
    value = 313.7284390871
    rows = build_rows(view_results([build_result(1, value)]))
    assert json.loads(render_rows(rows, "json"))[0]["sequences_per_second"] == value
    read = next(csv.DictReader(io.StringIO(render_rows(rows, "csv"))))
    assert float(read["sequences_per_second"]) == value


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("steps_per_second", 2.45098, "2.451"),
        ("steps_per_second", 0.0, "0"),
        ("sequences_per_second", 20070.4, "20070"),
        ("scaling_efficiency_ratio", 0.98765, "98.8 %"),
        ("step_time_p50_seconds", 0.408, "408.0"),
        ("final_mlm_loss", None, "-"),
        ("final_mlm_loss", math.nan, "nan"),
    ],
)
def test_figures_are_rounded_by_the_catalogue(key, value, text):
    assert format_figure(key, value) == text


def test_launches_of_which_some_are_not_steady_are_counted():
    steady = launch_of_result(build_result(1))
    restless = replace(steady, steady=False)
    invalid = replace(steady, valid=False, checks=[Check("steps reached", False, "9", "10")])
    assert describe_validity([steady, restless], [None, None]) == "VALID, 1 of 2 not steady"
    assert describe_validity([restless], [None]) == "VALID, not steady"
    assert describe_validity([steady, invalid], [None, None]) == (
        "1 of 2 VALID; INVALID: steps reached"
    )
