"""``ascend-bert calibrate``: margins from A/A runs instead of a guess."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from bench.commands.gate import SIDE_HELP, read_rules_or_default
from bench.errors import EXIT_OK
from bench.judge.calibrate import build_overrides, calibrate_launches
from bench.judge.sources import read_side
from bench.results.store import write_text_atomically
from bench.views.verdicts import FORMATS, render_noises

NAME = "calibrate"
SUMMARY = "measure how launches and nights of one build differ, and what margins that allows"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help=SIDE_HELP)
    parser.add_argument("--rules", metavar="FILE", help="YAML file: metrics and levels")
    parser.add_argument(
        "--write", metavar="FILE", help="write the margins as overrides of a rules file"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        NoVerdictError: too few launches.
        OutputError: the file cannot be written.
    """
    rules = read_rules_or_default(arguments.rules)
    noises = calibrate_launches(read_side(arguments.runs, Path(arguments.output)), rules)
    print(render_noises(noises, arguments.format))
    if arguments.write is not None:
        plain = {"version": 1, "overrides": build_overrides(noises)}
        write_text_atomically(Path(arguments.write), yaml.safe_dump(plain, sort_keys=False))
        print(f"wrote {arguments.write}: give it to 'ascend-bert gate --rules'", file=sys.stderr)
    return EXIT_OK
