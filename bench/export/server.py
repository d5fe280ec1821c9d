"""The ``/metrics`` endpoint."""

from __future__ import annotations

import socketserver
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from bench.errors import PortError

LOOPBACK = "127.0.0.1"


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Without this a second server could silently share the port.
    allow_reuse_port = False


class _QuietHandler(WSGIRequestHandler):
    # A client that never finishes its request must not hold a thread for ever.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - base class's name
        """Scrapes are not worth a line each."""


class MetricsServer:
    """Serves a collector until closed. Use as a context manager.

    Args:
        collector: asked at each scrape.
        port: TCP port, 0 for any free one.
        address: loopback unless the caller says otherwise.

    Raises:
        PortError: the port cannot be bound.
    """

    def __init__(self, collector: Collector, port: int, address: str = LOOPBACK) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        try:
            self._server = make_server(
                address, port, make_wsgi_app(registry), _Server, handler_class=_QuietHandler
            )
        except (OSError, OverflowError) as error:
            raise PortError(
                f"cannot serve metrics on {address}:{port}: {error}; "
                "choose another --metrics-port or --metrics-address"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/metrics"

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops serving and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
