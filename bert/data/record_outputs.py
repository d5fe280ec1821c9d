"""Output files that records are dealt to in turn, each whole under its name or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
from typing import IO, Any, Dict, Iterator, List, Sequence

from bert.data.atomic import atomic_file
from bert.data.examples import FramedRecords
from bert.errors import OutputError, UsageError

_OTHER_OPEN_FILES = 64


class RecordOutputs:
    """Deals records to open files, record i to file i modulo their number.

    Attributes:
        n_records: dealt so far.
    """

    def __init__(self, paths: Sequence[str], streams: Sequence[IO[bytes]]) -> None:
        self.n_records = 0
        self._paths = list(paths)
        self._streams = list(streams)
        self._digests = [hashlib.sha256() for _ in streams]
        self._sizes = [0] * len(self._streams)
        self._counts = [0] * len(self._streams)

    def write(self, records: FramedRecords) -> None:
        """Deals records, in their order."""
        n_files = len(self._streams)
        if n_files == 1:
            self._write_to(0, records.data, len(records.ends))
        else:
            ends = records.ends.tolist()
            pieces = [records.data[a:b] for a, b in zip([0] + ends, ends)]
            for i in range(n_files):
                own = pieces[(i - self.n_records) % n_files :: n_files]
                self._write_to(i, b"".join(own), len(own))
        self.n_records += len(records.ends)

    def describe(self) -> List[Dict[str, Any]]:
        """Returns path, records, bytes and sha256 of each file, as a manifest has them."""
        return [
            {"path": path, "records": count, "bytes": size, "sha256": digest.hexdigest()}
            for path, count, size, digest in zip(
                self._paths, self._counts, self._sizes, self._digests
            )
        ]

    def _write_to(self, i: int, data: bytes, n_records: int) -> None:
        self._streams[i].write(data)
        self._digests[i].update(data)
        self._sizes[i] += len(data)
        self._counts[i] += n_records


@contextlib.contextmanager
def open_record_outputs(paths: Sequence[str]) -> Iterator[RecordOutputs]:
    """Opens the outputs under temporary names; all get their final names when the block ends well.

    Raises:
        UsageError: there are more files than this system lets one process open.
        OutputError: a file cannot be written.
    """
    _allow_open_files(len(paths) + _OTHER_OPEN_FILES)
    with contextlib.ExitStack() as stack:
        yield RecordOutputs(paths, [stack.enter_context(atomic_file(path)) for path in paths])


def check_output_paths(paths: Sequence[str], inputs: Sequence[str]) -> None:
    """Checks outputs before hours of work are put into them.

    Raises:
        UsageError: no output, the same one twice, or one that is an input too.
        OutputError: a directory is absent or not writable, or an output is a directory.
    """
    if not paths:
        raise UsageError("no output file is named; give --output_file")
    real = [os.path.realpath(path) for path in paths]
    if len(set(real)) < len(real):
        raise UsageError("an output file is named twice in --output_file")
    both = sorted(set(real) & {os.path.realpath(path) for path in inputs})
    if both:
        raise UsageError(f"{both[0]} is input and output; name another output file")
    for path in paths:
        directory = os.path.dirname(path) or "."
        if os.path.isdir(path):
            raise OutputError(f"cannot write {path}: it is a directory; name a file in it")
        if not os.path.isdir(directory):
            raise OutputError(f"cannot write {path}: there is no directory {directory}; make it")
        if not os.access(directory, os.W_OK):
            raise OutputError(f"cannot write {path}: {directory} is not writable; name another")


def _allow_open_files(n: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < n:
        if hard != resource.RLIM_INFINITY and hard < n:
            raise UsageError(
                f"{n - _OTHER_OPEN_FILES} output files are more than this system opens at once "
                f"({hard}); name fewer, or raise the limit (ulimit -n)"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
