"""Several ranks: real processes that meet in TensorFlow's collective runtime."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tf.graphs import small_flags

ROOT = Path(__file__).resolve().parents[2]


def find_free_addresses(n):
    """Returns n addresses that were free a moment ago; all are held until all are found."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()


def run_ranks(directory, n_ranks, **changes):
    """Runs one process per rank; returns their variables, logs and the output directory."""
    directory.mkdir()
    arguments = small_flags(directory, **changes)
    addresses = find_free_addresses(n_ranks)
    processes = []
    for rank in range(n_ranks):
        environ = dict(os.environ, RANK_ID=str(rank), RANK_SIZE=str(n_ranks), PYTHONPATH=str(ROOT))
        if n_ranks > 1:
            environ["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            )
        command = [sys.executable, "-m", "tests.tf.rank_worker"]
        with open(directory / f"rank_{rank}.log", "wb") as log:
            processes.append(
                subprocess.Popen(
                    [*command, str(directory / f"rank_{rank}.npz"), *arguments],
                    env=environ,
                    cwd=str(directory),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    logs = [(directory / f"rank_{rank}.log").read_text("utf-8") for rank in range(n_ranks)]
    assert codes == [0] * n_ranks, logs[0][-3000:]
    variables = [dict(np.load(directory / f"rank_{rank}.npz")) for rank in range(n_ranks)]
    return variables, logs, directory / "output"


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Two ranks, three steps, dropout and clipping on, dynamic loss scale."""
    return run_ranks(
        tmp_path_factory.mktemp("ranks") / "two",
        2,
        num_train_steps=4,
        hidden_dropout_prob=0.1,
        npu_bert_loss_scale=0,
        learning_rate=1e-2,
    )


def test_ranks_hold_the_same_variables_after_training(two_ranks):
    (first, second), _, _ = two_ranks
    assert first["global_step"] == second["global_step"] == 4
    assert {"loss_scale", "good_steps", "bert/pooler/dense/kernel/adam_v"} < set(first)
    assert set(first) == set(second)
    differing = [name for name in first if not np.array_equal(first[name], second[name])]
    assert differing == []


def test_ranks_differ_in_what_they_saw(two_ranks):
    _, logs, _ = two_ranks
    losses = [
        [line.split("] ")[1] for line in log.splitlines() if "total_loss" in line] for log in logs
    ]
    assert len(losses[0]) == len(losses[1]) == 2
    assert losses[0] != losses[1]


def test_only_rank_0_writes(two_ranks):
    _, logs, output = two_ranks
    names = os.listdir(output)
    assert sorted(name for name in names if name.endswith(".index")) == [
        "model.ckpt-0.index",
        "model.ckpt-4.index",
    ]
    assert not [name for name in names if name.startswith(".rank")]
    assert len([name for name in names if "tfevents" in name]) == 1
    assert "Saving checkpoints for 4" in logs[0]
    assert "Saving checkpoints" not in logs[1]


def test_every_rank_names_itself(two_ranks):
    _, logs, _ = two_ranks
    assert "RANK_SIZE= 2  RANK_ID= 0" in logs[0]
    assert "RANK_SIZE= 2  RANK_ID= 1" in logs[1]
    assert all("global_step/sec: " in log for log in logs)


def test_two_ranks_give_the_gradient_of_one_rank_with_twice_the_batch(tmp_path):
    # After one step the first moment is (1 - beta1) times the averaged gradient: with the
    # clipping norm out of reach, it is the gradient itself, in every variable's own slot.
    common = {
        "num_train_steps": 1,
        "iterations_per_loop": 1,
        "clip_norm": 1e9,
        "adam_beta1": 0.0,
        "save_checkpoints_steps": 0,
    }
    (two, _), _, _ = run_ranks(tmp_path / "two", 2, train_batch_size=6, **common)
    (one,), _, _ = run_ranks(tmp_path / "one", 1, train_batch_size=12, **common)
    names = [name for name in one if name.endswith("/adam_m")]
    assert len(names) == 5 + 16 * 2 + 9
    for name in names:
        size = np.abs(one[name]).max()
        # A bias on all keys alike shifts all scores of a query and leaves the softmax alone, so
        # its gradient is zero but for rounding; all others are far above this floor.
        assert (size > 1e-7) != name.endswith("self/key/bias/adam_m"), name
        np.testing.assert_allclose(
            two[name], one[name], rtol=1e-4, atol=1e-5 * size + 1e-10, err_msg=name
        )


def test_training_that_is_done_is_left_alone_by_all_ranks(two_ranks):
    (before, _), _, output = two_ranks
    directory = output.parent / "again"
    (first, second), logs, _ = run_ranks(
        directory,
        2,
        num_train_steps=4,
        hidden_dropout_prob=0.1,
        npu_bert_loss_scale=0,
        learning_rate=1e-2,
        output_dir=str(output),
    )
    assert all("nothing to train: global step 4" in log for log in logs)
    # Rank 1 restored nothing: it has all this from rank 0.
    for name in before:
        np.testing.assert_array_equal(first[name], before[name], err_msg=name)
        np.testing.assert_array_equal(second[name], before[name], err_msg=name)


def test_a_rank_whose_peer_is_killed_does_not_wait_for_ever(tmp_path):
    arguments = small_flags(
        tmp_path, num_train_steps=1000000, iterations_per_loop=10, save_checkpoints_steps=0
    )
    addresses = find_free_addresses(2)
    processes = []
    try:
        for rank in range(2):
            task = {"type": "worker", "index": rank}
            environ = dict(
                os.environ,
                RANK_ID=str(rank),
                RANK_SIZE="2",
                PYTHONPATH=str(ROOT),
                TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": task}),
            )
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bert.pretrain", *arguments],
                    env=environ,
                    stderr=subprocess.PIPE,
                )
            )
        for line in processes[1].stderr:
            if b"total_loss" in line:
                break
        processes[1].kill()
        _, err = processes[0].communicate(timeout=60)
        assert processes[0].returncode == 69
        lines = [line for line in err.decode().splitlines() if line.startswith("ERROR: ")]
        assert lines == [
            f"ERROR: unavailable: rank 0: rank 1 at {addresses[1]} is gone before training ended; "
            "see its log"
        ]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stderr.close()
