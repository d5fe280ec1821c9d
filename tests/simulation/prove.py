"""Prints the table of scripts/prove-statistics."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import List

from tabulate import tabulate

from tests.simulation import experiments, judging
from tests.simulation.experiments import Row

EXPERIMENTS = {**experiments.EXPERIMENTS, **judging.JUDGING_EXPERIMENTS}
FULL_SIZES = {**experiments.FULL_SIZES, **judging.FULL_SIZES}
QUICK_SIZES = {**experiments.QUICK_SIZES, **judging.QUICK_SIZES}
OTAVA = Path(".venv-otava/bin/python")
"""Made by ``scripts/prepare otava``."""


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
    parser.add_argument("--quick", action="store_true", help="fewer simulations, about two minutes")
    parser.add_argument("--seed", type=int, default=20240229, help="of all simulations")
    parser.add_argument("--only", choices=sorted(EXPERIMENTS), help="one experiment")
    parser.add_argument(
        "--otava", action="store_true", help="also judge some of the series by Apache Otava"
    )
    arguments = parser.parse_args()
    sizes = QUICK_SIZES if arguments.quick else FULL_SIZES
    rows: List[Row] = []
    start = time.perf_counter()
    for name, experiment in EXPERIMENTS.items():
        if arguments.only in (None, name):
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows.extend(experiment(sizes[name], arguments.seed))
    if arguments.otava:
        print("otava ...", file=sys.stderr, flush=True)
        rows.extend(judging.run_otava(3 if arguments.quick else 20, arguments.seed, OTAVA))
    print(render_rows(rows))
    seconds = time.perf_counter() - start
    print(f"\nseed {arguments.seed}, {seconds:.0f} s; a promise is broken when chance alone would")
    print("give such a share in less than one of a thousand repetitions")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
