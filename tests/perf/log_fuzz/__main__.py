"""Feeds mutated lines to the log reader: ``python -m tests.perf.log_fuzz [--lines 1000000]``.

Each round builds the log of a job, damages some of its lines, cuts the bytes anywhere, and reads
them in bulk and line by line. A round fails when the reader raises, when the two readings differ in
anything, or when a rank comes out that the undamaged log does not have. The exit code is 1 then and
the bytes stay in a file.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from typing import Dict, Set, Tuple

from bench.logs import LogReader, identify_ranks
from bench.logs.report import LogReport
from tests.log_corpus import build_lines, damage, join

LINES_PER_ROUND = 5000
ALWAYS, NEVER = 1, 1 << 60


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000, help="mutated lines in all")
    parser.add_argument("--seed", type=int, default=0, help="number of the first round")
    arguments = parser.parse_args()
    began = time.perf_counter()
    n_lines = n_events = n_problems = 0
    seed = arguments.seed
    while n_lines < arguments.lines:
        data, mutated, ranks = build_round(seed)
        try:
            report = check_round(data, seed, ranks)
        except Exception:
            with tempfile.NamedTemporaryFile(prefix="log-fuzz-", delete=False) as stream:
                stream.write(data)
            traceback.print_exc()
            print(f"round {seed} failed; its bytes are in {stream.name}")
            return 1
        n_lines += mutated
        n_events += report.n_events
        n_problems += sum(report.problem_counts.values())
        seed += 1
    print(
        f"{n_lines} mutated lines in {seed - arguments.seed} rounds: no error, no rank invented, "
        f"both readings alike; {n_events} events, {n_problems} problems, "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 0


def build_round(seed: int) -> Tuple[bytes, int, Set[int]]:
    """Bytes of a damaged log, how many of its lines are, and the threads that train in it."""
    rng = random.Random(seed)
    share = rng.choice([0.05, 0.3, 1.0])
    lines = build_lines(
        seed,
        int(LINES_PER_ROUND / max(share, 0.3)),
        n_ranks=rng.choice([1, 2, 4, 8, 16]),
        doubled=rng.choice([0.0, 0.0, 0.5, 1.0]),
        others=0.0,
    )
    clean = read(join(lines), ALWAYS, [])
    threads = {int(row) for row in set(clean.losses.column("thread_id").tolist()) if row >= 0}
    return join(damage(lines, seed, share), rng.random() < 0.5), int(share * len(lines)), threads


def check_round(data: bytes, seed: int, threads: Set[int]) -> LogReport:
    """Reads a damaged log in two ways.

    Raises:
        AssertionError: the readings differ, or a rank was invented.
    """
    rng = random.Random(seed)
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randrange(8)))
    report = read(data, ALWAYS, cuts)
    other = read(data, NEVER, [])
    assert summarize(report) == summarize(other), "bulk and single reading differ"
    found = {rank.key.thread_id for rank in identify_ranks([report])} - {None}
    assert found <= threads, f"invented ranks: {sorted(found - threads)}"
    return report


def read(data: bytes, bulk_bytes: int, cuts: list) -> LogReport:
    """Reads bytes cut at the given places."""
    reader = LogReader("x", bulk_bytes=bulk_bytes)
    for begin, end in zip([0, *cuts], [*cuts, len(data)]):
        reader.consume(data[begin:end])
    reader.finish()
    return reader.report()


def summarize(report: LogReport) -> Dict[str, object]:
    """All that a report says, in a form that can be compared."""
    found: Dict[str, object] = {
        kind: [repr(event) for event in table] for kind, table in report.tables.items()
    }
    found["problems"] = [repr(problem) for problem in report.problems]
    found["counts"] = (report.problem_counts, report.n_lines, report.n_bytes)
    return found


if __name__ == "__main__":
    sys.exit(main())
