"""``ascend-bert data``: the trainer's data tools, run as they are, and where data are published."""

from __future__ import annotations

import argparse

from bench.commands.fetch_help import render_fetch_help
from bench.errors import EXIT_OK
from bench.launch.data import DATA_TOOLS, run_data_tool

NAME = "data"
SUMMARY = "make and look at training data"

_FETCH_HELP = "fetch-help"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tools; their own flags are passed on untouched."""
    parser.add_argument("tool", choices=sorted([*DATA_TOOLS, _FETCH_HELP]), help="what to do")
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        help="flags of the tool; --help shows them. Of fetch-help: tasks of fine-tuning",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the tool in the trainer's interpreter and gives back its exit code.

    Raises:
        BackendUnavailableError: the trainer package is not installed.
        UsageError: fetch-help does not know a task.
    """
    if arguments.tool == _FETCH_HELP:
        is_asking = {"-h", "--help"}.intersection(arguments.flags)
        print(render_fetch_help([] if is_asking else arguments.flags))
        return EXIT_OK
    return run_data_tool(arguments.tool, arguments.flags)
