"""Everything through which the metrics of a session get out, opened and closed as one."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Sequence

from prometheus_client import write_to_textfile
from prometheus_client.registry import Collector

from bench.errors import OutputError, UsageError
from bench.export.push import Pusher
from bench.export.server import Address, MetricsServer, build_registry
from bench.export.targets import TargetFile, choose_target
from bench.export.web_guard import WebGuard

PUSH_SECONDS = 10.0
PUSH_LINGER_SECONDS = 30.0
_TICK_SECONDS = 0.5

Note = Callable[[str], None]


@dataclass(frozen=True)
class PublishOptions:
    """Where metrics are to go.

    Attributes:
        listen: address of the endpoint, None for none.
        web_config: the endpoint's TLS and users.
        target_file: ``file_sd`` file to write, None for none.
        advertise: host, or host and port, to write into it.
        push_url: Pushgateway, None for none.
        textfile: ``*.prom`` file to write at the end, None for none.
        linger_seconds: how long the endpoint stays after the last run; None for none without a
            Pushgateway and :data:`PUSH_LINGER_SECONDS` with one.
    """

    listen: Optional[Address] = None
    web_config: Optional[Path] = None
    target_file: Optional[Path] = None
    advertise: Optional[str] = None
    push_url: Optional[str] = None
    textfile: Optional[Path] = None
    linger_seconds: Optional[float] = None


class Publisher:
    """Publishes collectors as the options say. Use as a context manager.

    Args:
        options: where to.
        collectors: what.
        session_id: identity of the command, by which a Pushgateway keeps it apart.
        note: where to say what people should know.

    Raises:
        PortError: the endpoint's port cannot be bound.
        UsageError: an option does not hold.
        OutputError: the target file cannot be written.
    """

    def __init__(
        self,
        options: PublishOptions,
        collectors: Sequence[Collector],
        session_id: str,
        note: Note,
    ) -> None:
        check_textfile(options.textfile)
        self._options = options
        self._note = note
        self._registry = build_registry(collectors)
        self._end = threading.Event()
        self._pushed_at = -PUSH_SECONDS
        self._pusher = (
            None
            if options.push_url is None
            else Pusher(options.push_url, self._registry, session_id, note)
        )
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            if options.listen is not None:
                self._open_endpoint(options.listen, collectors, opening)
            self._stack = opening.pop_all()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        if self._pusher is not None:
            self._thread.start()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def linger(self, is_interrupted: Callable[[], bool]) -> None:
        """Stays up so that the end can be scraped, until the time is over or a signal came."""
        seconds = self._options.linger_seconds
        if seconds is None:
            seconds = PUSH_LINGER_SECONDS if self._pusher is not None else 0.0
        self._push_now()
        if seconds > 0.0:
            self._note(f"metrics stay for {seconds:g} s")
        end = time.monotonic() + seconds
        while time.monotonic() < end and not is_interrupted():
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))

    def close(self) -> None:
        """Writes the text file, cleans the Pushgateway, closes the endpoint, removes its target."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            if self._options.textfile is not None:
                write_textfile(self._options.textfile, self._registry)
        finally:
            if self._pusher is not None:
                self._pusher.close()
            self._stack.close()

    def _open_endpoint(
        self, listen: Address, collectors: Sequence[Collector], stack: contextlib.ExitStack
    ) -> None:
        options = self._options
        guard = WebGuard(options.web_config)
        server = stack.enter_context(MetricsServer(collectors, listen[1], listen[0], guard))
        self._note(f"metrics: {server.url}")
        if options.target_file is not None:
            target = choose_target(server.address, options.advertise)
            stack.enter_context(TargetFile(options.target_file, target, server.scheme))

    def _follow(self) -> None:
        while not self._end.wait(_TICK_SECONDS):
            if time.monotonic() - self._pushed_at >= PUSH_SECONDS:
                self._push_now()

    def _push_now(self) -> None:
        if self._pusher is not None:
            self._pushed_at = time.monotonic()
            self._pusher.push()


def check_textfile(path: Optional[Path]) -> None:
    """Refuses names that node_exporter would not read.

    Raises:
        UsageError: not ``*.prom``.
    """
    if path is not None and path.suffix != ".prom":
        raise UsageError(f"{path}: the textfile collector reads only files that end in .prom")


def write_textfile(path: Path, registry: object) -> None:
    """Writes the text format whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_to_textfile(str(path), registry)  # type: ignore[arg-type]
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
