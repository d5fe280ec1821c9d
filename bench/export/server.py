"""The ``/metrics`` endpoint: HTTP or HTTPS, for scrapers, with limits on what a client may take."""

from __future__ import annotations

import contextlib
import gzip
import html
import io
import re
import socket
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import bench
from bench.errors import PortError, UsageError
from bench.export.web_guard import WebGuard

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 9412

MAX_CONNECTIONS = 16
REQUEST_LINE_BYTES = 4096
HEADER_BYTES = 16384
CONNECTION_SECONDS = 10.0
"""From accepting a connection to its end, however slowly the client reads or writes."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})$")

Address = Tuple[str, int]


def parse_listen(text: str) -> Address:
    """Host and port of ``127.0.0.1:9412``, ``:9412`` (loopback) or ``[::1]:9412``.

    Raises:
        UsageError: not of that form.
    """
    match = _LISTEN.match(text)
    port = int(match.group("port")) if match else -1
    if match is None or not 0 <= port <= 65535:
        raise UsageError(f"{text!r} is not HOST:PORT, such as {LOOPBACK}:{DEFAULT_PORT}")
    return match.group("v6") or match.group("host") or LOOPBACK, port


class MetricsServer:
    """Serves collectors until closed. Use as a context manager.

    Args:
        collectors: asked at each scrape, in this order.
        port: TCP port, 0 for any free one.
        address: loopback unless the caller says otherwise.
        guard: TLS, users and rate limit.

    Raises:
        PortError: the port cannot be bound.
    """

    def __init__(
        self,
        collectors: Iterable[Collector],
        port: int,
        address: str = LOOPBACK,
        guard: Optional[WebGuard] = None,
    ) -> None:
        self.registry = build_registry(collectors)
        self._guard = guard or WebGuard()
        try:
            self._server = _Server((address, port), self.registry, self._guard)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PortError(
                f"cannot serve metrics on {_join(address, port)}: {reason}; "
                "choose another address or port"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.25}, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> Address:
        """Host and port that are served."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._guard.scheme

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"{self.scheme}://{_join(*self.address)}/metrics"

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops serving, ends open connections and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections(0.0)
        self._thread.join()


def build_registry(collectors: Iterable[Collector]) -> CollectorRegistry:
    """A registry of its own: nothing of the Python process gets into it."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return registry


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 2 * MAX_CONNECTIONS

    def __init__(self, address: Address, registry: CollectorRegistry, guard: WebGuard) -> None:
        self.registry = registry
        self.guard = guard
        self._open: Dict[socket.socket, Tuple[socket.socket, float]] = {}
        self._lock = threading.Lock()
        self.address_family = _find_family(address)
        super().__init__(address, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuses a connection beyond the limit: scrapers are few."""
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                return False
            # A second handle: TLS takes the first one away while it shakes hands.
            self._open[request] = (request.dup(), time.monotonic())
            return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's thread, so that a slow handshake holds up nobody."""
        request.settimeout(CONNECTION_SECONDS)
        self.guard.refresh()
        # What a client does wrong, or leaves undone, is no news.
        with contextlib.suppress(ssl.SSLError, OSError):
            wrapped = self.guard.wrap(request)
            try:
                _Handler(wrapped, client_address, self)
            finally:
                if wrapped is not request:
                    with contextlib.suppress(OSError):
                        wrapped.close()

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection before it is closed."""
        with self._lock:
            known = self._open.pop(request, None)
        if known is not None:
            known[0].close()
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends connections that are past their time."""
        self.end_connections(CONNECTION_SECONDS)

    def end_connections(self, age_seconds: float) -> None:
        """Ends connections that are at least so old."""
        limit = time.monotonic() - age_seconds
        with self._lock:
            for connection, since in self._open.values():
                if since <= limit:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news; our own faults are answered with 500."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"  # one request per connection
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def setup(self) -> None:
        """Bounds what is read of a request."""
        super().setup()
        self.rfile: Any = _BoundedReader(self.rfile)

    def version_string(self) -> str:
        """What the ``Server`` header says: no versions."""
        return "ascend-bert"

    def do_GET(self) -> None:
        """Answers with the whole page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """The same without the body."""
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        guard = self.server.guard
        if not guard.take_turn():
            self._send(429, b"too many requests\n", with_body, [("Retry-After", "1")])
            return
        if not guard.allows(self.headers.get("Authorization")):
            challenge = [("WWW-Authenticate", 'Basic realm="ascend-bert", charset="UTF-8"')]
            self._send(401, b"name and password, please\n", with_body, challenge)
            return
        url = urlsplit(self.path)
        if url.path == "/metrics":
            self._send_metrics(url.query, with_body)
        elif url.path == "/":
            page = _render_landing_page().encode("utf-8")
            self._send(200, page, with_body, [("Content-Type", "text/html; charset=utf-8")])
        elif url.path == "/-/healthy":
            self._send(200, b"healthy\n", with_body)
        else:
            self._send(404, b"metrics are at /metrics\n", with_body)

    def _send_metrics(self, query: str, with_body: bool) -> None:
        encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
        registry: Any = self.server.registry
        names = parse_qs(query).get("name[]")
        if names:
            registry = _Chosen(registry, names)
        try:
            body = encoder(registry)
        except Exception as error:  # a scrape must not take the run's thread or tell its insides
            self._send(500, f"cannot collect: {type(error).__name__}\n".encode(), with_body)
            return
        headers = [("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding")]
        if _takes_gzip(self.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        self._send(200, body, with_body, headers)

    def _send(
        self, code: int, body: bytes, with_body: bool, headers: Iterable[Tuple[str, str]] = ()
    ) -> None:
        told = {"Content-Type": "text/plain; charset=utf-8", **dict(headers)}
        self.send_response(code)
        for name, value in told.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Adds to every answer, errors included, what keeps browsers from doing more than show."""
        extra = {**_HEADERS, **self.server.guard.config.headers}
        for name, value in extra.items():
            if not (name == "Strict-Transport-Security" and self.server.guard.scheme == "http"):
                self.send_header(name, value)
        super().end_headers()

    def send_error(self, code: int, message: Any = None, explain: Any = None) -> None:
        """Wrong requests get a line; 501 of the library becomes 405, which is what it is."""
        if code == 501:
            code, message = 405, "only GET and HEAD"
        super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - base class's name
        """Scrapes are not worth a line each."""


class _Chosen:
    """The families of a registry that ``?name[]=`` asks for, by family or by sample."""

    def __init__(self, registry: CollectorRegistry, names: Iterable[str]) -> None:
        self._registry = registry
        self._names = frozenset(names)

    def collect(self) -> Iterator[Any]:
        """Collects all and passes on what is wanted."""
        for family in self._registry.collect():
            found = {family.name, *(sample.name for sample in family.samples)}
            if found & self._names:
                yield family


class _BoundedReader(io.RawIOBase):
    """Reads lines of a request up to fixed sizes; the library alone would take 64 KiB each."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._first = True
        self._left = HEADER_BYTES

    def readline(self, limit: Optional[int] = -1) -> bytes:
        """A line; one too long comes back as longer than any limit, which the library refuses."""
        bound = REQUEST_LINE_BYTES if self._first else self._left
        line: bytes = self._stream.readline(bound + 1)
        if len(line) > bound:
            return b"x" * 65537
        if not self._first:
            self._left -= len(line)
        self._first = False
        return line

    def close(self) -> None:
        """Closes what is read from."""
        self._stream.close()
        super().close()


def _takes_gzip(header: str) -> bool:
    return any(part.split(";")[0].strip().lower() == "gzip" for part in header.split(","))


def _find_family(address: Address) -> socket.AddressFamily:
    found = socket.getaddrinfo(address[0], address[1], type=socket.SOCK_STREAM)
    return found[0][0]


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _render_landing_page() -> str:
    title = html.escape(f"ascend-bert {bench.__version__}")
    return (
        f"<!doctype html><html lang=en><title>{title}</title><h1>{title}</h1>"
        '<p><a href="/metrics">Metrics</a></p></html>\n'
    )
