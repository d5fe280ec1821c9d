"""Flags of the verbs that run something, on where the metrics of the run go."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import List, Optional

from prometheus_client.registry import Collector

from bench.errors import UsageError
from bench.export.collector import BuildCollector, LiveCollector
from bench.export.publisher import PUSH_LINGER_SECONDS, Publisher, PublishOptions
from bench.export.server import LOOPBACK
from bench.export.stored import ResultCollector, ResultReader
from bench.export.telemetry import TelemetryCollector
from bench.measure.live import RunFacts
from bench.session.sweep import Sweep


def add_metrics_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    group = parser.add_argument_group("metrics")
    group.add_argument(
        "--metrics-port", type=int, metavar="N", help="serve live metrics there; 0 takes a free one"
    )
    group.add_argument(
        "--metrics-address",
        metavar="ADDR",
        default=LOOPBACK,
        help="address to serve on (default: loopback only)",
    )
    group.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        help="TLS, users and rate limit, with the keys of Prometheus' exporters",
    )
    group.add_argument(
        "--file-sd",
        metavar="FILE",
        help="target file for Prometheus, there while metrics are served "
        "(default: DIR/prometheus/SESSION.json with DIR of --output)",
    )
    group.add_argument(
        "--advertise",
        metavar="HOST[:PORT]",
        help="what to write into it (default: the address served, or this host's name)",
    )
    group.add_argument(
        "--push", metavar="URL", help="push to this Pushgateway, and delete it all at the end"
    )
    group.add_argument(
        "--textfile",
        metavar="FILE",
        help="write the last metrics to a .prom file for node_exporter's textfile collector",
    )
    group.add_argument(
        "--linger",
        type=float,
        metavar="SECONDS",
        help="keep metrics up after the last run so that its end is scraped "
        f"(default: 0, or {PUSH_LINGER_SECONDS:g} with --push)",
    )


def build_publish_options(
    arguments: argparse.Namespace, output: Path, session_id: str
) -> PublishOptions:
    """The flags, checked.

    Raises:
        UsageError: a value or a combination does not hold.
    """
    port: Optional[int] = arguments.metrics_port
    if port is not None and not 0 <= port <= 65535:
        raise UsageError(f"--metrics-port must be 0 to 65535, got {port}")
    linger: Optional[float] = arguments.linger
    if linger is not None and not 0.0 <= linger < math.inf:
        raise UsageError(f"--linger must be 0 or more seconds, got {linger}")
    if port is None:
        for flag, value in (
            ("--web.config.file", arguments.web_config),
            ("--file-sd", arguments.file_sd),
            ("--advertise", arguments.advertise),
        ):
            if value is not None:
                raise UsageError(f"{flag} is for the endpoint of --metrics-port")
        if linger is not None and arguments.push is None:
            raise UsageError("--linger needs --metrics-port or --push")
    target_file = arguments.file_sd or output / "prometheus" / f"{session_id}.json"
    return PublishOptions(
        listen=None if port is None else (arguments.metrics_address, port),
        web_config=_as_path(arguments.web_config),
        target_file=None if port is None else Path(target_file),
        advertise=arguments.advertise,
        push_url=arguments.push,
        textfile=_as_path(arguments.textfile),
        linger_seconds=linger,
    )


def open_metrics(arguments: argparse.Namespace, sweep: Sweep) -> Publisher:
    """Publishes a session as the flags say, until closed.

    Raises:
        BenchError: see :class:`bench.export.publisher.Publisher`.
    """
    options = build_publish_options(arguments, sweep.output, sweep.session_id)
    return Publisher(options, build_collectors(sweep), sweep.session_id, sweep.note)


def build_collectors(sweep: Sweep) -> List[Collector]:
    """What is exported of a session; whoever adds a source adds it here."""
    return [
        BuildCollector(),
        LiveCollector(sweep.get_snapshot, sweep.list_ended),
        TelemetryCollector(sweep.get_telemetry, lambda: _get_facts(sweep)),
        ResultCollector(ResultReader(lambda: sweep.run_directories)),
    ]


def _get_facts(sweep: Sweep) -> Optional[RunFacts]:
    snapshot = sweep.get_snapshot()
    return None if snapshot is None else snapshot.facts


def _as_path(text: Optional[str]) -> Optional[Path]:
    return None if text is None else Path(text)
