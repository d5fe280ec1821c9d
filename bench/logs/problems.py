"""What a log holds that could not be read, or that was read with a second thought.

Kinds:
    torn_line: a prefix or a record stands there in part; nothing was taken from that part.
    merged_lines: several records in one line; all were taken.
    duplicate: a message came by two handlers; it counts once.
    non_finite: a loss, rate or scale is nan or inf; it was taken.
    split_loss_scale: a label of the loss scale without its value behind it.
    stray_value: a loss-scale value with no label before it to belong to; it was not taken.
    invalid_utf8: the line is no valid UTF-8; it was read as bytes.
    carriage_return: a bare carriage return; it was taken as the end of a line.
    overlong_line: only the first part of the line was read.
    unterminated_line: the log ends without an end of line; a number there was not taken.
    truncated_file: the file became shorter while it was followed.
    stray_thread: a thread id that is no rank but most likely a damaged number.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Dict, List

MAX_KEPT = 20
MAX_TEXT = 300


@dataclass(frozen=True)
class Problem:
    """One damaged or doubtful place of a log; ``line_number`` counts from 1."""

    line_number: int
    kind: str
    text: str


class Problems:
    """Counts every problem and keeps the first few of each kind."""

    def __init__(self) -> None:
        self.counts: Dict[str, int] = Counter()
        self.kept: List[Problem] = []

    def add(self, line_number: int, kind: str, text: str, count: int = 1) -> None:
        """Counts a problem, or several of one place."""
        if self.counts[kind] < MAX_KEPT:
            self.kept.append(Problem(line_number, kind, text[:MAX_TEXT]))
        self.counts[kind] += count

    def count(self, kind: str, n: int) -> None:
        """Counts problems without keeping them."""
        if n:
            self.counts[kind] += n

    def __len__(self) -> int:
        return sum(self.counts.values())
