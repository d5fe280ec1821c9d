"""Records whose ids have no row in the model's tables are refused before the first step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends.rank import RankEnvironment
from bert.data import records
from bert.data.examples import encode_framed_examples
from bert.errors import DataError
from bert.training.inputs import build_eval_input, build_train_input
from bert.training.record_ids import check_record_ids
from tests.tf.graphs import LENGTH, SMALL_MODEL, small_batch, small_config

N_ROWS = SMALL_MODEL["vocab_size"]


def write_records(path, config, n_copies=1, **changes):
    """Writes one batch of the small model; `changes`: feature → value of the last example."""
    batch = small_batch(config)
    for feature, value in changes.items():
        batch[feature][-1, -1] = value
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(encode_framed_examples(batch).data) * n_copies)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_ids": N_ROWS}, f"input_ids: ids up to {N_ROWS} need vocab_size >= {N_ROWS + 1}"),
        ({"masked_lm_ids": 200}, "masked_lm_ids: ids up to 200 need vocab_size >= 201"),
        ({"segment_ids": 2}, "segment_ids holds 2, which is not below the model's type_vocab_size"),
        ({"masked_lm_positions": LENGTH}, f"masked_lm_positions holds {LENGTH}, which is not"),
        ({"next_sentence_labels": 2}, "next_sentence_labels holds 2"),
    ],
)
def test_an_id_without_a_row_is_refused(tmp_path, changes, message):
    config = small_config(tmp_path)
    path = write_records(tmp_path / "data" / "a.tfrecord", config, **changes)
    with pytest.raises(DataError) as caught:
        check_record_ids([path], config.bert, LENGTH)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_negative_id_is_refused(tmp_path):
    config = small_config(tmp_path)
    batch = small_batch(config)
    batch["masked_lm_ids"][0, 1] = -7
    example = tf.train.Example()
    for feature, values in batch.items():
        entry = example.features.feature[feature]
        if values.dtype == np.float32:
            entry.float_list.value.extend(values[0])
        else:
            entry.int64_list.value.extend(values[0])
    path = str(tmp_path / "a.tfrecord")
    records.write_records(path, [example.SerializeToString()])
    with pytest.raises(DataError, match="masked_lm_ids holds -7, ids start at 0"):
        check_record_ids([path], config.bert, LENGTH)


def test_the_largest_ids_that_have_a_row_are_taken(tmp_path):
    config = small_config(tmp_path)
    changes = {"input_ids": N_ROWS - 1, "masked_lm_positions": LENGTH - 1, "segment_ids": 1}
    path = write_records(tmp_path / "data" / "a.tfrecord", config, **changes)
    check_record_ids([path], config.bert, LENGTH)


def test_files_from_end_to_end_are_looked_at(tmp_path):
    config = small_config(tmp_path)
    files = [write_records(tmp_path / "data" / f"{i:03}.tfrecord", config) for i in range(130)]
    files[-1] = write_records(tmp_path / "data" / "129.tfrecord", config, input_ids=N_ROWS)
    files[129 // 3 * 3] = files[-1]
    with pytest.raises(DataError, match="input_ids"):
        check_record_ids(files, config.bert, LENGTH)


def test_training_and_evaluation_look_before_they_start(tmp_path):
    data = tmp_path / "data"
    write_records(data / "a.tfrecord", small_config(tmp_path), input_ids=np.int32(N_ROWS))
    config = small_config(
        tmp_path, synthetic_input=False, input_files_dir=data, eval_files_dir=data, do_eval=True
    )
    with pytest.raises(DataError, match="input_ids: ids up to"):
        build_train_input(config, RankEnvironment())
    with pytest.raises(DataError, match="input_ids: ids up to"):
        build_eval_input(config)
