"""``ascend-bert docker-args``: how a container of the image is started on this host.

Also runs from a checkout with any Python from 3.7 on, without the harness's dependencies:
``python3 -m bench.commands.docker_args``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import List, Optional

from bench.containers.arguments import (
    ContainerArguments,
    build_arguments,
    render_command,
    render_line,
    render_plain,
)
from bench.containers.host import read_host
from bench.containers.request import (
    BACKENDS,
    ENGINES,
    RUNTIMES,
    ContainerRequest,
    find_flags,
    find_user,
    list_mounts,
    make_paths_absolute,
    parse_cards,
    parse_devices,
)
from bench.errors import EXIT_OK, BackendUnavailableError, BenchError, UsageError

NAME = "docker-args"
SUMMARY = "print the devices, mounts and options with which a container starts on this host"

_USER = re.compile(r"\d{1,10}:\d{1,10}$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("--cards", metavar="N[,N…]", help="card counts (default: of the command)")
    parser.add_argument("--devices", metavar="IDS", help="device ids, 0-3,6 (default: the first)")
    parser.add_argument("--backend", choices=BACKENDS, help="default: of the command, else auto")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="default: docker")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default=RUNTIMES[0],
        help="ascend-docker-runtime: taken when Docker knows it (auto), always or never",
    )
    parser.add_argument(
        "--user",
        metavar="UID:GID",
        default="caller",
        help="user of the processes: caller (default), image, or two numbers",
    )
    parser.add_argument("--data", metavar="DIR", default="", help="training data, becomes /data")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )
    parser.add_argument("--network", metavar="NAME", default="", help="host on Ascend by default")
    parser.add_argument(
        "--shm-size", metavar="SIZE", default="", help="own shared memory, such as 8g"
    )
    parser.add_argument(
        "--writable", action="store_true", help="let the container write to its root file system"
    )
    parser.add_argument("--image", metavar="NAME", default="ascend-bert", help="image to start")
    parser.add_argument(
        "--host-root", metavar="DIR", default="/", help="folder that stands for the host's root"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--dry-run", action="store_true", help="print the whole command, and what is missing"
    )
    form.add_argument("--lines", action="store_true", help="the whole command, one word a line")
    form.add_argument("--json", action="store_true", help="arguments, notes and what is missing")
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="VERB …",
        help="what is to run, such as bench --cards 8; its paths are mounted",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: a flag's value is wrong.
        BackendUnavailableError: the host lacks what the container needs.
    """
    request = build_request(arguments)
    if not os.path.isdir(arguments.host_root):
        raise UsageError(f"--host-root {arguments.host_root} is not a folder")
    built = build_arguments(read_host(arguments.host_root), request)
    if arguments.json:
        print(json.dumps(render_plain(request, built), indent=2))
    else:
        for note in built.notes:
            print(f"docker-args: {note}", file=sys.stderr)
    if arguments.dry_run:
        print(render_command(request, built))
    _check_nothing_missing(built)
    if arguments.lines:
        words = (request.engine, "run", *built.words, request.image, *request.command)
        print("\n".join(words))
    elif not (arguments.json or arguments.dry_run):
        print(render_line(built.words))
    return EXIT_OK


def build_request(arguments: argparse.Namespace) -> ContainerRequest:
    """What the flags and the command ask for.

    Raises:
        UsageError: a value is wrong.
    """
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    flags = find_flags(words)
    folder = os.getcwd()
    variables = [("ASCEND_BERT_IMAGE", arguments.image)]
    rank_table = os.environ.get("RANK_TABLE_FILE", "")
    if rank_table:
        rank_table = os.path.abspath(rank_table)
        variables.append(("RANK_TABLE_FILE", rank_table))
    if arguments.user == "caller":
        user = find_user(os.getuid(), os.getgid(), os.environ)
    elif arguments.user == "image":
        user = ""
    elif _USER.match(arguments.user):
        user = arguments.user
    else:
        raise UsageError(f"--user must be caller, image or UID:GID, got {arguments.user!r}")
    backend = arguments.backend or flags.get("--backend", BACKENDS[0])
    if backend == "simulated":
        backend = "cpu"
    if backend not in BACKENDS:
        raise UsageError(
            "--backend must be one of {}, got {!r}".format(", ".join(BACKENDS), backend)
        )
    command = make_paths_absolute(words, folder)
    if any("\n" in word for word in command):
        raise UsageError("the command has a line end in it")
    return ContainerRequest(
        n_cards=parse_cards(arguments.cards or flags.get("--cards", "1")),
        devices=None if arguments.devices is None else parse_devices(arguments.devices),
        backend=backend,
        engine=arguments.engine,
        runtime=arguments.runtime,
        user=user,
        rootless=os.getuid() != 0,
        network=arguments.network,
        shm_size=arguments.shm_size,
        writable=arguments.writable,
        mounts=list_mounts(flags, arguments.data, arguments.output, rank_table, folder),
        variables=tuple(variables),
        image=arguments.image,
        command=command,
    )


def _check_nothing_missing(built: ContainerArguments) -> None:
    if built.missing:
        raise BackendUnavailableError(
            "; ".join(f"no {item.what} ({item.where}): {item.remedy}" for item in built.missing)
        )


def main(argv: Optional[List[str]] = None) -> int:
    """The verb alone, as a program of its own."""
    parser = argparse.ArgumentParser(prog=NAME, description=SUMMARY)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except BenchError as error:
        print("{}: error: {}".format(NAME, " ".join(str(error).split())), file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
