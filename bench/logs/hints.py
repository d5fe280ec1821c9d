"""Finds the lines of a block that may hold anything worth a scan."""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from bench.logs import patterns, scan
from bench.logs.words import Block


def find_telling_lines(
    block: Block, begins: np.ndarray, ends: np.ndarray, taken: np.ndarray
) -> List[Tuple[int, int, int]]:
    """Lists lines that are not taken and that a scan could say something about.

    Args:
        block: the bytes.
        begins, ends: of each line, int64 [N].
        taken: lines that were read, bool [N].

    Returns:
        (line, begin, end) in order.
    """
    left = np.flatnonzero(~taken & (ends > begins))
    if not len(left):
        return []
    begins, ends = begins[left], ends[left]
    telling = _starts_telling(block, begins, ends)
    telling |= ends - begins > scan.MAX_LINE_BYTES
    data = block.data
    size = int(ends[-1])
    if not data.isascii():
        _mark_lines(telling, begins, np.flatnonzero(block.bytes[:size] >= 0x80), ends)
    if b"\r" in data:
        _mark_lines(telling, begins, np.flatnonzero(block.bytes[:size] == 13), ends)
    # Only the bytes of lines that are left are searched, glued together by line ends.
    view = memoryview(data)
    plain = np.flatnonzero(~telling)
    spans = list(zip(begins[plain].tolist(), ends[plain].tolist()))
    text = b"\n".join([view[begin:end] for begin, end in spans])
    lengths = (ends - begins)[plain] + 1
    starts = np.cumsum(lengths) - lengths
    found: List[int] = []
    for hint in patterns.HINTS:
        place = text.find(hint)
        while place >= 0:
            line = int(np.searchsorted(starts, place, side="right")) - 1
            found.append(line)
            place = text.find(hint, int(starts[line] + lengths[line]))
    telling[plain[found]] = True
    chosen = np.flatnonzero(telling)
    return list(zip(left[chosen].tolist(), begins[chosen].tolist(), ends[chosen].tolist()))


def _mark_lines(
    telling: np.ndarray, begins: np.ndarray, places: np.ndarray, ends: np.ndarray
) -> None:
    """Marks the lines that hold some of the bytes at ``places``."""
    lines = np.searchsorted(begins, places, side="right") - 1
    inside = (lines >= 0) & (places < ends[lines])
    telling[lines[inside]] = True


def _starts_telling(block: Block, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Tells by their first bytes lines that are warnings, torn prefixes or loose values."""
    first = block.bytes[begins]
    second = block.bytes[begins + 1]
    telling = (first == ord("[")) | ((first == ord(" ")) & (second == ord("[")))
    for severity in patterns.LOGGER_SEVERITY:
        telling |= block.has_literal(begins, severity + b":tensorflow:")
    is_digit = (second >= 0x30) & (second <= 0x39)
    for letter in b"WEF":
        telling |= (first == letter) & is_digit
    # 2020-05-21 19:45:05.732132: W: the fifth byte and the letter tell native lines.
    native = (block.bytes[begins + 4] == ord("-")) & (block.bytes[begins + 28] != ord("I"))
    telling |= native & (ends - begins > 28)
    for line in np.flatnonzero((first == ord("I")) & is_digit & ~telling).tolist():
        begin, end = int(begins[line]), int(ends[line])
        if patterns.TORN_START.match(block.data, begin, end):
            telling[line] = not patterns.HEADER.match(block.data, begin, end)
    return telling
