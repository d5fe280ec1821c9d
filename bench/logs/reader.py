"""Bytes of a log in, events out: in pieces while a run goes on, or a whole file at once.

Both ways share one engine, so a live reading and a later one give the same numbers. Nothing in a
log makes it raise: what it cannot read is counted and kept as a problem with its line number.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional

from bench.logs import patterns, scan
from bench.logs.bulk import BULK_KINDS, KNOWN_SOURCES, read_bulk
from bench.logs.events import Event
from bench.logs.problems import Problem
from bench.logs.report import LogReport
from bench.logs.store import EventStore
from bench.logs.tables import Storage

DEFAULT_MEMORY_BYTES = 64 << 20
# From this size on a block is read in bulk; below, the fixed cost of that is more than it saves.
BULK_BYTES = 32 << 10
FIRST_BYTES = 64 << 10
MAX_SOURCES = 12
_LOGGER_LINE = re.compile(rb"[A-Z]{4,8}:tensorflow:")
_LINE_END = re.compile(rb"[\r\n]")


class LogReader:
    """Reads one log.

    Args:
        source: name of the log, as a path or a label; it tells the rank where it has the form
            ``train_<device>.log``.
        year: the year in which the log begins; see ``bench.logs.clock``.
        storage: memory to share with other readers; by default its own, of 64 MiB, beyond which
            rows move to a nameless temporary file.
        bulk_bytes: size of a block from which on it is read in bulk; what is read is the same.
    """

    def __init__(
        self,
        source: str = "",
        year: Optional[int] = None,
        storage: Optional[Storage] = None,
        bulk_bytes: int = BULK_BYTES,
    ) -> None:
        self.source = source
        self.year = year
        self.n_bytes = 0
        self._store = EventStore(storage or Storage(DEFAULT_MEMORY_BYTES), year)
        self._rest = b""
        self._skipping = False
        self._line_number = 1
        self._line_is_open = False
        self._bulk_bytes = bulk_bytes
        self._sources: Dict[bytes, None] = dict.fromkeys(KNOWN_SOURCES)

    def feed(self, data: bytes) -> List[Event]:
        """Reads the next bytes.

        A line of the form ``INFO:tensorflow:`` waits for the next line where the log has absl
        lines, too, so that its event can carry the time and the thread of the second form.

        Args:
            data: bytes of the log, cut anywhere.

        Returns:
            The events of the lines that are now complete, in their order.
        """
        marks = self._mark()
        self.consume(data)
        return self._build_new_events(marks)

    def close(self) -> List[Event]:
        """Reads what is left as the last line, and returns its events."""
        marks = self._mark()
        self.finish()
        return self._build_new_events(marks)

    def consume(self, data: bytes) -> None:
        """Reads the next bytes as :meth:`feed` does, without making events."""
        self.n_bytes += len(data)
        if self._skipping:
            data = self._skip(data)
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        if end:
            last = data.rfind(b"\n", 0, end - 1) + 1
            if _LOGGER_LINE.match(data, last):
                self._read_lines(data[:last])
                if self._store.saw_absl and len(data) - end <= scan.MAX_LINE_BYTES:
                    end = last
                else:
                    self._read_lines(data[last:end])
            else:
                self._read_lines(data[:end])
        self._rest = data[end:]
        if len(self._rest) > scan.MAX_LINE_BYTES and b"\n" not in self._rest:
            self._read_long_rest()
        self._store.relieve()

    def finish(self) -> None:
        """Reads what is left as :meth:`close` does, without making events."""
        rest, self._rest = self._rest, b""
        end = rest.rfind(b"\n") + 1
        self._read_lines(rest[:end])
        last = rest[end:]
        if last.endswith(b"\r"):
            self._line_is_open = True
            self._read_line(last[:-1])
        elif last:
            self._line_is_open = True
            self.add_problem("unterminated_line", patterns.decode_text(last))
            self._read_line(last, terminated=False)
        self._store.relieve(finished=True)

    def report(self) -> LogReport:
        """What was read so far; its tables are those of the reader and go on growing."""
        problems = self._store.problems
        return LogReport(
            source=self.source,
            year=self.year,
            tables=self._store.tables,
            problems=tuple(sorted(problems.kept, key=_get_place)),
            problem_counts=dict(problems.counts),
            n_lines=self._line_number - 1 + (self._line_is_open or bool(self._rest)),
            n_bytes=self.n_bytes,
        )

    def add_problem(self, kind: str, text: str) -> None:
        """Notes a problem that the log's owner saw, at the line that is read now."""
        self._store.problems.add(self._line_number, kind, text)

    def _read_lines(self, block: bytes) -> None:
        """Reads whole lines, all of them with their end."""
        if self._line_number == 1 and len(block) > 2 * FIRST_BYTES:
            # Shows where this log's records come from, so that the rest can be read in bulk.
            end = block.rfind(b"\n", 0, FIRST_BYTES) + 1
            self._read_lines(block[:end])
            block = block[end:]
        if len(block) >= self._bulk_bytes and self._read_in_bulk(block):
            return
        lines = block.split(b"\n")
        lines.pop()
        for line in lines:
            if line:
                self._read_line(line[:-1] if line.endswith(b"\r") else line)
            self._line_number += 1
            self._line_is_open = False

    def _read_in_bulk(self, block: bytes) -> bool:
        """Reads whole lines, the common ones all at once; does nothing if that cannot be done."""
        found = read_bulk(block, tuple(self._sources), self._store.texts.encode)
        parts: List[scan.Part] = []
        for line, begin, end in found.telling:
            parts.extend(scan.scan_parts(self._line_number + line, block[begin:end]))
            self._learn_source(parts[-1])
        if not self._store.add_block(self._line_number, found, parts):
            return False
        self._line_number += found.n_lines
        self._line_is_open = False
        return True

    def _learn_source(self, part: scan.Part) -> None:
        """Notes where a record came from that bulk reading passed over."""
        if len(self._sources) < MAX_SOURCES and part.tokens and part.tokens[0].form == scan.ABSL:
            match = patterns.HEADER.match(part.data)
            if match and match.group(4) and part.tokens[0].kind in BULK_KINDS:
                self._sources.setdefault(match.group(4))

    def _read_line(self, line: bytes, terminated: bool = True) -> None:
        for part in scan.scan_parts(self._line_number, line, terminated):
            self._store.add_part(part)

    def _read_long_rest(self) -> None:
        """Keeps memory bounded in a line that does not end."""
        cut = self._rest.rfind(b"\r", 0, len(self._rest) - 1) + 1
        if cut:
            self._line_is_open = True
            self._read_line(self._rest[:cut])
            self._rest = self._rest[cut:]
        if len(self._rest) > scan.MAX_LINE_BYTES + 1:
            self._line_is_open = True
            self._read_line(self._rest)
            self._rest = b""
            self._skipping = True

    def _skip(self, data: bytes) -> bytes:
        """Drops bytes up to the end of an overlong line."""
        match = _LINE_END.search(data)
        if match is None:
            return b""
        self._skipping = False
        return data[match.start() :]

    def _mark(self) -> Dict[str, int]:
        self._store.late.clear()
        return {kind: len(table) for kind, table in self._store.tables.items()}

    def _build_new_events(self, marks: Dict[str, int]) -> List[Event]:
        found: List[Event] = []
        for kind, table in self._store.tables.items():
            if len(table) > marks[kind]:
                late = {index for name, index in self._store.late if name == kind}
                found.extend(table.build_tail(marks[kind], late))
        found.sort(key=lambda event: event.line_number)
        return found


def _get_place(problem: Problem) -> int:
    return problem.line_number
