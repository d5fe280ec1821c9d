"""All records of one kind in one block, put together from bulk and single reading.

Second forms of a message are dropped here as ``bench.logs.duplicates`` says. Where the two forms
stand in neighbouring lines, that is done for all of them at once; what is left goes one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from bench.logs import scan
from bench.logs.bulk import FastRows
from bench.logs.duplicates import UNPLACED, WINDOW, Duplicates, Pending
from bench.logs.tables import PLACE_COLUMNS, Table
from bench.logs.words import Block

STAMPED = (scan.ABSL, scan.NATIVE)
# The form of a record whose two forms were joined.
JOINED = 255
# Doubled messages whose text is kept; the others are counted.
MAX_TEXTS = 20


class SingleRow(NamedTuple):
    """A record that was read one by one: its line, prefix, bytes, and row of the table."""

    line_number: int
    form: int
    text: bytes
    row: Tuple[object, ...]


@dataclass(frozen=True)
class Place:
    """Where a block stands in its log.

    Attributes:
        first_line, last_line: line numbers.
        shift: microseconds to add to the stamps of records read in bulk, for their year.
        first_absl: number of the first line of the log with an absl prefix.
    """

    first_line: int
    last_line: int
    shift: int
    first_absl: int


class Batch:
    """The records of one kind, in the order of their lines.

    Attributes:
        table: the table that takes them.
        doubles: line and text of messages that were dropped, the first ones.
        n_doubles: how many were dropped.
        late: rows of the table whose prefix came after their event was given out.
    """

    def __init__(
        self,
        table: Table,
        block: Block,
        place: Place,
        fast: Sequence[FastRows],
        singles: Sequence[SingleRow],
    ) -> None:
        self.table = table
        self.doubles: List[Tuple[int, bytes]] = []
        self.n_doubles = 0
        self.late: List[int] = []
        self._block = block
        self._place = place
        self._singles = singles
        n_fast = sum(len(part.cursor) for part in fast)
        self._rows = np.empty(n_fast + len(singles), dtype=table.kind.dtype)
        self._forms = np.empty(len(self._rows), dtype=np.uint8)
        self._spans = np.zeros((2, len(self._rows)), dtype=np.int64)
        self._late = np.zeros(len(self._rows), dtype=bool)
        self._number = np.maximum(np.arange(len(self._rows)) - n_fast, -1)
        self._fill(fast)
        if len(fast) > 1 or (fast and singles):
            self._keep(np.argsort(self._rows["line_number"], kind="stable"))

    def store(self, duplicates: Duplicates) -> None:
        """Drops what came twice and adds the rest to the table."""
        self._drop_neighbours()
        lines = self._rows["line_number"]
        firsts, seconds = self._forms == scan.LOGGER, self._forms == scan.ABSL
        is_open = duplicates.count(self.table.kind.name, self._place.first_line) > 0
        if not (seconds.any() and (firsts.any() or is_open)):
            # Nothing to match here; only the last lines can be matched by the next block.
            firsts &= lines >= self._place.last_line - WINDOW
            seconds[:] = False
        pending = self._drop_others(duplicates, np.flatnonzero(firsts | seconds))
        base = len(self.table)
        for index, record in pending:
            record.row = base + index
            if record.place:
                self._rows["thread_id"][index], self._rows["stamp"][index] = record.place
                self._late[index] = record.is_late
        self.late.extend((np.flatnonzero(self._late) + base).tolist())
        self.table.append_rows(self._rows)

    def _drop_neighbours(self) -> None:
        """Joins the two forms of a message where they stand in neighbouring lines."""
        if len(self._rows) < 2:
            return
        lines, bulk = self._rows["line_number"], self._number < 0
        first = (self._forms[:-1] == scan.LOGGER) & (self._forms[1:] == scan.ABSL)
        first &= (lines[1:] == lines[:-1] + 1) & bulk[1:] & bulk[:-1]
        index = np.flatnonzero(first)
        begins, lengths = self._spans
        same = lengths[index + 1] == lengths[index]
        same &= self._block.same_texts(begins[index], begins[index + 1], lengths[index])
        index = index[same]
        if not len(index):
            return
        for name in ("thread_id", "stamp"):
            self._rows[name][index] = self._rows[name][index + 1]
        self._late[index] = lines[index] <= self._place.first_absl
        self._forms[index] = JOINED
        for place in index[:MAX_TEXTS].tolist():
            self.doubles.append((int(lines[place + 1]), self._get_text(place)))
        self.n_doubles += len(index)
        good = np.ones(len(self._rows), dtype=bool)
        good[index + 1] = False
        self._keep(np.flatnonzero(good))

    def _drop_others(self, duplicates: Duplicates, chosen: np.ndarray) -> List[Tuple[int, Pending]]:
        """Matches the chosen records one by one; gives the first forms with their rows."""
        kind = self.table.kind.name
        good = np.ones(len(self._rows), dtype=bool)
        pending: List[Tuple[int, Pending]] = []
        lines = self._rows["line_number"]
        for index in chosen.tolist():
            line = int(lines[index])
            key = (kind, self._get_text(index))
            if self._forms[index] == scan.LOGGER:
                waits = self._place.first_absl < line
                pending.append((index, duplicates.remember(line, key, UNPLACED, waits)))
                continue
            twin = duplicates.match(line, key)
            if twin is None:
                continue
            good[index] = False
            self.doubles.append((line, key[1]))
            self.n_doubles += 1
            row = self._rows[index]
            place = (int(row["thread_id"]), int(row["stamp"]))
            is_late = twin.line_number != line - 1 or not twin.waits
            if twin.row == UNPLACED:
                twin.place, twin.is_late = place, is_late
            else:
                self.table.set_place(twin.row, *place)
                if is_late:
                    self.late.append(twin.row)
        if good.all():
            return pending
        self._keep(np.flatnonzero(good))
        moved = np.cumsum(good) - 1
        return [(int(moved[index]), record) for index, record in pending]

    def _get_text(self, index: int) -> bytes:
        number = int(self._number[index])
        if number >= 0:
            return self._singles[number].text
        begin = int(self._spans[0, index])
        return self._block.data[begin : begin + int(self._spans[1, index])]

    def _fill(self, fast: Sequence[FastRows]) -> None:
        start = 0
        for part in fast:
            columns = part.cursor.columns
            stop = start + len(part.cursor)
            rows = self._rows[start:stop]
            for name, _ in (*PLACE_COLUMNS[1:], *self.table.kind.columns):
                rows[name] = columns[name]
            rows["line_number"] = columns["line"] + self._place.first_line
            if part.form in STAMPED:
                rows["stamp"] += self._place.shift
            self._forms[start:stop] = part.form
            self._spans[0, start:stop] = columns["begin"]
            ends = columns.get("record_end", columns["place"])
            self._spans[1, start:stop] = ends - columns["begin"]
            start = stop
        if self._singles:
            self._rows[start:] = [single.row for single in self._singles]
            self._forms[start:] = [single.form for single in self._singles]

    def _keep(self, chosen: np.ndarray) -> None:
        # Rows are moved as plain bytes: numpy copies structured ones field by field.
        dtype = self._rows.dtype
        self._rows = self._rows.view(f"V{dtype.itemsize}")[chosen].view(dtype)
        self._forms = self._forms[chosen]
        self._spans = self._spans[:, chosen]
        self._number = self._number[chosen]
        self._late = self._late[chosen]
