"""``ascend-bert show``: the table of stored results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List

from bench.errors import EXIT_OK, DataError
from bench.results.model import RunResult
from bench.results.store import list_run_directories, read_results
from bench.views.tables import FORMATS, render_report

NAME = "show"
SUMMARY = "print the table of stored results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="run folders or result files; the last session if none",
    )
    parser.add_argument("--all", action="store_true", help="every run under the results directory")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the table")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: no result, or one that cannot be read.
    """
    print(render_report(_select(arguments), arguments.format))
    return EXIT_OK


def _select(arguments: argparse.Namespace) -> List[RunResult]:
    if arguments.runs:
        return read_results(Path(run) for run in arguments.runs)
    folders = list_run_directories(Path(arguments.output))
    if not folders:
        raise DataError(f"no results under {arguments.output}; make some with 'ascend-bert bench'")
    results = sorted(read_results(folders), key=lambda result: result.started_at)
    if arguments.all:
        return results
    last = results[-1].session.get("id")
    return [result for result in results if result.session.get("id") == last]
