"""The file from which Prometheus learns where a run's metrics are (``file_sd_configs``)."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Optional

from bench.errors import OutputError
from bench.export.server import Address
from bench.results.store import write_text_atomically

_WILDCARDS = ("0.0.0.0", "::", "")


class TargetFile:
    """A ``file_sd`` file with one target, there as long as the target is. A context manager.

    Args:
        path: ``*.json``; its folder is made.
        target: ``host:port`` as Prometheus reaches it.
        scheme: ``http`` or ``https``.
    """

    def __init__(self, path: Path, target: str, scheme: str) -> None:
        self._path = path
        self._target = target
        self._scheme = scheme

    def __enter__(self) -> TargetFile:
        """Writes the file whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {self._path.parent}: {error.strerror}") from error
        write_text_atomically(self._path, render_targets(self._target, self._scheme))
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def render_targets(target: str, scheme: str) -> str:
    """The file's text; the scheme is a label that Prometheus takes away."""
    return json.dumps([{"targets": [target], "labels": {"__scheme__": scheme}}], indent=1) + "\n"


def choose_target(address: Address, advertised: Optional[str]) -> str:
    """``host:port`` under which others reach an endpoint.

    Args:
        address: what the endpoint listens on.
        advertised: host, or host and port, if the user says it.
    """
    host, port = address
    if advertised:
        if advertised.startswith("[") or advertised.count(":") != 1:
            return advertised if advertised.endswith(f":{port}") else f"{advertised}:{port}"
        return advertised
    if host in _WILDCARDS:
        host = socket.gethostname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
