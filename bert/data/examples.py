"""tf.train.Example messages without TensorFlow: encoding of whole batches, decoding of one.

Wire format (protocol buffers, proto3):

    Example   { Features features = 1; }
    Features  { map<string, Feature> feature = 1; }   entry: key = 1, value = 2
    Feature   { BytesList = 1 | FloatList = 2 | Int64List = 3 }   values = 1, numbers packed

The encoder lays a batch out as one byte matrix [N, W] and a mask of the bytes that are used
(varints differ in length), so that it has no Python cost per value.
"""

from __future__ import annotations

import struct
from typing import Dict, List, Mapping, NamedTuple, Tuple, Union

import google_crc32c
import numpy as np

from bert.data.records import FOOTER_BYTES, HEADER_BYTES, masked_crc32c
from bert.errors import DataError

_LENGTH_DELIMITED = 2
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
FeatureValue = Union[np.ndarray, List[bytes]]


class FramedRecords(NamedTuple):
    """TFRecord bytes of N records.

    Attributes:
        data: the records, framed, one after another.
        ends: int64 [N], where each record ends in `data`.
    """

    data: bytes
    ends: np.ndarray


def encode_framed_examples(features: Mapping[str, np.ndarray]) -> FramedRecords:
    """Encodes N examples as framed TFRecords.

    Args:
        features: name → integers >= 0 or floats [N, M]; M may differ between features. Entries
            are written in the order of the mapping.

    Returns:
        FramedRecords, readable by `tf.data.TFRecordDataset` and `tf.io.parse_example`.

    Raises:
        ValueError: shapes differ in N, or an integer is negative.
    """
    n_records = {array.shape[0] for array in features.values()}
    if len(n_records) != 1 or any(array.ndim != 2 for array in features.values()):
        raise ValueError("features must be [N, M] with the same N")
    (n,) = n_records
    if n == 0:
        return FramedRecords(b"", np.zeros([0], np.int64))
    # Built from the innermost message outwards: each one's length is a column of the next.
    body = _Columns(n)
    for name, array in features.items():
        body = body + _encode_map_entry(name, array)
    message = _delimited(1, body)
    framing = np.zeros([n, HEADER_BYTES], np.uint8)
    framing[:, :8] = message.lengths.astype("<u8").view(np.uint8).reshape(n, 8)
    framing[:, 8:] = _length_checksums(message.lengths)
    framed = _fixed(framing) + message + _fixed(np.zeros([n, FOOTER_BYTES], np.uint8))
    matrix = np.concatenate(framed.parts, axis=1)
    used = np.concatenate(framed.masks, axis=1)
    flat = matrix[used]
    ends = np.cumsum(framed.lengths)
    data = flat.tobytes()
    value = google_crc32c.value
    starts = (ends - framed.lengths + HEADER_BYTES).tolist()
    stops = (ends - FOOTER_BYTES).tolist()
    crcs = np.array([value(data[a:b]) for a, b in zip(starts, stops)], np.uint64)
    crcs = (((crcs >> np.uint64(15)) | (crcs << np.uint64(17))) + np.uint64(0xA282EAD8)).astype(
        "<u4"
    )
    at = np.asarray(stops, np.int64)[:, None] + np.arange(FOOTER_BYTES)
    flat[at] = crcs.view(np.uint8).reshape(n, FOOTER_BYTES)
    return FramedRecords(flat.tobytes(), ends)


def parse_example(payload: bytes) -> Dict[str, FeatureValue]:
    """Decodes one tf.train.Example.

    Returns:
        name → int64 [M], float32 [M], or a list of bytes.

    Raises:
        DataError: the bytes are not a tf.train.Example.
    """
    features: Dict[str, FeatureValue] = {}
    try:
        for number, message in _parse_fields(payload):
            if number != 1:
                continue
            for entry_number, entry in _parse_fields(message):
                if entry_number == 1:
                    fields = dict(_parse_fields(entry))
                    features[fields.get(1, b"").decode("utf-8")] = _parse_feature(
                        fields.get(2, b"")
                    )
    except (ValueError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise DataError(f"not a tf.train.Example: {error}") from error
    return features


class _Columns:
    """Byte columns of N records: parts [N, w] uint8, masks [N, w] bool, lengths int64 [N]."""

    def __init__(self, n: int) -> None:
        self.parts: List[np.ndarray] = []
        self.masks: List[np.ndarray] = []
        self.lengths = np.zeros([n], np.int64)

    def __add__(self, other: _Columns) -> _Columns:
        total = _Columns(len(self.lengths))
        total.parts = self.parts + other.parts
        total.masks = self.masks + other.masks
        total.lengths = self.lengths + other.lengths
        return total


def _fixed(part: np.ndarray) -> _Columns:
    """Columns that every record uses whole."""
    columns = _Columns(part.shape[0])
    columns.parts = [part]
    columns.masks = [np.ones(part.shape, bool)]
    columns.lengths = np.full([part.shape[0]], part.shape[1], np.int64)
    return columns


def _constant(n: int, data: bytes) -> _Columns:
    return _fixed(np.broadcast_to(np.frombuffer(data, np.uint8), [n, len(data)]))


def _varints(values: np.ndarray) -> _Columns:
    """Varints of the integers [N, M], row by row.

    Raises:
        ValueError: a value is negative (ten-byte varints have no use here).
    """
    n, m = values.shape
    all_bits = int(np.bitwise_or.reduce(values, axis=None)) if values.size else 0
    if all_bits < 0:
        raise ValueError(f"negative integers cannot be encoded: {values.min()}")
    if all_bits < 128:
        return _fixed(values.astype(np.uint8))
    width = -(-all_bits.bit_length() // 7)
    wide = np.asarray(values, np.int64 if width > 4 else np.int32)
    matrix = np.empty([n, m, width], np.uint8)
    mask = np.empty([n, m, width], bool)
    for k in range(width):
        mask[:, :, k] = True if k == 0 else wide >> (7 * k) > 0
        matrix[:, :, k] = (wide >> (7 * k)) & 0x7F
    matrix[:, :, :-1] |= mask[:, :, 1:].astype(np.uint8) << 7
    columns = _Columns(n)
    columns.parts = [matrix.reshape(n, m * width)]
    columns.masks = [mask.reshape(n, m * width)]
    columns.lengths = columns.masks[0].sum(axis=1, dtype=np.int64)
    return columns


def _delimited(number: int, body: _Columns) -> _Columns:
    """The field `number` holding `body`: tag, length, body."""
    tag = _constant(len(body.lengths), bytes([number << 3 | _LENGTH_DELIMITED]))
    return tag + _varints(body.lengths[:, None]) + body


def _encode_map_entry(name: str, array: np.ndarray) -> _Columns:
    n = array.shape[0]
    if np.issubdtype(array.dtype, np.floating):
        values = _fixed(np.ascontiguousarray(array, "<f4").view(np.uint8).reshape(n, -1))
        kind = _FLOAT_LIST
    else:
        values = _varints(array)
        kind = _INT64_LIST
    key = name.encode("utf-8")
    entry = _delimited(1, _constant(n, key)) + _delimited(
        2, _delimited(kind, _delimited(1, values))
    )
    return _delimited(1, entry)


def _length_checksums(lengths: np.ndarray) -> np.ndarray:
    """Masked CRCs of the 8 length bytes, as uint8 [N, 4]; few different lengths occur."""
    different, inverse = np.unique(lengths, return_inverse=True)
    crcs = np.array(
        [masked_crc32c(struct.pack("<Q", length)) for length in different.tolist()], "<u4"
    )
    return crcs[inverse].view(np.uint8).reshape(-1, 4)


def _parse_fields(data: bytes) -> List[Tuple[int, bytes]]:
    """Splits a message into (field number, bytes) of its length-delimited fields."""
    fields = []
    at = 0
    while at < len(data):
        tag, at = _parse_varint(data, at)
        if tag & 7 != _LENGTH_DELIMITED:
            raise ValueError(f"unexpected wire type {tag & 7}")
        length, at = _parse_varint(data, at)
        if at + length > len(data):
            raise ValueError("a field ends beyond its message")
        fields.append((tag >> 3, data[at : at + length]))
        at += length
    return fields


def _parse_varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _parse_feature(data: bytes) -> FeatureValue:
    for kind, body in _parse_fields(data):
        if kind == _BYTES_LIST:
            return [value for _, value in _parse_fields(body)]
        if kind == _FLOAT_LIST:
            return np.frombuffer(b"".join(v for _, v in _parse_fields(body)), "<f4")
        if kind == _INT64_LIST:
            return _parse_packed_varints(b"".join(value for _, value in _parse_fields(body)))
    return np.zeros([0], np.int64)


def _parse_packed_varints(data: bytes) -> np.ndarray:
    """Decodes packed varints, all at once: int64 [M]."""
    octets = np.frombuffer(data, np.uint8)
    last = octets < 0x80
    if last.all():
        return octets.astype(np.int64)
    if not last[-1]:
        raise ValueError("a varint is cut")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 9:
        raise ValueError("a varint has more than ten bytes")
    septets = (octets & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(septets, starts).astype(np.int64)
