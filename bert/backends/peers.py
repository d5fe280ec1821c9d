"""Notices that another rank is gone.

TensorFlow 1.15's collectives wait for ever for a process that was killed, and for one whose host
was cut off. This looks, from a thread of its own, whether the servers of all peers still listen,
and ends this process with the trainer's usual line when one does not, or cannot be reached for too
long.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import Callable, Dict, Optional, Sequence

from bert.errors import UnavailableError, render_error_line

_INTERVAL_SECONDS = 2.0
_CONNECT_TIMEOUT_SECONDS = 1.0
_UNREACHABLE_SECONDS = 30.0

LISTENS, REFUSES, SILENT = "listens", "refuses", "silent"


def probe(address: str) -> str:
    """Tells whether somebody listens at host:port, nobody does, or no answer comes from there."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection(
            (host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_SECONDS
        ).close()
    except ConnectionRefusedError:
        return REFUSES
    except OSError:
        return SILENT
    return LISTENS


def is_gone(address: str) -> bool:
    """Tells whether nobody listens at host:port; a slow or unreachable host is not gone."""
    return probe(address) == REFUSES


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
        unreachable_seconds: float = _UNREACHABLE_SECONDS,
    ) -> None:
        self._workers = workers
        self._own_rank = own_rank
        self._on_gone = on_gone
        self._interval_seconds = interval_seconds
        self._unreachable_seconds = unreachable_seconds
        self._silent_since: Dict[int, float] = {}
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
            problem = self._find_problem()
            if problem is not None and not self._stopped.is_set():
                self._on_gone(UnavailableError(f"rank {self._own_rank}: {problem}"))
                return

    def _find_problem(self) -> Optional[str]:
        """Looks at every peer once; returns what is wrong with the first bad one, or None."""
        for rank, address in enumerate(self._workers):
            if rank == self._own_rank:
                continue
            answer = probe(address)
            if answer == REFUSES:
                return f"rank {rank} at {address} is gone before training ended; see its log"
            if answer == LISTENS:
                self._silent_since.pop(rank, None)
                continue
            since = self._silent_since.setdefault(rank, time.monotonic())
            if time.monotonic() - since >= self._unreachable_seconds:
                return (
                    f"rank {rank} at {address} cannot be reached for "
                    f"{self._unreachable_seconds:g} s; its host or the network to it is down"
                )
        return None
