"""``ascend-bert data``: the trainer's data tools, run as they are."""

from __future__ import annotations

import argparse

from bench.launch.data import DATA_TOOLS, run_data_tool

NAME = "data"
SUMMARY = "make and look at training data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tools; their own flags are passed on untouched."""
    parser.add_argument("tool", choices=sorted(DATA_TOOLS), help="what to do")
    parser.add_argument(
        "flags", nargs=argparse.REMAINDER, help="flags of the tool; --help shows them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the tool in the trainer's interpreter and gives back its exit code.

    Raises:
        BackendUnavailableError: the trainer package is not installed.
    """
    return run_data_tool(arguments.tool, arguments.flags)
