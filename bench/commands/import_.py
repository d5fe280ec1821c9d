"""``ascend-bert import``: logs, ModelZoo summaries and results of others, into the store."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import EXIT_OK
from bench.results.imports import Told, import_files
from bench.results.store import create_output_directory, create_run_directory, write_result
from bench.views.tables import render_report

NAME = "import"
SUMMARY = "store results from training logs, ModelZoo summaries or result files of others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="result.json, ${CaseName}.log, or the training logs of one run",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="sequences per card and step")
    parser.add_argument("--seq-length", type=int, metavar="N", help="tokens per sequence")
    parser.add_argument("--cards", type=int, metavar="N", help="cards of the run")
    parser.add_argument("--model", metavar="NAME", help="what was trained")
    parser.add_argument(
        "--backend", choices=("ascend", "cpu"), help="devices that it was trained on"
    )
    parser.add_argument("--precision", metavar="NAME", help="compute precision, such as fp16")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: a file is none of these, or lacks what only the user can tell.
        OutputError: the results directory cannot be written.
    """
    told = Told(
        batch_size=arguments.batch_size,
        seq_length=arguments.seq_length,
        cards=arguments.cards,
        model=arguments.model,
        backend=arguments.backend,
        precision=arguments.precision,
    )
    results = import_files([Path(name) for name in arguments.files], told)
    runs = create_output_directory(Path(arguments.output))
    for result in results:
        if (runs / result.run_id).exists():
            print(f"already there: {runs / result.run_id}")
            continue
        run_dir = create_run_directory(runs, result.run_id)
        write_result(run_dir, result)
        print(f"imported: {run_dir}")
    for result in results:
        print()
        print(render_report([result], "table"))
        for warning in result.found["imported"]["warnings"]:
            print(f"note: {warning}")
    return EXIT_OK
