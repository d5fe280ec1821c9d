"""The head's side of the messages: signs of life both ways, orders out, states in.

A thread of its own beats while the rest of the harness reads logs or writes results, so that agents
see the head alive; nothing in it waits for an agent.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from bench.errors import BenchError
from bench.launch import mailbox
from bench.launch.clock_offset import ClockOffset, OffsetBounds

_BEAT_SECONDS = 0.25
_FAST_SECONDS = 0.01
_FAST_FOR_SECONDS = 3.0
_KEPT_BEATS = 4096


@dataclass
class HostState:
    """What is known of an agent.

    Attributes:
        index: its host.
        message: its last message.
        heard_at: monotonic seconds when that was read.
        offset: bounds on its clock minus ours.
    """

    index: int
    message: Mapping[str, Any] = field(default_factory=dict)
    heard_at: float = 0.0
    offset: OffsetBounds = field(default_factory=OffsetBounds)

    @property
    def phase(self) -> str:
        """What the agent does."""
        return str(self.message.get("phase", ""))

    @property
    def trouble(self) -> str:
        """What went wrong on its side, empty if nothing did."""
        return str(self.message.get("trouble", ""))

    @property
    def order(self) -> int:
        """Number of the last order that it carried out."""
        return int(self.message.get("order", 0))

    @property
    def name(self) -> str:
        """Host name and index, for messages."""
        host = self.message.get("host", {})
        return "{} ({})".format(self.index, host.get("name", "unknown"))


class Exchange:
    """Writes the head's messages and reads those of the agents, from a thread of its own.

    Args:
        folder: folder of messages.
        subject: what the runs will use, for the agents' look at their hosts.
        timeout_seconds: agents give the head up after so long without a sign of life.
    """

    def __init__(self, folder: Path, subject: Mapping[str, Any], timeout_seconds: float) -> None:
        self.folder = folder
        self._nonce = secrets.token_hex(8)
        self._subject = dict(subject)
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._order: Dict[str, Any] = {"number": 0, "phase": "wait"}
        self._beat = 0
        self._sent: Dict[int, float] = {}
        self._states: Dict[int, HostState] = {}
        self._seen: Dict[str, Tuple[int, int]] = {}
        self._stopped = threading.Event()
        self._error = ""
        self._started_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="hosts", daemon=True)

    def start(self) -> None:
        """Starts to beat.

        Raises:
            OutputError: the folder cannot be written.
        """
        self._send()
        self._thread.start()

    def stop(self) -> None:
        """Stops to beat."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def error(self) -> str:
        """Why messages cannot be written, empty while they can."""
        return self._error

    def order(self, phase: str, **details: Any) -> int:
        """Gives all agents an order and returns its number.

        Raises:
            OutputError: it cannot be written.
        """
        with self._lock:
            number = int(self._order["number"]) + 1
            self._order = {"number": number, "phase": phase, **details}
        self._send()
        return number

    def peek_number(self) -> int:
        """Number that the next order will have."""
        with self._lock:
            return int(self._order["number"]) + 1

    def list_states(self) -> List[HostState]:
        """The agents that have said hello, by index."""
        with self._lock:
            return [self._states[index] for index in sorted(self._states)]

    def get_offset(self, index: int) -> Optional[ClockOffset]:
        """How far a host's clock is ahead of ours, None before it is known."""
        with self._lock:
            state = self._states.get(index)
            return None if state is None else state.offset.get()

    def _work(self) -> None:
        next_beat = 0.0
        while not self._stopped.is_set():
            now = time.monotonic()
            try:
                if now >= next_beat:
                    self._send()
                    next_beat = now + _BEAT_SECONDS
                self._receive()
                self._error = ""
            except BenchError as error:
                self._error = str(error)
            fast = now - self._started_at < _FAST_FOR_SECONDS
            self._stopped.wait(_FAST_SECONDS if fast else _BEAT_SECONDS / 2)

    def _send(self) -> None:
        with self._lock:
            self._beat += 1
            now = time.time()
            self._sent[self._beat] = now
            self._sent.pop(self._beat - _KEPT_BEATS, None)
            message = {
                "nonce": self._nonce,
                "beat": self._beat,
                "sent_seconds": now,
                "order": dict(self._order),
                "subject": self._subject,
                "timeout_seconds": self._timeout_seconds,
            }
            mailbox.write_message(self.folder, mailbox.HEAD, message)

    def _receive(self) -> None:
        for name in self._list_changed():
            message = mailbox.read_message(self.folder, name)
            seen_seconds, now = time.time(), time.monotonic()
            if message is None or message.get("nonce") != self._nonce:
                continue
            try:
                index = int(message["host"]["index"])
                head_seen, sent = message["head_seen_seconds"], message["sent_seconds"]
                beat = int(message["head_beat"])
            except (KeyError, TypeError, ValueError):
                continue
            with self._lock:
                state = self._states.setdefault(index, HostState(index))
                state.message, state.heard_at = message, now
                if beat in self._sent:
                    state.offset.add(sent - seen_seconds, head_seen - self._sent[beat], now)

    def _list_changed(self) -> List[str]:
        """Agents' files that are not those read before; a replaced file has another inode."""
        changed = []
        try:
            with os.scandir(str(self.folder)) as entries:
                for entry in entries:
                    if entry.name.startswith("host-") and entry.name.endswith(".json"):
                        found = os.stat(entry.path)
                        mark = (found.st_ino, found.st_mtime_ns)
                        if self._seen.get(entry.name) != mark:
                            self._seen[entry.name] = mark
                            changed.append(entry.name)
        except OSError:
            return changed
        return changed
