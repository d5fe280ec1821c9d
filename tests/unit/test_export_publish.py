"""How metrics of a session get out: target file, Pushgateway, text file, linger."""

import json
import socket
import stat
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bench.cli import build_parser
from bench.commands.metrics import build_publish_options
from bench.errors import OutputError, PortError, UsageError
from bench.export import publisher as publisher_module
from bench.export.collector import BuildCollector
from bench.export.publisher import Publisher, PublishOptions
from bench.export.push import Pusher
from bench.export.server import build_registry
from bench.export.targets import choose_target


class Gateway:
    """A Pushgateway that only remembers what it was asked."""

    def __init__(self, status=200):
        self.requests = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            """Answers everything alike."""

            def _take(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                gateway.requests.append(
                    (self.command, self.path, self.headers.get("Authorization"), body)
                )
                self.send_response(status)
                self.end_headers()

            do_PUT = do_DELETE = do_POST = _take

            def log_message(self, *arguments):
                """Says nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.netloc = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def notes():
    """What was said to people."""
    return []


def _wait_for(what):
    end = time.monotonic() + 10.0
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("address", "advertised", "target"),
    [
        (("127.0.0.1", 9), None, "127.0.0.1:9"),
        (("::1", 9), None, "[::1]:9"),
        (("0.0.0.0", 9), None, socket.gethostname() + ":9"),
        (("0.0.0.0", 9), "node7", "node7:9"),
        (("0.0.0.0", 9), "node7:80", "node7:80"),
        (("0.0.0.0", 9), "[fe80::1]", "[fe80::1]:9"),
        (("0.0.0.0", 9), "[fe80::1]:9", "[fe80::1]:9"),
    ],
)
def test_how_others_reach_the_endpoint(address, advertised, target):
    assert choose_target(address, advertised) == target


def test_target_file_is_there_as_long_as_the_endpoint(tmp_path, notes):
    path = tmp_path / "deep" / "targets.json"
    options = PublishOptions(listen=("127.0.0.1", 0), target_file=path)
    with Publisher(options, [BuildCollector()], "s", notes.append):
        (group,) = json.loads(path.read_text())
        assert group["labels"] == {"__scheme__": "http"}
        # Prometheus often runs as another user.
        assert stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH
        with urllib.request.urlopen("http://{}/metrics".format(group["targets"][0])) as answer:
            assert answer.status == 200
    assert not path.exists()
    assert [note for note in notes if note.startswith("metrics: http://127.0.0.1:")] == notes


def test_a_target_file_that_cannot_be_written_frees_the_port(tmp_path, notes):
    (tmp_path / "file").write_text("")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = PublishOptions(("127.0.0.1", port), target_file=tmp_path / "file" / "targets.json")
    with pytest.raises(OutputError, match="cannot make"):
        Publisher(options, [], "s", notes.append)
    free = PublishOptions(("127.0.0.1", port))
    with Publisher(free, [], "s", notes.append), pytest.raises(PortError):
        Publisher(free, [], "s", notes.append)


def test_push_replaces_and_deletes_at_the_end(notes):
    with Gateway() as gateway:
        url = f"http://{gateway.netloc}/"
        pusher = Pusher(url, build_registry([BuildCollector()]), "s", notes.append)
        assert pusher.push()
        assert pusher.push()
        assert pusher.close()
        assert pusher.close()
    assert [request[:2] for request in gateway.requests] == [
        ("PUT", "/metrics/job/ascend-bert-pushed/session_id/s"),
        ("PUT", "/metrics/job/ascend-bert-pushed/session_id/s"),
        ("DELETE", "/metrics/job/ascend-bert-pushed/session_id/s"),
    ]
    assert b"ascend_bert_exporter_build_info" in gateway.requests[0][3]
    assert notes == []


def test_name_and_password_are_sent_and_never_shown(notes):
    with Gateway(status=500) as gateway:
        pusher = Pusher(f"http://me:p%40ss@{gateway.netloc}", build_registry([]), "s", notes.append)
        assert pusher.url == f"http://{gateway.netloc}"
        assert not pusher.push()
        assert not pusher.push()
    assert gateway.requests[0][2] == "Basic bWU6cEBzcw=="
    (note,) = notes
    assert "p%40ss" not in note
    assert note.startswith(f"cannot push to the Pushgateway http://{gateway.netloc}: ")


def test_a_gateway_that_is_not_there_is_said_once(notes):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pusher = Pusher(f"http://127.0.0.1:{port}", build_registry([]), "s", notes.append)
    assert not pusher.push()
    assert not pusher.push()
    assert not pusher.close()
    assert len(notes) == 1


@pytest.mark.parametrize("url", ["", "gateway:9091", "ftp://gateway", "http://"])
def test_what_is_no_gateway(url, notes):
    with pytest.raises(UsageError, match="--push needs http"):
        Pusher(url, build_registry([]), "s", notes.append)


def test_a_session_pushes_while_it_goes_and_cleans_up(notes, monkeypatch):
    monkeypatch.setattr(publisher_module, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(publisher_module, "PUSH_SECONDS", 0.0)
    with Gateway() as gateway:
        options = PublishOptions(push_url=f"http://{gateway.netloc}", linger_seconds=0.1)
        with Publisher(options, [BuildCollector()], "s", notes.append) as publisher:
            _wait_for(lambda: len(gateway.requests) > 2)
            publisher.linger(lambda: False)
        methods = [request[0] for request in gateway.requests]
    assert set(methods[:-1]) == {"PUT"}
    assert methods[-1] == "DELETE"
    assert notes == ["metrics stay for 0.1 s"]


def test_a_signal_ends_the_linger(notes):
    with Publisher(PublishOptions(linger_seconds=60.0), [], "s", notes.append) as metrics:
        started = time.monotonic()
        metrics.linger(lambda: time.monotonic() - started > 0.1)
        assert time.monotonic() - started < 10.0


def test_textfile_at_the_end(tmp_path, notes):
    path = tmp_path / "run.prom"
    with Publisher(PublishOptions(textfile=path), [BuildCollector()], "s", notes.append):
        assert not path.exists()
    assert "ascend_bert_exporter_build_info" in path.read_text()
    with pytest.raises(UsageError, match="end in .prom"):
        Publisher(PublishOptions(textfile=tmp_path / "run"), [], "s", notes.append)


def _options(tmp_path, *words):
    arguments = build_parser().parse_args(["bench", *words])
    return build_publish_options(arguments, tmp_path, "session")


def test_options_of_the_command_line(tmp_path):
    assert _options(tmp_path) == PublishOptions()
    options = _options(tmp_path, "--metrics-port", "0", "--linger", "30", "--advertise", "node7")
    assert options.listen == ("127.0.0.1", 0)
    assert options.target_file == tmp_path / "prometheus" / "session.json"
    assert options.linger_seconds == 30.0
    options = _options(tmp_path, "--metrics-port", "1", "--file-sd", "x.json", "--push", "http://g")
    assert (str(options.target_file), options.push_url) == ("x.json", "http://g")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics-port", "70000"], "0 to 65535"),
        (["--web.config.file", "x"], "is for the endpoint"),
        (["--file-sd", "x"], "is for the endpoint"),
        (["--advertise", "x"], "is for the endpoint"),
        (["--linger", "1"], "needs --metrics-port or --push"),
        (["--push", "http://g", "--linger", "-1"], "0 or more"),
        (["--push", "http://g", "--linger", "inf"], "0 or more"),
        (["--push", "http://g", "--linger", "nan"], "0 or more"),
    ],
)
def test_options_that_do_not_hold(tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        _options(tmp_path, *words)
