"""``ascend-bert promote``: make a result the baseline, on record who did it and why."""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

from bench.commands.gate import SIDE_HELP
from bench.errors import EXIT_OK, OutputError, UsageError
from bench.judge.baselines import (
    describe_baseline,
    promote_launches,
    read_baseline,
    write_baseline,
)
from bench.judge.sources import read_last_session, read_side

NAME = "promote"
SUMMARY = "make launches the baseline of later gates, with who decided and why"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help=f"{SIDE_HELP}; the last session if none"
    )
    parser.add_argument("--by", required=True, metavar="WHO", help="who decides")
    parser.add_argument("--why", required=True, metavar="TEXT", help="why")
    parser.add_argument(
        "--name", default="nightly", metavar="NAME", help="name of the baseline (default: nightly)"
    )
    parser.add_argument(
        "--add", action="store_true", help="keep the launches so far: another night of the same"
    )
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: the name is no file name, or the runs are not found.
        NoVerdictError: a launch is not valid.
        OutputError: the file cannot be written.
    """
    if not _NAME.match(arguments.name):
        raise UsageError(f"--name {arguments.name!r}: letters, digits, dots and dashes only")
    output = Path(arguments.output)
    launches = read_side(arguments.runs, output) if arguments.runs else read_last_session(output)
    path = output / "baselines" / f"{arguments.name}.json"
    earlier = [read_baseline(path)] if path.exists() else []
    at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    baseline = promote_launches(earlier, launches, at, arguments.by, arguments.why, arguments.add)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror}") from error
    write_baseline(path, baseline)
    print(f"{path}: promoted by {arguments.by}: {arguments.why}")
    print("\n".join(describe_baseline(baseline)))
    return EXIT_OK
