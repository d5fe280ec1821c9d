"""``ascend-bert export``: a stored result in another form."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable, Dict

from bench.errors import EXIT_OK
from bench.results.exports import EXPORTS
from bench.results.model import RunResult
from bench.results.store import read_result, write_text_atomically
from bench.views.loss_curve import render_loss_curve

NAME = "export"
SUMMARY = "write a stored result as CSV, markdown, a loss curve or the ModelZoo summary"

FORMS: Dict[str, Callable[[RunResult], str]] = {**EXPORTS, "curve": render_loss_curve}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("result", metavar="RUN", help="run folder or result file")
    parser.add_argument(
        "--to",
        choices=sorted(FORMS),
        required=True,
        help="csv: the figures; curve: the masked-LM loss as SVG; intervals: every raw interval "
        "as CSV; markdown: a report; modelzoo: the keys of the ModelZoo scripts' ${CaseName}.log",
    )
    parser.add_argument("--file", metavar="FILE", help="where to write (default: standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: there is no such result.
        OutputError: the file cannot be written.
    """
    text = FORMS[arguments.to](read_result(Path(arguments.result)))
    if arguments.file is None:
        print(text)
    else:
        write_text_atomically(Path(arguments.file), text + "\n")
    return EXIT_OK
