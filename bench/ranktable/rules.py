"""HCCL's rules on rank tables, all findings at once.

Sources: HCCL documentation of CANN 20.2 (ring rule, 1/2/4/8 devices a server, clusters of 8·n with
n ≤ 512, unique addresses), the deployment guide of the Atlas 800 for the four subnets.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Dict, Iterator, List, Mapping, Optional, Sequence

from bench.errors import UsageError
from bench.ranktable.model import (
    CARDS_PER_SERVER,
    COMPLETED,
    COUNTS_PER_SERVER,
    MAX_SERVERS,
    RING_SIZE,
    RankEntry,
    RankTable,
    group_by_server,
)
from bench.ranktable.text import shorten

_SERVER_ID = re.compile(r"(?!\.+$)[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
# RFC 1123 labels, which is what Kubernetes lets a pod be called.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_POD_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_GROUP_NAME = re.compile(r"[A-Za-z0-9._-]{0,64}\Z")
_MOST_SHOWN = 8


def list_findings(table: RankTable, rank_size: Optional[int] = None) -> List[str]:
    """All rules that a table breaks, one line each; empty when it may be used.

    Args:
        table: a table that could be parsed.
        rank_size: ``RANK_SIZE`` of the run that is to use it.
    """
    return [
        *_find_status(table),
        *_find_rank_ids(table),
        *_find_names(table),
        *_find_addresses(table.entries),
        *_find_servers(table),
        *_find_size(table, rank_size),
    ]


def check_rank_table(table: RankTable, source: str, rank_size: Optional[int] = None) -> None:
    """Raises for a table that must not be used.

    Raises:
        UsageError: the first finding, and how many more there are.
    """
    findings = list_findings(table, rank_size)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise UsageError(f"rank table {source}: {findings[0]}{more}")


def find_card_problem(device_ids: Sequence[int]) -> Optional[str]:
    """Why one server cannot use these cards together, or None."""
    shown = ", ".join(map(str, device_ids[:_MOST_SHOWN]))
    if len(set(device_ids)) != len(device_ids):
        return f"a device_id is listed twice: {shown}"
    if max(device_ids) >= CARDS_PER_SERVER:
        return f"device ids are 0 to {CARDS_PER_SERVER - 1}, found {shown}"
    if len(device_ids) not in COUNTS_PER_SERVER:
        return f"a server uses 1, 2, 4 or 8 cards, not {len(device_ids)}"
    rings = {device_id // RING_SIZE for device_id in device_ids}
    if 1 < len(device_ids) < CARDS_PER_SERVER and len(rings) > 1:
        return f"cards 0-3 and 4-7 are separate rings, {shown} cross them"
    return None


def find_count_problem(n_cards: int) -> Optional[str]:
    """Why HCCL has no cluster of so many cards, or None."""
    if n_cards in COUNTS_PER_SERVER:
        return None
    if n_cards < 1 or n_cards % CARDS_PER_SERVER or n_cards > CARDS_PER_SERVER * MAX_SERVERS:
        return (
            f"{n_cards} cards: one server uses 1, 2, 4 or 8, several use 8 each, and there are "
            f"at most {MAX_SERVERS} servers"
        )
    return None


def compare_addresses(table: RankTable, found: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    """Where a table and the addresses that the servers are set to differ.

    Args:
        table: the table.
        found: server id → device id → address, as ``/etc/hccn.conf`` of that server has it.
    """
    servers = group_by_server(table)
    for server_id, devices in found.items():
        if server_id not in servers:
            yield f"server {shorten(server_id)} is not in the table"
            continue
        for entry in servers[server_id]:
            actual = devices.get(entry.device_id)
            if actual is None:
                yield f"{_name(entry)}: that server has no address for device {entry.device_id}"
            elif actual != entry.device_ip:
                yield f"{_name(entry)}: device_ip is {entry.device_ip}, the server has {actual}"


def _find_status(table: RankTable) -> Iterator[str]:
    if table.status != COMPLETED:
        yield (
            f"status is {shorten(table.status)}, not 'completed': whoever writes the table has "
            "not finished"
        )


def _find_rank_ids(table: RankTable) -> Iterator[str]:
    n_ranks = table.n_ranks
    seen: Dict[int, RankEntry] = {}
    for entry in table.entries:
        if entry.rank_id in seen:
            yield (
                f"{_name(entry)}: rank_id {entry.rank_id} is also that of "
                f"{_name(seen[entry.rank_id])}"
            )
        elif entry.rank_id >= n_ranks:
            yield f"{_name(entry)}: rank_id {entry.rank_id} is not below {n_ranks}"
        seen.setdefault(entry.rank_id, entry)
    absent = [rank for rank in range(n_ranks) if rank not in seen]
    if absent:
        shown = ", ".join(map(str, absent[:_MOST_SHOWN])) + ("…" if len(absent) > 8 else "")
        yield f"no entry has rank_id {shown}"


def _find_names(table: RankTable) -> Iterator[str]:
    for server_id in group_by_server(table):
        if not _SERVER_ID.match(server_id):
            yield (
                f"server_id {shorten(server_id)} is no address or host name "
                "(letters, digits, . _ : -, at most 64)"
            )
    if not _GROUP_NAME.match(table.group_name):
        yield f"group_name {shorten(table.group_name)} is no plain name (letters, digits, . _ -)"
    for pod_name in sorted({entry.pod_name for entry in table.entries if entry.pod_name}):
        if not _POD_NAME.match(pod_name):
            yield f"pod_name {shorten(pod_name)} is no name of a pod (lower case, digits, -)"


def _find_addresses(entries: Sequence[RankEntry]) -> Iterator[str]:
    seen: Dict[str, RankEntry] = {}
    for entry in entries:
        problem = find_address_problem(entry.device_ip)
        if problem is not None:
            yield f"{_name(entry)}: device_ip {shorten(entry.device_ip)} {problem}"
            continue
        canonical = str(ipaddress.ip_address(entry.device_ip))
        if canonical in seen:
            yield (
                f"{_name(entry)}: device_ip {entry.device_ip} is also that of "
                f"{_name(seen[canonical])}"
            )
        seen.setdefault(canonical, entry)


def find_address_problem(text: str) -> Optional[str]:
    """Why a text is no address of a network port, or None."""
    # Leading zeros read as octal in C and are let through by older Pythons.
    if re.search(r"(^|\.)0[0-9]", text) and ":" not in text:
        return "has a leading zero"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "is no IP address"
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        return "cannot be a port's own address"
    return None


def _find_servers(table: RankTable) -> Iterator[str]:
    servers = group_by_server(table)
    if len(servers) > MAX_SERVERS:
        yield f"{len(servers)} servers are listed, at most {MAX_SERVERS} go"
    for server_id, entries in servers.items():
        device_ids = [entry.device_id for entry in entries]
        problem = find_card_problem(device_ids)
        if problem is None and len(servers) > 1 and len(device_ids) != CARDS_PER_SERVER:
            problem = (
                f"each of several servers uses all {CARDS_PER_SERVER} cards, "
                f"this one {len(device_ids)}"
            )
        if problem is not None:
            yield f"server {shorten(server_id)}: {problem}"


def _find_size(table: RankTable, rank_size: Optional[int]) -> Iterator[str]:
    if rank_size is not None and rank_size != table.n_ranks:
        yield f"{table.n_ranks} ranks are listed, RANK_SIZE is {rank_size}"


def _name(entry: RankEntry) -> str:
    return entry.where or f"rank {entry.rank_id}"
