"""``ascend-bert host``: the agent that a launcher starts on each host of a session."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.launch.agent import HostAgent
from bench.launch.launchers import build_own_host
from bench.session.signals import SignalCatcher

NAME = "host"
SUMMARY = "serve a session as one of its hosts; launchers start this, people need not"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("folder", metavar="DIR", help="the session's folder of messages")
    parser.add_argument(
        "--index-from",
        choices=("slurm", "mpi", "env", "kubernetes"),
        required=True,
        help="whose variables say which host this is",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        BenchError: there is no session, or its head is lost.
    """
    with SignalCatcher() as signals:
        return serve_host(Path(arguments.folder), arguments.index_from, signals)


def serve_host(folder: Path, index_from: str, signals: SignalCatcher) -> int:
    """Serves until the session is closed; returns the exit code."""
    host, n_hosts = build_own_host(index_from, os.environ)
    return HostAgent(folder, host, n_hosts, lambda: signals.received).serve()
