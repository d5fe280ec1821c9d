"""Reads the common, undamaged lines of a big block, all lines at once.

A line is taken here only if it is one of a few shapes from its first byte to its last. What it
means is said by ``bench.logs.scan``; here it is only found faster. All other lines that might hold
anything are handed back, to be scanned one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, NamedTuple, Tuple

import numpy as np

from bench.logs import patterns, scan, write
from bench.logs.clock import DAY, NO_STAMP
from bench.logs.cursor import Cursor
from bench.logs.hints import find_telling_lines
from bench.logs.words import PAD_BYTES, Block, find_non_digits, parse_digits, parse_pairs

KNOWN_SOURCES = tuple(
    source.encode()
    for source in (
        write.STEP_RATE_SOURCE,
        write.LOSS_SOURCE,
        write.FIRST_LOSS_SOURCE,
    )
)
# What absl lines are read for in bulk.
BULK_KINDS = ("step_rates", "losses", "loss_scales")
ABSL_DIGITS_AT = 22
NATIVE_DIGITS_AT = 30
Encoder = Callable[[str], int]


class FastRows(NamedTuple):
    """Records of one kind, read in bulk; all arrays have one length.

    Attributes:
        kind: the table that takes them.
        form: the prefix of all of them, as in ``bench.logs.scan``.
        cursor: line, thread, stamp, the kind's own columns, and where the record begins; it ends
            at ``record_end``, or at the cursor's place without such a column.
    """

    kind: str
    form: int
    cursor: Cursor


@dataclass(frozen=True)
class BulkResult:
    """What a block says.

    Attributes:
        n_lines: lines in the block, all with their end.
        block: its bytes.
        rows: records of the lines that were read in bulk.
        telling: (line, begin, end) of the lines to scan one by one.
        first_absl: first line with an absl prefix among those not to scan; ``n_lines`` if none.
    """

    n_lines: int
    block: Block
    rows: List[FastRows]
    telling: List[Tuple[int, int, int]]
    first_absl: int


def read_bulk(data: bytes, sources: Tuple[bytes, ...], encode: Encoder) -> BulkResult:
    """Reads a block of whole lines.

    Args:
        data: the block, ending with a line end.
        sources: places in source code, as ``estimator.py:371``, that absl lines may come from.
        encode: gives the number of a string.
    """
    block = Block(data + bytes(PAD_BYTES))
    ends = np.flatnonzero(block.bytes[: len(data)] == 10)
    begins = np.empty_like(ends)
    begins[0] = 0
    begins[1:] = ends[:-1] + 1
    ends -= (block.bytes[ends - 1] == 13) & (ends > begins)
    lines = Cursor(
        block,
        {
            "line": np.arange(len(ends)),
            "place": begins,
            "end": ends,
            "thread_id": np.full(len(ends), scan.NO_THREAD, dtype=np.int64),
            "stamp": np.full(len(ends), NO_STAMP, dtype=np.int64),
        },
    )
    rows: List[FastRows] = []
    first = block.words(begins)
    absl = (first & 0x0000FF00000000FF) == 0x0000200000000049
    native = (first & 0xFF00000000) == 0x2D00000000
    logger = first == int.from_bytes(b"INFO:ten", "little")
    taken = np.zeros(len(ends), dtype=bool)
    stamped = read_absl_stamps(lines.select(absl)) if absl.any() else None
    if stamped is not None:
        rows.extend(_read_absl(stamped, sources))
    if native.any():
        rows.extend(_read_geops(read_native_stamps(lines.select(native)), encode))
    if logger.any():
        message = lines.select(logger).skip(b"INFO:tensorflow:")
        rows.extend(_read_messages(message, scan.LOGGER))
    other = ~(absl | native | logger)
    if other.any():
        rows.extend(_read_messages(lines.select(other), scan.BARE))
        rows.extend(_read_prints(lines.select(other)))
    rows = [part for part in rows if len(part.cursor)]
    for part in rows:
        taken[part.cursor.columns["line"]] = True
    first_absl = len(ends)
    if stamped is not None and len(stamped):
        first_absl = int(stamped.columns["line"][0])
    telling = find_telling_lines(block, begins, ends, taken)
    return BulkResult(len(ends), block, rows, telling, first_absl)


def read_absl_stamps(lines: Cursor) -> Cursor:
    """Reads ``I0521 19:45:05.731803 `` and steps to the thread id."""
    places = lines.columns["place"]
    w0, w1, w2 = (lines.block.words(places, offset) for offset in (0, 8, 16))
    good = (w0 & 0x0000FF00000000FF == 0x0000200000000049) & (
        w1 & 0x00FF0000FF0000FF == 0x002E00003A00003A
    )
    good &= w2 & 0x0000FF0000000000 == 0x0000200000000000
    date = (w0 >> 8 & 0xFFFFFFFF) | (w0 >> 48 & 0xFFFF) << 32 | (w1 >> 8 & 0xFFFF) << 48
    time = (w1 >> 32 & 0xFFFF) | (w1 >> 56) << 16 | (w2 & 0xFFFFFFFFFF) << 24
    return _set_stamps(lines, date, time, good).advance(ABSL_DIGITS_AT)


def read_native_stamps(lines: Cursor) -> Cursor:
    """Reads ``2020-05-21 19:45:05.732132: I `` and steps to the source."""
    places = lines.columns["place"]
    w0, w1, w2, w3 = (lines.block.words(places, offset) for offset in (0, 8, 16, 24))
    good = (w0 & 0xFF0000FF00000000 == 0x2D00002D00000000) & (
        w1 & 0x0000FF0000FF0000 == 0x00003A0000200000
    )
    good &= (w2 & 0x00000000FF0000FF == 0x000000002E00003A) & (
        w3 & 0x0000FFFFFFFF0000 == 0x00002049203A0000
    )
    good &= find_non_digits((w0 & 0xFFFFFFFF) ^ 0x30303030) == 0
    date = (w0 >> 40 & 0xFFFF) | (w1 & 0xFFFF) << 16 | (w1 >> 24 & 0xFFFF) << 32 | (w1 >> 48) << 48
    time = (w2 >> 8 & 0xFFFF) | (w2 >> 32) << 16 | (w3 & 0xFFFF) << 48
    return _set_stamps(lines, date, time, good).advance(NATIVE_DIGITS_AT)


def _set_stamps(lines: Cursor, date: np.ndarray, time: np.ndarray, good: np.ndarray) -> Cursor:
    """Checks and sets stamps from the digits ``MMDDHHMM`` and ``SSmmmmmm``."""
    date, time = date ^ 0x3030303030303030, time ^ 0x3030303030303030
    good = good & ((find_non_digits(date) | find_non_digits(time)) == 0)
    pairs = parse_pairs(date)
    # In each 16 bits: the sum reaches 0x8000 where a part is too big; a part of 0 borrows.
    too_big = pairs + (
        (0x8000 - 13) | (0x8000 - 32) << 16 | (0x8000 - 24) << 32 | (0x8000 - 60) << 48
    )
    month, day = pairs & 0xFFFF, pairs >> 16 & 0xFFFF
    micros = parse_digits(time)
    good &= (too_big & 0x8000800080008000 == 0) & (month > 0) & (day > 0) & (micros < 60_000_000)
    minutes = (pairs >> 32 & 0xFFFF) * 60 + (pairs >> 48)
    days = month * 31 + day - 32
    stamps = days.astype(np.int64) * DAY + (minutes * 60_000_000 + micros).astype(np.int64)
    return lines.extend(stamp=stamps).select(good)


def _read_absl(lines: Cursor, sources: Tuple[bytes, ...]) -> List[FastRows]:
    lines = lines.read_integer("thread_id")
    rows: List[FastRows] = []
    for source in sources:
        if not len(lines):
            break
        literal = b" " + source + b"] "
        fits = lines.has(literal)
        if fits.any():
            rows.extend(_read_messages(lines.select(fits).advance(len(literal)), scan.ABSL))
            lines = lines.select(~fits)
    return rows


def _read_messages(lines: Cursor, form: int) -> List[FastRows]:
    """Reads what the Estimator's hooks say, and the loss scale, which may also be printed."""
    lines = lines.mark("begin")
    rows = []
    scales = lines.skip(b"loss_scale:")
    if len(scales):
        rows.append(FastRows("loss_scales", form, _read_loss_scale(scales)))
    rates = lines.skip(b"global_step/sec: ")
    if len(rates):
        rates = rates.read_decimal("steps_per_second").finish().extend(is_whole=True)
        rows.append(FastRows("step_rates", form, rates))
    losses = lines.skip(b"global_step = ")
    if len(losses):
        losses = losses.read_integer("global_step").skip(b", masked_lm_loss = ")
        losses = losses.read_decimal("masked_lm_loss").skip(b", next_sentence_loss = ")
        losses = losses.read_decimal("next_sentence_loss").skip(b", total_loss = ")
        losses = losses.read_decimal("total_loss")
        rows.extend(_read_elapsed(losses, form, patterns.MASKED_LM | patterns.NEXT_SENTENCE))
    losses = lines.skip(b"loss = ")
    if len(losses):
        losses = losses.read_decimal("total_loss").skip(b", step = ").read_integer("global_step")
        losses = losses.extend(masked_lm_loss=np.nan, next_sentence_loss=np.nan)
        rows.extend(_read_elapsed(losses, form, 0))
    return rows


def _read_elapsed(lines: Cursor, form: int, present: int) -> List[FastRows]:
    first = lines.finish().extend(elapsed_seconds=np.nan, present=present)
    later = lines.skip(b" (").read_decimal("elapsed_seconds", decimals=3).skip(b" sec)").finish()
    later = later.extend(present=present | patterns.ELAPSED)
    return [FastRows("losses", form, first), FastRows("losses", form, later)]


def _read_geops(lines: Cursor, encode: Encoder) -> List[FastRows]:
    source = write.GEOP_SOURCE.rpartition(":")[0].encode() + b":"
    lines = lines.skip(source).read_integer("source", 9).skip(b"] ").mark("begin")
    lines = lines.skip(b"[GEOP] RunGraphAsync callback, status:").read_integer("status", 9)
    lines = lines.skip(b", kernel_name:").read_name("kernel", b"[", encode)
    lines = lines.skip(b"[ ").read_integer("microseconds").skip(b"us]").finish()
    return [FastRows("geops", scan.NATIVE, lines)]


def _read_loss_scale(lines: Cursor) -> Cursor:
    """Reads the rest of ``loss_scale: [65536.0] ``; either space may be missing."""
    lines = lines.skip_spaces(0, 1).skip(b"[").read_decimal("value").skip(b"]")
    return lines.extend(labelled=True).mark("record_end").skip_spaces(0, 1).finish()


def _read_prints(lines: Cursor) -> List[FastRows]:
    """Reads the two lines that trainer and adapter print after each session run."""
    lines = lines.mark("begin")
    rows = []
    steps = lines.skip(b"global_step...")
    if len(steps):
        steps = steps.read_integer("global_step").finish()
        rows.append(FastRows("adapter_steps", scan.BARE, steps))
    prints = lines.skip(b"Step =")
    if not len(prints):
        return rows
    prints = prints.skip_spaces(1, 12).read_integer("global_step")
    for label, name in (
        (b" Throughput =", "sequences_per_second"),
        (b" MLM Loss =", "masked_lm_loss"),
        (b" NSP Loss =", "next_sentence_loss"),
        (b" Loss =", "total_loss"),
        (b" Average Loss =", "average_loss"),
        (b" LR =", "learning_rate"),
    ):
        prints = prints.skip(label).skip_spaces(0, 12)
        if name in ("masked_lm_loss", "next_sentence_loss", "learning_rate"):
            prints = prints.read_scientific(name)
        else:
            prints = prints.read_decimal(name)
    prints = prints.extend(rank=0)
    plain = prints.finish().extend(loss_scale=np.nan, is_finite=False, present=0)
    scaled = prints.skip(b" Loss scale =").skip_spaces(0, 12).read_scientific("loss_scale")
    scaled = scaled.skip(b" isFinite =").skip_spaces(1, 12).read_integer("finite", 9).finish()
    scaled = scaled.extend(
        is_finite=scaled.columns["finite"] != 0, present=patterns.LOSS_SCALE | patterns.IS_FINITE
    )
    rows.append(FastRows("trainer_prints", scan.BARE, plain))
    rows.append(FastRows("trainer_prints", scan.BARE, scaled))
    return rows
