"""``ascend-bert gate``: pass, regression or no verdict, and an exit code that says which."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import Optional, Sequence

from bench.errors import BenchError, NoVerdictError
from bench.judge.evaluate import Outcome, judge_launches
from bench.judge.launches import Launch
from bench.judge.rules import Rules, read_rules
from bench.judge.sources import read_last_session, read_side
from bench.judge.verdicts import build_stored_verdict, write_verdict
from bench.results.store import RESULT_NAME, write_text_atomically
from bench.views.verdicts import FORMATS, render_outcome

NAME = "gate"
SUMMARY = "hold a session against a baseline: pass 0, regression 1, no verdict 3"

SIDE_HELP = "run folder, result file, results folder, baseline file or session id; :A takes a build"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help=f"{SIDE_HELP}; the last session if none"
    )
    parser.add_argument(
        "--baseline",
        action="append",
        required=True,
        metavar="WHAT",
        help="what to hold it against, in the same forms; may be repeated",
    )
    parser.add_argument("--rules", metavar="FILE", help="YAML file of margins, levels and waivers")
    parser.add_argument("--explain", action="store_true", help="every number behind each verdict")
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output")
    parser.add_argument("--file", metavar="FILE", help="also write the verdict there, as JSON")
    parser.add_argument("--today", type=parse_date, metavar="DATE", help="day that waivers go by")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def parse_date(text: str) -> datetime.date:
    """A date like 2026-12-31.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2026-12-31") from error


def read_rules_or_default(path: Optional[str]) -> Rules:
    """The rules of a file, or those that hold without one."""
    return Rules() if path is None else read_rules(Path(path))


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: a side or the rules cannot be read.
        DataError: a file is no result.
        NoVerdictError: there is nothing to judge.
    """
    rules = read_rules_or_default(arguments.rules)
    output = Path(arguments.output)
    baseline = read_side(arguments.baseline, output)
    candidate = read_side(arguments.runs, output) if arguments.runs else read_last_session(output)
    if not candidate or not baseline:
        raise NoVerdictError("one of the sides has no launches")
    today = arguments.today or datetime.datetime.now(datetime.timezone.utc).date()
    outcome = judge_launches(candidate, baseline, rules, today)
    store_verdict(output, outcome, candidate)
    if arguments.file is not None:
        text = render_outcome(outcome, "json", True)
        write_text_atomically(Path(arguments.file), text + "\n")
    print(render_outcome(outcome, arguments.format, arguments.explain))
    if outcome.error is not None:
        print(f"ascend-bert: error: {outcome.error}", file=sys.stderr)
    return outcome.exit_code


def store_verdict(output: Path, outcome: Outcome, candidate: Sequence[Launch]) -> None:
    """Leaves the verdict for the exporter, if these are runs of the results folder.

    Where it cannot be written, as on results that are mounted to be read, the verdict itself
    stands all the same: that is told, and no more.
    """
    names = [launch.run_id for launch in candidate]
    if not all((output / "runs" / name / RESULT_NAME).is_file() for name in names):
        return
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    try:
        write_verdict(output, build_stored_verdict(outcome, candidate, now))
    except BenchError as error:
        print(f"the verdict was not stored for the exporter: {error}", file=sys.stderr)
