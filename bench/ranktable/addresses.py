"""Addresses of the cards' network ports, from what every host says of its own.

Texts that are understood, of one host or of several with ``HOST: `` before each line, as ``pdsh``
and ``clush`` print them:

- ``/etc/hccn.conf``: lines ``address_<device>=<address>``, others are passed over;
- ``hccn_tool -i <device> -ip -g``: ``ipaddr:<address>`` below a line that names the device, either
  the command itself, as a terminal shows it, or ``[devid <device>]``.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.errors import UsageError
from bench.ranktable.model import CARDS_PER_SERVER
from bench.ranktable.rules import find_address_problem
from bench.ranktable.text import read_text_file, shorten

HCCN_CONF = Path("/etc/hccn.conf")

HostAddresses = Dict[int, str]
"""Device id → address."""

_CONF_LINE = re.compile(r"\s*address_(\d{1,3})\s*=\s*(\S*)\s*\Z")
_TOOL_DEVICE = re.compile(r".*(?:\bhccn_tool\s+-i\s+|\[devid )(\d{1,3})\b")
_TOOL_ADDRESS = re.compile(r"\s*ipaddr\s*:\s*(\S*)\s*\Z")
_HOST_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}): ?(.*)\Z")
_NUMBERS = re.compile(r"(\d+)")


def parse_addresses(text: str, source: str) -> HostAddresses:
    """Reads the addresses of one host.

    Args:
        text: one of the texts that the module describes, without host names.
        source: where it is from, for messages.

    Raises:
        UsageError: no address in it, one is unfit, or a device has two; with the line.
    """
    found: HostAddresses = {}
    device: Optional[int] = None
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{source} line {number}"
        conf, named = _CONF_LINE.match(line), _TOOL_DEVICE.match(line)
        given = _TOOL_ADDRESS.match(line)
        if conf:
            _add(found, int(conf.group(1)), conf.group(2), where)
        elif named:
            device = int(named.group(1))
        elif given:
            if device is None:
                raise UsageError(
                    f"{where}: no line before it says which device that is; gather with "
                    "'echo \"[devid $i]\"; hccn_tool -i $i -ip -g' for each device"
                )
            _add(found, device, given.group(1), where)
            device = None
    if not found:
        raise UsageError(
            f"{source}: no line address_<device>=… of an hccn.conf and no ipaddr:… of hccn_tool"
        )
    return found


def parse_hosts(text: str, source: str) -> Dict[str, HostAddresses]:
    """Reads the addresses of several hosts: ``HOST: `` stands before each line.

    Raises:
        UsageError: a line without a host, or :func:`parse_addresses` of a host's lines.
    """
    lines: Dict[str, List[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _HOST_LINE.match(line)
        if match:
            lines.setdefault(match.group(1), []).append(match.group(2))
        elif line.strip():
            raise UsageError(
                f"{source} line {number}: 'HOST: ' must stand before each line, as pdsh prints; "
                f"found {shorten(line)}"
            )
    if not lines:
        raise UsageError(f"{source} is empty")
    return {
        host: parse_addresses("\n".join(own), f"{source} host {host}")
        for host, own in _sort_hosts(lines)
    }


def read_hosts(path: Path) -> Dict[str, HostAddresses]:
    """Reads what was gathered: a file for :func:`parse_hosts`, or a folder with a file per host.

    In a folder a file's name without ``.conf`` or ``.txt`` is the server id. Hosts come in the
    order of their names, numbers in them by value.

    Raises:
        UsageError: see :func:`parse_addresses`.
    """
    if not path.is_dir():
        return parse_hosts(read_text_file(path, "gathered addresses"), str(path))
    files = {}
    for file in path.iterdir():
        if file.is_file() and not file.name.startswith("."):
            name = file.stem if file.suffix in (".conf", ".txt") else file.name
            files[name] = file
    if not files:
        raise UsageError(f"folder {path} has no file; one per host is wanted, <server id>.conf")
    return {name: read_addresses(file) for name, file in _sort_hosts(files)}


def read_addresses(path: Path) -> HostAddresses:
    """Reads the addresses of one host; see :func:`parse_addresses`."""
    return parse_addresses(read_text_file(path, "addresses"), str(path))


def plan_addresses(
    subnets: Sequence[str], n_servers: int, first: int = 1, step: Optional[int] = None
) -> List[HostAddresses]:
    """Lays out addresses that are yet to be set, for whole servers.

    With four subnets cards i and i + 4 share one, as the deployment guide of the Atlas 800 wants it
    (pairs 0+4, 1+5, 2+6, 3+7). Within a subnet server s has the host numbers from
    ``first + s · step`` on, the lower cards the higher numbers, which is the original's layout.

    Args:
        subnets: 1, 2, 4 or 8 networks such as ``"192.168.100.0/24"``.
        n_servers: servers of eight cards.
        first: host number of the first server in each subnet.
        step: host numbers between servers; as many as a server needs if None.

    Raises:
        UsageError: not such networks, they overlap, or they are too small.
    """
    if len(subnets) not in (1, 2, 4, 8):
        raise UsageError(f"1, 2, 4 or 8 subnets can be dealt to 8 cards, not {len(subnets)}")
    networks = [_parse_network(text) for text in subnets]
    for i, network in enumerate(networks):
        for other in networks[:i]:
            if network.overlaps(other):
                raise UsageError(f"subnets {other} and {network} overlap")
    per_subnet = CARDS_PER_SERVER // len(networks)
    step = per_subnet if step is None else step
    if step < per_subnet or first < 1:
        raise UsageError(
            f"a server needs {per_subnet} host numbers in each subnet, from 1 on; "
            f"got first {first}, step {step}"
        )
    last = first + (n_servers - 1) * step + per_subnet - 1
    for network in networks:
        if last >= network.num_addresses - 1:
            raise UsageError(
                f"subnet {network} is too small: {n_servers} servers need host number {last}"
            )
    return [
        {
            device: str(
                networks[device % len(networks)][
                    first + server * step + per_subnet - 1 - device // len(networks)
                ]
            )
            for device in range(CARDS_PER_SERVER)
        }
        for server in range(n_servers)
    ]


def _parse_network(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise UsageError(f"{shorten(text)} is no network like 192.168.100.0/24") from error
    return network


def _add(found: HostAddresses, device: int, address: str, where: str) -> None:
    if device >= CARDS_PER_SERVER:
        raise UsageError(f"{where}: device ids are 0 to {CARDS_PER_SERVER - 1}, found {device}")
    problem = find_address_problem(address)
    if problem is not None:
        raise UsageError(f"{where}: address {shorten(address)} {problem}")
    if device in found and found[device] != address:
        raise UsageError(f"{where}: device {device} has two addresses: {found[device]}, {address}")
    found[device] = address


def _sort_hosts(items: Mapping[str, Any]) -> List[Tuple[str, Any]]:
    def key(item: Tuple[str, Any]) -> List[Tuple[int, str]]:
        return [
            (int(part), "") if part.isdigit() else (-1, part)
            for part in _NUMBERS.split(item[0])
            if part
        ]

    return sorted(items.items(), key=key)
