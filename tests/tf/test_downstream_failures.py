"""What is wrong with data or checkpoints: one line that names place and remedy, nothing written."""

from __future__ import annotations

import json

import pytest

from bert.downstream import classifier, ner, reading
from tests.tf.downstream_runs import build_command_line, sample_flags

MODULES = {"classifier": classifier, "ner": ner, "reading": reading}


@pytest.fixture
def fail(tmp_path, capfd, monkeypatch):
    """Runs a command that must fail; returns exit code and its only error line."""
    for name in ("RANK_SIZE", "RANK_ID", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(kind, task, **changes):
        flags = {"output_dir": str(tmp_path / "out"), **sample_flags(task, **changes)}
        code = MODULES[kind].main(build_command_line(flags))
        lines = capfd.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("ERROR: ")]
        assert len(errors) == 1 and "Traceback" not in "\n".join(lines)
        return code, errors[0]

    return run


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


def test_bad_training_data_of_a_classifier(fail, tmp_path):
    path = write(tmp_path / "a.tsv", "text_a\ttext_b\n甲\t乙\n")
    assert fail("classifier", "lcqmc", train_file=path) == (
        65,
        f"ERROR: data: {path}:1: no column label among text_a, text_b; name it so in the header",
    )
    path = write(tmp_path / "b.tsv", "text_a\ttext_b\tlabel\n甲\t乙\t1\n甲\t乙\t1\t丙\n")
    code, line = fail("classifier", "lcqmc", eval_file=path)
    assert code == 65 and f"{path}:3: 4 columns" in line
    code, line = fail("classifier", "lcqmc", train_file=write(tmp_path / "c.tsv", ""))
    assert code == 65 and "c.tsv has no examples" in line
    code, line = fail(
        "classifier", "lcqmc", train_file=write(tmp_path / "d.tsv", "甲".encode("gbk"))
    )
    assert code == 65 and "d.tsv: line 1 is not UTF-8" in line
    assert not (tmp_path / "out").exists()


def test_unknown_labels(fail, tmp_path):
    path = write(tmp_path / "a.tsv", "text_a\ttext_b\tlabel\n甲\t乙\t2\n")
    code, line = fail("classifier", "lcqmc", do_predict=True, predict_file=path)
    assert code == 65
    assert f"{path}:2: unknown label '2'" in line and "--predict_has_labels=false" in line
    rows = '{{"text_a": "{}", "label": "{}"}}\n'
    train = write(tmp_path / "train.jsonl", rows.format("甲", "x") + rows.format("乙", "y"))
    held_out = write(tmp_path / "dev.jsonl", rows.format("甲", "z"))
    code, line = fail("classifier", "generic", train_file=train, eval_file=held_out)
    assert code == 65 and f"{held_out}:1: unknown label 'z'" in line and "'x', 'y'" in line
    train = write(tmp_path / "train.txt", "甲 B-PER\n乙 O\n")
    held_out = write(tmp_path / "dev.txt", "甲 O\n\n乙 O\n甲 B-ORG\n")
    code, line = fail("ner", "ner", train_file=train, eval_file=held_out)
    assert code == 65 and f"{held_out}:4: unknown label 'B-ORG'" in line
    assert not (tmp_path / "out").exists()


def test_labels_of_another_training(fail, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "label_map.json").write_text('{"labels": ["1", "0"]}', encoding="utf-8")
    code, line = fail("classifier", "lcqmc")
    assert code == 65 and "label_map.json does not fit the data: its order is another one" in line
    code, line = fail("classifier", "lcqmc", do_train=False)
    assert code == 65 and "its order is another one" in line
    code, line = fail("ner", "ner", do_train=False, output_dir=str(tmp_path / "new"))
    assert code == 65 and "label_map.json: No such file" in line and "written by training" in line


def test_bad_questions(fail, tmp_path):
    def build(answers, context="甲在乙。"):
        qas = [{"id": "Q7", "question": "甲在哪里", "answers": answers}]
        return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]})

    path = write(tmp_path / "a.json", build([{"text": "丙", "answer_start": 1}]))
    code, line = fail("reading", "cmrc", train_file=path)
    assert code == 65 and f"{path}: question Q7: the answer '丙' is not in the context" in line
    path = write(tmp_path / "b.json", build([]))
    code, line = fail("reading", "cmrc", predict_file=path)
    assert code == 65 and "question Q7 has no answers" in line
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_that_the_model_has_no_rows_for(fail, tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(1000))]
    path = write(tmp_path / "vocab.txt", "\n".join(words))
    code, line = fail("ner", "ner", vocab_file=path)
    assert code == 65 and "need vocab_size >= 1004, the model has 1000" in line
    code, line = fail("ner", "ner", vocab_file=write(tmp_path / "v.txt", "[PAD]\n[UNK]\n"))
    assert code == 65 and "has no [CLS] [SEP]" in line


def test_no_checkpoint_to_score(fail, tmp_path):
    code, line = fail("reading", "cmrc", do_train=False, do_predict=False)
    assert code == 65 and f"{tmp_path / 'out'} holds no trained checkpoint; train first" in line
    code, line = fail("reading", "cmrc", do_train=False, init_checkpoint=str(tmp_path / "absent"))
    assert code == 65 and "absent: cannot be read" in line
    assert not list((tmp_path / "out").iterdir())


def test_an_output_that_cannot_be_written(fail, tmp_path):
    path = write(tmp_path / "file", "")
    code, line = fail("classifier", "lcqmc", output_dir=path)
    assert code == 74 and line.startswith("ERROR: io: ")
