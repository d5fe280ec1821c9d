"""SIGINT, SIGTERM and SIGHUP as a request to end the run cleanly."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Dict, Optional

from bench.errors import InterruptedRunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalCatcher:
    """Remembers the first signal; what runs asks for it where it can stop cleanly.

    Use as a context manager in the main thread. Nothing is raised from within a handler: an
    exception there could hit the very code that ends the ranks.

    Attributes:
        received: number of the first signal, None before it.
        impatient: another one came after it; what still runs is killed without waiting.
    """

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self.impatient = False
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
        self.impatient = self.received is not None
        self.received = self.received or number


def build_interruption(number: int) -> InterruptedRunError:
    """The error that stands for a signal."""
    return InterruptedRunError(f"ended by {signal.Signals(number).name}", number)
