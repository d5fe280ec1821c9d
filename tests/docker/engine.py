"""A container engine for the tests: the one that runs, else a daemon of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Optional

START_TIMEOUT_SECONDS = 60.0
COMMAND_TIMEOUT_SECONDS = 900.0


class Engine:
    """Docker, with a daemon of its own below ``directory`` if none answers.

    Use as a context manager; leaving it ends what it started, by process id.

    Attributes:
        variables: environment of every command.
        started: the daemon is our own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._daemon: Optional[subprocess.Popen] = None
        self.started = False
        self.client = find_client()
        self.variables: Dict[str, str] = dict(os.environ, DOCKER_BUILDKIT="1")

    def __enter__(self) -> Engine:
        if not self._answers():
            self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._daemon is None:
            return
        running = self.run("ps", "-q").stdout.split()
        if running:
            self.run("kill", *running)
        self._daemon.send_signal(signal.SIGTERM)
        try:
            self._daemon.wait(60)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()

    def run(
        self, *words: str, check: bool = False, timeout: float = COMMAND_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess:
        """Runs a command of the client; with ``check`` its failure is the test's."""
        done = subprocess.run(
            [self.client, *words],
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            tail = (done.stdout + done.stderr)[-4000:]
            raise AssertionError(f"{' '.join(words)}: exit code {done.returncode}\n{tail}")
        return done

    def image_bytes(self, image: str) -> int:
        """Size of an image's files."""
        return int(self.run("image", "inspect", "-f", "{{.Size}}", image, check=True).stdout)

    def _answers(self) -> bool:
        return self.run("version").returncode == 0

    def _start(self) -> None:
        folder = self._directory
        address = f"unix://{folder}/docker.sock"
        self.variables["DOCKER_HOST"] = address
        with (folder / "dockerd.log").open("wb") as log:
            # No bridge and no packet filter: the tests need neither, and a machine may allow none.
            self._daemon = subprocess.Popen(
                ["dockerd", "--host", address, "--bridge=none", "--iptables=false"]
                + ["--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
                + ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
                + ["--pidfile", str(folder / "docker.pid")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started = True
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                said = (folder / "dockerd.log").read_text(errors="replace").splitlines()[-5:]
                raise AssertionError("dockerd does not come up: " + "\n".join(said))
            time.sleep(0.5)


def find_client() -> str:
    """A docker client that can build with BuildKit: by itself (20.10) or by its plug-in."""
    folders = os.environ["PATH"].split(os.pathsep)
    clients: List[str] = []
    for folder in folders:
        path = shutil.which("docker", path=folder)
        if path and path not in clients:
            clients.append(path)
    for client in clients:
        if _run_quietly(client, "buildx", "version") or _has_own_buildkit(client):
            return client
    raise AssertionError(f"no docker client that builds with BuildKit (tried: {clients})")


def _run_quietly(*words: str) -> bool:
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def _has_own_buildkit(client: str) -> bool:
    said = subprocess.run(
        [client, "--version"], stdout=subprocess.PIPE, text=True, check=False
    ).stdout
    words = said.split()
    return len(words) > 2 and words[2].split(".")[0].isdigit() and int(words[2].split(".")[0]) < 23
