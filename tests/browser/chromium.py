"""A real browser without a window: Chromium over the pipe of its DevTools protocol.

No driver and no socket: the browser reads commands from file descriptor 3 and answers on 4, JSON
messages that end in a zero byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> Optional[str]:
    """Path of a browser, None without one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A running browser; use :func:`open_browser`."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._last = 0
        self.events: List[Dict[str, Any]] = []

    def call(self, method: str, session: Optional[str] = None, **parameters: Any) -> Dict[str, Any]:
        """Sends a command and waits for its answer; events that come before it are kept."""
        self._last += 1
        message: Dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(30.0)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def wait(self, method: str, seconds: float = 30.0) -> Dict[str, Any]:
        """The first event of a name, also one that came before."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if event.get("method") == method:
                    return event
            self.events.append(self._read(deadline - time.monotonic()))

    def _read(self, seconds: float) -> Dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, seconds))
            if not ready:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._buffer += data
        text, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(text))


class Page:
    """A tab that shows a file."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        found = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Dict[str, Any]:
        """A command to this tab."""
        return self.browser.call(method, self.session, **parameters)

    def show(self, path: Path, width: int, dark: bool = False, phone: bool = False) -> None:
        """Opens a file at a width in CSS pixels and waits until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.browser.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.browser.wait("Page.loadEventFired")

    def ask(self, expression: str) -> Any:
        """Value of an expression of JavaScript in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def take_picture(self, path: Path, whole: bool = True) -> None:
        """Writes a PNG of the page, or of what is in sight."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def list_requests(self) -> List[str]:
        """Addresses of all requests since the page was opened, but those that a policy stopped."""
        asked: Dict[str, str] = {}
        for event in self.browser.events:
            parameters = event.get("params", {})
            if event.get("method") == "Network.requestWillBeSent":
                asked[parameters["requestId"]] = parameters["request"]["url"]
            elif parameters.get("blockedReason") == "csp":
                asked.pop(parameters["requestId"], None)
        return list(asked.values())

    def list_complaints(self) -> List[str]:
        """What the browser has logged: violations of the policy, errors of scripts."""
        told = []
        for event in self.browser.events:
            if event.get("method") == "Log.entryAdded":
                told.append(event["params"]["entry"]["text"])
            elif event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                told.append(json.dumps(event["params"]))
        return told


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Starts a browser with an empty profile, and ends it.

    Raises:
        FileNotFoundError: there is none.
    """
    name = find_browser()
    if name is None:
        raise FileNotFoundError("no Chromium: scripts/install-tools installs it")
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    flags = [
        "--headless=new",
        "--remote-debugging-pipe",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    # The shell puts the ends of the pipes where the browser looks for them.
    shell = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", str(read_commands), str(write_answers), name, *flags],
        pass_fds=(read_commands, write_answers),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    browser = Browser(write_commands, read_answers)
    try:
        yield browser
    finally:
        with contextlib.suppress(Exception):
            browser.call("Browser.close")
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(write_commands)
        os.close(read_answers)
