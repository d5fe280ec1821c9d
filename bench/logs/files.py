"""Reads whole log files, one or the logs of a job together."""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass, replace
from typing import BinaryIO, Iterable, List, Optional, Tuple, Union

from bench.errors import DataError
from bench.logs.ranks import RankLog, identify_ranks
from bench.logs.reader import DEFAULT_MEMORY_BYTES, LogReader
from bench.logs.report import LogReport
from bench.logs.tables import Storage

BLOCK_BYTES = 2 << 20
PathName = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class LogSet:
    """The logs of one job.

    Attributes:
        reports: one per file, in the order given.
        ranks: the ranks that these logs show, see ``bench.logs.ranks``.
    """

    reports: Tuple[LogReport, ...]
    ranks: Tuple[RankLog, ...]

    @property
    def n_lines(self) -> int:
        """Lines of all logs."""
        return sum(report.n_lines for report in self.reports)

    @property
    def n_bytes(self) -> int:
        """Bytes of all logs."""
        return sum(report.n_bytes for report in self.reports)


def read_log(
    path: PathName,
    source: Optional[str] = None,
    year: Optional[int] = None,
    sha256: bool = False,
    storage: Optional[Storage] = None,
) -> LogReport:
    """Reads a log file.

    Args:
        path: the file.
        source: name to report it by; the path by default.
        year: the year in which the log begins, where known; see ``bench.logs.clock``.
        sha256: whether to compute the digest of the bytes, too.
        storage: memory to share between several logs.

    Returns:
        The report.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            return read_stream(stream, source or os.fspath(path), year, sha256, storage)
    except OSError as error:
        raise DataError(
            f"cannot read the log {os.fspath(path)}: {error.strerror or error}"
        ) from error


def read_stream(
    stream: BinaryIO,
    source: str,
    year: Optional[int] = None,
    sha256: bool = False,
    storage: Optional[Storage] = None,
) -> LogReport:
    """Reads a log from an open binary stream to its end; arguments as in :func:`read_log`."""
    reader = LogReader(source, year, storage)
    digest = hashlib.sha256() if sha256 else None
    while True:
        data = stream.read(BLOCK_BYTES)
        if not data:
            break
        if digest:
            digest.update(data)
        reader.consume(data)
    reader.finish()
    report = reader.report()
    return replace(report, sha256=digest.hexdigest()) if digest else report


def read_logs(
    paths: Iterable[PathName],
    year: Optional[int] = None,
    sha256: bool = False,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> LogSet:
    """Reads the logs of one job.

    Args:
        paths: files, or folders, of which all ``*.log`` files are taken.
        year: as in :func:`read_log`.
        sha256: as in :func:`read_log`.
        memory_bytes: memory for the events of all logs together; more move to a temporary file.

    Raises:
        DataError: a file cannot be read, or a folder has no logs.
    """
    storage = Storage(memory_bytes)
    reports = tuple(
        read_log(path, year=year, sha256=sha256, storage=storage) for path in list_logs(paths)
    )
    return LogSet(reports, identify_ranks(reports))


def list_logs(paths: Iterable[PathName]) -> List[str]:
    """Replaces folders by their ``*.log`` files, sorted by name with numbers by value.

    Raises:
        DataError: a folder has no logs.
    """
    found: List[str] = []
    for path in (os.fspath(name) for name in paths):
        if not os.path.isdir(path):
            found.append(path)
            continue
        inside = glob.glob(os.path.join(glob.escape(path), "*.log"))
        if not inside:
            raise DataError(f"no *.log files in {path}: name the log files themselves")
        found.extend(sorted(inside, key=lambda name: (len(name), name)))
    return found
