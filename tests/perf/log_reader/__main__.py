"""Measures how fast logs are read: ``python -m tests.perf.log_reader [--lines N] [--files N]``.

Writes logs of a job of eight ranks into a temporary folder, reads them in a fresh process, and
prints time, rate and peak memory; beside it the rate of the original's ``grep | awk``, which reads
one field of one kind of line. Defaults: one log of 4.5 million lines. ``--files 64 --lines
48000000`` spreads the lines over 64 logs of one rank each, about 100 MB each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List

from bench.logs import read_logs
from tests.perf.log_reader.generate import write_log

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=4_500_000, help="lines in all logs together")
    parser.add_argument("--files", type=int, default=1, help="logs; of one rank each if several")
    parser.add_argument("--doubled", action="store_true", help="each message by two handlers")
    parser.add_argument("--repeats", type=int, default=3, help="readings; the fastest counts")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="MB/S", help="fail below")
    parser.add_argument("--read", nargs="+", metavar="LOG", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(measure_reading(arguments.read)))
        return 0
    with tempfile.TemporaryDirectory(prefix="log-reader-") as folder:
        logs = write_logs(folder, arguments.lines, arguments.files, arguments.doubled)
        best = min(
            (read_in_child(logs) for _ in range(arguments.repeats)), key=lambda r: r["seconds"]
        )
        megabytes = best["n_bytes"] / 1e6
        rate = megabytes / best["seconds"]
        print(f"read      {megabytes:.0f} MB, {best['n_lines']} lines, {len(logs)} log(s)")
        print(f"events    {best['n_events']}, problems {best['n_problems']}")
        print(f"time      {best['seconds']:.2f} s ({best['cpu_seconds']:.2f} s of CPU)")
        cpu_rate = megabytes / best["cpu_seconds"]
        print(f"rate      {rate:.0f} MB/s; {cpu_rate:.0f} MB per second of CPU, one process")
        print(f"memory    {best['peak_bytes'] / 1e6:.0f} MB at peak")
        seconds = time_grep(logs)
        print(f"grep|awk  {megabytes / seconds:.0f} MB/s for one field of one kind of line")
        if rate < arguments.at_least:
            print(f"too slow: below {arguments.at_least:.0f} MB/s")
            return 1
    return 0


def write_logs(folder: str, n_lines: int, n_files: int, doubled: bool) -> List[str]:
    """Writes the logs; several are copies of one, as only their size matters."""
    first = os.path.join(folder, "train_0.log")
    with open(first, "wb") as stream:
        write_log(stream, n_lines // n_files, 1, 8 if n_files == 1 else 1, doubled)
    logs = [first]
    for number in range(1, n_files):
        logs.append(os.path.join(folder, f"train_{number}.log"))
        os.link(first, logs[-1])
    return logs


def read_in_child(logs: List[str]) -> Dict[str, float]:
    """Reads the logs in a fresh process, so that its peak memory is that of reading alone."""
    command = [sys.executable, "-m", "tests.perf.log_reader", "--read", *logs]
    result = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def measure_reading(logs: List[str]) -> Dict[str, float]:
    """Reads the logs and says how long it took and what came out."""
    began, cpu_began = time.perf_counter(), time.process_time()
    found = read_logs(logs)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu_began,
        "n_bytes": found.n_bytes,
        "n_lines": found.n_lines,
        "n_events": sum(report.n_events for report in found.reports),
        "n_problems": sum(sum(report.problem_counts.values()) for report in found.reports),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def time_grep(logs: List[str]) -> float:
    """Seconds of ``grep global_step/sec | awk`` over the logs."""
    began = time.perf_counter()
    grep = subprocess.Popen(["grep", "-ah", "global_step/sec", *logs], stdout=subprocess.PIPE)
    program = '{split($0, part, "sec: "); sum += part[2]} END {print sum / NR}'
    subprocess.run(["awk", program], stdin=grep.stdout, stdout=subprocess.PIPE, check=True)
    grep.wait()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
