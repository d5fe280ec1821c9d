"""Runs a short command that may fail, say too much, or never end.

A vendor's tool can hang in the driver. The command gets a process group of its own, which is killed
when its time is over or when the caller wants it no more, and what it prints is read up to a limit,
so that neither a hanging nor a babbling tool can hold up or fill the harness.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

MAX_OUTPUT_BYTES = 4 << 20
_POLL_SECONDS = 0.05
_LAST_WAIT_SECONDS = 0.5
_REASON_LENGTH = 200


@dataclass(frozen=True)
class CommandAnswer:
    """What a command gave.

    Attributes:
        output: its standard output, also that of a failed command.
        errors: its standard error.
        exit_code: negative signal number after a kill; None when it did not start.
        seconds: wall time.
        cpu_seconds: processor time, its waited-for children included.
        reason: why it failed, in one line for people; None when it ended with 0.
    """

    output: str
    errors: str
    exit_code: Optional[int]
    seconds: float
    cpu_seconds: float
    reason: Optional[str]


def run_command(
    argv: Sequence[str],
    timeout_seconds: float,
    variables: Optional[Mapping[str, str]] = None,
    cancel: Optional[threading.Event] = None,
) -> CommandAnswer:
    """Runs a command without a shell and without input, in plain English; never raises.

    Args:
        argv: program and arguments.
        timeout_seconds: when it is killed.
        variables: more environment variables.
        cancel: when set, the command is killed at once.
    """
    start = time.monotonic()
    name = os.path.basename(argv[0])
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", **(variables or {})},
            start_new_session=True,
        )
    except FileNotFoundError:
        return _build_unstarted(start, f"{name} is not installed")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        return _build_unstarted(start, f"{name} does not run: {said}")
    with process:
        deadline = start + timeout_seconds
        texts, closed = _read_output(process, deadline, cancel)
        late = not (closed and _await_end(process, deadline, cancel))
        # Before the process is reaped: until then nobody else can have the number of its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        cpu_seconds = _reap(process, time.monotonic() + _LAST_WAIT_SECONDS)
    output, errors = (bytes(text).decode("utf-8", "replace") for text in texts)
    code = process.returncode
    reason: Optional[str] = None
    if late:
        reason = f"{name} took longer than {timeout_seconds:g} s"
        if cancel is not None and cancel.is_set():
            reason = f"{name} was no longer wanted"
    elif code != 0:
        reason = f"{name} exited with {code}{_quote_first_line(errors or output)}"
    return CommandAnswer(output, errors, code, time.monotonic() - start, cpu_seconds, reason)


def _build_unstarted(start: float, reason: str) -> CommandAnswer:
    return CommandAnswer("", "", None, time.monotonic() - start, 0.0, reason)


def _read_output(
    process: subprocess.Popen[bytes], deadline: float, cancel: Optional[threading.Event]
) -> Tuple[List[bytearray], bool]:
    """Reads both streams until they close, or the command ends; False when its time is over."""
    texts = [bytearray(), bytearray()]
    with selectors.DefaultSelector() as selector:
        for stream, text in zip((process.stdout, process.stderr), texts):
            assert stream is not None
            selector.register(stream.fileno(), selectors.EVENT_READ, text)
        has_ended = False
        while selector.get_map():
            wait = min(_POLL_SECONDS, deadline - time.monotonic())
            if wait <= 0.0 or (cancel is not None and cancel.is_set()):
                return texts, False
            ready = selector.select(0.0 if has_ended else wait)
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fd)
                elif len(key.data) < MAX_OUTPUT_BYTES:
                    key.data.extend(chunk)
            if not ready and has_ended:
                # A child that it left behind may hold the streams open for ever.
                break
            # What it wrote last before its end is read in another turn.
            has_ended = not ready and _has_ended(process)
    return texts, True


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process is gone; it stays to be reaped, as its cost comes with that."""
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _await_end(
    process: subprocess.Popen[bytes], deadline: float, cancel: Optional[threading.Event]
) -> bool:
    """Waits for the end; False when it is late or no longer wanted."""
    pause = 0.001
    while not _has_ended(process):
        if time.monotonic() > deadline or (cancel is not None and cancel.is_set()):
            return False
        time.sleep(pause)
        pause = min(2.0 * pause, _POLL_SECONDS)
    return True


def _reap(process: subprocess.Popen[bytes], deadline: float) -> float:
    """Takes the exit code, and returns the processor time that the command took in seconds."""
    while True:
        process_id, status, usage = os.wait4(process.pid, os.WNOHANG)
        if process_id:
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            process.returncode = code
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            # It cannot be killed while it waits in the kernel. Leave it, or we would wait as well.
            process.returncode = -signal.SIGKILL
            return 0.0
        time.sleep(0.001)


def _quote_first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f": {lines[0][:_REASON_LENGTH]}" if lines else ""
