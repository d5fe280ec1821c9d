"""TensorFlow reads what we write, and we read what TensorFlow writes."""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.data import examples, records

INTEGERS = st.one_of(
    st.integers(0, 200), st.sampled_from([127, 128, 16383, 16384, 2**21, 2**31 - 1, 2**62])
)


def make_example(integers, floats):
    example = tf.train.Example()
    example.features.feature["integers"].int64_list.value.extend(integers)
    example.features.feature["floats"].float_list.value.extend(floats)
    return example


def test_a_file_of_ours_is_a_file_of_tensorflow(tmp_path):
    rng = np.random.RandomState(0)
    features = {
        "ids": rng.randint(0, 30522, [50, 128]),
        "weights": rng.rand(50, 20).astype(np.float32),
        "label": rng.randint(0, 2, [50, 1]),
    }
    path = str(tmp_path / "a.tfrecord")
    with open(path, "wb") as stream:
        stream.write(examples.encode_framed_examples(features).data)
    payloads = list(records.iterate_records(path))
    parsed = [tf.train.Example.FromString(payload).features.feature for payload in payloads]
    for i, feature in enumerate(parsed):
        assert list(feature["ids"].int64_list.value) == features["ids"][i].tolist()
        assert list(feature["label"].int64_list.value) == features["label"][i].tolist()
        weights = np.array(feature["weights"].float_list.value, np.float32)
        assert (weights == features["weights"][i]).all()
    # TensorFlow's own reader, which verifies both checksums.
    with tf.Session() as session:
        following = tf.data.make_one_shot_iterator(tf.data.TFRecordDataset(path)).get_next()
        assert [session.run(following) for _ in payloads] == payloads


def test_a_file_of_tensorflow_is_a_file_of_ours(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    payloads = [make_example(range(i), [0.5] * i).SerializeToString() for i in range(20)]
    with tf.io.TFRecordWriter(path) as writer:
        for payload in payloads:
            writer.write(payload)
    assert list(records.iterate_records(path)) == payloads
    assert records.count_records(path) == 20


@settings(max_examples=60)
@given(st.lists(INTEGERS, max_size=9), st.lists(st.floats(width=32, allow_nan=False), max_size=5))
def test_examples_of_tensorflow_are_parsed_alike(integers, floats):
    parsed = examples.parse_example(make_example(integers, floats).SerializeToString())
    assert parsed["integers"].tolist() == integers
    assert parsed["floats"].tolist() == floats


@settings(max_examples=60)
@given(st.lists(st.lists(INTEGERS, min_size=4, max_size=4), min_size=1, max_size=5))
def test_examples_of_ours_are_the_bytes_of_tensorflow(rows):
    """One feature per message, as the order within a map is not defined."""
    framed = examples.encode_framed_examples({"x": np.array(rows, np.int64)})
    starts = [0] + framed.ends.tolist()
    for row, start, end in zip(rows, starts, starts[1:]):
        example = tf.train.Example()
        example.features.feature["x"].int64_list.value.extend(row)
        assert framed.data[start + 12 : end - 4] == example.SerializeToString(deterministic=True)
