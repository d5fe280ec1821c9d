"""The fine-tuning scripts, with a stand-in for the interpreter that writes down its arguments."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
KINDS = {"classifier": "chnsenti", "ner": "ner", "reading": "cmrc"}
INTERPRETER = """#!/bin/bash
printf '%s\\n' "$@" END >> "$RECORDS/argv"
env > "$RECORDS/env"
case $2 in bert.pretrain) [ -z "$FAIL" ] || exit 65 ;; esac
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script; returns exit code, stderr, and the command lines of the interpreter."""
    interpreter = tmp_path / "python"
    interpreter.write_text(INTERPRETER, encoding="utf-8")
    interpreter.chmod(0o755)

    def run_script(kind, *arguments, **environ):
        record = tmp_path / "argv"
        if record.exists():
            record.unlink()
        done = subprocess.run(
            ["bash", str(ROOT / "scripts" / f"run_downstream_{kind}.sh"), *arguments],
            cwd=str(tmp_path),
            env={
                "PATH": os.environ["PATH"],
                "TRAIN_PYTHON": str(interpreter),
                "RECORDS": str(tmp_path),
                **environ,
            },
            capture_output=True,
            timeout=60,
            check=False,
        )
        text = record.read_text("utf-8") if record.exists() else ""
        calls = [part.split("\n")[:-1] for part in text.split("END\n")[:-1]]
        calls = [[word for word in call if word] for call in calls]
        return done.returncode, done.stderr.decode(), calls

    return run_script


@pytest.mark.parametrize("kind", KINDS)
def test_without_anything_the_sample_is_learned_from_a_model_made_first(run, kind):
    """Item 26: a line continuation was missing, so the files were never passed."""
    code, err, (pretrain, train) = run(kind, "--backend=cpu")
    assert code == 0
    assert "pre-training a small model" in err
    assert pretrain[:2] == ["-m", "bert.pretrain"] and "--backend=cpu" in pretrain
    assert "--output_dir=./output/pretrained_sample" in pretrain
    assert train[:2] == ["-m", f"bert.downstream.{kind}"]
    task = KINDS[kind]
    toy = ROOT / "bert" / "samples" / "pretrain-toy"
    assert {
        "--backend=cpu",
        f"--task_name={task}",
        f"--data_dir={ROOT}/bert/downstream/samples",
        f"--vocab_file={toy}/vocab.txt",
        f"--bert_config_file={toy}/bert_config.json",
        "--init_checkpoint=./output/pretrained_sample",
        f"--output_dir=./output/{task}_output",
        "--do_predict=true",
    } <= set(train)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_wins(run, kind):
    code, err, calls = run(
        kind,
        "--backend=cpu",
        "--learning_rate=7",
        INIT_CHECKPOINT="model.ckpt",
        DATA_DIR="data",
        VOCAB_FILE="vocab.txt",
        BERT_CONFIG_FILE="bert-base",
        OUTPUT_ROOT="out",
    )
    assert (code, err) == (0, "")
    (train,) = calls
    assert {"--init_checkpoint=model.ckpt", "--data_dir=data", "--vocab_file=vocab.txt"} < set(
        train
    )
    assert {"--bert_config_file=bert-base", f"--output_dir=out/{KINDS[kind]}_output"} < set(train)
    # The last one counts.
    assert [w for w in train if w.startswith("--learning_rate=")] == [
        "--learning_rate=1e-5",
        "--learning_rate=7",
    ]


def test_reference_settings_of_a_data_set(run):
    _, _, (train,) = run(
        "classifier", "--backend=cpu", "--task_name=xnli", "--init_checkpoint=m", "--data_dir=d"
    )
    assert {"--task_name=xnli", "--max_seq_length=128", "--train_batch_size=64"} < set(train)
    assert "--num_train_epochs=3" in train and train[-1] == "--data_dir=d"


@pytest.mark.parametrize(
    "words", [("--data_dir", "own"), ("--data-dir=own",), ("--train-file=own",)]
)
def test_flags_are_seen_in_every_form_that_the_command_takes(run, words):
    arguments = ("--backend=cpu", "--init-checkpoint", "model", *words)
    code, _, calls = run("ner", *arguments)
    assert code == 0 and len(calls) == 1, "nothing is pre-trained where a model is given"
    assert "--max_seq_length=256" in calls[0] and "--max_seq_length=48" not in calls[0]


def test_a_pre_training_that_fails_ends_the_script(run):
    code, _, calls = run("ner", "--backend=cpu", FAIL="yes")
    assert code == 65
    assert len(calls) == 1


def test_no_pre_training_where_nothing_is_trained(run):
    _, _, calls = run("reading", "--backend=cpu", "--do_train=false")
    assert [call[1] for call in calls] == ["bert.downstream.reading"]
    assert not [word for word in calls[0] if word.startswith("--init_checkpoint")]


@pytest.mark.skipif(bool(list(Path("/dev").glob("davinci[0-9]*"))), reason="an Ascend machine")
def test_the_device_is_chosen_aloud(run):
    code, err, calls = run("ner", INIT_CHECKPOINT="m")
    assert code == 0
    assert "run_downstream: --backend=cpu, for /dev has no davinciN" in err
    assert "--backend=cpu" in calls[0]


def test_ascend_needs_its_software(run):
    code, err, calls = run("ner", "--backend=ascend", ASCEND_INSTALL_ROOT="/nowhere")
    assert code == 1 and calls == []
    assert "npu_set_env: no fwkacllib under /nowhere" in err
