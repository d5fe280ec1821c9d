"""Several ranks on the stand-in of Ascend devices: real processes that really reduce."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from tests.tf.ascend_ranks import check_success, read_checkpoint, run_ranks

DYNAMIC = {
    "num_train_steps": 4,
    "iterations_per_loop": 2,
    "hidden_dropout_prob": 0.1,
    "npu_bert_loss_scale": 0,
    "learning_rate": 1e-2,
    "train_batch_size": 4,
}


def list_losses(result):
    return [line.split("] ")[1] for line in result.log.splitlines() if "total_loss = " in line]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """BERT, Adam, dynamic scale, loops of two steps; rank 1 overflows in its second step."""
    directory = tmp_path_factory.mktemp("ascend") / "two"
    environs = [{"FAKE_HCCL_LATE_SPLIT": "1"}, {"FAKE_NPU_OVERFLOW_STEPS": "2"}]
    results = run_ranks(directory, 2, environs=environs, do_eval=True, max_eval_steps=2, **DYNAMIC)
    check_success(results)
    return directory, results


def test_an_overflow_on_one_rank_is_skipped_by_all(two_ranks):
    directory, results = two_ranks
    # Loops of two: one of four device steps was skipped, so a third loop is needed and taken.
    for result in results:
        assert [record["n_steps"] for record in result.find("loop")] == [2, 2, 2]
    saved = read_checkpoint(directory, 5)
    assert saved["global_step"] == 5
    # One bad step, cleared by none of the four good ones after it.
    assert (saved["good_steps"], saved["bad_steps"]) == (4, 1)
    assert saved["loss_scale"] == 65536.0


def test_ranks_average_what_they_saw(two_ranks):
    _, results = two_ranks
    first, second = map(list_losses, results)
    assert len(first) == len(second) == 3
    assert all(a != b for a, b in zip(first, second))
    for result in results:
        reduced = result.find("HcomAllReduce")
        # 30 gradients of one layer by the split; by themselves the float status, and a one of
        # each rank, by which the ranks are counted.
        assert [record["fusion"] for record in reduced] == [1] * 30 + [0, 0]
        assert "name: collective_group_size        2" in result.log
        assert {record["dtype"] for record in reduced} == {"float32"}


def test_every_rank_sets_the_split_of_its_real_gradients(two_ranks):
    _, (early, late) = two_ranks[0], two_ranks[1]
    for result in (early, late):
        (split,) = result.find("set_split_strategy_by_idx")
        assert split["indices"] == [8, 24, 29]
        assert split["group"] == "hccl_world_group"
    # Rank 0's HCCL takes it only once communication stands.
    assert "does not take the gradient split yet" in early.log
    assert "does not take the gradient split yet" not in late.log


def test_only_rank_0_saves_and_evaluates(two_ranks):
    directory, (root, other) = two_ranks
    names = os.listdir(directory / "output")
    assert "model.ckpt-5.index" in names
    assert "eval_results.txt" in names
    assert not [name for name in names if name.startswith(".rank")]
    assert root.find("NPUCheckpointSaverHook")
    assert other.find("NPUCheckpointSaverHook") == []
    assert [r["arguments"]["iterations_per_loop"] for r in root.find("NPURunConfig")] == [2, 1]
    assert [r["arguments"]["iterations_per_loop"] for r in other.find("NPURunConfig")] == [2]
    assert "Saving dict for global step 5" in root.log
    assert "Saving dict" not in other.log


def test_state_that_the_adapter_does_not_broadcast_is_broadcast(two_ranks):
    directory, results = two_ranks
    saved = read_checkpoint(directory, 5)
    assert {"global_step", "loss_scale", "bert/pooler/dense/bias/adam_v"} < set(saved)
    n_whole = sum(np.issubdtype(value.dtype, np.integer) for value in saved.values())
    for result in results:
        sent = [record["dtypes"] for record in result.find("HcomBroadcast")]
        # First the weights, by the adapter; then by ours all else that a checkpoint has.
        assert len(sent) == len(saved)
        assert {dtype for dtypes in sent[:30] for dtype in dtypes} == {"float32"}
        assert sent.count(["int32"]) == n_whole


def test_training_goes_on_from_the_checkpoint_of_rank_0(two_ranks, tmp_path):
    directory, _ = two_ranks
    shutil.copytree(str(directory / "output"), str(tmp_path / "again" / "output"))
    changes = dict(DYNAMIC, num_train_steps=8, iterations_per_loop=1, display_loss_steps=1)
    results = run_ranks(tmp_path / "again", 2, **changes)
    check_success(results)
    for result in results:
        # Rank 1 restored nothing and still counts from the step of rank 0.
        assert [line.split(",")[0] for line in list_losses(result)] == [
            f"global_step = {step}" for step in (6, 7, 8)
        ]
    saved = read_checkpoint(tmp_path / "again", 8)
    assert (saved["global_step"], saved["good_steps"], saved["bad_steps"]) == (8, 7, 1)


def test_nezha_with_lamb_and_accumulation(tmp_path):
    results = run_ranks(
        tmp_path / "nezha",
        2,
        "--npu_option=is_tailing_optimization=true",
        model={"use_relative_position": True},
        environs=[{}, {"FAKE_NPU_OVERFLOW_STEPS": "1"}],
        optimizer_type="lamb",
        npu_bert_loss_scale=128,
        num_accumulation_steps=2,
        num_train_steps=2,
        train_batch_size=4,
    )
    check_success(results)
    for result in results:
        (split,) = result.find("set_split_strategy_by_idx")
        assert split["indices"] == [8, 24, 28]
        (optimizer,) = result.find("NPUOptimizer")
        assert optimizer["is_tailing_optimization"] is optimizer["is_distributed"] is True
        assert result.find("FixedLossScaleManager")[0]["loss_scale"] == 128.0
        # Two steps took three calls: the first one was skipped by both.
        assert len(list_losses(result)) == 3
    saved = read_checkpoint(tmp_path / "nezha", 2)
    assert saved["global_step"] == 2
    assert "bert/embeddings/position_embeddings" not in saved
    assert np.isfinite(saved["bert/pooler/dense/kernel"]).all()


def test_eight_ranks(tmp_path):
    environs = [{} for _ in range(8)]
    environs[5] = {"FAKE_NPU_OVERFLOW_STEPS": "1"}
    results = run_ranks(
        tmp_path / "eight",
        8,
        environs=environs,
        num_train_steps=1,
        train_batch_size=2,
        save_checkpoints_steps=0,
    )
    check_success(results)
    for rank, result in enumerate(results):
        assert f"RANK_SIZE= 8  RANK_ID= {rank}" in result.log
        assert len(list_losses(result)) == 2
        (split,) = result.find("set_split_strategy_by_idx")
        assert split["indices"] == [8, 24, 29]
        (arguments,) = [record["arguments"] for record in result.find("NPURunConfig")]
        assert arguments["save_checkpoints_steps"] == 0
