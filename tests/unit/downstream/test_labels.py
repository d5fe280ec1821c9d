"""Labels: the same ids in every process, saved as JSON, checked when loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.downstream.labels import (
    LabelMap,
    build_label_map,
    build_tag_map,
    check_label_map,
    read_label_map,
    write_label_map,
)
from bert.errors import DataError, OutputError


def test_whole_numbers_come_first_and_by_value():
    labels = ["10", "b", "9", "-1", "a", "9", "1.5", "²", "1-1"]
    assert build_label_map(labels).labels == ("-1", "9", "10", "1-1", "1.5", "a", "b", "²")


@given(st.lists(st.text(max_size=3), min_size=1))
def test_the_order_of_the_data_does_not_matter(labels):
    assert build_label_map(labels) == build_label_map(reversed(labels))
    assert set(build_label_map(labels).labels) == set(labels)


def test_every_process_gives_the_same_ids():
    """Item 23: the order of a Python set of texts changes from process to process."""
    code = (
        "from bert.downstream.labels import build_label_map as b, build_tag_map as t;"
        "print(b(['neg', 'pos', 'mid', 'x']).labels, t(['B-PER', 'I-LOC', 'B-ORG']).labels)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_tags_of_a_type_have_every_prefix():
    """Item 24: the number of classes and their ids come from the data."""
    assert build_tag_map(["I-PER", "B-LOC", "O", "O"]).labels == (
        "O",
        "B-LOC",
        "I-LOC",
        "B-PER",
        "I-PER",
    )
    assert build_tag_map([]).labels == ("O",)
    with pytest.raises(DataError, match="the tag 'PER' is neither O nor like B-PER"):
        build_tag_map(["PER"])


@pytest.mark.parametrize("labels", [(), ("a", "a")])
def test_labels_are_there_and_different(labels):
    with pytest.raises(DataError, match="all different"):
        LabelMap(labels)


def test_ids_and_an_unknown_label():
    labels = LabelMap(("contradiction", "entailment", "neutral"))
    assert [labels.get_id(name, "x") for name in labels.labels] == [0, 1, 2]
    assert len(labels) == 3
    message = (
        r"^dev\.tsv:7: unknown label 'neutrall' \(did you mean 'neutral'\?\); the labels are "
        r"'contradiction', 'entailment', 'neutral'; correct the line, or train .*$"
    )
    with pytest.raises(DataError, match=message):
        labels.get_id("neutrall", "dev.tsv:7")


def test_a_map_is_read_as_it_was_written(tmp_path):
    path = str(tmp_path / "label_map.json")
    labels = LabelMap(("消极", "积极", 'a"b'))
    write_label_map(path, labels)
    assert read_label_map(path) == labels
    assert json.loads((tmp_path / "label_map.json").read_bytes().decode("utf-8")) == {
        "labels": ["消极", "积极", 'a"b']
    }
    with pytest.raises(OutputError, match="cannot write"):
        write_label_map(str(tmp_path / "absent" / "label_map.json"), labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the label map"),
        ("[1]", "is not of the form"),
        ('{"labels": [1]}', "is not of the form"),
        ('{"labels": []}', "must be there and all different"),
        ('{"labels": ["a", "a"]}', "all different"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (b"\x80\x03]", "is not JSON"),
    ],
)
def test_a_map_that_is_none(tmp_path, content, message):
    path = tmp_path / "label_map.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_label_map(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (("0",), "it lacks '1'"),
        (("0", "1", "label"), "it has 'label'"),
        (("0", "2"), "it lacks '1' and it has '2'"),
        (("1", "0"), "its order is another one"),
    ],
)
def test_a_map_of_other_labels_is_refused(found, message):
    with pytest.raises(DataError, match=f"out/label_map.json does not fit the data: {message};"):
        check_label_map(LabelMap(found), LabelMap(("0", "1")), "out/label_map.json")
    check_label_map(LabelMap(("0", "1")), LabelMap(("0", "1")), "x")
