"""``ascend-bert recover``: results and processes that a dead harness has left behind."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Sequence

from bench.errors import EXIT_OK, DataError, InfrastructureError
from bench.launch.orphans import Orphan, end_orphans, list_orphans
from bench.session.recover import recover_runs
from bench.session.resume import list_unfinished

NAME = "recover"
SUMMARY = "rebuild results whose harness died, list or end the processes that it left"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "results",
        nargs="?",
        metavar="RESULTS",
        default="results",
        help="results directory (default: results)",
    )
    parser.add_argument(
        "--list-orphans",
        action="store_true",
        help="only list processes whose harness is dead, of any results directory",
    )
    parser.add_argument(
        "--end-orphans",
        action="store_true",
        help="first end those of the runs in RESULTS: TERM, then KILL",
    )
    parser.add_argument(
        "--assume-dead",
        action="store_true",
        help="take a harness on another machine, which cannot be seen from here, for dead",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: there is no such directory.
        InfrastructureError: something could not be done, because processes still run.
    """
    output = Path(arguments.results)
    orphans = list_orphans()
    if arguments.list_orphans:
        _print_orphans(orphans)
        return EXIT_OK
    if not (output / "runs").is_dir():
        raise DataError(f"no results under {output}")
    if arguments.end_orphans:
        orphans = _end(output, orphans)
    recovered = recover_runs(
        output, {one.run_id for one in orphans}, assume_dead=arguments.assume_dead
    )
    for one in recovered:
        print(f"{one.run_id}: {one.action}: {one.text}")
    if not recovered:
        print("no run was left unfinished by a dead harness")
    _print_orphans(orphans)
    for session_id, done, wanted in list_unfinished(output):
        # Without a known number nobody can say whether launches are missing.
        if wanted is not None:
            print(
                f"session {session_id}: {done} of {wanted} launches are done; "
                f"'ascend-bert bench --resume {session_id}' makes the others"
            )
    waiting = [one.run_id for one in recovered if one.waits]
    if waiting:
        raise InfrastructureError(
            f"{len(waiting)} run(s) could not be rebuilt: their ranks still run; "
            "wait for them, or end them with --end-orphans"
        )
    return EXIT_OK


def _end(output: Path, orphans: Sequence[Orphan]) -> List[Orphan]:
    """Ends the orphans of the runs in this directory; returns those that still live."""
    mine = [one for one in orphans if (output / "runs" / one.run_id).is_dir()]
    survivors = end_orphans(mine)
    print(f"{len(mine) - len(survivors)} orphan(s) ended")
    return [one for one in orphans if one not in mine or one in survivors]


def _print_orphans(orphans: Sequence[Orphan]) -> None:
    for one in orphans:
        rank = f" rank {one.rank}" if one.rank else ""
        print(f"orphan: process {one.process_id}, run {one.run_id}{rank}: {one.command}")
    if not orphans:
        print("no orphans")
