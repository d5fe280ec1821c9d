"""Readers of texts and classes: the published forms, tables of one's own, and bad input."""

from __future__ import annotations

import gzip

import pytest

from bert.downstream.datasets import DATASETS, find_split_file, get_dataset, get_task_labels
from bert.downstream.examples import ClassificationExample
from bert.downstream.labels import LabelMap
from bert.downstream.readers import lines
from bert.downstream.readers.classification import TextColumns, read_classification
from bert.errors import DataError, UsageError

OFFICIAL_XNLI = (
    "language\tgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tpromptID\tpairID\tgenre\tlabel1\tlabel2\tlabel3\t"
    "label4\tlabel5\tsentence1_tokenized\tsentence2_tokenized\tmatch\n"
)


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="train.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    return write_file


def get_rows(examples):
    return [(e.text_a, e.text_b, e.label) for e in examples]


def test_xnli_training_file(write):
    path = write(
        'premise\thypo\tlabel\n前提 。\t假设 。\tcontradictory\na\t"b" c\tneutral\n',
        "multinli.train.zh.tsv",
    )
    assert read_classification("xnli", path, True) == [
        ClassificationExample(
            "multinli.train.zh-2", "前提 。", "假设 。", "contradiction", f"{path}:2"
        ),
        ClassificationExample("multinli.train.zh-3", "a", '"b" c', "neutral", f"{path}:3"),
    ]


def test_xnli_official_development_file_has_its_columns_and_languages(write):
    def row(language, label, first, second):
        fields = [language, label, "", "", "", "", first, second, "1", "1", "g", *"llllltt", "True"]
        return "\t".join(fields) + "\n"

    path = write(
        OFFICIAL_XNLI
        + row("en", "neutral", "yes", "no")
        + row("zh", "contradiction", "是", "否")
        + row("zh", "entailment", "甲", "乙"),
        "xnli.dev.tsv",
    )
    examples = read_classification("xnli", path, True)
    assert get_rows(examples) == [("是", "否", "contradiction"), ("甲", "乙", "entailment")]
    assert examples[0].source == f"{path}:3"
    assert [e.label for e in read_classification("xnli", path, False)] == [None, None]
    only_english = write(OFFICIAL_XNLI + row("en", "neutral", "yes", "no"), "test.tsv")
    with pytest.raises(DataError, match="no row whose language is zh"):
        read_classification("xnli", only_english, True)


def test_xnli_filtered_to_three_columns(write):
    path = write("premise\thypothesis\tlabel\n是\t否\tneutral\n", "dev.tsv")
    assert get_rows(read_classification("xnli", path, True)) == [("是", "否", "neutral")]
    path = write("是\t否\tneutral\n", "dev.tsv")
    assert get_rows(read_classification("xnli", path, True)) == [("是", "否", "neutral")]


@pytest.mark.parametrize("header", ["text_a\ttext_b\tlabel\n", "", "sentence1\tsentence2\tlabel\n"])
def test_lcqmc_with_and_without_header(write, header):
    path = write(header + "喜欢打篮球\t爱打篮球\t1\n甲\t乙\t0\n")
    assert get_rows(read_classification("lcqmc", path, True)) == [
        ("喜欢打篮球", "爱打篮球", "1"),
        ("甲", "乙", "0"),
    ]


@pytest.mark.parametrize(
    "content",
    ["label\ttext_a\n1\t好\n0\t差\n", "qid\tlabel\ttext_a\n0\t1\t好\n1\t0\t差\n", "1\t好\n0\t差\n"],
)
def test_chnsenti_header_is_no_class(write, content):
    """Item 23: the header line became an extra class, whose order changed with each process."""
    path = write(content)
    assert get_rows(read_classification("chnsenti", path, True)) == [
        ("好", None, "1"),
        ("差", None, "0"),
    ]
    assert get_task_labels("chnsenti").labels == ("0", "1")


def test_empty_lines_are_left_out(write):
    """Item 23: an empty line was an IndexError."""
    path = write("\nlabel\ttext_a\n\n1\t好\n   \n0\t差\n\n")
    assert [e.source[-2:] for e in read_classification("chnsenti", path, True)] == [":4", ":6"]


def test_byte_order_mark_carriage_returns_and_other_line_breaks(write):
    path = write("\ufefflabel\ttext_a\r\n1\t好\u2028\x0b\x0c\x85吗\r\n")
    assert get_rows(read_classification("chnsenti", path, True)) == [
        ("好\u2028\x0b\x0c\x85吗", None, "1")
    ]


def test_files_may_be_compressed(write):
    path = write(gzip.compress("label\ttext_a\n1\t好\n".encode()), "train.tsv")
    assert get_rows(read_classification("chnsenti", path, True)) == [("好", None, "1")]


def test_files_without_labels_are_for_prediction(write):
    path = write("text_a\ttext_b\n甲\t乙\n")
    assert get_rows(read_classification("lcqmc", path, False)) == [("甲", "乙", None)]
    assert get_rows(read_classification("lcqmc", write("甲\t乙\n"), False)) == [("甲", "乙", None)]
    assert get_rows(read_classification("chnsenti", write("好\n"), False)) == [("好", None, None)]
    with pytest.raises(DataError, match=r"train.tsv:1: no column label among text_a, text_b"):
        read_classification("lcqmc", write("text_a\ttext_b\n甲\t乙\n"), True)


def test_a_table_of_ones_own(write):
    path = write("id\t标签\t句子\n1\t体育\t踢球\n2\t财经\t股票\n")
    columns = TextColumns("句子", None, "标签")
    assert get_rows(read_classification("generic", path, True, columns)) == [
        ("踢球", None, "体育"),
        ("股票", None, "财经"),
    ]
    columns = TextColumns("句子", "id", "标签")
    assert get_rows(read_classification("generic", path, True, columns))[0] == ("踢球", "1", "体育")
    assert read_classification("generic", path, False, columns)[0].label is None
    with pytest.raises(DataError, match=r":1: no column '句' .*in the header id, .*--text_a"):
        read_classification("generic", path, True, TextColumns("句"))
    unlabelled = TextColumns("句子", None, "class")
    assert read_classification("generic", path, False, unlabelled)[0].label is None
    with pytest.raises(DataError, match=r"train.tsv:2: the row has no label"):
        read_classification("generic", path, True, unlabelled)


def test_json_lines_of_ones_own(write):
    path = write(
        '{"text_a": "带\\t制表", "label": "是"}\n\n{"text_a": "b", "label": 1, "x": []}\n'
        '{"text_a": "c", "label": true}\n',
        "train.jsonl",
    )
    assert get_rows(read_classification("generic", path, True)) == [
        ("带\t制表", None, "是"),
        ("b", None, "1"),
        ("c", None, "true"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text_a": "a", "label": "1"', r":1: not JSON .*one object per line"),
        ("[]", ":1: not a JSON object"),
        ('{"txt_a": "a"}', r":1: no key 'text_a' \(did you mean 'txt_a'\?\); .*--text_a"),
        ('{"text_a": 1, "label": "1"}', ":1: 'text_a' is not a string"),
        ('{"text_a": "a", "label": 1.5}', ":1: 'label' is not a string"),
        ('{"text_a": "a", "label": "x\\ty"}', ":1: 'label' has a tab or line break"),
        ('{"text_a": "a", "label": "x\\ny"}', ":1: 'label' has a tab or line break"),
        ('{"text_a": "a"}', ":1: the row has no label"),
        ('{"text_a": "a", "label": null}', ":1: the row has no label"),
        ('{"text_a": "\\ud83d", "label": "1"}', ":1: half a surrogate pair"),
        ("[" * 100_000, ":1: not JSON"),
    ],
)
def test_bad_json_lines(write, content, message):
    path = write(content, "train.jsonl")
    with pytest.raises(DataError, match=message):
        read_classification("generic", path, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no examples"),
        ("\n \n", "has no examples"),
        ("text_a\ttext_b\tlabel\n", "has no examples"),
        ("\n\ntext_a\tlabel\n甲\t1\n", ":3: no column text_b"),
        ("text_a\tlabel\n甲\t1\n", ":1: no column text_b or sentence2 or question2 among text_a"),
        ("text_a\ttext_b\tlabel\n甲\t乙\t丙\t1\n", r":2: 4 columns .* 3 \(a tab within a text\?\)"),
        ("text_a\ttext_b\tlabel\n甲\t1\n", r":2: 2 columns .* 3 \(a tab is missing\?\)"),
        ("text_a\ttext_b\tlabel\n甲\t乙\t2\n", r":2: unknown label '2'; the labels are '0', '1'"),
        ("text_a\ttext_b\tlabel\n甲\t乙\t\n", ":2: the row has no label; add it"),
        ("text_a\ttext_b\tlabel\n \t\t1\n", ":2: the row has no text"),
        ("甲 乙 1\n", ":1: neither a header nor a row of lcqmc: 1 columns"),
        ("甲\t乙\t1\n丙\t丁\n", ":2: 2 columns where the first line has 3"),
        ("甲\t乙\t1\n甲\t".encode() + b"\xb9\xfa\t1\n", ": line 2 is not UTF-8"),
        ("text_a\t乙\t1\n".encode("utf-16"), ": line 1 is not UTF-8"),
    ],
)
def test_bad_tables_are_told_by_file_line_and_remedy(write, content, message):
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        read_classification("lcqmc", path, True)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_line_is_refused(write, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_CHARS", 50)
    path = write("甲\t乙\t1\n" + "长" * 60 + "\t乙\t1\n")
    with pytest.raises(DataError, match=r"train.tsv:2: the line has 64 characters, more than 50"):
        read_classification("lcqmc", path, True)


def test_a_label_that_training_did_not_have_is_refused(write):
    path = write("text_a\tlabel\na\tx\nb\tz\n")
    with pytest.raises(DataError, match=r"train.tsv:3: unknown label 'z'; the labels are 'x', 'y'"):
        read_classification("generic", path, True, labels=LabelMap(("x", "y")))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot read .*absent.tsv: No such file"):
        read_classification("lcqmc", str(tmp_path / "absent.tsv"), True)
    with pytest.raises(DataError, match="cannot read .*: Is a directory"):
        read_classification("lcqmc", str(tmp_path), True)


def test_wrong_tasks(write):
    with pytest.raises(UsageError, match=r"unknown task 'lcqm' \(did you mean 'lcqmc'\?\); known"):
        read_classification("lcqm", "x", True)
    with pytest.raises(UsageError, match="ner is not a task of classification"):
        read_classification("NER", "x", True)
    with pytest.raises(UsageError, match="the columns of xnli are known"):
        read_classification("xnli", "x", True, TextColumns())
    assert get_dataset(" ChnSentiCorp ").name == "chnsenti"


def test_files_of_a_data_set_are_found_by_their_published_names(tmp_path):
    folder = tmp_path / "xnli" / "multinli"
    folder.mkdir(parents=True)
    (folder / "multinli.train.zh.tsv").write_text("x")
    (tmp_path / "xnli.dev.tsv").write_text("x")
    found = find_split_file("xnli", str(tmp_path), "train")
    assert found == str(folder / "multinli.train.zh.tsv")
    assert find_split_file("xnli", str(tmp_path), "dev") == str(tmp_path / "xnli.dev.tsv")
    message = r"no test file of xnli in .* xnli.test.tsv or test.tsv is wanted; .*fetch-help xnli"
    with pytest.raises(DataError, match=message):
        find_split_file("xnli", str(tmp_path), "test")
    with pytest.raises(UsageError, match="unknown split 'eval'"):
        find_split_file("xnli", str(tmp_path), "eval")


def test_every_data_set_has_files_for_every_split():
    for dataset in DATASETS.values():
        assert set(dataset.files) == {"train", "dev", "test"}
        assert all(dataset.files.values())
