"""The endpoint over a real socket: what it serves, to whom, and what it refuses."""

import base64
import contextlib
import gzip
import http.client
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import bcrypt
import pytest
import yaml
from prometheus_client.registry import Collector

from bench.errors import PortError, UsageError
from bench.export import server as server_module
from bench.export.collector import BuildCollector
from bench.export.server import MAX_CONNECTIONS, MetricsServer, parse_listen
from bench.export.web_guard import PasswordChecker, RateLimit, WebGuard

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


class Broken(Collector):
    """A collector that fails."""

    def describe(self):
        """Nothing."""
        return []

    def collect(self):
        """Fails with a text that must not get out."""
        raise RuntimeError("secret inside")


@pytest.fixture
def server():
    """An endpoint with one constant series."""
    with MetricsServer([BuildCollector()], 0) as running:
        yield running


def _ask(server, path="/metrics", method="GET", context=None, **headers):
    connection = (
        http.client.HTTPConnection(*server.address, timeout=10)
        if context is None
        else http.client.HTTPSConnection(*server.address, timeout=10, context=context)
    )
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def _send(server, data):
    """What comes back for raw bytes, until the server closes."""
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        chunks = []
        while True:
            try:
                chunk = client.recv(65536)
            except ConnectionError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        return b"".join(chunks)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9412", ("127.0.0.1", 9412)),
        (":0", ("127.0.0.1", 0)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9412", ("::1", 9412)),
        ("host.example:65535", ("host.example", 65535)),
    ],
)
def test_listen_addresses(text, address):
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", "9412", "host", "host:", "h:70000", "::1:9412", "h:-1", "h:8x"]
)
def test_wrong_listen_addresses_are_named(text):
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        parse_listen(text)


def test_loopback_by_default_and_its_end(server):
    assert server.address[0] == "127.0.0.1"
    answer, body = _ask(server)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"ascend_bert_exporter_build_info" in body
    with pytest.raises(PortError, match=f"127.0.0.1:{server.address[1]}"):
        MetricsServer([BuildCollector()], server.address[1])
    server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, timeout=10)


def test_an_address_that_is_not_ours_is_a_clear_error():
    with pytest.raises(PortError, match=r"192\.0\.2\.1:0"):
        MetricsServer([BuildCollector()], 0, "192.0.2.1")
    with pytest.raises(PortError, match="no-such-host"):
        MetricsServer([BuildCollector()], 0, "no-such-host.invalid")


def test_ipv6():
    with MetricsServer([BuildCollector()], 0, "::1") as running:
        assert running.url.startswith("http://[::1]:")
        with urllib.request.urlopen(running.url, timeout=10) as answer:
            assert answer.status == 200


def test_formats_and_compression(server):
    answer, body = _ask(server, Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    answer, body = _ask(server, Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"build_info" in gzip.decompress(body)


def test_names_can_be_chosen(server):
    _, body = _ask(server, "/metrics?name[]=ascend_bert_exporter_build_info")
    assert b"build_info" in body
    _, body = _ask(server, "/metrics?name[]=other")
    assert body == b""


def test_pages_and_methods(server):
    answer, body = _ask(server, "/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'<a href="/metrics">' in body
    assert _ask(server, "/-/healthy")[1] == b"healthy\n"
    assert _ask(server, "/../etc/passwd")[0].status == 404
    for method in ("POST", "PUT", "DELETE", "TRACE", "X" * 100):
        assert _ask(server, method=method)[0].status == 405
    answer, body = _ask(server, method="HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


def test_every_answer_has_the_headers_and_no_version(server):
    for path in ("/", "/metrics", "/nothing"):
        headers = _ask(server, path)[0].headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"] == "ascend-bert"
    assert "nosniff" in str(_ask(server, method="POST")[0].headers)


def test_a_fault_of_ours_is_a_500_without_its_insides():
    with MetricsServer([Broken()], 0) as running:
        answer, body = _ask(running)
        assert (answer.status, body) == (500, b"cannot collect: RuntimeError\n")
        assert _ask(running, "/-/healthy")[0].status == 200


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: aaaaaaaaaaaaaaaa\r\n" * 2000 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
    ],
    ids=["long line", "long header", "many headers", "version", "tls on http", "short"],
)
def test_wrong_requests_are_refused_and_the_next_one_is_served(server, request_text, status):
    assert status in _send(server, request_text)[:64]
    assert _ask(server)[0].status == 200


def test_a_slow_client_is_cut_off_and_holds_up_nobody(server, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTION_SECONDS", 0.6)
    started = time.monotonic()
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert _ask(server)[0].status == 200

        def drip():
            try:
                while True:
                    client.sendall(b"X")
                    time.sleep(0.1)
            except OSError:
                return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            while client.recv(4096):
                pass
        except OSError:
            pass
        took = time.monotonic() - started
    thread.join()
    assert 0.4 < took < 5.0


def test_more_connections_than_allowed_are_closed_and_room_comes_back(server):
    clients = [socket.create_connection(server.address, timeout=10) for _ in range(MAX_CONNECTIONS)]
    try:
        for _ in range(100):
            if len(server._server._open) == MAX_CONNECTIONS:
                break
            time.sleep(0.02)
        with pytest.raises((http.client.HTTPException, OSError)):
            _ask(server)
    finally:
        for client in clients:
            client.close()
    for _ in range(100):
        try:
            assert _ask(server)[0].status == 200
            break
        except (http.client.HTTPException, OSError):
            time.sleep(0.05)
    else:
        pytest.fail("no room came back")


def _write(tmp_path, plain):
    path = tmp_path / "web.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


def _basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_basic_auth_over_the_wire(tmp_path):
    path = _write(tmp_path, {"basic_auth_users": {"alice": HASH.replace("$2b$", "$2y$")}})
    with MetricsServer([BuildCollector()], 0, guard=WebGuard(path)) as running:
        answer, body = _ask(running)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert b"build_info" not in body
        assert _ask(running, Authorization=_basic("alice", "right"))[0].status == 200
        for wrong in ("wrong", "", "right\0more"):
            assert _ask(running, Authorization=_basic("alice", wrong))[0].status == 401
        for header in (_basic("bob", "right"), "Basic !!!", "Bearer x", "Basic"):
            assert _ask(running, Authorization=header)[0].status == 401
        # A user who is struck out has no access from then on, although the pair was right before.
        _write(tmp_path, {"basic_auth_users": {"carol": HASH}})
        assert _ask(running, Authorization=_basic("alice", "right"))[0].status == 401
        assert _ask(running, Authorization=_basic("carol", "right"))[0].status == 200
        # A file that has become wrong leaves the last good one in force.
        path.write_text("basic_auth_users: [")
        assert _ask(running, Authorization=_basic("carol", "right"))[0].status == 200
        assert _ask(running)[0].status == 401


def test_a_right_pair_is_not_hashed_again(monkeypatch):
    checker = PasswordChecker({"alice": HASH})
    assert checker.check(_basic("alice", "right"))
    monkeypatch.setattr(bcrypt, "checkpw", None)
    assert checker.check(_basic("alice", "right"))
    with pytest.raises(TypeError):
        checker.check(_basic("alice", "wrong"))


def test_an_unknown_name_costs_as_much_as_a_known_one():
    checker = PasswordChecker({})
    assert not checker.check(_basic("nobody", "no password"))


def test_rate_limit_is_a_token_bucket():
    now = [0.0]
    limit = RateLimit(2.0, 3, clock=lambda: now[0])
    assert [limit.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 1.9
    assert not limit.take()
    now[0] = 2.1
    assert limit.take()
    now[0] = 1000.0
    assert [limit.take() for _ in range(4)] == [True, True, True, False]


def test_rate_limit_over_the_wire(tmp_path):
    path = _write(tmp_path, {"rate_limit": {"interval": "1h", "burst": 2}})
    with MetricsServer([BuildCollector()], 0, guard=WebGuard(path)) as running:
        answers = [_ask(running)[0].status for _ in range(3)]
    assert answers == [200, 200, 429]


def test_own_headers(tmp_path):
    headers = {"X-Frame-Options": "SAMEORIGIN", "Strict-Transport-Security": "max-age=1"}
    path = _write(tmp_path, {"http_server_config": {"http2": False, "headers": headers}})
    with MetricsServer([BuildCollector()], 0, guard=WebGuard(path)) as running:
        found = _ask(running)[0].headers
    assert found.get_all("X-Frame-Options") == ["SAMEORIGIN"]
    assert "Strict-Transport-Security" not in found  # means nothing without TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA, a server's certificate and a client's, made by openssl."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(
            ["openssl", *arguments], cwd=str(folder), check=True, stderr=subprocess.DEVNULL
        )

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca",
            "-days", "2")  # fmt: skip
    for name, san in (("server", "IP:127.0.0.1"), ("client", "DNS:prometheus.example")):
        (folder / f"{name}.ext").write_text(f"subjectAltName={san}\n")
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.crt", "-days", "2", "-extfile",
                f"{name}.ext")  # fmt: skip
    return folder


def _tls(certificates, **more):
    return {"cert_file": str(certificates / "server.crt"), "key_file": "server.key", **more}


def _context(certificates, client=False):
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    if client:
        context.load_cert_chain(str(certificates / "client.crt"), str(certificates / "client.key"))
    return context


def _write_tls(certificates, **more):
    # Beside the key: paths in the file are relative to it.
    return _write(certificates, {"tls_server_config": _tls(certificates, **more)})


def test_tls(certificates):
    with MetricsServer([BuildCollector()], 0, guard=WebGuard(_write_tls(certificates))) as running:
        assert running.url.startswith("https://")
        assert _ask(running, context=_context(certificates))[0].status == 200
        assert _send(running, b"GET /metrics HTTP/1.1\r\n\r\n")[:5] != b"HTTP/"
        with pytest.raises(ssl.SSLError):
            _ask(running, context=ssl.create_default_context())
        # A handshake that never comes holds up nobody.
        with socket.create_connection(running.address, timeout=10):
            assert _ask(running, context=_context(certificates))[0].status == 200


def test_tls_asks_for_a_clients_certificate(certificates):
    path = _write_tls(
        certificates,
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file="ca.crt",
        client_allowed_sans=["prometheus.example"],
    )
    with MetricsServer([BuildCollector()], 0, guard=WebGuard(path)) as running:
        assert _ask(running, context=_context(certificates, client=True))[0].status == 200
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            _ask(running, context=_context(certificates))
        _write_tls(
            certificates,
            client_auth_type="RequireAndVerifyClientCert",
            client_ca_file="ca.crt",
            client_allowed_sans=["other.example"],
        )
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            _ask(running, context=_context(certificates, client=True))


def test_old_tls_is_refused(certificates):
    guard = WebGuard(_write_tls(certificates, min_version="TLS13"))
    with MetricsServer([BuildCollector()], 0, guard=guard) as running:
        context = _context(certificates)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            _ask(running, context=context)


def test_a_slow_handshake_is_cut_off(certificates, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTION_SECONDS", 0.5)
    with MetricsServer([BuildCollector()], 0, guard=WebGuard(_write_tls(certificates))) as running:
        started = time.monotonic()
        with socket.create_connection(running.address, timeout=10) as client:
            client.sendall(b"\x16\x03\x01")
            with contextlib.suppress(ConnectionError):
                assert client.recv(100) == b""
        assert time.monotonic() - started < 5.0


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "must be a mapping"),
        ({"tls": {}}, "does not know 'tls' here"),
        ({"tls_server_config": {"cert_file": "a"}}, "needs key_file"),
        ({"tls_server_config": {"cert_file": "a", "key_file": "b"}}, "is not usable"),
        ({"tls_server_config": {"cert_file": 1, "key_file": "b"}}, "must be a text"),
        (
            {"tls_server_config": {"cert_file": "a", "key_file": "b", "min_version": "TLS10"}},
            "versions must be of TLS12, TLS13",
        ),
        (
            {
                "tls_server_config": {
                    "cert_file": "a",
                    "key_file": "b",
                    "min_version": "TLS13",
                    "max_version": "TLS12",
                }
            },
            "min_version is above",
        ),
        (
            {"tls_server_config": {"cert_file": "a", "key_file": "b", "client_ca_file": "c"}},
            "must be given together",
        ),
        (
            {
                "tls_server_config": {
                    "cert_file": "a",
                    "key_file": "b",
                    "client_auth_type": "RequestClientCert",
                }
            },
            "'RequestClientCert' is not offered here",
        ),
        ({"http_server_config": {"http2": True}}, "HTTP/1 only"),
        ({"http_server_config": {"headers": {"Set-Cookie": "x"}}}, "does not know 'Set-Cookie'"),
        (
            {"http_server_config": {"headers": {"X-Frame-Options": "a\r\nb"}}},
            "must be one line of text",
        ),
        ({"basic_auth_users": ["alice"]}, "must map names"),
        ({"basic_auth_users": {"alice": "hunter2"}}, "the value of alice is not a bcrypt hash"),
        ({"basic_auth_users": {"a:b": HASH}}, "without a colon"),
        ({"rate_limit": {"interval": "soon"}}, "must be a time"),
        ({"rate_limit": {"interval": "1s", "burst": -1}}, "whole number"),
        ({"rate_limit": {"interval": "1s"}}, "no request would be answered"),
    ],
)
def test_wrong_web_configs_are_named(tmp_path, plain, message):
    with pytest.raises(UsageError, match=message) as caught:
        WebGuard(_write(tmp_path, plain))
    assert "hunter2" not in str(caught.value)


def test_a_web_config_that_is_not_there_or_not_yaml(tmp_path):
    with pytest.raises(UsageError, match="cannot read web config"):
        WebGuard(tmp_path / "absent.yaml")
    path = tmp_path / "web.yaml"
    path.write_text("basic_auth_users: {alice: 'secret\n")
    with pytest.raises(UsageError, match="is not YAML") as caught:
        WebGuard(path)
    assert "secret" not in str(caught.value)


def test_without_bcrypt_users_are_refused_not_let_in(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(UsageError, match="needs the Python package bcrypt"):
        WebGuard(_write(tmp_path, {"basic_auth_users": {"alice": HASH}}))
