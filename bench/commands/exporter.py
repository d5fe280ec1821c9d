"""``ascend-bert exporter``: stored results as Prometheus metrics."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import List

from prometheus_client.registry import Collector

from bench.commands.gate import read_rules_or_default
from bench.errors import EXIT_OK, DataError, UsageError
from bench.export.collector import BuildCollector
from bench.export.judged import JudgedCollector, VerdictReader
from bench.export.publisher import check_textfile, write_textfile
from bench.export.server import DEFAULT_PORT, LOOPBACK, MetricsServer, build_registry, parse_listen
from bench.export.stored import MAX_CASES, ResultCollector, ResultReader, list_stored
from bench.export.web_guard import WebGuard
from bench.judge.rules import Rules
from bench.session.signals import SignalCatcher

NAME = "exporter"
SUMMARY = "serve stored results, their changes and verdicts to Prometheus"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "results",
        metavar="RESULTS_DIR",
        nargs="?",
        default="results",
        help="results directory (default: results)",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help=f"where to serve (default: {LOOPBACK}:{DEFAULT_PORT}, this machine only)",
    )
    parser.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        help="TLS, users and rate limit, with the keys of Prometheus' exporters",
    )
    parser.add_argument(
        "--textfile",
        metavar="FILE",
        help="write a .prom file for node_exporter's textfile collector and end, serve nothing",
    )
    parser.add_argument(
        "--max-cases",
        type=int,
        default=MAX_CASES,
        metavar="N",
        help=f"cases to export, the latest ones (default: {MAX_CASES})",
    )
    parser.add_argument(
        "--rules", metavar="FILE", help="YAML file: metrics and known breaks of the history"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal asks for the end, which is the normal one.

    Raises:
        UsageError: a flag, the rules or the web config does not hold.
        DataError: there is no such directory.
        PortError: the port cannot be bound.
        OutputError: the text file cannot be written.
    """
    output = Path(arguments.results)
    if not output.is_dir():
        raise DataError(f"no results directory {output}; make results with 'ascend-bert bench'")
    if arguments.max_cases < 1:
        raise UsageError(f"--max-cases must be 1 or more, got {arguments.max_cases}")
    rules = read_rules_or_default(arguments.rules)
    collectors = build_collectors(output, arguments.max_cases, rules)
    if arguments.textfile is not None:
        if arguments.listen is not None or arguments.web_config is not None:
            raise UsageError("--textfile serves nothing: drop --listen and --web.config.file")
        check_textfile(Path(arguments.textfile))
        write_textfile(Path(arguments.textfile), build_registry(collectors))
        return EXIT_OK
    address = parse_listen(arguments.listen or f"{LOOPBACK}:{DEFAULT_PORT}")
    config = None if arguments.web_config is None else Path(arguments.web_config)
    with SignalCatcher() as signals, MetricsServer(
        collectors, address[1], address[0], WebGuard(config)
    ) as server:
        print(f"metrics: {server.url}", file=sys.stderr, flush=True)
        while signals.received is None:
            time.sleep(0.2)
    return EXIT_OK


def build_collectors(output: Path, max_cases: int, rules: Rules) -> List[Collector]:
    """What is exported of a results directory; whoever adds a source adds it here."""
    results = ResultReader(list_stored(output))
    collectors = [
        BuildCollector(),
        ResultCollector(results, max_cases),
        JudgedCollector(results, VerdictReader(output), rules, max_cases),
    ]
    for collector in collectors:
        list(collector.collect())  # many results take a while the first time: not in a scrape
    return collectors
