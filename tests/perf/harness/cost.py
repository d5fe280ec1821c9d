"""Processor time of the harness beside simulated ranks that write lines in real time."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import psutil

ROOT = Path(__file__).resolve().parents[3]
LINES_PER_LOOP = 4
"""A simulated rank ends a loop with a rate, a loss, a loss scale and a graph callback."""
_SETTLE_SECONDS = 3.0
_ENDPOINT = re.compile(r"http://([\d.]+):(\d+)/metrics")


@dataclass(frozen=True)
class Way:
    """How the harness is run.

    Attributes:
        name: for the table.
        scrapes: its endpoint is asked for metrics once a second.
        terminal: standard error is a terminal, so that a bar is drawn.
    """

    name: str
    scrapes: bool = False
    terminal: bool = False


WAYS = (
    Way("logs and telemetry"),
    Way("the same, a bar on a terminal", terminal=True),
    Way("the same, metrics scraped at 1 Hz", scrapes=True),
    Way("both", scrapes=True, terminal=True),
)


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes:
        way: how the harness was run.
        seconds: time over which it was looked at.
        cpu_seconds: processor time of the harness in it, user and system, without its children.
        main_seconds: that of the main thread, which follows the logs and draws.
        telemetry_seconds: that of the sampling, as the run itself counted it, scaled to the time.
        n_lines: lines that the ranks wrote in it.
        n_scrapes: answers of the endpoint.
        load: mean number of other tasks that wanted a core.
    """

    way: Way
    seconds: float
    cpu_seconds: float
    main_seconds: float
    telemetry_seconds: float
    n_lines: int
    n_scrapes: int
    load: float

    @property
    def core_share(self) -> float:
        """Processor time per second."""
        return self.cpu_seconds / self.seconds


def measure_cost(way: Way, ranks: int, lines_per_second: float, seconds: float) -> Cost:
    """Runs the harness over simulated ranks and watches it from outside.

    Args:
        way: how.
        ranks: each with a process of its own.
        lines_per_second: of each rank.
        seconds: length of the part that is looked at.
    """
    rate = lines_per_second / LINES_PER_LOOP
    steps = int(rate * (seconds + 2.0 * _SETTLE_SECONDS)) + 1
    with tempfile.TemporaryDirectory(prefix="harness-cost-") as folder:
        command = _build_command(folder, ranks, rate, steps, way.scrapes)
        with _start(command, way.terminal) as (process, heard):
            watched = psutil.Process(process.pid)
            runs = Path(folder) / "runs"
            _wait_until(lambda: len(list(runs.glob("*/logs/*.log"))) == ranks, process)
            time.sleep(_SETTLE_SECONDS)
            before, begin = _read_times(watched), time.monotonic()
            n_lines = -_count_lines(runs)
            connection = _connect(heard) if way.scrapes else None
            n_scrapes = 0
            while time.monotonic() - begin < seconds:
                if connection is not None:
                    n_scrapes += _scrape(connection)
                time.sleep(max(0.0, 1.0 - (time.monotonic() - begin) % 1.0))
            after, end = _read_times(watched), time.monotonic()
            n_lines += _count_lines(runs)
            load = os.getloadavg()[0]
            if process.wait(timeout=60.0) != 0:
                raise RuntimeError("the run failed: " + "".join(heard)[-500:])
        (run,) = runs.iterdir()
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    telemetry = result["found"]["telemetry"]
    share = telemetry["cost_seconds"] / max(1, telemetry["samples"])
    return Cost(
        way,
        end - begin,
        after[0] - before[0],
        after[1] - before[1],
        share * (end - begin) / telemetry["interval_seconds"],
        n_lines,
        n_scrapes,
        load,
    )


def _build_command(
    folder: str, ranks: int, rate: float, steps: int, with_metrics: bool
) -> List[str]:
    settings = {
        "steps": steps,
        "iterations_per_loop": 1,
        "warmup_steps": 0,
        "simulated.steps_per_second": rate,
        "simulated.parallel_cost_ratio": 0.0,
        "simulated.compile_seconds": 0.0,
        "simulated.speed": 1.0,
        "simulated.ranks_per_process": 1,
    }
    command = [sys.executable, "-m", "bench", "bench", "--backend", "simulated"]
    command += ["--cards", str(ranks), "--output", folder]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command + (["--metrics-port", "0"] if with_metrics else [])


@contextlib.contextmanager
def _start(command: Sequence[str], terminal: bool) -> Iterator[Tuple[subprocess.Popen, List[str]]]:
    """Starts the harness and gathers what it says on standard error, on a terminal or a pipe."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        list(command),
        cwd=str(ROOT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=writer,
        start_new_session=True,
    )
    os.close(writer)
    heard: List[str] = []
    listener = threading.Thread(target=_listen, args=(reader, heard), daemon=True)
    listener.start()
    try:
        yield process, heard
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=30.0)
        listener.join(5.0)
        os.close(reader)


def _listen(reader: int, heard: List[str]) -> None:
    # A terminal whose other end is closed gives an error, a pipe gives nothing.
    with contextlib.suppress(OSError):
        while True:
            data = os.read(reader, 65536)
            if not data:
                return
            heard.append(data.decode("utf-8", "replace"))


def _wait_until(
    is_so: Callable[[], bool], process: subprocess.Popen, seconds: float = 60.0
) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the run did not begin")
        time.sleep(0.1)


def _read_times(process: psutil.Process) -> Tuple[float, float]:
    """Processor seconds of a process and of its main thread."""
    times = process.cpu_times()
    main = next(t for t in process.threads() if t.id == process.pid)
    return times.user + times.system, main.user_time + main.system_time


def _count_lines(runs: Path) -> int:
    return sum(log.read_bytes().count(b"\n") for log in runs.glob("*/logs/*.log"))


def _connect(heard: Sequence[str]) -> http.client.HTTPConnection:
    match = _ENDPOINT.search("".join(heard))
    if match is None:
        raise RuntimeError("the harness did not say where its metrics are")
    return http.client.HTTPConnection(match.group(1), int(match.group(2)), timeout=5.0)


def _scrape(connection: http.client.HTTPConnection) -> int:
    """Asks as Prometheus does, over a connection that stays open if the server lets it."""
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    return int(bool(connection.getresponse().read()))


def list_row(cost: Cost, ranks: int) -> Dict[str, str]:
    """A row of the table."""
    other = cost.cpu_seconds - cost.main_seconds - cost.telemetry_seconds
    return {
        "harness": cost.way.name,
        "s": f"{cost.seconds:.0f}",
        "lines/s of a rank": f"{cost.n_lines / ranks / cost.seconds:.1f}",
        "scrapes": str(cost.n_scrapes),
        "logs, progress [CPU s]": f"{cost.main_seconds:.2f}",
        "telemetry [CPU s]": f"{cost.telemetry_seconds:.2f}",
        "rest [CPU s]": f"{max(0.0, other):.2f}",
        "all [CPU s]": f"{cost.cpu_seconds:.2f}",
        "% of a core": f"{100.0 * cost.core_share:.2f}",
        "load": f"{cost.load:.1f}",
    }


def find_way(name: Optional[str]) -> Sequence[Way]:
    """The ways to measure: one by a part of its name, or all."""
    return [way for way in WAYS if name is None or name in way.name]
