"""Fine-tuning on the stand-in of an Ascend device."""

from __future__ import annotations

import json
import re

import pytest
import tensorflow.compat.v1 as tf

from tests.tf.downstream_runs import check_success, run_module, sample_flags
from tests.tf.graphs import SMALL_MODEL

TASKS = [("classifier", "chnsenti"), ("ner", "ner"), ("reading", "squad_v2")]


def small_flags(directory, task, **changes):
    """Returns flags for four steps of a model of one narrow layer."""
    directory.mkdir(exist_ok=True)
    path = directory / "model.json"
    values = dict(SMALL_MODEL, vocab_size=1000, num_hidden_layers=1, max_position_embeddings=48)
    path.write_text(json.dumps(values), encoding="utf-8")
    return sample_flags(
        task,
        bert_config_file=str(path),
        train_batch_size=4,
        max_steps=4,
        iterations_per_loop=2,
        save_checkpoints_steps=2,
        keep_checkpoint_max=1,
        **changes,
    )


@pytest.mark.parametrize(("kind", "task"), TASKS)
def test_it_runs_on_one_device(tmp_path, kind, task):
    flags = small_flags(tmp_path, task, do_predict=True)
    run = run_module(f"bert.downstream.{kind}", tmp_path, flags, fake_npu=True)
    check_success(run)
    assert re.search(r"\] loss = \d+\.\d+, step = 2$", run.logs[0], re.M)
    assert re.search(r"\] loss = \d+\.\d+, step = 4 \(\d+\.\d{3} sec\)$", run.logs[0], re.M)
    assert "resolved: manual_fp16=True, use_fp16_cls=True, loss_scale=dynamic" in run.logs[0]
    # What the user asks to keep is kept, other than what the adapter does by itself (item 22).
    assert [path.name for path in run.output.glob("*.index")] == ["model.ckpt-4.index"]
    results = run.read_json("eval_results.json")
    assert [each["global_step"] for each in results["checkpoints"]] == [4]
    assert run.read_json("test_results.json")["best"]["loss"] > 0
    assert "predict: batch_size = 8" in run.logs[0]


def test_two_devices_and_a_step_that_overflows(tmp_path, monkeypatch):
    """Item 27: a step that is skipped does not count, and the slots have their own names."""
    monkeypatch.setenv("FAKE_NPU_OVERFLOW_STEPS", "3")
    flags = small_flags(tmp_path, "lcqmc", npu_bert_loss_scale=0)
    flags.update(iterations_per_loop=1)
    run = run_module("bert.downstream.classifier", tmp_path, flags, n_ranks=2, fake_npu=True)
    check_success(run)
    for log in run.logs:
        assert "skipped steps: 1" in log
        assert re.search(
            r"Step = {6}2 Throughput = .* Loss = .* isFinite = {6}0 \(1 of 1 steps", log
        )
    reader = tf.train.load_checkpoint(str(run.output / "model.ckpt-4"))
    names = reader.get_variable_to_shape_map()
    assert reader.get_tensor("global_step") == 4
    assert "classifier/output_weights/adam_m" in names
    assert not [name for name in names if "lamb" in name]
