"""Puts records into tables: gives stamps their year, drops what came twice, pairs loose values."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Set, Tuple

from bench.logs import scan
from bench.logs.clock import NO_STAMP, unwrap_stamp
from bench.logs.duplicates import Duplicates, Key
from bench.logs.patterns import decode_text
from bench.logs.problems import Problems
from bench.logs.scan import Finding, Token
from bench.logs.tables import KINDS, Storage, Table, Texts, build_tables, relieve

TEXT_COLUMNS = {
    name: tuple(i for i, (_, code) in enumerate(kind.columns) if code == "text")
    for name, kind in KINDS.items()
}


class EventStore:
    """The tables of one log and all that must be remembered from line to line.

    Attributes:
        tables: one table per kind of event.
        problems: what could not be read.
        saw_absl: whether the log has lines with the absl prefix.
        late: (kind, index) of rows whose thread and time came from a later line than the next; a
            live event was, or would have been, given out before.
    """

    def __init__(self, storage: Storage, year: Optional[int]) -> None:
        self.problems = Problems()
        self.texts = Texts()
        self.tables: Dict[str, Table] = build_tables(storage, self.texts)
        for table in self.tables.values():
            table.year = year
        self.duplicates = Duplicates()
        self.last_stamp = NO_STAMP
        self.saw_absl = False
        self.late: Set[Tuple[str, int]] = set()
        self._storage = storage
        self._open_labels = 0

    def add_line(
        self, line_number: int, line: bytes, tokens: Sequence[Token], findings: Sequence[Finding]
    ) -> None:
        """Stores what was found in one line; lines come in their order."""
        for kind, text in findings:
            self.problems.add(line_number, kind, text)
        for token in tokens:
            self.add_token(line_number, token, line[token.begin : token.end])

    def add_token(self, line_number: int, token: Token, text: bytes) -> None:
        """Stores one record; ``text`` are its bytes."""
        stamp = self.place_stamp(token.stamp)
        kind = self.settle_loss_scale(line_number, token.kind, text)
        if kind is None:
            return
        key = (kind, text)
        if token.form == scan.ABSL and self._take_up_twin(line_number, key, token.thread, stamp):
            return
        table = self.tables[kind]
        index = len(table)
        values = self.encode_texts(kind, token.values)
        table.append_row((line_number, token.thread, stamp, *values))
        if token.form == scan.LOGGER:
            self.duplicates.remember(line_number, key, index, self.saw_absl)

    def place_stamp(self, stamp: int) -> int:
        """Puts a stamp into its year and remembers it for the next."""
        if stamp != NO_STAMP:
            stamp = self.last_stamp = unwrap_stamp(stamp, self.last_stamp)
        return stamp

    def settle_loss_scale(self, line_number: int, kind: str, text: bytes) -> Optional[str]:
        """Counts labels against values; gives the table for a record, None if it has none."""
        if kind == scan.LABEL:
            self._open_labels += 1
            return None
        if kind == scan.STRAY_VALUE:
            if not self._open_labels:
                self.problems.add(line_number, "stray_value", decode_text(text))
                return None
            self._open_labels -= 1
            return "loss_scales"
        return kind

    def encode_texts(self, kind: str, values: Sequence[object]) -> Sequence[object]:
        """Replaces strings by their numbers."""
        columns = TEXT_COLUMNS[kind]
        if not columns:
            return values
        encoded: List[object] = list(values)
        for column in columns:
            encoded[column] = self.texts.encode(str(encoded[column]))
        return encoded

    def relieve(self, finished: bool = False) -> None:
        """Moves rows out of memory when there are too many."""
        if finished:
            relieve(self.tables, self._storage, 0)
        else:
            relieve(self.tables, self._storage)

    def _take_up_twin(self, line_number: int, key: Key, thread: int, stamp: int) -> bool:
        """Completes the row of the same message's first form, if there is one."""
        twin = self.duplicates.match(line_number, key)
        if twin is None:
            return False
        kind, text = key
        self.tables[kind].set_place(twin.row, thread, stamp)
        self.problems.add(line_number, "duplicate", decode_text(text))
        if twin.line_number != line_number - 1 or not twin.waits:
            self.late.add((kind, twin.row))
        return True
