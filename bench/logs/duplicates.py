"""One message, two handlers: counts it once.

TF 1.15 under ``app.run`` writes each message first as ``INFO:tensorflow:X`` and then with the absl
prefix. In a log of many ranks other lines may come between the two. Each absl line therefore takes
up the latest unmatched line of the first form with the same record, not more than ``WINDOW`` lines
before it. Two equal absl lines never match each other, so what two ranks say alike counts twice.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List, NamedTuple, Optional, Tuple

WINDOW = 512
Key = Tuple[str, bytes]


class Pending(NamedTuple):
    """A row whose message may still come in its second form.

    ``waits`` says whether its event waits for the next line before it is given out.
    """

    line_number: int
    key: Key
    row: int
    waits: bool


class Duplicates:
    """The unmatched lines of the first form within the window."""

    def __init__(self) -> None:
        self._by_key: Dict[Key, List[Pending]] = {}
        self._in_order: Deque[Pending] = deque()

    def __bool__(self) -> bool:
        return bool(self._in_order)

    def expire(self, line_number: int) -> None:
        """Gives up on rows too far before this line."""
        while self._in_order and self._in_order[0].line_number < line_number - WINDOW:
            old = self._in_order.popleft()
            same = self._by_key.get(old.key, [])
            if same and same[0] is old:
                same.pop(0)
                if not same:
                    del self._by_key[old.key]

    def remember(self, line_number: int, key: Key, row: int, waits: bool) -> None:
        """Notes a row of the first form, by its number in its table."""
        self.expire(line_number)
        pending = Pending(line_number, key, row, waits)
        self._by_key.setdefault(key, []).append(pending)
        self._in_order.append(pending)

    def match(self, line_number: int, key: Key) -> Optional[Pending]:
        """Finds and takes up the row that this absl record repeats."""
        if not self._in_order:
            return None
        self.expire(line_number)
        same = self._by_key.get(key)
        if not same:
            return None
        pending = same.pop()
        if not same:
            del self._by_key[key]
        return pending
