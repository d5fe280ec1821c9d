"""``python -m tests.perf.harness cost`` and ``python -m tests.perf.harness same-speed``.

``cost`` follows simulated ranks that write lines in real time, and prints the processor time of the
harness as a share of one core. ``same-speed`` launches a short training by itself and under the
harness in turns, and prints the ratio of the rates. Both want a machine with nothing else on it;
the load is printed beside the figures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

from tests.perf.harness.cost import WAYS, find_way, list_row, measure_cost
from tests.perf.harness.same_speed import compare, render_comparison, wait_for_quiet


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="tests.perf.harness", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    cost = parts.add_parser("cost")
    cost.add_argument("--ranks", type=int, default=8)
    cost.add_argument("--lines", type=float, default=10.0, help="lines of a rank per second")
    cost.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    cost.add_argument("--way", choices=[way.name for way in WAYS], help="only this one")
    cost.add_argument("--at-most", type=float, metavar="PERCENT", help="fail above")
    same = parts.add_parser("same-speed")
    same.add_argument("--pairs", type=int, default=6, help="launches of each way")
    same.add_argument("--steps", type=int, default=60, help="of each launch")
    same.add_argument("--wait", type=float, default=0.0, help="seconds to wait for a quiet machine")
    same.add_argument("--quiet-load", type=float, default=1.5, help="what counts as quiet")
    arguments = parser.parse_args()
    if arguments.part == "cost":
        costs = [
            measure_cost(way, arguments.ranks, arguments.lines, arguments.seconds)
            for way in find_way(arguments.way)
        ]
        rows = [list_row(item, arguments.ranks) for item in costs]
        print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
        worst = 100.0 * max(item.core_share for item in costs)
        return 1 if arguments.at_most is not None and worst > arguments.at_most else 0
    wait_for_quiet(arguments.quiet_load, arguments.wait)
    with tempfile.TemporaryDirectory(prefix="same-speed-") as folder:
        print(render_comparison(compare(Path(folder), arguments.pairs, arguments.steps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
