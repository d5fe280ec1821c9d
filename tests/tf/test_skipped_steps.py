"""Skipped steps: all ranks skip when one overflows, and the log says so, for people and harness."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bench.logs import LogReader
from bert.training.skipped_steps import SkippedStepHook
from tests.tf.graphs import SMALL_MODEL
from tests.tf.test_ranks import run_ranks


def run_hook(steps, n_steps_per_run, caplog):
    """Runs the hook over calls that reach these global steps; returns it and its messages."""
    step = tf.train.create_global_step()
    reached = tf.placeholder(tf.int64, [])
    advance = tf.assign(step, reached)
    names = ("mlm_loss", "nsp_loss", "total_loss", "learning_rate", "loss_scale")
    values = {name: tf.constant(float(i) + 0.5) for i, name in enumerate(names)}
    values["global_step"] = tf.identity(advance)
    hook = SkippedStepHook(values, n_steps_per_run, n_sequences_per_step=6)
    with caplog.at_level("INFO", logger="tensorflow"), tf.train.SingularMonitoredSession(
        hooks=[hook]
    ) as session:
        for value in steps:
            session.run(advance, {reached: value})
    return hook, [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]


def test_every_skipped_step_gets_one_line(caplog):
    hook, messages = run_hook([1, 1, 1, 2, 3, 3], 1, caplog)
    assert hook.n_skipped == 3
    assert [m.split(" Throughput")[0] for m in messages[:3]] == [
        "Step =      1",
        "Step =      1",
        "Step =      3",
    ]
    assert "MLM Loss = 5.0000e-01 NSP Loss = 1.5000e+00 Loss =  2.500000" in messages[0]
    assert "LR = 3.5000e+00 Loss scale = 4.5000e+00 isFinite =      0 (1 of 1" in messages[0]
    assert messages[2].endswith("(1 of 1 steps skipped: gradients not finite; 3 so far)")
    assert messages[3:] == ["skipped steps: 3"]


def test_steps_of_a_device_loop_are_counted_together(caplog):
    hook, messages = run_hook([10, 18, 28], 10, caplog)
    assert hook.n_skipped == 2
    assert len(messages) == 2
    assert messages[0].endswith("(2 of 10 steps skipped: gradients not finite; 2 so far)")


def test_no_skipped_step_no_line(caplog):
    assert run_hook([1, 2, 3], 1, caplog)[1] == []


@pytest.fixture(scope="module")
def overflow_on_rank_1(tmp_path_factory):
    """Two ranks, LAMB with two micro-batches; the second of four attempts overflows on rank 1."""
    directory = tmp_path_factory.mktemp("overflow")
    model = directory / "shallow.json"
    model.write_text(json.dumps(dict(SMALL_MODEL, num_hidden_layers=1)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERFLOW", "1:2")
        return run_ranks(
            directory / "two",
            2,
            bert_config_file=model,
            num_train_steps=3,
            iterations_per_loop=1,
            train_batch_size=3,
            num_accumulation_steps=2,
            optimizer_type="lamb",
            npu_bert_loss_scale=0,
            init_loss_scale_value=1024,
        )


def test_an_overflow_on_one_rank_is_skipped_by_all(overflow_on_rank_1):
    (first, second), _, _ = overflow_on_rank_1
    assert first["global_step"] == second["global_step"] == 3
    assert first["bad_steps"] == second["bad_steps"] == 1
    assert first["loss_scale"] == 1024.0
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        assert np.isfinite(first[name]).all(), name


def test_every_rank_reports_the_skipped_step_once(overflow_on_rank_1):
    _, logs, _ = overflow_on_rank_1
    for log in logs:
        lines = [line for line in log.splitlines() if "isFinite" in line]
        assert len(lines) == 1
        assert re.match(r"W\d{4} .*\] Step =      1 Throughput = .* isFinite =      0 ", lines[0])
        assert "Loss scale = 1.0240e+03" in lines[0]
        assert "skipped steps: 1" in log


def test_the_harness_reads_the_skipped_step(overflow_on_rank_1):
    _, logs, _ = overflow_on_rank_1
    reader = LogReader("x")
    events = reader.feed(logs[1].encode()) + reader.close()
    (skipped,) = [event for event in events if getattr(event, "is_finite", None) is not None]
    assert (skipped.global_step, skipped.is_finite, skipped.loss_scale) == (1, False, 1024.0)
    assert skipped.masked_lm_loss == np.inf
