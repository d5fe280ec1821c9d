"""``ascend-bert parse``: the numbers of a run from its logs alone, whoever wrote them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

from tabulate import tabulate

from bench.catalogue import METRICS
from bench.errors import EXIT_OK
from bench.results.from_logs import LogsMeasured, Sizes, measure_logs
from bench.views.tables import format_figure

NAME = "parse"
SUMMARY = "read training logs, of any trainer, and print what they say"

FORMATS = ("table", "markdown", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "logs", nargs="+", metavar="LOG", help="log file, one per rank or merged; or a folder"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="sequences per card and step")
    parser.add_argument("--seq-length", type=int, metavar="N", help="tokens per sequence")
    parser.add_argument("--cards", type=int, metavar="N", help="cards of the run")
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: a log cannot be opened or holds nothing of a training run.
    """
    told = Sizes(arguments.batch_size, arguments.seq_length, arguments.cards)
    measured = measure_logs([Path(log) for log in arguments.logs], told)
    print(render_parse(measured, arguments.format))
    return EXIT_OK


def render_parse(measured: LogsMeasured, form: str) -> str:
    """What was read, rank by rank, then the figures of the whole."""
    if form == "json":
        return json.dumps(build_document(measured), indent=2)
    style = "github" if form == "markdown" else "simple"
    ranks = tabulate(
        [_rank_cells(row) for row in measured.rank_rows],
        ["rank", "intervals", "steps/s", "last step", "MLM loss", "NSP loss", "loss scale"],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left"] + ["right"] * 6,
    )
    figures = tabulate(
        [
            [METRICS[key].header, format_figure(key, item.value), str(item.n), item.window]
            for key, item in measured.summary.items()
        ],
        ["figure", "value", "n", "window"],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left", "right", "right", "left"],
    )
    return "\n".join([ranks, "", figures, "", *measured.describe()])


def build_document(measured: LogsMeasured) -> Dict[str, Any]:
    """All that was read, for programs."""
    return {
        "logs": measured.sources,
        "counts": measured.counts,
        "sizes": measured.describe_sizes(),
        "ranks": measured.rank_rows,
        "summary": {
            key: {"value": item.value, "unit": item.unit, "n": item.n, "window": item.window}
            for key, item in measured.summary.items()
        },
        "checks": [vars(check) for check in measured.checks],
        "problems": measured.problems,
    }


def _rank_cells(row: Dict[str, Any]) -> List[str]:
    scales = row["loss_scales"]
    return [
        row["label"],
        str(row["intervals"]),
        format_figure("steps_per_second", row["steps_per_second"]),
        "-" if row["last_step"] is None else str(row["last_step"]),
        format_figure("final_mlm_loss", row["mlm_loss"]),
        format_figure("final_nsp_loss", row["nsp_loss"]),
        f"{scales[-1]:g}" if scales else "-",
    ]
