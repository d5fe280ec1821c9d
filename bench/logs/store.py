"""Puts records into tables: gives stamps their year, drops what came twice, pairs loose values."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from bench.logs import patterns, scan
from bench.logs.batch import STAMPED, Batch, Place, SingleRow
from bench.logs.bulk import BulkResult, FastRows
from bench.logs.clock import NO_STAMP, find_shift, unwrap_stamp
from bench.logs.duplicates import Duplicates, Key
from bench.logs.patterns import decode_text
from bench.logs.problems import MAX_KEPT, Problems
from bench.logs.scan import Part, Token
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

    def add_part(self, part: Part) -> None:
        """Stores what one line, or part of a line, says; they come in their order."""
        self._add_findings(part)
        for token in part.tokens:
            self._add_token(part.line_number, token, part.data[token.begin : token.end])
        if not self.saw_absl and patterns.ABSL_START.match(part.data):
            self.saw_absl = True

    def add_block(self, first_line: int, found: BulkResult, parts: Sequence[Part]) -> bool:
        """Stores what a block says.

        Args:
            first_line: number of its first line.
            found: what was read in bulk.
            parts: what was read one by one.

        Returns:
            Whether it was stored; not so, and nothing is changed, where the year turns.
        """
        stamps = _list_stamps(first_line, found, parts)
        shift = find_shift(stamps[:, 1], self.last_stamp)
        if shift is None:
            return False
        first_absl = -1 if self.saw_absl else _find_first_absl(first_line, found, parts)
        last_line = first_line + found.n_lines - 1
        place = Place(first_line, last_line, shift, first_absl)
        fast: Dict[str, List[FastRows]] = {}
        for part in found.rows:
            fast.setdefault(part.kind, []).append(part)
        singles = self._settle_singles(parts, shift)
        doubles: List[Tuple[int, bytes]] = []
        n_doubles = 0
        for kind in {**fast, **singles}:
            batch = Batch(
                self.tables[kind], found.block, place, fast.get(kind, ()), singles.get(kind, ())
            )
            batch.store(self.duplicates)
            doubles.extend(batch.doubles)
            n_doubles += batch.n_doubles
            self.late.update((kind, row) for row in batch.late)
        doubles.sort()
        for line, text in doubles[:MAX_KEPT]:
            self.problems.add(line, "duplicate", decode_text(text))
        self.problems.count("duplicate", n_doubles - min(len(doubles), MAX_KEPT))
        if len(stamps):
            self.last_stamp = int(stamps[-1, 1]) + shift
        self.saw_absl |= first_absl <= last_line
        return True

    def _add_findings(self, part: Part) -> None:
        for finding in part.findings:
            self.problems.add(part.line_number, *finding)

    def _settle_singles(self, parts: Sequence[Part], shift: int) -> Dict[str, List[SingleRow]]:
        """Makes rows of the records that were read one by one."""
        singles: Dict[str, List[SingleRow]] = {}
        for part in parts:
            self._add_findings(part)
            for token in part.tokens:
                text = part.data[token.begin : token.end]
                kind = self.settle_loss_scale(part.line_number, token.kind, text)
                if kind is not None:
                    stamp = token.stamp if token.stamp == NO_STAMP else token.stamp + shift
                    values = self.encode_texts(kind, token.values)
                    row = (part.line_number, token.thread, stamp, *values)
                    single = SingleRow(part.line_number, token.form, text, row)
                    singles.setdefault(kind, []).append(single)
        return singles

    def _add_token(self, line_number: int, token: Token, text: bytes) -> None:
        """Stores one record; ``text`` are its bytes."""
        stamp = self.place_stamp(token.stamp)
        kind = self.settle_loss_scale(line_number, token.kind, text)
        if kind is None:
            return
        key = (kind, text)
        if token.form == scan.ABSL and self._take_up_twin(line_number, key, token.thread, stamp):
            return
        table = self.tables[kind]
        row = len(table)
        values = self.encode_texts(kind, token.values)
        table.append_row((line_number, token.thread, stamp, *values))
        if token.form == scan.LOGGER:
            self.duplicates.remember(line_number, key, row, self.saw_absl)

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


def _list_stamps(first_line: int, found: BulkResult, parts: Sequence[Part]) -> np.ndarray:
    """Line number and stamp of all records that have one, the last line last, int64 [N, 2]."""
    pairs = [
        np.stack([part.cursor.columns["line"] + first_line, part.cursor.columns["stamp"]], axis=1)
        for part in found.rows
        if part.form in STAMPED
    ]
    single = [
        (part.line_number, token.stamp)
        for part in parts
        for token in part.tokens
        if token.stamp != NO_STAMP
    ]
    if single:
        pairs.append(np.array(single, dtype=np.int64))
    if not pairs:
        return np.empty((0, 2), dtype=np.int64)
    stamps = np.concatenate(pairs)
    last = np.flatnonzero(stamps[:, 0] == stamps[:, 0].max())[-1]
    stamps[[last, -1]] = stamps[[-1, last]]
    return stamps


def _find_first_absl(first_line: int, found: BulkResult, parts: Sequence[Part]) -> int:
    """Number of the first line of the block with an absl prefix; beyond the block if none."""
    first = first_line + found.first_absl
    for part in parts:
        if part.line_number >= first:
            break
        if patterns.ABSL_START.match(part.data):
            return part.line_number
    return first
