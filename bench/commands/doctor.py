"""``ascend-bert doctor``: is this machine fit for a run, and what to do if not."""

from __future__ import annotations

import argparse
import sys
from typing import Tuple

from bench.devices.ascend import list_device_ids
from bench.doctor.examine import examine
from bench.doctor.model import FAIL, Patient
from bench.doctor.render import render_json, render_table
from bench.environment.sources import World, locate
from bench.errors import EXIT_OK, InfrastructureError, UsageError

NAME = "doctor"
SUMMARY = "examine the machine: devices, versions, network, disk; each check with its remedy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "--backend",
        choices=("auto", "ascend", "cpu", "simulated"),
        default="auto",
        help="what runs will use (default: ascend where there are devices, else cpu)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--rank-table", metavar="FILE", help="rank table of the run")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )
    parser.add_argument(
        "--trainer-python",
        metavar="FILE",
        default=sys.executable,
        help="interpreter of the trainer (default: the one that runs this)",
    )
    # For tests and for looking at a copy of another host.
    parser.add_argument("--host-root", metavar="DIR", default="/", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        InfrastructureError: a check failed; the report is on standard output all the same.
    """
    for flag in ("rank_table", "output", "trainer_python"):
        if getattr(arguments, flag) == "":
            raise UsageError("--{} needs a value".format(flag.replace("_", "-")))
    world = World(root=arguments.host_root)
    backend, reason = choose(arguments.backend, world)
    patient = Patient(
        backend=backend,
        world=world,
        output=arguments.output,
        trainer_python=arguments.trainer_python,
        rank_table=arguments.rank_table,
    )
    findings = examine(patient)
    if arguments.json:
        print(render_json(patient, reason, findings))
    else:
        print(f"backend {backend}: {reason}\n")
        print(render_table(findings))
    failed = [finding.name for finding in findings if finding.status == FAIL]
    if failed:
        sys.stdout.flush()
        raise InfrastructureError("not fit for a run: {}".format(", ".join(failed)))
    return EXIT_OK


def choose(asked: str, world: World) -> Tuple[str, str]:
    """The backend that is examined, and why that one."""
    if asked != "auto":
        return asked, "as asked"
    devices = list_device_ids(locate(world, "/dev"))
    if devices:
        return "ascend", f"{len(devices)} device(s) under /dev"
    return "cpu", "no /dev/davinci* device"
