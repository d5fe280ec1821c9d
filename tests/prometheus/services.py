"""Prometheus, Pushgateway, Alertmanager: real processes on loopback, ended by their id."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import yaml

from tests.prometheus.boards import ROOT


def find_free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], seconds: float, message: str) -> Any:
    """Asks until there is an answer, and returns it.

    Raises:
        AssertionError: the time is over.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            found = what()
            if found:
                return found
        assert time.monotonic() < end, message
        time.sleep(0.2)


def fetch_json(url: str, data: Optional[bytes] = None) -> Any:
    """The JSON behind an address."""
    with urllib.request.urlopen(url, data=data, timeout=20) as answer:
        return json.loads(answer.read().decode())


@contextlib.contextmanager
def run_service(program: str, arguments: Sequence[str], log: Path, ready: str) -> Iterator[None]:
    """A program until it is no longer needed.

    Args:
        program: what Debian calls it.
        arguments: for it.
        log: where its output goes.
        ready: address that answers when it is ready.
    """
    path = shutil.which(program)
    assert path, f"{program} is not installed; scripts/install-tools does it"
    with log.open("wb") as stream:
        process = subprocess.Popen([path, *arguments], stdout=stream, stderr=subprocess.STDOUT)
        try:

            def is_ready() -> bool:
                assert process.poll() is None, f"{program} ended: {log.read_text()[-2000:]}"
                with urllib.request.urlopen(ready, timeout=5) as answer:
                    return bool(answer.status == 200)

            wait_for(is_ready, 30.0, f"{program} is not ready: {log.read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Receiver:
    """Receives what Alertmanager sends to a webhook. Use as a context manager."""

    def __init__(self) -> None:
        self.alerts: List[Dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.alerts += json.loads(body.decode())["alerts"]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Prometheus:
    """A running Prometheus.

    Args:
        url: of its page.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str, at: Optional[float] = None) -> List[Dict[str, Any]]:
        """The samples of an instant query."""
        fields = {"query": expr, **({} if at is None else {"time": str(at)})}
        return self._ask("query", fields)

    def query_range(self, expr: str, start: float, end: float, step: float) -> List[Dict[str, Any]]:
        """The lines of a range query."""
        fields = {"query": expr, "start": str(start), "end": str(end), "step": str(step)}
        return self._ask("query_range", fields)

    def list_targets(self) -> List[Dict[str, Any]]:
        """Active targets."""
        found = fetch_json(f"{self.url}/api/v1/targets")
        targets: List[Dict[str, Any]] = found["data"]["activeTargets"]
        return targets

    def list_rules(self) -> List[Dict[str, Any]]:
        """All rules with their state."""
        groups = fetch_json(f"{self.url}/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _ask(self, what: str, fields: Dict[str, str]) -> List[Dict[str, Any]]:
        data = urllib.parse.urlencode(fields).encode()
        found = fetch_json(f"{self.url}/api/v1/{what}", data)
        assert found["status"] == "success", found
        result: List[Dict[str, Any]] = found["data"]["result"]
        return result


@contextlib.contextmanager
def run_prometheus(
    folder: Path,
    target_files: str,
    targets: Dict[str, str],
    alertmanager: Optional[str] = None,
) -> Iterator[Prometheus]:
    """Prometheus with the configuration of docker/prometheus, in a hurry and on loopback.

    Args:
        folder: for its data and its configuration.
        target_files: pattern of file_sd files.
        targets: job → ``host:port``; jobs of the configuration without one are left out.
        alertmanager: its ``host:port``.
    """
    source = ROOT / "docker" / "prometheus"
    config = yaml.safe_load((source / "prometheus.yml").read_text(encoding="utf-8"))
    # Everything is as shipped but addresses and the pace, so that the test is one of what ships.
    config["global"] = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    config["rule_files"] = [str(folder / "rules" / "*.yaml")]
    jobs = []
    for job in config["scrape_configs"]:
        if "file_sd_configs" in job:
            job.update(scrape_interval="1s", scrape_timeout="1s")
            job["file_sd_configs"] = [{"files": [target_files], "refresh_interval": "1s"}]
        elif job["job_name"] in targets:
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        else:
            continue
        jobs.append(job)
    config["scrape_configs"] = jobs
    config["alerting"] = (
        {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        if alertmanager
        else {}
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules").mkdir()
    for path in (source / "rules").glob("*.yaml"):
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in plain["groups"]:
            group.pop("interval", None)
        (folder / "rules" / path.name).write_text(yaml.safe_dump(plain), encoding="utf-8")
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = [
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with run_service("prometheus", arguments, folder / "prometheus.log", f"{url}/-/ready"):
        yield Prometheus(url)


@contextlib.contextmanager
def run_pushgateway(folder: Path) -> Iterator[str]:
    """A Pushgateway; gives its ``host:port``."""
    address = f"127.0.0.1:{find_free_port()}"
    with run_service(
        "prometheus-pushgateway",
        [f"--web.listen-address={address}", "--log.level=warn"],
        folder / "pushgateway.log",
        f"http://{address}/-/ready",
    ):
        yield address


@contextlib.contextmanager
def run_alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    """Alertmanager with the shipped routes and a receiver that can be watched."""
    source = ROOT / "docker" / "alertmanager" / "alertmanager.yml"
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    config["route"].update(group_wait="0s", group_interval="1s")
    config["receivers"][0]["webhook_configs"] = [{"url": webhook}]
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{find_free_port()}"
    arguments = [
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with run_service(
        "prometheus-alertmanager",
        arguments,
        folder / "alertmanager.log",
        f"http://{address}/-/ready",
    ):
        yield address
