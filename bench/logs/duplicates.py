"""One message, two handlers: counts it once.

TF 1.15 under ``app.run`` writes each message first as ``INFO:tensorflow:X`` and then with the absl
prefix. In a log of many ranks other lines may come between the two. Each absl line therefore takes
up the latest unmatched line of the first form with the same record, not more than ``WINDOW`` lines
before it. Two equal absl lines never match each other, so what two ranks say alike counts twice.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Deque, Dict, List, Optional, Tuple

WINDOW = 512
UNPLACED = -1
Key = Tuple[str, bytes]


@dataclass
class Pending:
    """A record of the first form whose message may still come in its second form.

    Attributes:
        line_number: its line.
        key: kind and bytes of the record.
        row: its row in the table of the kind, ``UNPLACED`` while that is not known.
        waits: whether its event waits for the next line before it is given out.
        place: thread and stamp of the second form, when that came before the row was known.
        is_late: whether that came later than the event was given out.
    """

    line_number: int
    key: Key
    row: int
    waits: bool
    place: Optional[Tuple[int, int]] = None
    is_late: bool = False


class Duplicates:
    """The unmatched records of the first form within the window.

    Kinds are independent: the lines of one kind come in order, those of several need not.
    """

    def __init__(self) -> None:
        self._by_key: Dict[Key, List[Pending]] = {}
        self._in_order: Dict[str, Deque[Pending]] = {}
        self._n_open: Dict[str, int] = Counter()

    def count(self, kind: str, line_number: int) -> int:
        """How many records of a kind are unmatched at this line."""
        self._expire(kind, line_number)
        return self._n_open[kind]

    def remember(self, line_number: int, key: Key, row: int, waits: bool) -> Pending:
        """Notes a record of the first form."""
        self._expire(key[0], line_number)
        pending = Pending(line_number, key, row, waits)
        self._by_key.setdefault(key, []).append(pending)
        self._in_order.setdefault(key[0], deque()).append(pending)
        self._n_open[key[0]] += 1
        return pending

    def match(self, line_number: int, key: Key) -> Optional[Pending]:
        """Finds and takes up the record that this absl record repeats."""
        if not self._n_open[key[0]]:
            return None
        self._expire(key[0], line_number)
        same = self._by_key.get(key)
        return self._take(key, same, -1) if same else None

    def _expire(self, kind: str, line_number: int) -> None:
        """Gives up on records too far before this line."""
        in_order = self._in_order.get(kind)
        while in_order and in_order[0].line_number < line_number - WINDOW:
            old = in_order.popleft()
            same = self._by_key.get(old.key)
            if same and same[0] is old:
                self._take(old.key, same, 0)

    def _take(self, key: Key, same: List[Pending], index: int) -> Pending:
        pending = same.pop(index)
        if not same:
            del self._by_key[key]
        self._n_open[key[0]] -= 1
        return pending
