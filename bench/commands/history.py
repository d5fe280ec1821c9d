"""``ascend-bert history``: nightly series over all results, and what changed in them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import List

from bench.catalogue import METRICS
from bench.commands.gate import read_rules_or_default
from bench.errors import EXIT_OK, EXIT_REGRESSION, DataError, UsageError
from bench.history.annotations import build_annotations
from bench.history.index import INDEX_NAME, read_launches, update_index
from bench.history.otava import write_otava
from bench.history.series import Series, build_all_series
from bench.results.store import write_text_atomically
from bench.spec import suggest
from bench.views.history import FORMATS, render_history

NAME = "history"
SUMMARY = "nightly series of all results, their change points, and exports of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "--metric",
        action="append",
        metavar="KEY",
        help="metric of the catalogue; may be repeated (default: the gated ones)",
    )
    parser.add_argument("--cards", type=int, metavar="N", help="only this card count")
    parser.add_argument("--rules", metavar="FILE", help="YAML file: metrics and known breaks")
    parser.add_argument("--nights", action="store_true", help="list every night")
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output")
    parser.add_argument(
        "--fail-on-change",
        action="store_true",
        help="exit with 1 when a change for the worse was found on the last night of a series",
    )
    parser.add_argument("--otava", metavar="DIR", help="write CSV and otava.yaml there")
    parser.add_argument(
        "--annotations", metavar="FILE", help="write Grafana annotations there, as JSON"
    )
    parser.add_argument("--index", metavar="FILE", help=f"default: DIR/{INDEX_NAME}")
    parser.add_argument("--rebuild", action="store_true", help="read all results anew")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: an unknown metric.
        DataError: there are no results.
        OutputError: the index or an export cannot be written.
    """
    output = Path(arguments.output)
    if not output.is_dir():
        raise DataError(f"no results under {output}; make some with 'ascend-bert bench'")
    rules = read_rules_or_default(arguments.rules)
    metrics = tuple(arguments.metric or rules.metrics)
    for metric in metrics:
        if metric not in METRICS:
            raise UsageError(f"--metric: unknown metric {metric!r}{suggest(metric, METRICS)}")
    index = Path(arguments.index) if arguments.index else output / INDEX_NAME
    update = update_index(index, output, arguments.rebuild)
    for problem in update.damaged:
        print(f"left out: {problem}", file=sys.stderr)
    launches = [item for item in read_launches(index) if item.state != "running"]
    all_series = build_all_series(launches, metrics, rules.breaks)
    all_series = [
        series
        for series in all_series
        if arguments.cards in (None, series.case["cards"])
        and any(night.value is not None for night in series.nights)
    ]
    if not all_series:
        raise DataError(f"no series of {', '.join(metrics)} under {output}")
    print(render_history(all_series, arguments.format, arguments.nights))
    if arguments.otava is not None:
        for path in write_otava(Path(arguments.otava), all_series):
            print(f"wrote {path}", file=sys.stderr)
    if arguments.annotations is not None:
        text = json.dumps(build_annotations(all_series), indent=1)
        write_text_atomically(Path(arguments.annotations), text + "\n")
    found = _list_fresh(all_series)
    return EXIT_REGRESSION if arguments.fail_on_change and found else EXIT_OK


def _list_fresh(all_series: List[Series]) -> List[str]:
    """Series in which the last night showed a change for the worse."""
    return [
        series.name
        for series in all_series
        for change in series.changes
        if series.is_worse(change) and change.found_at == len(series.nights) - 1
    ]
