"""``ascend-bert export``: a stored result in another form."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import EXIT_OK
from bench.results.exports import EXPORTS
from bench.results.store import read_result, write_text_atomically

NAME = "export"
SUMMARY = "write a stored result as CSV, markdown or the ModelZoo summary"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("result", metavar="RUN", help="run folder or result file")
    parser.add_argument(
        "--to",
        choices=sorted(EXPORTS),
        required=True,
        help="csv: the figures; intervals: every raw interval as CSV; markdown: a report; "
        "modelzoo: the keys of the ModelZoo scripts' ${CaseName}.log",
    )
    parser.add_argument("--file", metavar="FILE", help="where to write (default: standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: there is no such result.
        OutputError: the file cannot be written.
    """
    text = EXPORTS[arguments.to](read_result(Path(arguments.result)))
    if arguments.file is None:
        print(text)
    else:
        write_text_atomically(Path(arguments.file), text + "\n")
    return EXIT_OK
