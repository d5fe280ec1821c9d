"""``ascend-bert report``: one HTML page with the verdict, tables and plots of some runs."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Sequence

from bench.commands.gate import SIDE_HELP, parse_date, read_rules_or_default
from bench.errors import EXIT_OK, NoVerdictError
from bench.judge.evaluate import Outcome, judge_launches
from bench.judge.launches import launch_of_result
from bench.judge.rules import Rules
from bench.judge.sources import read_side
from bench.report.gather import Report, find_runs, read_case_telemetry, read_runs, read_series
from bench.report.page import render_page
from bench.results.model import RunResult
from bench.results.store import write_text_atomically

NAME = "report"
SUMMARY = "write one HTML page with the verdict, tables and plots of some runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="run folders, result files, results folders or session ids; the last session if none",
    )
    parser.add_argument(
        "-o", "--file", default="report.html", metavar="FILE", help="default: report.html"
    )
    parser.add_argument(
        "--baseline",
        action="append",
        metavar="WHAT",
        help=f"also hold the runs against this, as gate does: {SIDE_HELP}; may be repeated",
    )
    parser.add_argument(
        "--rules", metavar="FILE", help="YAML file: rules of the gate, known breaks"
    )
    parser.add_argument("--today", type=parse_date, metavar="DATE", help="day that waivers go by")
    parser.add_argument("--no-history", action="store_true", help="leave out the nightly series")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb; 0 when the page is written, whatever its verdict is.

    Raises:
        UsageError: a run, the baseline or the rules cannot be found.
        DataError: no result can be read.
        OutputError: the page cannot be written.
    """
    rules = read_rules_or_default(arguments.rules)
    output = Path(arguments.output)
    results, places, remarks = read_runs(find_runs(arguments.runs, output))
    today = arguments.today or datetime.datetime.now(datetime.timezone.utc).date()
    outcome = None
    if arguments.baseline:
        outcome = _judge(results, arguments.baseline, output, rules, today)
    telemetry, problems = read_case_telemetry(results, places)
    series, complaints = ([], []) if arguments.no_history else read_series(results, output, rules)
    report = Report(
        results=tuple(results),
        outcome=outcome,
        baseline=", ".join(arguments.baseline or ()),
        telemetry=telemetry,
        series=tuple(series),
        remarks=(*remarks, *problems, *complaints),
    )
    page = render_page(report)
    write_text_atomically(Path(arguments.file), page)
    print(f"{arguments.file}: {len(results)} run(s), {len(page.encode('utf-8')) / 1e3:.0f} kB")
    return EXIT_OK


def _judge(
    results: Sequence[RunResult],
    words: Sequence[str],
    output: Path,
    rules: Rules,
    today: datetime.date,
) -> Outcome:
    baseline = read_side(words, output)
    if not baseline:
        raise NoVerdictError("the baseline has no launches")
    return judge_launches([launch_of_result(item) for item in results], baseline, rules, today)
