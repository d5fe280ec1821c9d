"""The training input: shapes, shares of ranks, order, and files that do not suit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.data import records
from bert.data.examples import encode_framed_examples
from bert.data.input_pipeline import build_input_fn, find_corruption, find_record_files
from bert.data.record_files import build_file_shares
from bert.errors import DataError, UsageError

S, P = 7, 3


def write_file(path, numbers):
    """Writes one record per number; the number is its first token."""
    n = len(numbers)
    ids = np.zeros([n, S], np.int32)
    ids[:, 0] = numbers
    ids[:, 1] = 3
    predictions = np.zeros([n, P], np.int32)
    features = {
        "input_ids": ids,
        "input_mask": (np.arange(S) < 2).astype(np.int32) * np.ones([n, 1], np.int32),
        "segment_ids": np.zeros([n, S], np.int32),
        "masked_lm_positions": predictions + [1, 0, 0],
        "masked_lm_ids": predictions + [9, 0, 0],
        "masked_lm_weights": np.tile(np.array([1, 0, 0], np.float32), [n, 1]),
        "next_sentence_labels": np.reshape(numbers, [n, 1]) % 2,
    }
    with open(str(path), "wb") as stream:
        stream.write(encode_framed_examples(features).data)
    return str(path)


def make_files(directory, sizes):
    """Files of the given numbers of records, numbered on from 1."""
    files, first = [], 1
    for i, size in enumerate(sizes):
        files.append(write_file(directory / f"{i}.tfrecord", list(range(first, first + size))))
        first += size
    return files


def take(input_fn, n_batches=None):
    """Batches of a dataset, as dictionaries of arrays."""
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(input_fn({}))
        following = iterator.get_next()
        session.run(iterator.initializer)
        batches = []
        while n_batches is None or len(batches) < n_batches:
            try:
                batches.append(session.run(following))
            except tf.errors.OutOfRangeError:
                break
        return batches


def numbers(batches):
    return [int(number) for batch in batches for number in batch["input_ids"][:, 0]]


def once(files, **kwargs):
    arguments = {"shuffle": False, "repeat": False, "drop_remainder": False, **kwargs}
    return build_input_fn(files, 4, S, P, **arguments)


def test_batches_have_static_shapes_and_the_trainers_types(tmp_path):
    input_fn = build_input_fn(make_files(tmp_path, [5]), 3, S, P)
    dataset = input_fn({})
    shapes = tf.data.get_output_shapes(dataset)
    types = tf.data.get_output_types(dataset)
    assert {name: shape.as_list() for name, shape in shapes.items()} == {
        "input_ids": [3, S],
        "input_mask": [3, S],
        "segment_ids": [3, S],
        "masked_lm_positions": [3, P],
        "masked_lm_ids": [3, P],
        "masked_lm_weights": [3, P],
        "next_sentence_labels": [3, 1],
    }
    assert types.pop("masked_lm_weights") == tf.float32
    assert set(types.values()) == {tf.int32}


def test_values_come_through(tmp_path):
    (batch,) = take(once(make_files(tmp_path, [3])))
    assert batch["input_ids"].tolist() == [[i, 3, 0, 0, 0, 0, 0] for i in (1, 2, 3)]
    assert batch["input_mask"][0].tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert batch["masked_lm_ids"][1].tolist() == [9, 0, 0]
    assert batch["masked_lm_weights"][1].tolist() == [1.0, 0.0, 0.0]
    assert batch["next_sentence_labels"].tolist() == [[1], [0], [1]]


def test_without_shuffling_the_order_is_that_of_the_files(tmp_path):
    files = make_files(tmp_path, [40, 3, 20])
    assert numbers(take(once(files))) == list(range(1, 64))
    assert numbers(take(once(files[::-1])))[:4] == [44, 45, 46, 47]


def test_a_last_batch_is_kept_or_dropped(tmp_path):
    files = make_files(tmp_path, [10])
    assert len(numbers(take(once(files)))) == 10
    assert len(numbers(take(once(files, drop_remainder=True)))) == 8


def test_shuffling_gives_every_record_once_in_an_order_that_the_seed_decides(tmp_path):
    files = make_files(tmp_path, [30, 7, 50, 1])
    orders = [numbers(take(once(files, shuffle=True, seed=seed))) for seed in (1, 1, 2)]
    assert sorted(orders[0]) == list(range(1, 89))
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in [*orders, range(1, 89)]}) == 3


def test_epochs_have_different_orders_and_repeat_with_the_seed(tmp_path):
    files = make_files(tmp_path, [16])

    def epochs():
        input_fn = build_input_fn(files, 4, S, P, seed=3)
        read = numbers(take(input_fn, 12))
        return [read[i : i + 16] for i in (0, 16, 32)]

    first = epochs()
    assert all(sorted(epoch) == list(range(1, 17)) for epoch in first)
    assert len({tuple(epoch) for epoch in first}) == 3
    assert epochs() == first


def test_more_is_asked_for_than_is_there(tmp_path):
    batches = take(build_input_fn(make_files(tmp_path, [1]), 5, S, P), 3)
    assert numbers(batches) == [1] * 15


@pytest.mark.parametrize("sizes", [[5], [9, 4], [4, 4, 4], [3, 1, 7, 2, 5], [6] * 8, [0, 3, 0, 2]])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_ranks_share_everything_and_nobody_has_nothing(tmp_path, sizes, size):
    files = make_files(tmp_path, sizes)
    shares = [numbers(take(once(files, rank=rank, size=size))) for rank in range(size)]
    assert sorted(sum(shares, [])) == list(range(1, sum(sizes) + 1))
    assert all(shares)


def test_shares_are_whole_files_as_far_as_they_divide():
    files = ["a", "b", "c", "d", "e"]
    assert build_file_shares(files, 0, 2) == [("a", 1, 0), ("c", 1, 0), ("e", 2, 0)]
    assert build_file_shares(files, 1, 2) == [("b", 1, 0), ("d", 1, 0), ("e", 2, 1)]
    # With fewer files than ranks, the first record of each file falls to another rank.
    assert build_file_shares(["a", "b"], 2, 3) == [("a", 3, 2), ("b", 3, 0)]
    with pytest.raises(UsageError, match="rank 3 is not within 0..2"):
        build_file_shares(files, 3, 3)


def test_too_few_records_for_the_ranks_is_an_error_on_every_rank(tmp_path):
    files = make_files(tmp_path, [2])
    for rank in range(3):
        with pytest.raises(DataError, match="too few records for 3 ranks: rank 2 would get none"):
            once(files, rank=rank, size=3)
    with pytest.raises(DataError, match="all data files are empty"):
        once(make_files(tmp_path, [0, 0]))


@pytest.mark.parametrize(
    "seq_length, max_predictions, message",
    [
        (S + 1, P, "input_ids has 7 values per record, not 8; set --max_seq_length=7"),
        (S, P - 1, "masked_lm_positions has 3 .* not 2; set --max_predictions_per_seq=3"),
    ],
)
def test_lengths_that_are_not_those_of_the_files(tmp_path, seq_length, max_predictions, message):
    files = make_files(tmp_path, [2])
    with pytest.raises(DataError, match=message):
        build_input_fn(files, 1, seq_length, max_predictions)


def test_other_records_and_other_files_are_told_apart(tmp_path):
    records.write_records(str(tmp_path / "a"), [b"\x0a\x00"])
    with pytest.raises(DataError, match="no feature input_ids; is it pre-training data"):
        once([str(tmp_path / "a")])
    records.write_records(str(tmp_path / "a"), [b"\xff"])
    with pytest.raises(DataError, match="the first record is not a tf.train.Example"):
        once([str(tmp_path / "a")])
    (tmp_path / "a").write_text("some text, not records at all")
    with pytest.raises(DataError, match="not a TFRecord header .* at byte offset 0"):
        once([str(tmp_path / "a")])
    with pytest.raises(DataError, match="cannot read /nowhere"):
        once(["/nowhere"])


@pytest.mark.parametrize("name, value", [("batch_size", 0), ("max_seq_length", -1)])
def test_sizes_below_one_are_refused(tmp_path, name, value):
    files = make_files(tmp_path, [2])
    sizes = {"batch_size": 1, "max_seq_length": S, name: value}
    with pytest.raises(UsageError, match=f"{name} must be at least 1"):
        build_input_fn(files, sizes["batch_size"], sizes["max_seq_length"], P)


def damage_second_record(path):
    """Flips a byte of the second record's payload; returns the record's offset."""
    first = next(records.iterate_records(path))
    offset = len(first) + 16
    with open(path, "r+b") as stream:
        stream.seek(offset + 30)
        byte = stream.read(1)
        stream.seek(offset + 30)
        stream.write(bytes([byte[0] ^ 1]))
    return offset


def test_tensorflow_stops_at_a_damaged_record_and_we_name_it(tmp_path):
    files = make_files(tmp_path, [4, 4, 4])
    assert find_corruption(files) is None
    offset = damage_second_record(files[1])
    with pytest.raises(tf.errors.DataLossError):
        take(once(files))
    error = find_corruption(files)
    assert (error.path, error.offset_bytes) == (files[1], offset)


@pytest.mark.parametrize("shuffle", [False, True])
def test_damaged_records_are_left_out_as_far_as_tolerated(tmp_path, shuffle):
    files = make_files(tmp_path, [4, 4, 4])
    damage_second_record(files[1])
    whole = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    assert sorted(numbers(take(once(files, skip_corrupt=1, shuffle=shuffle, seed=1)))) == whole
    shares = [numbers(take(once(files, skip_corrupt=1, rank=r, size=2))) for r in (0, 1)]
    assert sorted(sum(shares, [])) == whole
    damage_second_record(files[2])
    with pytest.raises(records.CorruptRecordError, match=r"2\.tfrecord.* at byte offset"):
        once(files, skip_corrupt=1)
    assert len(numbers(take(once(files, skip_corrupt=2)))) == 10


def test_a_cut_file_costs_its_last_record(tmp_path):
    files = make_files(tmp_path, [4])
    with open(files[0], "r+b") as stream:
        stream.truncate(stream.seek(0, 2) - 3)
    with pytest.raises(tf.errors.DataLossError):
        take(once(files))
    assert numbers(take(once(files, skip_corrupt=1))) == [1, 2, 3]


def test_record_files_of_directories_are_found_whatever_their_names(tmp_path):
    ours, foreign, empty = (tmp_path / name for name in ("ours", "foreign", "empty"))
    for directory in (ours, foreign, empty):
        directory.mkdir()
    for path in (ours / "b.tfrecord", ours / "a.tfrecord-00000-of-00001", foreign / "part_0"):
        write_file(path, [1])
    (ours / "manifest.json").write_text("{}")
    (ours / ".b.tfrecord.tmp").write_text("")
    (ours / ".b.tfrecord.parts").mkdir()
    (foreign / "vocab.txt").write_text("a")
    found = find_record_files(f"{ours}, {foreign}")
    assert [path.rsplit("/", 1)[1] for path in found] == [
        "part_0",
        "a.tfrecord-00000-of-00001",
        "b.tfrecord",
    ]
    with pytest.raises(DataError, match=r"holds no \*\.tfrecord file"):
        find_record_files(str(empty))
    with pytest.raises(DataError, match="nowhere is not a directory"):
        find_record_files("/nowhere")
    with pytest.raises(DataError, match="no data directory is given"):
        find_record_files(" , ")
