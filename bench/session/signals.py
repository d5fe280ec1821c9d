"""SIGINT and SIGTERM as a request to end the run cleanly."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Dict, Optional

from bench.errors import InterruptedRunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalCatcher:
    """Remembers the first signal; what runs asks for it where it can stop cleanly.

    Use as a context manager in the main thread. A second signal of the same kind raises
    at once, for a user who does not want to wait.
    """

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self._previous: Dict[int, Any] = {}

    def __enter__(self) -> SignalCatcher:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises if a signal came.

        Raises:
            InterruptedRunError: with the signal's number.
        """
        if self.received is not None:
            raise build_interruption(self.received)

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if self.received is not None:
            raise build_interruption(number)
        self.received = number


def build_interruption(number: int) -> InterruptedRunError:
    """The error that stands for a signal."""
    return InterruptedRunError(f"ended by {signal.Signals(number).name}", number)
