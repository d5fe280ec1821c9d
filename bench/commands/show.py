"""``ascend-bert show``: the table of stored results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Sequence

from bench.errors import EXIT_OK, DataError
from bench.results.model import RunResult
from bench.results.store import list_run_directories, read_result, read_results
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


def _read_sound(folders: Sequence[Path]) -> List[RunResult]:
    """Reads what can be read; one damaged folder must not hide the others."""
    results = []
    problems = []
    for folder in folders:
        try:
            results.append(read_result(folder))
        except DataError as error:
            problems.append(error)
            print(f"left out: {error}", file=sys.stderr)
    if not results:
        raise problems[0]
    return results


def _select(arguments: argparse.Namespace) -> List[RunResult]:
    if arguments.runs:
        return read_results(Path(run) for run in arguments.runs)
    folders = list_run_directories(Path(arguments.output))
    if not folders:
        raise DataError(f"no results under {arguments.output}; make some with 'ascend-bert bench'")
    results = sorted(_read_sound(folders), key=lambda result: result.started_at)
    if arguments.all:
        return results
    last = results[-1].session.get("id")
    return [result for result in results if result.session.get("id") == last]
