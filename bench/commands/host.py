"""``ascend-bert host``: the agent that a launcher starts on each host of a session."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path
from typing import Any, ContextManager, Mapping, Sequence

from bench.errors import InfrastructureError
from bench.launch.agent import HostAgent
from bench.launch.group import Rank
from bench.launch.launchers import build_own_host, name_rendezvous
from bench.launch.scheduler_variables import Place
from bench.session.host_service import HostService
from bench.session.signals import SignalCatcher
from bench.spec import RunSpec

NAME = "host"
SUMMARY = "serve a session as one of its hosts; launchers start this, people need not"

_POLL_SECONDS = 0.2


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

    def watch(plan: Mapping[str, Any], ranks: Sequence[Rank]) -> ContextManager[Any]:
        # What the head sees itself it also looks after itself.
        return contextlib.ExitStack() if plan["near"] else HostService(host, plan, ranks)

    return HostAgent(folder, host, n_hosts, lambda: signals.received, watch).serve()


def join_session(spec: RunSpec, output: Path, place: Place, signals: SignalCatcher) -> int:
    """Serves the session that process 0 of the same job leads; returns the exit code.

    Raises:
        InfrastructureError: process 0 does not come.
    """
    folder = output / "hosts" / name_rendezvous(place)
    deadline = time.monotonic() + spec.hosts.start_timeout_seconds
    while not folder.is_dir():
        signals.check()
        if time.monotonic() > deadline:
            raise InfrastructureError(
                f"process {place.index} of job {place.job} finds no session in {folder}; does "
                "process 0 run with the same --output?"
            )
        time.sleep(_POLL_SECONDS)
    return serve_host(folder, spec.launcher, signals)
