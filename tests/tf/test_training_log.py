"""What a real run writes: its log lines, its files, its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.data.examples import encode_framed_examples
from bert.flags import ALL_FLAGS
from bert.train_config import InputConfig
from bert.training import run
from bert.training.inputs import build_synthetic_batch
from tests.tf.graphs import LENGTH, PREDICTIONS, small_backend, small_config, small_flags

ROOT = Path(__file__).resolve().parents[2]
ABSL = r"^I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ (?P<place>[\w.]+:\d+)\] "
NUMBER = r"\d+\.\d+(?:e-?\d+)?"
LOSS_LINE = re.compile(
    ABSL + rf"global_step = (?P<step>\d+), masked_lm_loss = {NUMBER}, "
    rf"next_sentence_loss = {NUMBER}, total_loss = {NUMBER}(?P<seconds> \(\d+\.\d{{3}} sec\))?$"
)
RATE_LINE = re.compile(ABSL + r"global_step/sec: \d+(\.\d+)?$")


def write_data(directory, n_examples, seed):
    """Writes random examples of the small model as one TFRecord file."""
    directory.mkdir()
    config = small_config(directory.parent)
    wanted = InputConfig((), (), LENGTH, PREDICTIONS, n_examples, n_examples)
    batch = build_synthetic_batch(wanted, config.bert, n_examples, np.random.RandomState(seed))
    (directory / "part-0.tfrecord").write_bytes(bytes(encode_framed_examples(batch).data))
    return directory


def run_pretrain(arguments, **environ):
    """Runs the trainer in a process of its own; returns exit code, stdout, stderr."""
    completed = subprocess.run(
        [sys.executable, "-m", "bert.pretrain", *arguments],
        env=dict(os.environ, PYTHONPATH=str(ROOT), **environ),
        capture_output=True,
        timeout=120,
        check=False,
    )
    return completed.returncode, completed.stdout.decode(), completed.stderr.decode()


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    """Nine steps on TFRecords with a line every three, a fixed loss scale, then evaluation."""
    directory = tmp_path_factory.mktemp("log")
    train = write_data(directory / "train", 40, seed=1)
    held_out = write_data(directory / "eval", 20, seed=2)
    arguments = small_flags(
        directory,
        synthetic_input=False,
        input_files_dir=train,
        eval_files_dir=held_out,
        num_train_steps=9,
        iterations_per_loop=3,
        npu_bert_loss_scale=65536,
        do_eval=True,
        eval_batch_size=8,
    )
    code, out, err = run_pretrain(arguments)
    assert code == 0, err[-3000:]
    return out, err.splitlines(), directory / "output"


def test_nothing_goes_to_stdout(real_run):
    assert real_run[0] == ""


def test_loss_lines_fall_on_multiples_of_the_loop(real_run):
    matches = [LOSS_LINE.match(line) for line in real_run[1] if "total_loss" in line]
    assert all(matches)
    assert [match["step"] for match in matches] == ["3", "6", "9"]
    assert [bool(match["seconds"]) for match in matches] == [False, True, True]
    assert all(m["place"].startswith("basic_session_run_hooks.py") for m in matches)


def test_rate_lines_come_from_tensorflow_and_precede_their_loss_line(real_run):
    lines = real_run[1]
    rates = [i for i, line in enumerate(lines) if "global_step/sec" in line]
    losses = [i for i, line in enumerate(lines) if "total_loss" in line]
    assert all(RATE_LINE.match(lines[i]) for i in rates)
    assert "basic_session_run_hooks.py" in lines[rates[0]]
    assert len(rates) == 2
    assert losses[0] < rates[0] < losses[1] < rates[1] < losses[2]


def test_the_rate_is_that_of_the_steps_between_the_loss_lines(real_run):
    lines = real_run[1]
    rates = [float(line.rsplit(" ", 1)[1]) for line in lines if "global_step/sec" in line]
    seconds = [
        float(re.search(r"\((\d+\.\d+) sec\)", line)[1])
        for line in lines
        if "total_loss" in line and "sec)" in line
    ]
    for rate, duration in zip(rates, seconds):
        assert 3 / rate == pytest.approx(duration, abs=0.02)


def test_loss_scale_lines(real_run):
    lines = [line for line in real_run[1] if "loss_scale:[" in line]
    assert len(lines) == 3
    assert all(re.match(ABSL + r"loss_scale:\[65536\.0\]$", line) for line in lines)


def test_opening_lines(real_run):
    messages = [line.split("] ", 1)[-1] for line in real_run[1]]
    assert "name: train_batch_size        13" in messages
    assert "name: npu_bert_loss_scale        65536" in messages
    assert "RANK_SIZE= 1  RANK_ID= 0" in messages
    assert "***** Running training *****" in messages
    assert "  Batch size = 13" in messages


def test_no_message_is_written_twice(real_run):
    assert not [line for line in real_run[1] if line.startswith("INFO:tensorflow")]
    absl = [line for line in real_run[1] if re.match(ABSL, line)]
    assert len(absl) == len(set(absl))


def test_evaluation_is_logged_and_written(real_run):
    _, lines, output = real_run
    names = ["global_step", "loss", "masked_lm_accuracy", "masked_lm_loss"]
    names += ["next_sentence_accuracy", "next_sentence_loss"]
    written = (output / "eval_results.txt").read_text("utf-8").splitlines()
    assert [line.split(" = ")[0] for line in written] == names
    assert written[0] == "global_step = 9"
    messages = [line.split("] ", 1)[-1] for line in lines]
    at = messages.index("***** Eval results *****")
    assert messages[at + 1 : at + 7] == [f"  {line}" for line in written]


def test_evaluation_takes_every_example_once(real_run):
    """Batches of 7 and of 20 cut 20 examples differently, and give the same metrics."""
    output = real_run[2]
    results = []
    for size in (20, 7):
        config = small_config(
            output.parent,
            synthetic_input=False,
            do_train=False,
            do_eval=True,
            eval_files_dir=str(output.parent / "eval"),
            eval_batch_size=size,
        )
        results.append(run.evaluate(config, small_backend(config)))
    for name in ("masked_lm_accuracy", "masked_lm_loss", "next_sentence_loss"):
        assert results[0][name] == pytest.approx(results[1][name], rel=1e-5)
    assert results[0]["next_sentence_accuracy"] == pytest.approx(
        results[1]["next_sentence_accuracy"], abs=1e-6
    )


def test_checkpoints_hold_weights_slots_and_step(real_run):
    names = dict(tf.train.list_variables(str(real_run[2] / "model.ckpt-9")))
    assert "global_step" in names
    weights = [n for n in names if n.endswith("kernel")]
    assert weights
    assert all(f"{name}/adam_m" in names and f"{name}/adam_v" in names for name in weights)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for name, seed in (("a", 7), ("b", 7)):
        config = small_config(
            tmp_path,
            output_dir=str(tmp_path / name),
            random_seed=seed,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
        )
        tf.reset_default_graph()
        run.train(config, small_backend(config))
        reader = tf.train.load_checkpoint(str(tmp_path / name / "model.ckpt-4"))
        weights.append(reader.get_tensor("bert/encoder/layer_1/output/dense/kernel"))
    assert np.array_equal(weights[0], weights[1])


def test_the_readme_names_every_flag():
    text = (ROOT / "bert" / "README.md").read_text("utf-8")
    assert [spec.name for spec in ALL_FLAGS if f"`{spec.name}`" not in text] == []
