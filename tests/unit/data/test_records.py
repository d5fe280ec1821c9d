"""TFRecord framing and tf.train.Example encoding against hand-made bytes, and damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("google_crc32c")

from bert.data import examples, records
from bert.errors import DataError

# CRC-32C of "123456789" is 0xE3069283 (the check value of the algorithm's catalogue entry).
CHECK_VALUE = 0xE3069283


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_file(path, payloads):
    records.write_records(str(path), payloads)
    return str(path)


def test_a_frame_is_length_checksum_payload_checksum():
    framed = records.frame_record(b"123456789")
    assert framed[:8] == b"\x09\0\0\0\0\0\0\0"
    assert framed[12:21] == b"123456789"
    assert struct.unpack("<I", framed[21:])[0] == masked(CHECK_VALUE)
    assert struct.unpack("<I", framed[8:12])[0] == records.masked_crc32c(framed[:8])


def test_an_example_has_the_bytes_of_the_wire_format():
    framed = examples.encode_framed_examples(
        {"a": np.array([[1, 300]]), "w": np.array([[1.0]], np.float32)}
    )
    # Int64List value = [1, 300]: 300 is 0xAC 0x02; packed, in field 1 of 3 bytes.
    ints = b"\x0a\x03\x01\xac\x02"
    feature_a = b"\x1a" + bytes([len(ints)]) + ints
    floats = b"\x0a\x04\x00\x00\x80\x3f"
    feature_w = b"\x12" + bytes([len(floats)]) + floats
    entries = b""
    for key, feature in ((b"a", feature_a), (b"w", feature_w)):
        entry = b"\x0a\x01" + key + b"\x12" + bytes([len(feature)]) + feature
        entries += b"\x0a" + bytes([len(entry)]) + entry
    assert framed.data == records.frame_record(b"\x0a" + bytes([len(entries)]) + entries)
    assert framed.ends.tolist() == [len(framed.data)]


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.sampled_from([0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**28, 2**31 - 1]),
                st.integers(0, 2**40),
            ),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_integers_of_any_width_come_back(rows):
    array = np.array(rows, np.int64)
    weights = (array % 7).astype(np.float32)
    framed = examples.encode_framed_examples({"values": array, "weights": weights})
    starts = [0] + framed.ends.tolist()
    for i, (start, end) in enumerate(zip(starts, starts[1:])):
        example = examples.parse_example(framed.data[start + 12 : end - 4])
        assert example["values"].tolist() == array[i].tolist()
        assert example["weights"].tolist() == weights[i].tolist()


def test_no_records_are_no_bytes():
    assert examples.encode_framed_examples({"a": np.zeros([0, 3], int)}).data == b""


@pytest.mark.parametrize(
    "features",
    [
        {"a": np.array([[-1]])},
        {"a": np.array([[1]]), "b": np.array([[1], [2]])},
        {"a": np.array([1, 2])},
    ],
)
def test_what_cannot_be_encoded_is_refused(features):
    with pytest.raises(ValueError, match="negative|same N"):
        examples.encode_framed_examples(features)


@pytest.mark.parametrize("payload", [b"\x08\x01", b"\x0a\x05abc", b"\x0a", b"\xff\xff"])
def test_bytes_that_are_no_example_are_an_error(payload):
    with pytest.raises(DataError, match="tf.train.Example"):
        examples.parse_example(payload)


def test_records_come_back_and_are_counted(tmp_path):
    payloads = [b"", b"x", b"y" * 5000]
    path = write_file(tmp_path / "a", payloads)
    assert list(records.iterate_records(path)) == payloads
    assert records.check_record_file(path) == 3
    assert records.count_records(path) == 3
    assert records.count_records(path, at_most=2) == 2


def damage(path, at, byte=0xFF):
    with open(path, "r+b") as stream:
        stream.seek(at)
        old = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([old ^ byte]))


SIZE = 16 + 100  # of a record with 100 bytes of payload


@pytest.mark.parametrize(
    "at, reason",
    [
        (SIZE + 12 + 50, "the record's checksum is wrong"),
        (SIZE + 115, "the record's checksum is wrong"),
        (SIZE, "not a TFRecord header"),
        (SIZE + 9, "not a TFRecord header"),
    ],
)
def test_a_damaged_record_is_named_and_costs_only_itself(tmp_path, at, reason):
    payloads = [bytes([i]) * 100 for i in range(4)]
    path = write_file(tmp_path / "a", payloads)
    damage(path, at)
    with pytest.raises(records.CorruptRecordError, match=reason) as caught:
        records.check_record_file(path)
    assert (caught.value.path, caught.value.offset_bytes) == (path, SIZE)
    assert f"at byte offset {SIZE};" in str(caught.value)
    problems = []
    intact = list(records.iterate_intact_records(path, problems))
    assert intact == [payloads[0], *payloads[2:]]
    assert [offset for offset, _ in problems] == [SIZE]
    assert records.scan_record_file(path).n_records == 3


@pytest.mark.parametrize("cut", [1, 50, 104, 110, 115])
def test_a_cut_file_is_named_with_the_offset_of_its_last_record(tmp_path, cut):
    path = write_file(tmp_path / "a", [b"a" * 100, b"b" * 100])
    with open(path, "r+b") as stream:
        stream.truncate(2 * SIZE - cut)
    for reader in (records.check_record_file, records.count_records):
        with pytest.raises(records.CorruptRecordError, match="ends inside") as caught:
            reader(path)
        assert caught.value.offset_bytes == SIZE
    assert records.scan_record_file(path).n_records == 1


def test_a_file_of_garbage_gives_no_record_and_ends(tmp_path):
    path = tmp_path / "garbage"
    path.write_bytes(bytes(range(256)) * 20 + b"\0" * 5000)
    scan = records.scan_record_file(str(path))
    assert scan.n_records == 0
    assert scan.problems[0][0] == 0


def test_a_huge_length_with_a_right_checksum_allocates_nothing(tmp_path):
    length = struct.pack("<Q", 1 << 50)
    path = tmp_path / "huge"
    path.write_bytes(length + struct.pack("<I", records.masked_crc32c(length)) + b"x" * 30)
    with pytest.raises(records.CorruptRecordError, match="beyond the limit"):
        records.check_record_file(str(path))
    assert records.scan_record_file(str(path)).n_records == 0


def test_an_absent_file_is_one_clear_line():
    with pytest.raises(DataError, match=r"cannot read /nowhere/a: No such file"):
        records.check_record_file("/nowhere/a")


def test_a_corrupt_record_error_survives_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(records.CorruptRecordError("f", 7, "why")))
    assert (error.path, error.offset_bytes, error.reason) == ("f", 7, "why")
