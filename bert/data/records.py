"""TFRecord files without TensorFlow: framing, checksums, reading, checking.

Format (TensorFlow manual, "TFRecord and tf.train.Example"), per record, little-endian:

    uint64 length · uint32 masked CRC-32C of the length · bytes[length] · uint32 masked CRC-32C

with masked(c) = ((c >> 15) | (c << 17)) + 0xa282ead8 mod 2^32.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import IO, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import google_crc32c

from bert.data.atomic import atomic_file
from bert.errors import DataError

HEADER_BYTES = 12
FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
# A damaged length would otherwise make us allocate whatever it says.
MAX_RECORD_BYTES = 1 << 30


class CorruptRecordError(DataError):
    """A TFRecord file is damaged.

    Attributes:
        path: the file.
        offset_bytes: where the damaged record starts.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, offset_bytes: int, reason: str) -> None:
        super().__init__(
            f"{path}: {reason} at byte offset {offset_bytes}; make the file again, "
            "or leave damaged records out with --skip_corrupt"
        )
        self.path = path
        self.offset_bytes = offset_bytes
        self.reason = reason

    def __reduce__(self):
        # Exceptions with an __init__ of their own do not survive pickling otherwise.
        return type(self), (self.path, self.offset_bytes, self.reason)


class RecordScan(NamedTuple):
    """What a tolerant pass over one file found.

    Attributes:
        n_records: intact records.
        problems: (byte offset, reason) of each damaged place.
    """

    n_records: int
    problems: Tuple[Tuple[int, str], ...]


def masked_crc32c(data: bytes) -> int:
    """Returns the masked CRC-32C of `data`, as TFRecord files store it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame_record(payload: bytes) -> bytes:
    """Returns `payload` with its TFRecord header and footer."""
    length = struct.pack("<Q", len(payload))
    return b"".join(
        (
            length,
            _FOOTER.pack(masked_crc32c(length)),
            payload,
            _FOOTER.pack(masked_crc32c(payload)),
        )
    )


def write_records(path: str, payloads: Iterable[bytes]) -> int:
    """Writes a TFRecord file under a temporary name, renames it, returns the number of records.

    Raises:
        OutputError: the file cannot be written.
    """
    n_records = 0
    with atomic_file(path) as stream:
        for payload in payloads:
            stream.write(frame_record(payload))
            n_records += 1
    return n_records


def iterate_records(path: str, check_payload: bool = True) -> Iterator[bytes]:
    """Yields the payload of each record.

    Args:
        path: TFRecord file, not compressed.
        check_payload: verify the payload checksums too, not only those of the lengths.

    Raises:
        DataError: the file cannot be read.
        CorruptRecordError: a record is damaged; names file and offset.
    """
    with _open_input(path) as stream:
        offset_bytes = 0
        while True:
            payload, problem = _read_record(stream, check_payload)
            if problem:
                raise CorruptRecordError(path, offset_bytes, problem)
            if payload is None:
                return
            yield payload
            offset_bytes += HEADER_BYTES + len(payload) + FOOTER_BYTES


def iterate_intact_records(path: str, problems: List[Tuple[int, str]]) -> Iterator[bytes]:
    """Yields the payloads of the intact records; appends (offset, reason) of damage to `problems`.

    After a damaged length the next record is searched for by its length checksum, so one
    damaged record costs one record, not the rest of the file.
    """
    with _open_input(path) as stream:
        offset_bytes = 0
        while True:
            payload, problem = _read_record(stream, True)
            if problem is None:
                if payload is None:
                    return
                yield payload
                offset_bytes = stream.tell()
                continue
            problems.append((offset_bytes, problem))
            next_offset_bytes = _find_next_record(stream, offset_bytes)
            if next_offset_bytes is None:
                return
            stream.seek(next_offset_bytes)
            offset_bytes = next_offset_bytes


def check_record_file(path: str) -> int:
    """Reads a whole file, verifying every checksum; returns the number of records.

    Raises:
        DataError: the file cannot be read.
        CorruptRecordError: a record is damaged; names file and offset.
    """
    return sum(1 for _ in iterate_records(path))


def scan_record_file(path: str) -> RecordScan:
    """Reads a whole file, counting intact records and collecting damaged places."""
    problems: List[Tuple[int, str]] = []
    n_records = sum(1 for _ in iterate_intact_records(path, problems))
    return RecordScan(n_records, tuple(problems))


def count_records(path: str, at_most: Optional[int] = None) -> int:
    """Counts records by their headers alone (payloads are skipped), up to `at_most`.

    Raises:
        DataError: the file cannot be read.
        CorruptRecordError: a header is damaged or the file is cut; names file and offset.
    """
    n_records = 0
    with _open_input(path) as stream:
        end = os.fstat(stream.fileno()).st_size
        offset_bytes = 0
        while offset_bytes < end and (at_most is None or n_records < at_most):
            header = stream.read(HEADER_BYTES)
            problem = _header_problem(header)
            if problem is None:
                size = HEADER_BYTES + _HEADER.unpack(header)[0] + FOOTER_BYTES
                if offset_bytes + size > end:
                    problem = "the file ends inside a record"
            if problem is not None:
                raise CorruptRecordError(path, offset_bytes, problem)
            offset_bytes += size
            stream.seek(offset_bytes)
            n_records += 1
    return n_records


def _read_record(stream: IO[bytes], check_payload: bool) -> Tuple[Optional[bytes], Optional[str]]:
    """Returns (payload, None), (None, problem), or (None, None) at the end of the file."""
    header = stream.read(HEADER_BYTES)
    if not header:
        return None, None
    problem = _header_problem(header)
    if problem is not None:
        return None, problem
    length = _HEADER.unpack(header)[0]
    body = stream.read(length + FOOTER_BYTES)
    if len(body) < length + FOOTER_BYTES:
        return None, "the file ends inside a record"
    payload = body[:length]
    if check_payload and masked_crc32c(payload) != _FOOTER.unpack(body[length:])[0]:
        return None, "the record's checksum is wrong"
    return payload, None


def _header_problem(header: bytes) -> Optional[str]:
    if len(header) < HEADER_BYTES:
        return "the file ends inside a record header"
    length, crc = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != crc:
        return "not a TFRecord header (checksum of the length is wrong)"
    if length > MAX_RECORD_BYTES:
        return f"a record of {length} bytes is beyond the limit"
    return None


def _find_next_record(stream: IO[bytes], damaged_offset_bytes: int) -> Optional[int]:
    """Returns the offset of the next place that looks like a record header, or None."""
    stream.seek(damaged_offset_bytes)
    header = stream.read(HEADER_BYTES)
    if _header_problem(header) is None:
        # The length is sound, so the payload is what is damaged: step over it.
        end = damaged_offset_bytes + HEADER_BYTES + _HEADER.unpack(header)[0] + FOOTER_BYTES
        return end if end < os.fstat(stream.fileno()).st_size else None
    window_bytes = 1 << 20
    start = damaged_offset_bytes + 1
    while True:
        stream.seek(start)
        window = stream.read(window_bytes + HEADER_BYTES - 1)
        # Lengths below 2^32 have four zero bytes; looking for those first keeps this fast.
        at = window.find(b"\0\0\0\0", 4)
        while at != -1 and at - 4 + HEADER_BYTES <= len(window):
            if _header_problem(window[at - 4 : at - 4 + HEADER_BYTES]) is None:
                return start + at - 4
            at = window.find(b"\0\0\0\0", at + 1)
        if len(window) < window_bytes + HEADER_BYTES - 1:
            return None
        start += window_bytes


@contextlib.contextmanager
def _open_input(path: str) -> Iterator[IO[bytes]]:
    try:
        stream = open(path, "rb")  # noqa: SIM115 (closed below, outside of this except)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    with stream:
        yield stream
