"""``ascend-bert parse``: the numbers of a run from its logs alone, whoever wrote them."""

from __future__ import annotations

import argparse
import collections
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from tabulate import tabulate

from bench.catalogue import METRICS
from bench.errors import EXIT_OK, DataError, UsageError
from bench.measure.figures import Measurement
from bench.results.cases import Launch, build_series
from bench.results.from_logs import LogsMeasured, Sizes, measure_logs
from bench.results.model import RankRecord, RunResult
from bench.results.store import RESULT_NAME, encode_floats, read_result
from bench.spec_downstream import PRETRAIN
from bench.views.rows import build_rows, view_launches
from bench.views.tables import format_figure, render_views

NAME = "parse"
SUMMARY = "read training logs, of any trainer, and print what they say"

MAX_DISTINCT = 8
"""So many different values of a kind are still listed one by one."""

FORMATS = ("table", "markdown", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="LOG",
        help="log file, one per rank or merged; or a folder, each a launch of its own",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="sequences per card and step")
    parser.add_argument("--seq-length", type=int, metavar="N", help="tokens per sequence")
    parser.add_argument("--cards", type=int, metavar="N", help="cards of the run")
    parser.add_argument(
        "--target", type=float, metavar="VALUE", help="headline metric whose reaching is timed"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output")


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        DataError: a log cannot be opened or holds nothing of a training run.
        UsageError: a size is not positive.
    """
    told = Sizes(arguments.batch_size, arguments.seq_length, arguments.cards)
    for name, value in asdict(told).items():
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    groups = group_launches([Path(log) for log in arguments.logs])
    launches = [
        (name, measure_logs(paths, told, arguments.target, find_asked_sizes(stored)), stored)
        for name, paths in groups
        for stored in [read_stored(paths)]
    ]
    if len(launches) == 1:
        measured = launches[0][1]
        if arguments.format == "json":
            print(_encode(build_document(measured)))
        else:
            print(render_parse(measured, arguments.format))
        return EXIT_OK
    views = view_launches([launch_of_logs(*launch) for launch in launches])
    if arguments.format == "json":
        documents = [{"launch": name, **build_document(m)} for name, m, _ in launches]
        print(_encode({"launches": documents, "cases": build_rows(views)}))
    else:
        print(render_views(views, f"{len(launches)} launches", arguments.format))
    return EXIT_OK


def group_launches(paths: Sequence[Path]) -> List[Tuple[str, List[Path]]]:
    """Which logs are of one launch: those of a folder; files given by name are one together.

    A run folder stands for its ``logs``, a results folder for all of its runs.

    Returns:
        (name, logs or their folder) of each launch.
    """
    files = [path for path in paths if not path.is_dir()]
    groups = [(str(files[0]), files)] if files else []
    for folder in (path for path in paths if path.is_dir()):
        runs = sorted(folder.glob("runs/*/logs")) or sorted(folder.glob("*/logs"))
        if (folder / "logs").is_dir():
            groups.append((folder.name, [folder / "logs"]))
        elif runs and not any(folder.glob("*.log")):
            groups.extend((logs.parent.name, [logs]) for logs in runs)
        else:
            name = folder.parent.name if folder.name == "logs" else folder.name
            groups.append((name, [folder]))
    return groups


def read_stored(paths: Sequence[Path]) -> Optional[RunResult]:
    """The result beside the logs of a run folder; None where there is none that can be read."""
    folder = paths[0].parent
    if paths[0].name != "logs" or not (folder / RESULT_NAME).is_file():
        return None
    try:
        return read_result(folder)
    except DataError:
        return None


def find_asked_sizes(stored: Optional[RunResult]) -> Sizes:
    """Sizes that a run was asked for; nothing for bare logs."""
    if stored is None:
        return Sizes()
    asked = stored.asked
    pretrains = asked.get("task") in (None, PRETRAIN)
    return Sizes(
        asked.get("batch_size"),
        asked.get("seq_length"),
        stored.n_cards,
        asked.get("max_predictions") if pretrains else 0,
    )


def launch_of_logs(name: str, measured: LogsMeasured, stored: Optional[RunResult] = None) -> Launch:
    """Logs of a launch as a launch of its case.

    Args:
        name: of the launch.
        measured: what the logs say.
        stored: the result beside them. Its case, and the checks that logs alone do not allow, are
            taken from there: what was invalid must not count because its logs look well.
    """
    checks = measured.checks
    if stored is not None:
        known = {check.name: check for check in stored.validity}
        made = {check.name for check in checks}
        checks = (
            *(
                replace(check, required=known[check.name].required)
                if check.name in known
                else check
                for check in checks
            ),
            *(check for check in stored.validity if check.name not in made),
        )
    state = "finished" if stored is None else stored.state
    return Launch(
        name=name,
        session="" if stored is None else str(stored.session.get("id")),
        build="" if stored is None else stored.build,
        n_cards=measured.sizes.cards or len(measured.ranks),
        state=state,
        valid=state == "finished" and not any(check.fatal for check in checks),
        steady=all(c.passed is not False for c in measured.checks if c.name == "steady state"),
        series=build_series(measured.ranks),
        summary=measured.summary,
        checks=checks,
        batch_size=measured.sizes.batch_size,
    )


def _encode(document: Dict[str, Any]) -> str:
    return json.dumps(encode_floats(document), indent=2, allow_nan=False)


def build_document(measured: LogsMeasured) -> Dict[str, Any]:
    """All that was read, for programs."""
    return {
        "logs": measured.sources,
        "ranks_seen": len(measured.ranks),
        "counts": measured.counts,
        "loss_scales": [
            {"value": value, "count": count} for value, count in measured.loss_scales.items()
        ],
        "sizes": {
            name: {"value": value, "from": measured.origins[name]}
            for name, value in asdict(measured.sizes).items()
        },
        "summary": {key: asdict(item) for key, item in measured.summary.items()},
        "checks": [asdict(check) for check in measured.checks],
        "ranks": [asdict(record) for record in measured.ranks],
        "problems": measured.problems,
    }


def render_parse(measured: LogsMeasured, form: str) -> str:
    """What was read, rank by rank, then the figures of the whole."""
    style = "github" if form == "markdown" else "simple"
    ranks = tabulate(
        [_list_cells(record) for record in measured.ranks],
        ["rank", "intervals", "steps/s", "losses", "last step", "MLM loss", "NSP loss", "total"],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left"] + ["right"] * 7,
    )
    figures = tabulate(
        [
            [METRICS[key].header, *_format(key, item), str(item.n), item.reason or item.window]
            for key, item in measured.summary.items()
        ],
        ["figure", "value", "95 %", "n", "window"],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left", "right", "right", "right", "left"],
    )
    return "\n".join([ranks, "", figures, "", *describe_reading(measured)])


def describe_reading(measured: LogsMeasured) -> List[str]:
    """What the figures rest on: records, sizes and where they are from, problems."""
    counts = measured.counts
    rates = collections.Counter(
        rate for record in measured.ranks for rate in record.intervals["steps_per_second"]
    )
    lines = [
        "{} ranks; {} lines; {} step rates, {} loss records, {} loss-scale values, "
        "{} GEOP callbacks.".format(
            len(measured.ranks),
            counts.get("lines", 0),
            counts.get("step_rates", 0),
            counts.get("losses", 0),
            counts.get("loss_scales", 0),
            counts.get("geops", 0),
        ),
        "Sizes: "
        + "; ".join(
            "{} {} ({})".format(name.replace("_", " "), _dash(value), measured.origins[name])
            for name, value in asdict(measured.sizes).items()
        )
        + ".",
    ]
    for name, values in (("Step rates", rates), ("Loss scales", measured.loss_scales)):
        if values and len(values) <= MAX_DISTINCT:
            common = sorted(values.items(), key=lambda item: -item[1])
            lines.append(f"{name}: " + ", ".join(f"{value:g} × {n}" for value, n in common) + ".")
    for check in measured.checks:
        if check.passed is False:
            lines.append(f"{check.name}: found {check.found}, wanted {check.wanted}.")
    for problem in measured.problems:
        if problem["counts"]:
            kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(problem["counts"].items()))
            lines.append(f"{problem['source']}: {kinds}.")
    return lines


def _format(key: str, item: Measurement) -> Tuple[str, str]:
    """A figure and its limits."""
    if item.low is None or item.high is None:
        return format_figure(key, item.value), "-"
    limits = f"{format_figure(key, item.low)} to {format_figure(key, item.high)}"
    return format_figure(key, item.value), limits


def _list_cells(record: RankRecord) -> List[str]:
    rates = sorted(set(record.intervals["steps_per_second"]))
    rate = "-" if not rates else f"{rates[0]:g}"
    if len(rates) > 1:
        rate = f"{rates[0]:g}…{rates[-1]:g}"
    return [
        record.label,
        str(len(record.intervals["reason"])),
        rate,
        str(len(record.losses["step"])),
        _dash(record.last_step),
        *(
            format_figure(
                "final_mlm_loss", record.losses[name][-1] if record.losses[name] else None
            )
            for name in ("mlm", "nsp", "total")
        ),
    ]


def _dash(value: Optional[int]) -> str:
    return "-" if value is None else str(value)
