"""The stored form: schemas, upgrades from every version, golden files."""

import copy
import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from bench.errors import DataError
from bench.measure.figures import Check, Measurement
from bench.results.check import check_document, read_schema
from bench.results.model import SCHEMA_VERSION, Failure, RankRecord, RunResult, result_from_dict
from bench.results.store import RESULT_NAME, read_result, write_result
from bench.results.upgrade import UPGRADERS, upgrade_document

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "results"
VERSIONS = range(1, SCHEMA_VERSION + 1)


def _read(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
def test_each_schema_is_one(version):
    schema = read_schema(version)
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["properties"]["schema_version"] == {"const": version}


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_files_hold_to_their_schema(version):
    check_document(_read(f"result-v{version}.json"), "golden")


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_golden_files_become_the_present_form(version, tmp_path):
    result = read_result(GOLDEN / f"result-v{version}.json")
    write_result(tmp_path, result)
    written = json.loads((tmp_path / RESULT_NAME).read_text(encoding="utf-8"))
    assert written == _read(f"result-v{version}.upgraded.json")
    check_document(written, "written")


def test_the_present_form_survives_reading_and_writing(tmp_path):
    write_result(tmp_path, read_result(GOLDEN / f"result-v{SCHEMA_VERSION}.json"))
    written = json.loads((tmp_path / RESULT_NAME).read_text(encoding="utf-8"))
    assert written == _read(f"result-v{SCHEMA_VERSION}.json")


def test_there_is_a_step_from_every_version_and_it_changes_no_input():
    assert sorted(UPGRADERS) == list(range(1, SCHEMA_VERSION))
    old = _read("result-v1.json")
    before = copy.deepcopy(old)
    upgrade_document(old, "golden", SCHEMA_VERSION)
    assert old == before


def test_every_stored_field_is_in_the_schema():
    schema = read_schema(SCHEMA_VERSION)
    parts = [
        (RunResult, schema),
        (RankRecord, schema["definitions"]["rank"]),
        (Failure, schema["definitions"]["failure"]),
        (Measurement, schema["definitions"]["measurement"]),
        (Check, schema["definitions"]["check"]),
    ]
    for kind, part in parts:
        names = {field.name for field in dataclasses.fields(kind)}
        assert names <= set(part["properties"]), "describe new fields in the JSON Schema"


def _broken(change):
    document = _read(f"result-v{SCHEMA_VERSION}.json")
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(state="done"), "at state: 'done' is not one of"),
        (lambda d: d.pop("summary"), "at the top: 'summary' is a required property"),
        (lambda d: d.update(extra=1), "at the top: Additional properties"),
        (lambda d: d.update(run_id="../../x"), "at run_id"),
        (lambda d: d["asked"].update(cards=[1, 2]), "at asked/cards"),
        (lambda d: d["ranks"][0].update(loss_scales=["big"]), "at ranks/0/loss_scales/0"),
        (lambda d: d["ranks"][1]["losses"]["mlm"].pop(), "ranks/1/losses: the columns differ"),
        (lambda d: d["found"].update(environment={"kernel": "5"}), "at found/environment"),
        (lambda d: d.update(schema_version=99), "no schema of result version 99"),
        (lambda d: d.update(schema_version="2"), "has no schema_version"),
        (lambda d: d.update(started_at="yesterday"), "at started_at"),
    ],
)
def test_a_broken_document_is_named_by_its_place(change, words):
    with pytest.raises(DataError, match=words):
        check_document(_broken(change), "file")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "use a newer one"),
        ({"schema_version": 0}, "which never existed"),
        ({"schema_version": True}, "has no schema_version"),
        ({"schema_version": 1}, "is not a whole result"),
        ({"schema_version": 1, "found": 5}, "is not a whole result"),
    ],
)
def test_what_cannot_be_upgraded_says_so(document, words):
    with pytest.raises(DataError, match=words):
        result_from_dict(document, "file")
