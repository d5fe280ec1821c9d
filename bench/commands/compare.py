"""``ascend-bert compare``: sides beside each other, case by case, with intervals."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Tuple

from bench.commands.gate import SIDE_HELP, read_rules_or_default
from bench.errors import EXIT_OK, UsageError
from bench.judge.compare import compare_sides
from bench.judge.launches import Launch
from bench.judge.sources import read_side
from bench.results.fingerprint import RULES
from bench.spec import suggest
from bench.views.verdicts import FORMATS, render_comparisons

NAME = "compare"
SUMMARY = "compare sessions, runs or builds case by case, with confidence intervals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "sides",
        nargs="+",
        metavar="SIDE",
        help=f"{SIDE_HELP}; several joined by commas are one side. The first is the reference; a "
        "single one must hold two builds",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="FACT",
        help="a fact that differs on purpose, for example asked.precision; may be repeated",
    )
    parser.add_argument("--rules", metavar="FILE", help="YAML file with margins")
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: a side cannot be found, or there is nothing to compare it with.
        MismatchError: the sides must not be compared.
    """
    known = [rule.field for rule in RULES if rule.field != "simulated"]
    for fact in arguments.ignore:
        if fact not in known:
            raise UsageError(f"--ignore: unknown fact {fact!r}{suggest(fact, known)}")
    rules = read_rules_or_default(arguments.rules)
    output = Path(arguments.output)
    sides = [(word, read_side(word.split(","), output)) for word in arguments.sides]
    if len(sides) == 1:
        sides = _split_builds(*sides[0])
    comparisons = [compare_sides(sides[0], side, rules, arguments.ignore) for side in sides[1:]]
    print(render_comparisons(comparisons, arguments.format))
    return EXIT_OK


def _split_builds(word: str, launches: List[Launch]) -> List[Tuple[str, List[Launch]]]:
    labels = sorted({launch.build for launch in launches if launch.build})
    if len(labels) < 2:
        raise UsageError(f"{word} is one side only: name another to compare it with")
    return [
        (f"{word}:{label}", [launch for launch in launches if launch.build == label])
        for label in labels
    ]
