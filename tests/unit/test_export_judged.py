"""Verdicts and changes as metrics: what gate stores is what the exporter shows."""

import datetime
import json

import pytest
from prometheus_client import generate_latest

from bench.cli import main
from bench.errors import DataError, OutputError
from bench.export.judged import JudgedCollector, VerdictReader
from bench.export.server import build_registry
from bench.export.stored import ResultCollector, ResultReader, list_stored
from bench.judge.rules import KnownBreak, Rules
from bench.judge.verdicts import list_verdicts, read_verdict, write_verdict
from bench.series import JUDGED_SERIES
from tests.stored_nights import FIRST_NIGHT, STEADY, at_look, build_night, scale, store

DROP = 12
SESSION = "20260313T220000Z-000c"


def _build_collectors(output, rules=None):
    results = ResultReader(list_stored(output))
    judged = JudgedCollector(results, VerdictReader(output), rules or Rules())
    return ResultCollector(results), judged


def _expose(*collectors):
    """Series without the prefix → value, labels as text."""
    body = generate_latest(build_registry(collectors)).decode()
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    return {
        line.rpartition(" ")[0][len("ascend_bert_") :]: float(line.split()[-1]) for line in lines
    }


def _select(values, key):
    found = {name[len(key) :]: value for name, value in values.items() if name.startswith(key)}
    return {name: value for name, value in found.items() if name[:1] in ("", "{")}


def _store_drop(output, nights=16):
    """Nights of which those from the twelfth on are 6 % slower."""
    for night in range(nights):
        rates = scale(STEADY[night % 3 :], 0.94 if night >= DROP else 1.0)
        store(output, build_night(night, rates))


def test_a_change_is_shown_with_when_how_much_and_which_way(tmp_path):
    _store_drop(tmp_path)
    values = _expose(*_build_collectors(tmp_path))
    (case,) = [name[7:-2] for name in _select(values, "result_runs")]
    (nights,) = _select(values, "history_nights").items()
    metric = 'metric="sequences_per_second"'
    assert nights == (f'{{case="{case}",{metric}}}', 16.0)
    mark = f'{{case="{case}",effect="worse",kind="step",{metric},session="{SESSION}"}}'
    # The first launch of a night with one card starts eleven minutes into it.
    began = FIRST_NIGHT.replace(tzinfo=datetime.timezone.utc).timestamp() + DROP * 86400.0 + 660.0
    ((name, when),) = _select(values, "history_change_timestamp_seconds").items()
    assert (name, when) == (mark, began)
    ((name, seen),) = _select(values, "history_change_found_timestamp_seconds").items()
    assert name == mark
    assert when < seen <= when + 3 * 86400.0
    ((name, ratio),) = _select(values, "history_change_ratio").items()
    assert name == mark
    assert ratio == pytest.approx(-0.06, abs=0.01)


def test_a_known_break_is_shown_and_is_no_change(tmp_path):
    _store_drop(tmp_path)
    known = KnownBreak((FIRST_NIGHT.date().replace(day=13)), "new driver")
    values = _expose(*_build_collectors(tmp_path, Rules(breaks=(known,))))
    ((name, ratio),) = _select(values, "history_change_ratio").items()
    assert 'effect="known",kind="break"' in name
    assert f'session="{SESSION}"' in name
    assert ratio == pytest.approx(-0.06, abs=0.01)


def test_series_are_formed_anew_only_where_results_came(tmp_path, monkeypatch):
    import bench.export.judged as judged

    made = []
    build = judged.build_all_series
    monkeypatch.setattr(
        judged, "build_all_series", lambda launches, *more: made.append(1) or build(launches, *more)
    )
    for cards in (1, 2):
        store(tmp_path, build_night(0, STEADY, cards=cards))
    _, collector = _build_collectors(tmp_path)
    before = _expose(collector)
    assert len(made) == 2
    assert _expose(collector) == before
    assert len(made) == 2
    store(tmp_path, build_night(1, STEADY, cards=2))
    assert sorted(_select(_expose(collector), "history_nights").values()) == [1.0, 2.0]
    assert len(made) == 3


def test_builds_that_are_compared_are_no_nights(tmp_path):
    store(tmp_path, build_night(0, STEADY, session={"build": "A"}))
    assert _select(_expose(*_build_collectors(tmp_path)), "history_nights") == {}


def test_without_verdicts_there_are_no_series_of_them(tmp_path):
    store(tmp_path, build_night(0, STEADY))
    values = _expose(*_build_collectors(tmp_path))
    assert not [name for name in values if name.startswith("gate_")]
    assert values["judged_unreadable_verdicts"] == 0.0


def _gate(output, *more):
    return main(["gate", "--output", str(output), *more])


def test_the_last_verdict_of_the_gate_is_shown(tmp_path, capsys):
    for cards in (1, 2):
        store(tmp_path, build_night(0, STEADY, cards=cards))
        rates = scale(STEADY, 0.94 if cards == 2 else 1.0)
        store(tmp_path, at_look(build_night(1, rates, cards=cards), cards))
    assert _gate(tmp_path, "--baseline", "20260301T220000Z") == 1
    (path,) = list_verdicts(tmp_path)
    assert path.name == "20260302T220000Z-0001.json"
    stored = read_verdict(path)
    assert {len(cell.run_ids) for cell in stored.cells} == {5}
    values = _expose(*_build_collectors(tmp_path))
    assert _select(values, "gate_info") == {f'{{session="{path.stem}"}}': 1.0}
    assert _select(values, "gate_verdict") == {
        '{verdict="pass"}': 0.0,
        '{verdict="regression"}': 1.0,
        '{verdict="no_verdict"}': 0.0,
    }
    assert values["gate_exit_code"] == 1.0
    assert values["gate_judged_timestamp_seconds"] > 1.7e9
    states = _select(values, "gate_case_verdict")
    told = {("1p" in name, name.rpartition('="')[2][:-2]) for name, on in states.items() if on}
    assert told == {(True, "pass"), (False, "regression")}
    looks = _select(values, "gate_case_looks")
    assert {("1p" in name): value for name, value in looks.items()} == {True: 1.0, False: 2.0}
    changes = sorted(_select(values, "gate_case_change_ratio").values())
    assert changes == pytest.approx([-0.06, 0.0])
    assert set(_select(values, "gate_case_margin_ratio").values()) == {0.03}
    assert set(_select(values, "gate_case_waived").values()) == {0.0}
    known = {series.key for series in JUDGED_SERIES}
    assert {name.partition("{")[0] for name in values if name.startswith("gate_")} <= known
    assert "not stored" not in capsys.readouterr().err


def test_a_later_verdict_on_some_cases_leaves_those_on_others(tmp_path):
    for cards in (1, 2):
        store(tmp_path, build_night(0, STEADY, cards=cards))
        store(tmp_path, build_night(1, scale(STEADY, 0.94), cards=cards))
    assert _gate(tmp_path, "--baseline", "20260301T220000Z") == 1
    store(tmp_path, build_night(2, STEADY, cards=1))
    rules = tmp_path / "rules.yaml"
    rules.write_text("allow_missing: true\n")
    argv = ["--baseline", "20260301T220000Z", "--rules", str(rules)]
    assert _gate(tmp_path, *argv) == 0
    values = _expose(*_build_collectors(tmp_path))
    assert values['gate_verdict{verdict="pass"}'] == 1.0
    states = _select(values, "gate_case_verdict")
    told = {("1p" in name, name.rpartition('="')[2][:-2]) for name, on in states.items() if on}
    assert told == {(True, "pass"), (False, "regression")}


def test_runs_from_elsewhere_leave_nothing_here(tmp_path, capsys):
    folders = store(tmp_path / "there", build_night(1, STEADY))
    store(tmp_path / "there", build_night(0, STEADY))
    (tmp_path / "here").mkdir()
    baseline = [str(path) for path in sorted((tmp_path / "there" / "runs").glob("20260301*"))]
    argv = [word for path in baseline for word in ("--baseline", path)]
    assert _gate(tmp_path / "here", *map(str, folders), *argv) == 0
    assert list((tmp_path / "here").iterdir()) == []


def test_a_verdict_that_cannot_be_stored_still_stands(tmp_path, capsys):
    store(tmp_path, build_night(0, STEADY))
    store(tmp_path, build_night(1, STEADY))
    (tmp_path / "verdicts").write_text("in the way")
    assert _gate(tmp_path, "--baseline", "20260301T220000Z") == 0
    assert "the verdict was not stored for the exporter: cannot" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"verdict_version": 1', '"verdict_version": 9'),
        lambda text: text.replace('"verdict": "pass"', '"verdict": "fine"'),
        lambda text: text.replace('"cells"', '"sells"'),
        lambda text: "[]",
    ],
    ids=["cut", "version", "word", "key", "list"],
)
def test_damaged_verdicts_are_counted_and_left_out(tmp_path, damage):
    store(tmp_path, build_night(0, STEADY))
    store(tmp_path, build_night(1, STEADY))
    assert _gate(tmp_path, "--baseline", "20260301T220000Z") == 0
    (path,) = list_verdicts(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError):
        read_verdict(path)
    values = _expose(*_build_collectors(tmp_path))
    assert values["judged_unreadable_verdicts"] == 1.0
    assert not [name for name in values if name.startswith("gate_")]


def test_a_stored_verdict_comes_back_as_it_was(tmp_path):
    store(tmp_path, build_night(0, STEADY))
    store(tmp_path, build_night(1, STEADY))
    assert _gate(tmp_path, "--baseline", "20260301T220000Z") == 0
    (path,) = list_verdicts(tmp_path)
    stored = read_verdict(path)
    (tmp_path / "again").mkdir()
    assert read_verdict(write_verdict(tmp_path / "again", stored)) == stored
    with pytest.raises(OutputError):
        write_verdict(tmp_path / "absent", stored)
    assert json.loads(path.read_text())["exit_code"] == 0


def test_the_exporter_writes_them(tmp_path):
    store(tmp_path, build_night(0, STEADY))
    store(tmp_path, build_night(1, STEADY))
    assert _gate(tmp_path, "--baseline", "20260301T220000Z") == 0
    file = tmp_path / "out.prom"
    assert main(["exporter", str(tmp_path), "--textfile", str(file)]) == 0
    text = file.read_text()
    assert 'ascend_bert_gate_verdict{verdict="pass"} 1.0' in text
    assert "ascend_bert_history_nights{" in text
