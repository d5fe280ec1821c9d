"""Prints the table of scripts/prove-statistics."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import List

from tabulate import tabulate

from tests.simulation.experiments import EXPERIMENTS, FULL_SIZES, QUICK_SIZES, Row


def render_rows(rows: List[Row]) -> str:
    """The table for people and the README."""
    cells = [
        [row.what, row.n, f"{row.share:.3f}", _render_bounds(row), "yes" if row.kept else "NO"]
        for row in rows
    ]
    headers = ["what", "n", "share", "promised", "kept"]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def _render_bounds(row: Row) -> str:
    low, high = row.at_least, row.at_most
    if math.isnan(low):
        return "-" if math.isnan(high) else f"<= {high:g}"
    return f">= {low:g}" if math.isnan(high) else f"{low:g} to {high:g}"


def main() -> int:
    """Runs all experiments; 0 if every promise is kept, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/prove-statistics", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer simulations, half a minute")
    parser.add_argument("--seed", type=int, default=20240229, help="of all simulations")
    parser.add_argument("--only", choices=sorted(EXPERIMENTS), help="one experiment")
    arguments = parser.parse_args()
    sizes = QUICK_SIZES if arguments.quick else FULL_SIZES
    rows: List[Row] = []
    start = time.perf_counter()
    for name, experiment in EXPERIMENTS.items():
        if arguments.only in (None, name):
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows.extend(experiment(sizes[name], arguments.seed))
    print(render_rows(rows))
    seconds = time.perf_counter() - start
    print(f"\nseed {arguments.seed}, {seconds:.0f} s; a promise is broken when chance alone would")
    print("give such a share in less than one of a thousand repetitions")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
