"""Columns of events: one table per kind, as arrays in memory that move to a file when they grow.

A row costs some tens of bytes, an event object some hundreds; events are made when asked for.
"""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import IO, Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple, Type, Union

import numpy as np

from bench.logs import events, patterns
from bench.logs.clock import NO_STAMP, compute_wall_seconds, get_wall_seconds
from bench.logs.scan import NO_THREAD

# Columns of every table. ``thread_id`` is -1 and ``stamp`` is NO_STAMP where the line has none.
PLACE_COLUMNS = (("line_number", "i8"), ("thread_id", "i8"), ("stamp", "i8"))
# The latest rows stay in memory, as the second form of their message may still come.
KEPT_ROWS = 1024
MAX_TEXTS = 20_000
Row = Tuple[Any, ...]


@dataclass(frozen=True)
class Kind:
    """How events of one class are stored.

    Attributes:
        name: name of the table.
        event: the class of its events.
        columns: (name, type) of the columns beyond the place; type ``text`` is stored as a number.
    """

    name: str
    event: Type[events.Event]
    columns: Tuple[Tuple[str, str], ...]

    @property
    def dtype(self) -> np.dtype:
        """The packed type of a row."""
        return _build_dtype(self)


@lru_cache(maxsize=None)
def _build_dtype(kind: Kind) -> np.dtype:
    own = [(name, "i4" if code == "text" else code) for name, code in kind.columns]
    return np.dtype([*PLACE_COLUMNS, *own])


def _list_floats(*names: str) -> Tuple[Tuple[str, str], ...]:
    return tuple((name, "f8") for name in names)


_LOSSES = ("masked_lm_loss", "next_sentence_loss", "total_loss")
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "step_rates",
            events.StepRate,
            (*_list_floats("steps_per_second"), ("is_whole", "?")),
        ),
        Kind(
            "losses",
            events.LossReport,
            (
                ("global_step", "i8"),
                *_list_floats(*_LOSSES, "elapsed_seconds"),
                ("present", "u1"),
            ),
        ),
        Kind("loss_scales", events.LossScale, (("value", "f8"), ("labelled", "?"))),
        Kind(
            "geops",
            events.GeopCallback,
            (("status", "i4"), ("kernel", "text"), ("microseconds", "i8")),
        ),
        Kind("checkpoints", events.CheckpointSaved, (("global_step", "i8"), ("path", "text"))),
        Kind(
            "trainer_prints",
            events.TrainerPrint,
            (
                ("global_step", "i8"),
                *_list_floats(
                    "sequences_per_second", *_LOSSES, "average_loss", "learning_rate", "loss_scale"
                ),
                ("is_finite", "?"),
                ("rank", "i4"),
                ("present", "u1"),
            ),
        ),
        Kind("adapter_steps", events.AdapterStep, (("global_step", "i8"),)),
        Kind("final_losses", events.FinalLoss, (("loss", "f8"), ("present", "u1"))),
        Kind(
            "eval_progress",
            events.EvalProgress,
            (("phase", "text"), ("batch", "i8"), ("n_batches", "i8")),
        ),
        Kind("eval_results", events.EvalResult, (("global_step", "i8"), ("text", "text"))),
        Kind("inference_summaries", events.InferenceSummary, _list_floats("sentences_per_second")),
        Kind(
            "predicted_batches",
            events.PredictedBatch,
            (("batch", "i8"), ("examples", "i8"), *_list_floats("batch_seconds")),
        ),
        Kind(
            "best_checkpoints",
            events.BestCheckpoint,
            (("path", "text"), ("metric", "text"), *_list_floats("value")),
        ),
        Kind("flags", events.FlagValue, (("name", "text"), ("value", "text"))),
        Kind("rank_lines", events.RankLine, (("rank_size", "i4"), ("rank_id", "i4"))),
        Kind("phases", events.Phase, (("name", "text"),)),
        Kind("notices", events.Notice, (("severity", "text"), ("text", "text"))),
        Kind("errors", events.ErrorLine, (("category", "text"), ("text", "text"))),
        Kind("shell_results", events.ShellResult, (("success", "?"),)),
    )
}
# Columns whose value may be absent, by the bit of ``present`` that says it is there.
OPTIONAL = {
    "losses": {
        "masked_lm_loss": patterns.MASKED_LM,
        "next_sentence_loss": patterns.NEXT_SENTENCE,
        "elapsed_seconds": patterns.ELAPSED,
    },
    "trainer_prints": {
        "loss_scale": patterns.LOSS_SCALE,
        "is_finite": patterns.IS_FINITE,
        "rank": patterns.RANK,
    },
    "final_losses": {"loss": 1},
}


@lru_cache(maxsize=None)
def _list_makers(kind: Kind) -> Tuple[Tuple[int, int, str], ...]:
    """For each field of an event: its column, the bit that says it is there, and its type."""
    columns = [name for name, _ in kind.columns]
    types = dict(kind.columns)
    optional = OPTIONAL.get(kind.name, {})
    makers = []
    for field in fields(kind.event)[len(PLACE_COLUMNS) :]:
        what = "count" if field.name in ("batch", "n_batches") else types[field.name]
        column = len(PLACE_COLUMNS) + columns.index(field.name)
        makers.append((column, optional.get(field.name, 0), what))
    return tuple(makers)


class Texts:
    """Strings as numbers; the number of different strings is bounded, the rest read ``...``."""

    def __init__(self) -> None:
        self._codes: Dict[str, int] = {"...": 0}
        self._texts = ["..."]

    def encode(self, text: str) -> int:
        """Number of a string, new or known."""
        code = self._codes.get(text)
        if code is None:
            if len(self._texts) >= MAX_TEXTS:
                return 0
            code = self._codes[text] = len(self._texts)
            self._texts.append(text)
        return code

    def decode(self, code: int) -> str:
        """String of a number."""
        return self._texts[code]


class Storage:
    """Memory that the tables of one or more logs share, and the nameless file behind it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._file: Optional[IO[bytes]] = None
        self._end = 0

    def write(self, rows: np.ndarray) -> Extent:
        """Moves rows to the file."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="ascend-bert-")  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        self._file.seek(self._end)
        self._file.write(rows.view(np.uint8))
        extent = Extent(self._end, len(rows))
        self._end += rows.nbytes
        self.used_bytes -= rows.nbytes
        return extent

    def read(self, extent: Extent, dtype: np.dtype) -> np.ndarray:
        """Reads rows back."""
        assert self._file is not None
        self._file.seek(extent.offset)
        return np.frombuffer(self._file.read(extent.n_rows * dtype.itemsize), dtype=dtype)


@dataclass(frozen=True)
class Extent:
    """Rows that were moved to the file."""

    offset: int
    n_rows: int


Chunk = Union[np.ndarray, Extent]


class Table:
    """The events of one kind in one log: iterate for events, ask for columns as arrays."""

    def __init__(self, kind: Kind, texts: Texts, storage: Storage) -> None:
        self.kind = kind
        self.year: Optional[int] = None
        self._texts = texts
        self._storage = storage
        self._chunks: List[Chunk] = []
        self._n_chunked = 0
        self._n_moved = 0
        self._recent: List[Row] = []

    def __len__(self) -> int:
        return self._n_chunked + len(self._recent)

    def __iter__(self) -> Iterator[events.Event]:
        for chunk in self.iter_chunks():
            yield from self.build_events(chunk.tolist())

    def append_row(self, row: Row) -> None:
        """Adds one row."""
        self._recent.append(row)
        if len(self._recent) >= KEPT_ROWS:
            self._pack_recent()

    def append_rows(self, rows: np.ndarray) -> None:
        """Adds many rows, in the order of their lines."""
        self._pack_recent()
        self._add_chunk(rows)

    def set_place(self, index: int, thread: int, stamp: int) -> None:
        """Completes a row of the latest ones by the prefix of its second form."""
        if index >= self._n_chunked:
            row = self._recent[index - self._n_chunked]
            self._recent[index - self._n_chunked] = (row[0], thread, stamp, *row[3:])
            return
        end = self._n_chunked
        for chunk in reversed(self._chunks):
            size = chunk.n_rows if isinstance(chunk, Extent) else len(chunk)
            if index >= end - size:
                assert not isinstance(chunk, Extent)
                chunk["thread_id"][index - end + size] = thread
                chunk["stamp"][index - end + size] = stamp
                return
            end -= size

    def iter_chunks(self) -> Iterator[np.ndarray]:
        """Yields the rows as structured arrays of bounded size."""
        self._pack_recent()
        for chunk in self._chunks:
            yield self._load(chunk)

    def rows(self) -> np.ndarray:
        """All rows as one structured array; columns as in ``kind.dtype``."""
        chunks = list(self.iter_chunks())
        return np.concatenate(chunks) if chunks else np.empty(0, dtype=self.kind.dtype)

    def column(self, name: str) -> np.ndarray:
        """One column of all rows; ``wall_seconds`` is made from the stamps, nan where unknown."""
        if name == "wall_seconds":
            return compute_wall_seconds(self.column("stamp"), self.year)
        if self._is_text(name):
            codes = [chunk[name] for chunk in self.iter_chunks()]
            texts = [self._texts.decode(code) for part in codes for code in part.tolist()]
            return np.array(texts, dtype=object)
        parts = [chunk[name].copy() for chunk in self.iter_chunks()]
        return np.concatenate(parts) if parts else np.empty(0, dtype=self.kind.dtype[name])

    def build_events(self, rows: Iterable[Row]) -> List[events.Event]:
        """Makes the events of some rows of this table, each a tuple of its columns."""
        makers = _list_makers(self.kind)
        present = len(PLACE_COLUMNS) + len(self.kind.columns) - 1
        found = []
        for row in rows:
            values: List[Any] = []
            for column, bit, what in makers:
                value: Any = row[column]
                if what == "text":
                    value = self._texts.decode(value)
                elif (bit and not row[present] & bit) or (what == "count" and value < 0):
                    value = None
                values.append(value)
            line, thread, stamp = row[:3]
            wall = get_wall_seconds(stamp, self.year)
            found.append(
                self.kind.event(line, None if thread == NO_THREAD else thread, wall, *values)
            )
        return found

    def build_tail(self, start: int, late: Set[int]) -> List[events.Event]:
        """Makes the events of the rows from ``start`` on; those in ``late`` without their place."""
        rows: List[Row] = []
        end = self._n_chunked
        for chunk in reversed(self._chunks):
            if end <= start:
                break
            part = self._load(chunk)
            rows[:0] = part[max(0, start - end + len(part)) :].tolist()
            end -= len(part)
        rows.extend(self._recent[max(0, start - self._n_chunked) :])
        for index in late:
            if index >= start:
                line, _, _, *values = rows[index - start]
                rows[index - start] = (line, NO_THREAD, NO_STAMP, *values)
        return self.build_events(rows)

    def _load(self, chunk: Chunk) -> np.ndarray:
        return self._storage.read(chunk, self.kind.dtype) if isinstance(chunk, Extent) else chunk

    def _is_text(self, name: str) -> bool:
        return (name, "text") in self.kind.columns

    def _pack_recent(self) -> None:
        if self._recent:
            rows = np.array(self._recent, dtype=self.kind.dtype)
            self._recent = []
            self._add_chunk(rows)

    def _add_chunk(self, rows: np.ndarray) -> None:
        if len(rows):
            self._chunks.append(rows)
            self._n_chunked += len(rows)
            self._storage.used_bytes += rows.nbytes

    def move_out(self, kept_rows: int = KEPT_ROWS) -> None:
        """Moves all but the latest rows to the file, so that memory stays bounded."""
        n_kept = 0
        for i in range(len(self._chunks) - 1, -1, -1):
            chunk = self._chunks[i]
            if isinstance(chunk, Extent):
                break
            if n_kept >= kept_rows:
                self._chunks[i] = self._storage.write(chunk)
            n_kept += len(chunk)


def build_tables(storage: Storage, texts: Texts) -> Dict[str, Table]:
    """One empty table per kind."""
    return {name: Table(kind, texts, storage) for name, kind in KINDS.items()}


def relieve(tables: Dict[str, Table], storage: Storage, kept_rows: int = KEPT_ROWS) -> None:
    """Moves rows to the file when the shared memory is used up."""
    if storage.used_bytes > storage.limit_bytes:
        for table in tables.values():
            table.move_out(kept_rows)
