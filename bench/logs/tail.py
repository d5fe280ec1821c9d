"""Follows a log that grows: new bytes only, through truncation and rotation."""

from __future__ import annotations

import os
import time
from typing import BinaryIO, Callable, Iterator, List, Optional

from bench.logs.events import Event
from bench.logs.reader import LogReader

MAX_READ_BYTES = 4 << 20
MAX_READS_PER_POLL = 8


class FileTail:
    """The unread end of a file that others write. The file need not exist yet.

    Attributes:
        n_restarts: how often the file was found shorter than what was read, or replaced.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.n_restarts = 0
        self._stream: Optional[BinaryIO] = None
        self._offset = 0

    def read(self) -> bytes:
        """Returns the bytes that came since the last call, at most 4 MiB; empty if none.

        A file that was replaced is read to its end before the new one is begun.
        """
        if self._stream is None:
            try:
                self._stream = open(self.path, "rb", buffering=0)  # noqa: SIM115
            except OSError:
                return b""
            self._offset = 0
        state = os.fstat(self._stream.fileno())
        if state.st_size < self._offset:
            self.n_restarts += 1
            self._offset = 0
            self._stream.seek(0)
        if state.st_size > self._offset:
            data = self._stream.read(MAX_READ_BYTES) or b""
            self._offset += len(data)
            return data
        if self._is_replaced(state):
            self.n_restarts += 1
            self.close()
            return self.read()
        return b""

    def close(self) -> None:
        """Closes the file; the next read would begin it anew."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _is_replaced(self, state: os.stat_result) -> bool:
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) != (state.st_dev, state.st_ino)


class LogTail:
    """Events of a log that grows.

    Args:
        path: the log; it may appear later.
        source: name to report it by; the path by default.
        year: the year in which the log begins.
    """

    def __init__(self, path: str, source: Optional[str] = None, year: Optional[int] = None) -> None:
        self.reader = LogReader(source or path, year)
        self._file = FileTail(path)
        self._n_restarts = 0

    def poll(self) -> List[Event]:
        """Reads what is new and returns its events; returns at once if nothing is.

        A log that grows faster than it is read must not hold up its reader for ever, so at most
        32 MiB are taken; the rest waits for the next call.
        """
        found: List[Event] = []
        for _ in range(MAX_READS_PER_POLL):
            data = self._file.read()
            if self._file.n_restarts > self._n_restarts:
                self._n_restarts = self._file.n_restarts
                self.reader.add_problem("truncated_file", self._file.path)
            if not data:
                break
            found.extend(self.reader.feed(data))
        return found

    def close(self) -> List[Event]:
        """Reads to the end, takes what is left as the last line, and closes the file."""
        found: List[Event] = []
        n_bytes = -1
        while self.reader.n_bytes != n_bytes:
            n_bytes = self.reader.n_bytes
            found.extend(self.poll())
        self._file.close()
        found.extend(self.reader.close())
        return found


def follow(
    tail: LogTail,
    is_over: Callable[[], bool],
    poll_seconds: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """Yields events until the writer is over and all is read.

    Args:
        tail: the log.
        is_over: whether nothing more will be written; asked before each reading.
        poll_seconds: pause between readings.
        sleep: how to pause.
    """
    while True:
        over = is_over()
        yield from tail.poll()
        if over:
            yield from tail.close()
            return
        sleep(poll_seconds)
