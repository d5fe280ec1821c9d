"""What a run leaves for other viewers: TensorBoard summaries and Chrome traces."""

from __future__ import annotations

import json
import os

import pytest
import tensorflow.compat.v1 as tf

from bert.errors import OutputError, UsageError
from bert.flag_checks import parse_steps
from bert.training import run
from bert.training.profiling import write_trace
from tests.tf.graphs import small_backend, small_config


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Five steps with summaries every two, and traces of steps 3 and 5."""
    directory = tmp_path_factory.mktemp("traces")
    config = small_config(
        directory,
        num_train_steps=5,
        iterations_per_loop=1,
        save_summary_steps=2,
        npu_bert_loss_scale=0,
        profile_steps="5,3",
    )
    with tf.Graph().as_default():
        run.train(config, small_backend(config))
    return directory / "output"


def test_summaries_hold_what_a_curve_is_drawn_from(output):
    (events,) = [name for name in os.listdir(output) if "tfevents" in name]
    values = {}
    for event in tf.train.summary_iterator(str(output / events)):
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = value.simple_value
    assert set(values) == {
        "global_step/sec",
        "gradient_norm",
        "learning_rate",
        "loss",
        "loss_scale",
        "masked_lm_loss",
        "next_sentence_loss",
    }
    assert sorted(values["masked_lm_loss"]) == [1, 3, 5]
    for step, loss in values["loss"].items():
        parts = values["masked_lm_loss"][step] + values["next_sentence_loss"][step]
        assert loss == pytest.approx(parts, rel=1e-5)
    assert set(values["loss_scale"].values()) == {65536.0}


def test_traces_are_those_of_the_steps_asked_for(output):
    assert sorted(os.listdir(output / "profile")) == ["step_3.json", "step_5.json"]
    for name in os.listdir(output / "profile"):
        trace = json.loads((output / "profile" / name).read_text("utf-8"))
        operations = {
            event["args"].get("name", "") for event in trace["traceEvents"] if "args" in event
        }
        assert any(name.startswith("bert/encoder/layer_1/attention") for name in operations)
        assert any(name.startswith("gradients/cls/predictions") for name in operations)


def test_steps_are_numbers_from_1_on():
    assert parse_steps("profile_steps", None) == parse_steps("profile_steps", "") == ()
    assert parse_steps("profile_steps", "20, 3,20") == (3, 20)
    for text in ("0", "1,,2", "-1", "ten", "1.5"):
        with pytest.raises(UsageError, match="--profile_steps"):
            parse_steps("profile_steps", text)


def test_a_step_that_never_comes_is_refused(tmp_path):
    with pytest.raises(UsageError, match="step 9 is behind the last one, --num_train_steps=4"):
        small_config(tmp_path, profile_steps="2,9")
    with pytest.raises(UsageError, match="--npu_option enable_profiling=true"):
        small_config(tmp_path, profile_steps="2", backend="ascend")


def test_a_trace_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        write_trace(tf.RunMetadata().step_stats, str(tmp_path / "file" / "step_1.json"))
