"""``ascend-bert ranktable``: make, check and convert the tables that HCCL reads."""

from __future__ import annotations

import argparse
import dataclasses
import json
import socket
import sys
from pathlib import Path
from typing import Dict, List, Optional

from bench.errors import EXIT_OK, UsageError
from bench.ranktable.addresses import (
    HCCN_CONF,
    HostAddresses,
    plan_addresses,
    read_addresses,
    read_hosts,
)
from bench.ranktable.create import build_rank_table, describe_rank_table
from bench.ranktable.model import CARDS_PER_SERVER, FORMS, LabFacts, RankTable
from bench.ranktable.parse import read_rank_table
from bench.ranktable.render import convert_rank_table, render_rank_table
from bench.ranktable.rules import check_rank_table, compare_addresses, list_findings
from bench.results.store import write_text_atomically

NAME = "ranktable"
SUMMARY = "make, check and convert rank tables of 1 to 4096 cards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tools and their flags."""
    tools = parser.add_subparsers(dest="tool", metavar="create|check|convert")
    create = tools.add_parser("create", help="a table from the addresses of the hosts' cards")
    create.add_argument("--cards", type=int, required=True, metavar="N", help="ranks, 1 to 4096")
    _add_sources(create)
    create.add_argument(
        "--servers", metavar="ID,…", help="server ids of hosts whose addresses are planned"
    )
    create.add_argument(
        "--subnets", metavar="NET,…", help="plan addresses in these 1, 2, 4 or 8 networks"
    )
    create.add_argument(
        "--first-address", type=int, default=1, metavar="N", help="first host number of a plan"
    )
    create.add_argument("--address-step", type=int, metavar="N", help="host numbers per server")
    create.add_argument("--devices", metavar="I,…", help="cards of a server not used whole")
    _add_form(create, "--form", default="1.0")
    check = tools.add_parser("check", help="every rule a table breaks; exit code 0 if none")
    check.add_argument("table", metavar="FILE")
    check.add_argument("--rank-size", type=int, metavar="N", help="RANK_SIZE of the run")
    _add_sources(check)
    check.add_argument("--json", action="store_true", help="findings for programs")
    convert = tools.add_parser("convert", help="the same ranks in another form")
    convert.add_argument("table", metavar="FILE")
    _add_form(convert, "--to", default=None)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        dest="hosts",
        metavar="ID=FILE",
        action="append",
        default=[],
        help="server id, and its hccn.conf or the output of hccn_tool; may be repeated",
    )
    parser.add_argument(
        "--gathered", metavar="PATH", help="the same of all hosts: a pdsh listing, or a folder"
    )


def _add_form(parser: argparse.ArgumentParser, flag: str, default: Optional[str]) -> None:
    parser.add_argument(
        flag, dest="form", choices=FORMS, default=default, required=default is None, help="form"
    )
    parser.add_argument("--group-name", metavar="NAME", help="of the lab and pod forms")
    parser.add_argument("--pod-prefix", metavar="NAME", default="bert", help="pods are NAME-0, …")
    parser.add_argument("--board-id", metavar="ID", help="of the lab form")
    parser.add_argument("--file", metavar="FILE", help="where to write (default: standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the tool.

    Raises:
        UsageError: the table is wrong, or what was asked cannot be made.
        OutputError: the file cannot be written.
    """
    if arguments.tool is None:
        raise UsageError("name a tool: create, check or convert (see --help)")
    tools = {"create": _run_create, "check": _run_check, "convert": _run_convert}
    return tools[arguments.tool](arguments)


def _run_create(arguments: argparse.Namespace) -> int:
    devices = None
    if arguments.devices is not None:
        devices = _parse_numbers("--devices", arguments.devices)
    hosts = _plan_hosts(arguments) if arguments.subnets else _read_sources(arguments)
    if not hosts:
        hosts = {_find_own_address(): read_addresses(HCCN_CONF)}
    table = build_rank_table(hosts, arguments.cards, devices)
    _write(_reshape(table, arguments), arguments)
    return EXIT_OK


def _run_check(arguments: argparse.Namespace) -> int:
    table = read_rank_table(Path(arguments.table))
    findings = list_findings(table, arguments.rank_size)
    findings += compare_addresses(table, _read_sources(arguments))
    if arguments.json:
        document = {
            "table": arguments.table,
            "form": table.form,
            "ranks": table.n_ranks,
            "findings": findings,
            "remarks": list(table.remarks),
        }
        print(json.dumps(document, indent=2))
    else:
        for remark in table.remarks:
            print(f"remark: {remark}")
        for finding in findings:
            print(f"wrong: {finding}")
        if not findings:
            print(f"ok: {arguments.table}: {describe_rank_table(table)}")
    if findings:
        raise UsageError(
            f"rank table {arguments.table} must not be used: {len(findings)} finding(s)"
        )
    return EXIT_OK


def _run_convert(arguments: argparse.Namespace) -> int:
    table = read_rank_table(Path(arguments.table))
    check_rank_table(table, arguments.table)
    for remark in table.remarks:
        sys.stderr.write(f"remark: {remark}\n")
    _write(_reshape(table, arguments), arguments)
    return EXIT_OK


def _reshape(table: RankTable, arguments: argparse.Namespace) -> RankTable:
    table = convert_rank_table(table, arguments.form, arguments.pod_prefix)
    if arguments.group_name is not None:
        table = dataclasses.replace(table, group_name=arguments.group_name)
    if arguments.board_id is not None:
        lab: LabFacts = dataclasses.replace(table.lab, board_id=arguments.board_id)
        table = dataclasses.replace(table, lab=lab)
    check_rank_table(table, "as asked for")
    return table


def _write(table: RankTable, arguments: argparse.Namespace) -> None:
    text = render_rank_table(table)
    if arguments.file is None:
        print(text, end="")
        return
    write_text_atomically(Path(arguments.file), text)
    sys.stderr.write(f"{arguments.file}: {describe_rank_table(table)}\n")


def _read_sources(arguments: argparse.Namespace) -> Dict[str, HostAddresses]:
    hosts: Dict[str, HostAddresses] = {}
    if arguments.gathered is not None:
        hosts.update(read_hosts(Path(arguments.gathered)))
    for text in arguments.hosts:
        server_id, separator, file = text.partition("=")
        if not (server_id and separator and file):
            raise UsageError(f"--host wants ID=FILE, got {text!r}")
        if server_id in hosts:
            raise UsageError(f"--host names {server_id} twice")
        hosts[server_id] = read_addresses(Path(file))
    return hosts


def _plan_hosts(arguments: argparse.Namespace) -> Dict[str, HostAddresses]:
    if arguments.hosts or arguments.gathered:
        raise UsageError("--subnets plans addresses; --host and --gathered give them: not both")
    if not arguments.servers:
        raise UsageError("--subnets needs --servers, the ids of the hosts")
    servers = arguments.servers.split(",")
    if len(set(servers)) != len(servers):
        raise UsageError("--servers names a server twice")
    if len(servers) * CARDS_PER_SERVER < arguments.cards:
        raise UsageError(f"--servers names {len(servers)}, too few for {arguments.cards} cards")
    plan = plan_addresses(
        arguments.subnets.split(","), len(servers), arguments.first_address, arguments.address_step
    )
    return dict(zip(servers, plan))


def _parse_numbers(flag: str, text: str) -> List[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and part.isascii() and len(part) < 4 for part in parts):
        raise UsageError(f"{flag} wants numbers like 0,1,2,3, got {text!r}")
    return [int(part) for part in parts]


def _find_own_address() -> str:
    """This host's address, by its name; its name where that gives none."""
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return name
    return name if address.startswith("127.") else address
