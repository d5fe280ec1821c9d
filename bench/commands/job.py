"""``ascend-bert job``: the file that hands a session to Slurm or to Kubernetes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List

from bench.commands import bench as bench_command
from bench.errors import EXIT_OK, UsageError
from bench.launch.kubernetes import KubernetesJob, render_manifests
from bench.launch.slurm import render_sbatch_script

NAME = "job"
SUMMARY = "write an sbatch script or Volcano manifests that run 'bench' on several hosts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the schedulers and their flags."""
    schedulers = parser.add_subparsers(dest="scheduler", metavar="slurm|kubernetes")
    slurm = schedulers.add_parser("slurm", help="a script for sbatch, on standard output")
    slurm.add_argument("--name", default="ascend-bert", help="of the job")
    slurm.add_argument("--hosts", type=int, required=True, metavar="N", help="nodes")
    slurm.add_argument("--time", metavar="LIMIT", help="as for sbatch")
    slurm.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="WORD",
        help="one more option, as --sbatch=--partition=npu; may be repeated",
    )
    kubernetes = schedulers.add_parser("kubernetes", help="manifests, on standard output")
    kubernetes.add_argument("--name", default="ascend-bert", help="of the job")
    kubernetes.add_argument("--hosts", type=int, required=True, metavar="N", help="pods")
    kubernetes.add_argument(
        "--cards-per-host", type=int, default=8, metavar="N", help="1, 2, 4, 8; 0 on CPUs"
    )
    kubernetes.add_argument("--image", required=True, metavar="REF", help="of the container")
    kubernetes.add_argument(
        "--output-claim", required=True, metavar="NAME", help="volume claim that all pods write"
    )
    kubernetes.add_argument("--data-claim", metavar="NAME", help="volume claim of the data")
    kubernetes.add_argument("--namespace", default="default", metavar="NAME")
    kubernetes.add_argument("--queue", default="default", metavar="NAME", help="of Volcano")
    kubernetes.add_argument("--arch", choices=("arm", "x86"), default="arm", help="of the hosts")
    kubernetes.add_argument("--cpu-cores", type=int, metavar="N", help="asked for each pod")
    for scheduler in (slurm, kubernetes):
        scheduler.add_argument(
            "bench",
            nargs=argparse.REMAINDER,
            metavar="-- FLAGS",
            help="flags of 'ascend-bert bench'",
        )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: a flag of the job or of the session in it is wrong.
    """
    if arguments.scheduler is None:
        raise UsageError("name a scheduler: slurm or kubernetes (see --help)")
    if arguments.hosts < 1:
        raise UsageError(f"--hosts must be at least 1, got {arguments.hosts}")
    words = arguments.bench[1:] if arguments.bench[:1] == ["--"] else arguments.bench
    _check_session(words)
    if arguments.scheduler == "slurm":
        print(_render_slurm(arguments, words), end="")
    else:
        print(_render_kubernetes(arguments, words), end="")
    return EXIT_OK


def _check_session(words: List[str]) -> None:
    """Refuses a wrong flag now, and not when the job is run."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> None:  # type: ignore[override]
            raise UsageError(f"flags after --: {message} (see ascend-bert bench --help)")

    parser = Parser(prog="ascend-bert bench")
    bench_command.add_arguments(parser)
    session = parser.parse_args(words)
    if session.launcher is not None:
        raise UsageError("flags after --: the launcher is that of the job; drop --launcher")
    bench_command.build_asked_specs(session)


def _render_slurm(arguments: argparse.Namespace, words: List[str]) -> str:
    command = [sys.executable, "-m", "bench", "bench", "--launcher=slurm", *words]
    return render_sbatch_script(
        command,
        arguments.hosts,
        Path.cwd(),
        arguments.name,
        arguments.time,
        arguments.sbatch,
    )


def _render_kubernetes(arguments: argparse.Namespace, words: List[str]) -> str:
    return render_manifests(
        KubernetesJob(
            name=arguments.name,
            image=arguments.image,
            n_hosts=arguments.hosts,
            cards_per_host=arguments.cards_per_host,
            arguments=words,
            output_claim=arguments.output_claim,
            data_claim=arguments.data_claim,
            namespace=arguments.namespace,
            queue=arguments.queue,
            architecture=arguments.arch,
            cpu_cores=arguments.cpu_cores,
        )
    )
