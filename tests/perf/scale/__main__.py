"""What the harness and its exporter cost with 64 to 4,096 ranks: ``python -m tests.perf.scale``.

The ranks are simulated and keep the pace of real ones, eight to a host: 2.45 steps/s, a report each
ten steps. Their logs go through the same readers as real ones. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import List

import psutil
from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[3]
CARDS = (64, 512, 4096)
CARDS_PER_HOST = 8
MIB = 1 << 20


@dataclass
class Cost:
    """What a run cost.

    Attributes:
        n_ranks: its ranks.
        live_seconds: wall time in which ranks ran.
        live_cpu_seconds: processor time of the harness in it.
        end_seconds: wall time from the last rank's end to that of the harness.
        peak_bytes: largest resident memory of the harness.
        scrapes: seconds that each scrape took.
        scrape_bytes: size of the last one.
        result_bytes: size of ``result.json``.
        n_series: samples of the last scrape.
    """

    n_ranks: int
    live_seconds: float = 0.0
    live_cpu_seconds: float = 0.0
    end_seconds: float = 0.0
    peak_bytes: int = 0
    scrapes: List[float] = field(default_factory=list)
    scrape_bytes: int = 0
    n_series: int = 0
    result_bytes: int = 0


def measure(n_ranks: int, steps: int, folder: Path) -> Cost:
    """Runs the harness once and watches it from outside."""
    cost = Cost(n_ranks)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", "bench", "bench", "--backend", "simulated", "--quiet"]
    argv += ["--cards", str(n_ranks), "--steps", str(steps), "--output", str(folder)]
    argv += ["--metrics-port", str(port), "--set", "iterations_per_loop=10"]
    argv += ["--set", "simulated.speed=1", "--set", "simulated.compile_seconds=5"]
    argv += ["--set", "require_steady=false"]
    harness = subprocess.Popen(argv, cwd=str(ROOT), stdout=subprocess.DEVNULL)
    process = psutil.Process(harness.pid)
    started = ended = cpu_before = 0.0
    while harness.poll() is None:
        time.sleep(0.5)
        with contextlib.suppress(psutil.Error, OSError):
            cpu = sum(process.cpu_times()[:2])
            cost.peak_bytes = max(cost.peak_bytes, process.memory_info().rss)
            alive = any("simulated_rank" in " ".join(c.cmdline()) for c in process.children())
            now = time.monotonic()
            if alive and not started:
                started, cpu_before = now, cpu
            elif alive:
                cost.live_seconds, cost.live_cpu_seconds = now - started, cpu - cpu_before
                ended = now
                _scrape(port, cost)
    cost.end_seconds = time.monotonic() - ended
    (result,) = folder.glob("runs/*/result.json")
    cost.result_bytes = result.stat().st_size
    if harness.returncode != 0:
        raise SystemExit(f"{n_ranks} ranks: the harness ended with {harness.returncode}")
    return cost


def _scrape(port: int, cost: Cost) -> None:
    start = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        body = answer.read()
    cost.scrapes.append(time.perf_counter() - start)
    cost.scrape_bytes = len(body)
    cost.n_series = sum(not line.startswith(b"#") for line in body.splitlines())


def render(costs: List[Cost]) -> str:
    """The table, markdown."""
    rows = [
        (
            cost.n_ranks,
            -(-cost.n_ranks // CARDS_PER_HOST),
            f"{100.0 * cost.live_cpu_seconds / cost.live_seconds:.1f} %",
            f"{cost.peak_bytes / MIB:.0f} MiB",
            f"{cost.end_seconds:.1f} s",
            f"{cost.result_bytes / MIB:.1f} MiB",
            cost.n_series,
            f"{1e3 * statistics.median(cost.scrapes):.0f} ms",
            f"{1e3 * sorted(cost.scrapes)[round(0.95 * (len(cost.scrapes) - 1))]:.0f} ms",
        )
        for cost in costs
    ]
    headers = ("ranks", "hosts", "one core's share", "memory", "reading at the end", "result")
    headers += ("series", "scrape p50", "scrape p95")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Measures each count in turn and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cards", type=int, nargs="+", default=list(CARDS))
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    costs = []
    for n_ranks in options.cards:
        with tempfile.TemporaryDirectory() as folder:
            costs.append(measure(n_ranks, options.steps, Path(folder)))
    print(render(costs))
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.")


if __name__ == "__main__":
    main()
