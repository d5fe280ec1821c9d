"""Each task learns its sample from a pre-trained model of ours, on one rank and on two."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from bert.downstream import reading_evaluate
from bert.downstream.metrics.cmrc import compute_cmrc_metrics
from bert.downstream.metrics.entities import compute_entity_metrics
from bert.downstream.readers.ner import read_ner
from bert.downstream.readers.reading import read_reading
from tests.tf.downstream_runs import ROOT, SAMPLES, TOY, check_success, run_module, sample_flags

N_TEST = 120
N_PRETRAIN_STEPS = 800


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """A small model, pre-trained until it tells apart which sentences follow each other."""
    run = run_module(
        "bert.pretrain",
        tmp_path_factory.mktemp("pretrained"),
        {
            "bert_config_file": str(TOY / "bert_config.json"),
            "input_files_dir": str(TOY / "wikipedia_128"),
            "train_batch_size": 8,
            "learning_rate": 1e-3,
            "num_train_steps": N_PRETRAIN_STEPS,
            "num_warmup_steps": 50,
            "iterations_per_loop": 100,
            "save_checkpoints_steps": N_PRETRAIN_STEPS,
        },
    )
    check_success(run)
    return run.output


def fine_tune(kind, task, directory, pretrained, n_ranks, **changes):
    """Trains on the sample, scores dev and predicts test."""
    changes.update(init_checkpoint=str(pretrained), do_predict=True, keep_checkpoint_max=3)
    flags = sample_flags(task, **changes)
    run = run_module(f"bert.downstream.{kind}", directory, flags, n_ranks)
    check_success(run)
    check_common(run, n_ranks)
    return run


def check_common(run, n_ranks):
    """What holds for every task."""
    log = run.logs[0]
    # Only heads and what belongs to them start from nothing (item 19).
    assert re.search(r"not in the checkpoint, keep their initial values: 2 \(", log)
    best = run.read_json("best_checkpoint.json")
    results = run.read_json("eval_results.json")
    headline = results["headline_metric"]
    scores = {each["global_step"]: each[headline] for each in results["checkpoints"]}
    # Step 0 has learned nothing and is no candidate (item 22); the best is the earliest of equals.
    assert min(scores) > 0 and len(scores) > 1
    assert best["value"] == max(scores.values()) == results["best"][headline]
    assert best["global_step"] == min(s for s, v in scores.items() if v == best["value"])
    assert f"  Checkpoint = {run.output / best['checkpoint']}" in log
    # One rank scores and predicts, the others leave nothing behind.
    for other in run.logs[1:]:
        assert "Running evaluation" not in other
        assert "RANK_SIZE= 2  RANK_ID= 1" in other
    assert not [path for path in run.output.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_classifier(pretrained, tmp_path, n_ranks):
    run = fine_tune(
        "classifier", "xnli", tmp_path, pretrained, n_ranks, num_train_epochs=4, eval_batch_size=64
    )
    results = run.read_json("test_results.json")["best"]
    assert results["examples"] == N_TEST
    assert results["accuracy"] > 0.85  # chance is a third
    assert run.read_json("label_map.json")["labels"] == ["contradiction", "entailment", "neutral"]
    lines = (run.output / "test_results.tsv").read_text("utf-8").splitlines()
    assert lines[0].split("\t") == [
        *("id", "label", "probability_contradiction", "probability_entailment"),
        "probability_neutral",
    ]
    rows = [line.split("\t") for line in lines[1:]]
    assert len({row[0] for row in rows}) == len(rows) == N_TEST
    for row in rows:
        assert sum(map(float, row[2:])) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_ner(pretrained, tmp_path, n_ranks):
    run = fine_tune("ner", "ner", tmp_path, pretrained, n_ranks, num_train_epochs=4 * n_ranks)
    results = run.read_json("test_results.json")["best"]
    assert results["f1"] > 0.8  # entities of a model that guesses are wrong almost always
    # The file can be scored again, and holds every token of the data.
    text = (run.output / "ner_predictions.txt").read_text("utf-8")
    sentences = [part.split("\n") for part in text.strip("\n").split("\n\n")]
    columns = [[line.split(" ") for line in sentence] for sentence in sentences]
    examples = read_ner(str(SAMPLES / "ner" / "test.txt"), True)
    assert [[c[0] for c in s] for s in columns] == [list(e.tokens) for e in examples]
    again = compute_entity_metrics(
        [[c[1] for c in s] for s in columns], [[c[2] for c in s] for s in columns]
    )
    assert again["f1"] == results["f1"]


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_reading(pretrained, tmp_path, n_ranks):
    run = fine_tune(
        "reading",
        "cmrc",
        tmp_path,
        pretrained,
        n_ranks,
        num_train_epochs=6 * n_ranks,
    )
    results = run.read_json("test_results.json")["best"]
    assert results["total"] == N_TEST and results["skip"] == 0
    assert results["em"] > 75.0  # a guess among the three of a context is a third
    predictions = run.read_json("predictions.json")
    examples = read_reading(str(SAMPLES / "cmrc" / "cmrc2018_test.json"))
    assert all(predictions[e.question_id] in e.context for e in examples)
    again = compute_cmrc_metrics({e.question_id: e.references for e in examples}, predictions)
    assert again["em"] == results["em"]
    n_best = run.read_json("nbest_predictions.json")
    assert {key: entries[0]["text"] for key, entries in n_best.items()} == predictions


def test_a_checkpoint_is_used_by_later_runs(pretrained, tmp_path):
    """Items 20 and 21: prediction without training, on every example, whatever the batch size."""
    run = fine_tune("classifier", "lcqmc", tmp_path, pretrained, 1, num_train_epochs=2)
    first = (run.output / "test_results.tsv").read_text("utf-8")
    flags = sample_flags(
        "lcqmc",
        do_train=False,
        do_eval=False,
        do_predict=True,
        predict_batch_size=7,
        predict_warmup_batches=2,
        predict_rounds=2,
        output_dir=str(run.output),
    )
    later = run_module("bert.downstream.classifier", tmp_path / "later", flags)
    check_success(later)
    second = (run.output / "test_results.tsv").read_text("utf-8")
    assert [line.split("\t")[:2] for line in first.splitlines()] == [
        line.split("\t")[:2] for line in second.splitlines()
    ]
    batches = re.findall(
        r"predict: batch = (\d+), examples = (\d+), seconds = \d\.\d{6}$", later.logs[0], re.M
    )
    assert [int(n) for n, _ in batches] == list(range(1, 37))
    assert [int(n) for _, n in batches] == ([7] * 17 + [1]) * 2
    assert re.search(
        r"predict: batch_size = 7, batches = 36, examples = 240, seconds = \d+\.\d{6}, "
        r"examples/sec = \d+\.\d{3}, latency p50 = \d+\.\d{3} ms, p95 = .* ms, p99 = .* ms$",
        later.logs[0],
        re.M,
    )
    # A directory of another run's weights alone, named by --init_checkpoint.
    flags["output_dir"] = str(tmp_path / "elsewhere")
    elsewhere = run_module(
        "bert.downstream.classifier",
        tmp_path / "third",
        {**flags, "init_checkpoint": str(run.output)},
    )
    check_success(elsewhere)
    assert (
        later.read_json("test_results.json")["best"]
        == elsewhere.read_json("test_results.json")["best"]
    )


def test_the_script_as_it_stands_runs_on_the_sample(pretrained, tmp_path):
    """Item 26: the script's command never had its files."""
    completed = subprocess.run(
        ["bash", str(ROOT / "scripts" / "run_downstream_reading.sh"), "--max_steps=2"],
        env=dict(os.environ, INIT_CHECKPOINT=str(pretrained), TRAIN_PYTHON=sys.executable),
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout.decode()[-4000:]
    output = tmp_path / "output" / "cmrc_output"
    assert len(json.loads((output / "predictions.json").read_text("utf-8"))) == N_TEST
    # Predictions and their n-best lists can lie in one folder.
    arguments = [str(SAMPLES / "cmrc" / "cmrc2018_test.json"), str(output)]
    arguments.append(str(tmp_path / "metrics.json"))
    assert reading_evaluate.main(arguments) == 0
