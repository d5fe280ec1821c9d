"""What goes wrong: the class of the error, its line, and that nothing half-written stays."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert import errors
from bert.backends.cpu import CpuBackend
from bert.backends.rank import RankEnvironment
from bert.backends.registry import load_backend
from bert.data.examples import encode_framed_examples
from bert.train_config import InputConfig
from bert.training import failures, run
from bert.training.inputs import build_synthetic_batch
from tests.tf.graphs import LENGTH, PREDICTIONS, small_config
from tests.tf.test_training_log import run_pretrain, write_data


def train(config, rank=None):
    run.train_and_evaluate(config, rank or RankEnvironment())


def test_every_class_has_its_own_exit_code_and_word():
    classes = [
        errors.UsageError,
        errors.DataError,
        errors.UnavailableError,
        errors.InternalError,
        errors.OutputError,
    ]
    assert [c.exit_code for c in classes] == [64, 65, 69, 70, 74]
    assert [c.word for c in classes] == ["usage", "data", "unavailable", "internal", "io"]


def test_the_error_line_is_one_line():
    line = errors.render_error_line(errors.DataError("a\n  b\tc"))
    assert line == "ERROR: data: a b c"


def test_an_absent_data_directory(tmp_path):
    config = small_config(tmp_path, synthetic_input=False, input_files_dir=str(tmp_path / "absent"))
    with pytest.raises(errors.DataError, match="absent is not a directory"):
        train(config)


def test_a_vocabulary_larger_than_the_model(tmp_path):
    directory = write_data(tmp_path / "train", 20, seed=1)
    (tmp_path / "vocab.txt").write_text("word\n" * 98, encoding="utf-8")
    config = small_config(tmp_path, synthetic_input=False, input_files_dir=str(directory))
    with pytest.raises(errors.DataError, match="vocab.txt: ids up to 97 need vocab_size >= 98"):
        train(config)


def test_an_id_that_the_model_has_no_row_for(tmp_path):
    small = small_config(tmp_path)
    wanted = InputConfig((), (), LENGTH, PREDICTIONS, 20, 20)
    batch = build_synthetic_batch(wanted, small.bert, 20, np.random.RandomState(0))
    batch["input_ids"][16:, 2] = 100  # behind the records that are looked at before
    directory = tmp_path / "train"
    directory.mkdir()
    (directory / "a.tfrecord").write_bytes(bytes(encode_framed_examples(batch).data))
    config = small_config(tmp_path, synthetic_input=False, input_files_dir=str(directory))
    with pytest.raises(errors.DataError, match="the data hold id 100, the model's table has 97"):
        train(config)


def test_a_damaged_record_is_named_and_ends_with_code_65(tmp_path):
    directory = write_data(tmp_path / "train", 400, seed=1)
    path = directory / "part-0.tfrecord"
    content = bytearray(path.read_bytes())
    content[-40] ^= 0xFF
    path.write_bytes(bytes(content))
    code, _, err = run_pretrain(
        [
            *(f"--{n}={v}" for n, v in {"bert_config_file": tmp_path / "model.json"}.items()),
            f"--input_files_dir={directory}",
            f"--output_dir={tmp_path / 'output'}",
            f"--max_seq_length={LENGTH}",
            f"--max_predictions_per_seq={PREDICTIONS}",
            "--train_batch_size=50",
            "--num_train_steps=100",
            "--iterations_per_loop=100",
            "--num_warmup_steps=1",
        ]
    )
    assert code == 65, err[-2000:]
    lines = [line for line in err.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1
    assert lines[0].startswith("ERROR: data: ")
    assert "part-0.tfrecord" in lines[0]
    assert "byte offset" in lines[0]


def test_a_loss_that_is_not_a_number(tmp_path):
    config = small_config(tmp_path, learning_rate=1e38, clip_norm=1e30, weight_decay=0.0)
    with pytest.raises(errors.InternalError, match="the loss became NaN; lower --learning_rate"):
        train(config)


def test_an_output_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    config = small_config(tmp_path, output_dir=str(tmp_path / "file" / "output"))
    with pytest.raises(errors.OutputError, match=r"--output_dir=.*cannot be written: Not a dir"):
        train(config)


def test_evaluation_without_a_checkpoint(tmp_path):
    config = small_config(tmp_path, do_train=False, do_eval=True)
    with pytest.raises(errors.DataError, match="holds no checkpoint to evaluate"):
        train(config)


def test_an_absent_init_checkpoint(tmp_path):
    config = small_config(tmp_path, init_checkpoint=str(tmp_path / "none"))
    with pytest.raises(errors.DataError, match="--init_checkpoint=.*cannot be read"):
        train(config)


def test_a_backend_that_is_not_there_is_no_fall_back():
    with pytest.raises(errors.UnavailableError, match="--backend=tpu"):
        load_backend("tpu")


def test_several_ranks_need_addresses(tmp_path):
    rank = RankEnvironment(rank_id=0, rank_size=2)
    with pytest.raises(errors.UsageError, match="RANK_SIZE=2 on the cpu backend needs TF_CONFIG"):
        CpuBackend(small_config(tmp_path), rank).check()


def test_a_port_in_use(tmp_path):
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        rank = RankEnvironment(0, 2, workers=(f"127.0.0.1:{port}", "127.0.0.1:1"))
        backend = CpuBackend(small_config(tmp_path), rank)
        with pytest.raises(errors.UnavailableError, match=f"cannot listen at 127.0.0.1:{port}"):
            backend.start()


@pytest.mark.parametrize(
    ("raised", "wanted", "message"),
    [
        (tf.errors.UnavailableError(None, None, "gone\nmore"), errors.UnavailableError, "a peer"),
        (
            tf.errors.ResourceExhaustedError(None, None, "a: No space left on device"),
            errors.OutputError,
            "free space",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), errors.InternalError, "memory"),
        (tf.errors.PermissionDeniedError(None, None, "p"), errors.OutputError, "p"),
        (tf.errors.AbortedError(None, None, "x"), errors.InternalError, "AbortedError: x"),
        (PermissionError(13, "Permission denied", "/f"), errors.OutputError, "/f Permission"),
        (MemoryError(), errors.InternalError, "lower --train_batch_size"),
        (KeyError("k"), errors.InternalError, "KeyError: 'k'"),
        (errors.DataError("as it is"), errors.DataError, "as it is"),
    ],
)
def test_foreign_exceptions_are_mapped_once(raised, wanted, message):
    mapped = failures.map_failure(raised, [], rank_id=3)
    assert type(mapped) is wanted
    assert message in str(mapped)
    assert "rank 3" in str(mapped) or mapped is raised
