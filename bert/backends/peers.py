"""Notices that another rank is gone.

TensorFlow 1.15's collectives wait for ever for a process that was killed. This looks, from a
thread of its own, whether the servers of all peers still listen, and ends this process with the
trainer's usual line when one does not.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Callable, Optional, Sequence

from bert.errors import UnavailableError, render_error_line

_INTERVAL_SECONDS = 2.0
_CONNECT_TIMEOUT_SECONDS = 1.0


def is_gone(address: str) -> bool:
    """Tells whether nobody listens at host:port; a slow or unreachable host is not gone."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def find_gone_peer(workers: Sequence[str], own_rank: int) -> Optional[int]:
    """Returns the first rank but this one whose server does not listen, or None."""
    for rank, address in enumerate(workers):
        if rank != own_rank and is_gone(address):
            return rank
    return None


def end_process(error: UnavailableError) -> None:
    """Writes the error's line and ends the process: its main thread cannot be woken."""
    os.write(sys.stderr.fileno(), (render_error_line(error) + "\n").encode("utf-8"))
    os._exit(error.exit_code)


class PeerWatch:
    """Watches all peers between `start` and `stop`."""

    def __init__(
        self,
        workers: Sequence[str],
        own_rank: int,
        on_gone: Callable[[UnavailableError], None] = end_process,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        self._workers = workers
        self._own_rank = own_rank
        self._on_gone = on_gone
        self._interval_seconds = interval_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peer-watch", daemon=True)

    def start(self) -> None:
        """Starts to watch; all peers must be listening by now."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch, so that peers may leave."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            rank = find_gone_peer(self._workers, self._own_rank)
            if rank is not None and not self._stopped.is_set():
                self._on_gone(
                    UnavailableError(
                        f"rank {self._own_rank}: rank {rank} at {self._workers[rank]} is gone "
                        "before training ended; see its log"
                    )
                )
                return
