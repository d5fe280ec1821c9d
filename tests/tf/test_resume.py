"""N steps are k steps and N - k more: same data, same dropout, same numbers to the last bit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends.collectives import BroadcastHook
from bert.backends.cpu import CpuBackend
from bert.backends.rank import RankEnvironment
from bert.data.input_pipeline import build_input_fn
from bert.errors import DataError, UsageError
from bert.training import run
from bert.training.batch_counter import StartBatchHook, build_batch_counter, read_start_batch
from bert.training.inputs import build_train_input
from bert.training.model_fn import build_model_fn
from tests.tf.graphs import as_tensors, small_backend, small_batch, small_config, small_flags
from tests.tf.test_accumulation import train as train_on_batch
from tests.tf.test_input_pipeline import P, S, make_files, numbers, take
from tests.tf.test_ranks import find_free_addresses
from tests.tf.test_training_log import write_data

ROOT = Path(__file__).resolve().parents[2]
DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def copy_checkpoint(source, step, target):
    """Makes a directory that holds one checkpoint of another, as its newest."""
    target.mkdir()
    for path in source.glob(f"model.ckpt-{step}.*"):
        shutil.copy(str(path), str(target))
    (target / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n', "utf-8")


def read_variables(directory, step):
    reader = tf.train.load_checkpoint(str(directory / f"model.ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_identical(found, wanted):
    assert set(found) == set(wanted)
    assert [n for n in found if not np.array_equal(found[n], wanted[n])] == []


def train(config):
    with tf.Graph().as_default():
        run.train(config, small_backend(config))


# A scale far beyond float32's room overflows until it has been halved often enough.
CASES = {
    "records": {"synthetic_input": False, "train_batch_size": 7},
    "skipped steps": {"npu_bert_loss_scale": 0, "init_loss_scale_value": 2**127},
    "micro-batches": {"num_accumulation_steps": 2, "train_batch_size": 5},
}


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, name):
    data = write_data(tmp_path / "train", 25, seed=1)  # epochs do not end with batches
    common = dict(
        CASES[name],
        input_files_dir=data,
        num_train_steps=6,
        iterations_per_loop=3,
        save_checkpoints_steps=3,
        **DROPOUT,
    )
    train(small_config(tmp_path, **common))
    resumed = tmp_path / "resumed"
    copy_checkpoint(tmp_path / "output", 3, resumed)
    train(small_config(tmp_path, **dict(common, output_dir=resumed)))
    whole = read_variables(tmp_path / "output", 6)
    assert_identical(read_variables(resumed, 6), whole)
    assert (whole["batches_taken"] > 6) == (name == "skipped steps")


def test_micro_batches_of_one_update_drop_other_elements(tmp_path):
    # Both halves are the same sequences, so with one mask for both the mean loss would be that
    # of a half.
    half = small_batch(small_config(tmp_path, train_batch_size=5))
    both = {name: np.concatenate([value, value]) for name, value in half.items()}
    (one,), _ = train_on_batch(tmp_path, half, 1, train_batch_size=5, **DROPOUT)
    flags = {"train_batch_size": 5, "num_accumulation_steps": 2}
    (two,), _ = train_on_batch(tmp_path, both, 1, **flags, **DROPOUT)
    (plain,), _ = train_on_batch(tmp_path, both, 1, **flags)
    (plain_half,), _ = train_on_batch(tmp_path, half, 1, train_batch_size=5)
    np.testing.assert_allclose(plain, plain_half, rtol=1e-6)
    assert abs(two[0] - one[0]) > 1e-4


def run_two_ranks(directory, output, **flags):
    """Trains with two ranks; returns the loss lines of each."""
    arguments = small_flags(directory, output_dir=output, **flags)
    addresses = find_free_addresses(2)
    processes = []
    try:
        for rank in range(2):
            task = {"type": "worker", "index": rank}
            environ = dict(os.environ, RANK_ID=str(rank), RANK_SIZE="2", PYTHONPATH=str(ROOT))
            environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bert.pretrain", *arguments],
                    env=environ,
                    stderr=subprocess.PIPE,
                )
            )
        logs = [process.communicate(timeout=120)[1].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], logs[0][-3000:]
    return [re.findall(r"global_step = .*total_loss = [\d.]+", log) for log in logs]


def test_two_ranks_resume_with_the_same_losses(tmp_path):
    data = write_data(tmp_path / "train", 25, seed=1)
    common = {
        "synthetic_input": False,
        "input_files_dir": data,
        "train_batch_size": 5,
        "num_train_steps": 6,
        "iterations_per_loop": 1,
        "save_checkpoints_steps": 3,
        **DROPOUT,
    }
    whole = run_two_ranks(tmp_path, tmp_path / "output", **common)
    copy_checkpoint(tmp_path / "output", 3, tmp_path / "resumed")
    resumed = run_two_ranks(tmp_path, tmp_path / "resumed", **common)
    assert [len(lines) for lines in whole] == [6, 6]
    assert whole[0] != whole[1]
    assert resumed == [lines[3:] for lines in whole]
    assert_identical(
        read_variables(tmp_path / "resumed", 6), read_variables(tmp_path / "output", 6)
    )


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("ranks", [(0, 1), (1, 2)])
def test_input_from_a_batch_on_is_the_rest_of_the_input(tmp_path, shuffle, ranks):
    rank, size = ranks
    files = make_files(tmp_path, [16, 3, 10])
    common = {"seed": 3, "shuffle": shuffle, "rank": rank, "size": size}
    whole = numbers(take(build_input_fn(files, 4, S, P, **common), 24))
    for start in (1, 4, 7, 20):
        rest = take(build_input_fn(files, 4, S, P, start_batch=start, **common), 24 - start)
        assert numbers(rest) == whole[4 * start :]


def test_input_without_repetition_can_start_late_too(tmp_path):
    files = make_files(tmp_path, [10])
    input_fn = build_input_fn(files, 4, S, P, shuffle=False, repeat=False, start_batch=2)
    assert numbers(take(input_fn)) == []
    input_fn = build_input_fn(files, 3, S, P, shuffle=False, repeat=False, start_batch=2)
    assert numbers(take(input_fn)) == [7, 8, 9]


def test_a_damaged_file_is_counted_by_its_intact_records(tmp_path):
    (path,) = make_files(tmp_path, [9])
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    Path(path).write_bytes(bytes(content))
    common = {"seed": 3, "skip_corrupt": 1}
    whole = numbers(take(build_input_fn([path], 3, S, P, **common), 8))
    rest = numbers(take(build_input_fn([path], 3, S, P, start_batch=5, **common), 3))
    assert len(set(whole)) == 8
    assert rest == whole[15:]


def test_synthetic_input_goes_on_in_its_cycle(tmp_path):
    config = small_config(tmp_path)
    rank = RankEnvironment()
    whole = take(build_train_input(config, rank), 12)
    rest = take(build_train_input(config, rank, 9), 3)
    for found, wanted in zip(rest, whole[9:]):
        np.testing.assert_array_equal(found["input_ids"], wanted["input_ids"])


def test_a_checkpoint_of_another_trainer_is_not_gone_on_from(tmp_path):
    assert read_start_batch(str(tmp_path)) == 0
    with tf.Session() as session:
        tf.train.create_global_step()
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt-0"))
    with pytest.raises(DataError, match=r"--init_checkpoint, and another --output_dir"):
        read_start_batch(str(tmp_path))


def test_a_rank_compares_after_it_has_heard_of_rank_0(tmp_path):
    config = small_config(tmp_path)
    workers = ("127.0.0.1:1", "127.0.0.1:2")
    rank = RankEnvironment(rank_id=1, rank_size=2, workers=workers)
    tf.train.create_global_step()
    features = as_tensors(small_batch(config))
    spec = build_model_fn(config, CpuBackend(config, rank))(features, None, "train")
    kinds = [type(hook) for hook in spec.training_hooks]
    assert kinds[:2] == [BroadcastHook, StartBatchHook]


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_rank_that_sees_no_checkpoint_is_told_of(is_strict, monkeypatch):
    warnings = []
    monkeypatch.setattr(tf.logging, "warning", lambda form, *args: warnings.append(form % args))
    counter = build_batch_counter()
    with tf.Session() as session:
        session.run(tf.assign(counter, 8))
        StartBatchHook(8, 1, is_strict).after_create_session(session, None)
        assert warnings == []
        hook = StartBatchHook(0, 1, is_strict)
        if is_strict:
            with pytest.raises(UsageError, match="rank 1: training goes on behind batch 8"):
                hook.after_create_session(session, None)
        else:
            hook.after_create_session(session, None)
            assert "let all ranks see one --output_dir" in warnings[0]
