"""Training on the stand-in of an Ascend device, one rank in this process."""

from __future__ import annotations

import numpy as np
import pytest

from bert.backends.rank import RankEnvironment
from bert.flags import parse_flags
from bert.train_config import build_train_config
from bert.training import run
from tests.tf.ascend_ranks import ascend_flags, read_checkpoint
from tests.tf.fake_npu import provide
from tests.tf.graphs import small_batch
from tests.tf.test_training_log import write_data


@pytest.fixture
def npu(tmp_path):
    yield from provide(tmp_path)


@pytest.fixture
def constant_input(monkeypatch):
    """Gives every training the same batch for ever."""
    import tensorflow.compat.v1 as tf

    def build(config, rank, start_batch=0):
        batch = small_batch(config)
        return lambda params=None: tf.data.Dataset.from_tensors(batch).repeat()

    monkeypatch.setattr(run, "build_train_input", build)


def train_on_cpu(directory, n_steps, **changes):
    """Returns the variables after a training of the same model on the CPU backend."""
    directory.mkdir(exist_ok=True)
    changes.update(backend="cpu", iterations_per_loop=1, num_train_steps=n_steps)
    changes.update(output_dir=str(directory / "output"))
    flags = parse_flags(ascend_flags(directory, **changes))
    run.train_and_evaluate(build_train_config(flags, RankEnvironment()), RankEnvironment())
    return read_checkpoint(directory, n_steps)


@pytest.mark.parametrize(
    "changes",
    [
        {"npu_bert_loss_scale": 0, "npu_gather": False, "optimizer_type": "lamb"},
        {"npu_bert_loss_scale": 128, "npu_bert_clip_by_global_norm": False},
        {"npu_bert_loss_scale": -1, "npu_bert_fused_gelu": False, "iterations_per_loop": 4},
    ],
    ids=["dynamic-lamb", "static", "off"],
)
def test_it_trains_like_the_cpu(npu, changes):
    common = {"manual_fp16": False, "learning_rate": 1e-2, **changes}
    found = npu.train(**common)
    # Initial values follow from a seed and the graph as a whole, so the other one is given them.
    start = str(npu.directory / "output" / "model.ckpt-0")
    wanted = train_on_cpu(npu.directory / "cpu", 4, init_checkpoint=start, **common)
    assert set(found) == set(wanted)
    assert found["global_step"] == 4
    assert bool(npu.find("gelu")) == changes.get("npu_bert_fused_gelu", True)
    for name in wanted:
        if "self/key/bias" in name:
            continue  # the softmax does not depend on it: its gradient is rounding alone
        scale = np.abs(wanted[name]).max()
        # Gradients are of order 1e-3 and more; what rounding leaves of a zero one is about 1e-8.
        np.testing.assert_allclose(
            found[name], wanted[name], rtol=1e-4, atol=1e-4 * scale + 1e-8, err_msg=name
        )


def test_float16_with_the_operators_of_the_device(npu):
    found = npu.train(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    assert found["global_step"] == 4
    assert {record["dtype"] for record in npu.find("gelu")} == {"float16"}
    # After the embeddings, then on attention, on its output and on the feed-forward output.
    assert len(npu.find("drop_out_do_mask")) == 4
    assert {record["keep_prob"] for record in npu.find("drop_out_do_mask")} == {0.9}


def test_an_overflow_skips_the_step_and_two_halve_the_scale(npu, monkeypatch):
    monkeypatch.setenv("FAKE_NPU_OVERFLOW_STEPS", "2,4")
    found = npu.train(manual_fp16=False, num_train_steps=3, npu_bert_loss_scale=0)
    assert found["global_step"] == 3  # in five device steps
    assert found["loss_scale"] == 32768.0
    assert (found["good_steps"], found["bad_steps"]) == (1, 0)


def test_a_loop_that_is_skipped_as_a_whole_is_taken_again(npu, monkeypatch):
    monkeypatch.setenv("FAKE_NPU_OVERFLOW_STEPS", "1,2,3,4")
    found = npu.train(
        manual_fp16=False, num_train_steps=4, iterations_per_loop=4, npu_bert_loss_scale=1024
    )
    assert found["global_step"] == 4
    assert [record["n_steps"] for record in npu.find("loop")] == [4, 4]


def test_a_scale_that_is_too_large_comes_down_by_itself(npu):
    found = npu.train(num_train_steps=2, init_loss_scale_value=2**30)
    assert found["global_step"] == 2
    assert found["loss_scale"] < 2**30


def test_resuming_gives_what_one_run_gives(npu, constant_input):
    common = {"learning_rate": 1e-2, "save_checkpoints_steps": 2}
    whole = npu.train(num_train_steps=4, **common)
    half = npu.directory / "output" / "model.ckpt-2"
    (npu.directory / "output" / "checkpoint").write_text(f'model_checkpoint_path: "{half}"\n')
    resumed = npu.train(num_train_steps=4, **common)
    assert whole["global_step"] == resumed["good_steps"] == 4
    assert set(whole) == set(resumed)
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


def test_as_many_checkpoints_are_kept_as_asked_for(npu):
    npu.train(save_checkpoints_steps=1, keep_checkpoint_max=2)
    kept = sorted(path.name for path in (npu.directory / "output").glob("*.index"))
    assert kept == ["model.ckpt-3.index", "model.ckpt-4.index"]


def test_saving_can_be_off(npu):
    assert npu.train(num_train_steps=1, save_checkpoints_steps=0) == {}
    assert npu.find("NPUCheckpointSaverHook") == []


def test_evaluation_takes_every_example_one_step_per_call(npu):
    held_out = write_data(npu.directory / "eval", 20, seed=2)
    train = write_data(npu.directory / "train", 40, seed=1)
    common = {
        "synthetic_input": False,
        "input_files_dir": str(train),
        "eval_files_dir": str(held_out),
        "eval_batch_size": 8,
        "iterations_per_loop": 2,
    }
    npu.train(do_eval=True, **common)
    path = npu.directory / "output" / "eval_results.txt"
    text = path.read_text("utf-8")
    results = dict(line.split(" = ") for line in text.splitlines())
    assert results["global_step"] == "4"
    assert {"masked_lm_accuracy", "masked_lm_loss", "next_sentence_accuracy"} < set(results)
    training, evaluation = (record["parameters"] for record in npu.find("NpuOptimizer"))
    assert training["iterations_per_loop"] == 2
    assert evaluation["iterations_per_loop"] == 1
    path.unlink()
    npu.train(do_train=False, do_eval=True, **common)
    assert path.read_text("utf-8") == text


def test_an_adapter_that_tests_for_inf_and_nan_by_itself(npu, monkeypatch):
    """Later adapters build on TensorFlow's own classes, and lose the global step on the way."""
    from npu_bridge.estimator.npu import npu_loss_scale_manager, npu_loss_scale_optimizer
    from tensorflow.contrib.mixed_precision.python import loss_scale_manager, loss_scale_optimizer

    class LaterOptimizer(loss_scale_optimizer.LossScaleOptimizer):
        def __init__(self, opt, loss_scale_manager, is_distributed=False):
            super().__init__(opt, loss_scale_manager)

        def apply_gradients(self, grads_and_vars, global_step=None, name=None):
            return super().apply_gradients(grads_and_vars, None, name)

    monkeypatch.setattr(npu_loss_scale_optimizer, "NPULossScaleOptimizer", LaterOptimizer)
    for name in ("FixedLossScaleManager", "ExponentialUpdateLossScaleManager"):
        monkeypatch.setattr(npu_loss_scale_manager, name, getattr(loss_scale_manager, name))
    found = npu.train(num_train_steps=2, init_loss_scale_value=1024)
    assert found["global_step"] == found["good_steps"] == 2
    assert found["loss_scale"] == 1024.0
