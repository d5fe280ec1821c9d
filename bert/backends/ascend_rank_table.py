"""Rank tables: which device of which server is which rank, in the three forms that HCCL reads.

1.0     server_list of servers, each with devices {device_id, device_ip, rank_id}.
lab     group_list with one group of instances, one device each, rank_id on the instance.
pod     group_list with one group of pods, each with devices; there are no rank ids, ranks follow
        the order of pods and devices, and a process says who it is by POD_NAME.

All values of a table are JSON texts, numbers included.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from typing import Any, List, Mapping, Optional, Tuple

from bert.errors import UsageError

CARDS_PER_SERVER = 8
_MOST_SERVERS = 512
_COUNTS_PER_SERVER = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class RankEntry:
    """One rank of a table.

    Attributes:
        rank_id: global rank, from 0.
        device_id: physical device on its server, 0 to 7.
        device_ip: address of the device's network port, empty if the table gives none.
        server_id: identity of the server, mostly an address.
        server_index: position of the server among those of the table.
        pod_name: name of the pod, empty outside pod tables.
    """

    rank_id: int
    device_id: int
    device_ip: str
    server_id: str
    server_index: int
    pod_name: str = ""


@dataclasses.dataclass(frozen=True)
class RankTable:
    """A validated table.

    Attributes:
        form: "1.0", "lab" or "pod".
        entries: one per rank, in rank order.
        source: the file, for messages.
    """

    form: str
    entries: Tuple[RankEntry, ...]
    source: str

    @property
    def rank_size(self) -> int:
        """Number of ranks."""
        return len(self.entries)

    def list_server(self, server_index: int) -> Tuple[RankEntry, ...]:
        """Returns the ranks of one server, in rank order."""
        return tuple(entry for entry in self.entries if entry.server_index == server_index)


def read_rank_table(path: str) -> RankTable:
    """Reads and validates a rank table.

    Raises:
        UsageError: if it cannot be read or does not describe a usable cluster.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"rank table {path}: cannot be read: {reason}") from error
    return parse_rank_table(text, path)


def parse_rank_table(text: str, source: str) -> RankTable:
    """Parses and validates the text of a rank table.

    Args:
        text: JSON.
        source: the file, for messages.

    Raises:
        UsageError: with the first thing that is wrong and where.
    """
    try:
        table = json.loads(text)
    except ValueError as error:
        raise UsageError(f"rank table {source}: not valid JSON: {error}") from error
    reader = _Reader(source)
    root = reader.check_object(table, "the table")
    status = reader.read_text(root, "status", "the table")
    if status != "completed":
        raise UsageError(
            f"rank table {source}: status is {status!r}, not 'completed'; whoever writes the "
            "table has not finished"
        )
    if "server_list" in root:
        form, entries = "1.0", _parse_server_list(root, reader)
    elif "group_list" in root:
        form, entries = _parse_group_list(root, reader)
    else:
        raise UsageError(f"rank table {source}: has neither server_list nor group_list")
    entries = tuple(sorted(entries, key=lambda entry: entry.rank_id))
    result = RankTable(form, entries, source)
    check_rank_table(result)
    return result


class _Reader:
    """Typed access to the parts of a table, with the source in every message."""

    def __init__(self, source: str) -> None:
        self._source = source

    def fail(self, message: str) -> UsageError:
        """Returns the error for the caller to raise."""
        return UsageError(f"rank table {self._source}: {message}")

    def check_object(self, value: Any, where: str) -> Mapping[str, Any]:
        """Returns `value` if it is a JSON object."""
        if not isinstance(value, dict):
            raise self.fail(f"{where} must be a JSON object")
        return value

    def read_text(self, part: Mapping[str, Any], key: str, where: str) -> str:
        """Returns a text that must be there."""
        value = part.get(key)
        if not isinstance(value, str) or not value:
            raise self.fail(f"{where} needs {key}, a non-empty text (found {value!r})")
        return value

    def read_count(self, part: Mapping[str, Any], key: str, where: str) -> int:
        """Returns a whole number written as a text."""
        text = self.read_text(part, key, where)
        if not (text.isascii() and text.isdigit()):
            raise self.fail(f"{where}: {key}={text!r} is not a whole number from 0 on")
        return int(text)

    def read_list(self, part: Mapping[str, Any], key: str, where: str) -> List[Mapping[str, Any]]:
        """Returns a non-empty list of objects."""
        value = part.get(key)
        if not isinstance(value, list) or not value:
            raise self.fail(f"{where} needs {key}, a non-empty list")
        return [self.check_object(item, f"{key}[{i}]") for i, item in enumerate(value)]

    def check_count(self, part: Mapping[str, Any], key: str, n_found: int, where: str) -> None:
        """Raises if a stated number is not the number found."""
        stated = self.read_count(part, key, where)
        if stated != n_found:
            raise self.fail(f"{where}: {key} says {stated}, listed are {n_found}")


def _parse_server_list(root: Mapping[str, Any], reader: _Reader) -> List[RankEntry]:
    version = reader.read_text(root, "version", "the table")
    if version != "1.0":
        raise reader.fail(f"version {version!r} is not 1.0")
    servers = reader.read_list(root, "server_list", "the table")
    reader.check_count(root, "server_count", len(servers), "the table")
    entries = []
    for server_index, server in enumerate(servers):
        where = f"server_list[{server_index}]"
        server_id = reader.read_text(server, "server_id", where)
        for i, device in enumerate(reader.read_list(server, "device", where)):
            place = f"{where}.device[{i}]"
            entries.append(
                RankEntry(
                    rank_id=reader.read_count(device, "rank_id", place),
                    device_id=reader.read_count(device, "device_id", place),
                    device_ip=reader.read_text(device, "device_ip", place),
                    server_id=server_id,
                    server_index=server_index,
                )
            )
    _check_distinct([server["server_id"] for server in servers], "server_id", reader)
    return entries


def _parse_group_list(root: Mapping[str, Any], reader: _Reader) -> Tuple[str, List[RankEntry]]:
    groups = reader.read_list(root, "group_list", "the table")
    reader.check_count(root, "group_count", len(groups), "the table")
    if len(groups) != 1:
        raise reader.fail(f"there must be one group, found {len(groups)}")
    group = groups[0]
    instances = reader.read_list(group, "instance_list", "group_list[0]")
    reader.check_count(group, "instance_count", len(instances), "group_list[0]")
    if root.get("deploy_mode") == "lab":
        return "lab", _parse_lab_instances(group, instances, reader)
    return "pod", _parse_pods(group, instances, reader)


def _parse_lab_instances(
    group: Mapping[str, Any], instances: List[Mapping[str, Any]], reader: _Reader
) -> List[RankEntry]:
    entries, server_ids = [], []
    for i, instance in enumerate(instances):
        where = f"instance_list[{i}]"
        devices = reader.read_list(instance, "devices", where)
        if len(devices) != 1:
            raise reader.fail(f"{where} must have one device, found {len(devices)}")
        server_id = reader.read_text(instance, "server_id", where)
        if server_id not in server_ids:
            server_ids.append(server_id)
        entries.append(
            RankEntry(
                rank_id=reader.read_count(instance, "rank_id", where),
                device_id=reader.read_count(devices[0], "device_id", where),
                device_ip=reader.read_text(devices[0], "device_ip", where),
                server_id=server_id,
                server_index=server_ids.index(server_id),
            )
        )
    reader.check_count(group, "device_num", len(entries), "group_list[0]")
    reader.check_count(group, "server_num", len(server_ids), "group_list[0]")
    return entries


def _parse_pods(
    group: Mapping[str, Any], instances: List[Mapping[str, Any]], reader: _Reader
) -> List[RankEntry]:
    entries: List[RankEntry] = []
    for i, pod in enumerate(instances):
        where = f"instance_list[{i}]"
        pod_name = reader.read_text(pod, "pod_name", where)
        server_id = reader.read_text(pod, "server_id", where)
        for device in reader.read_list(pod, "devices", where):
            entries.append(
                RankEntry(
                    rank_id=len(entries),
                    device_id=reader.read_count(device, "device_id", where),
                    device_ip=reader.read_text(device, "device_ip", where),
                    server_id=server_id,
                    server_index=i,
                    pod_name=pod_name,
                )
            )
    reader.check_count(group, "device_count", len(entries), "group_list[0]")
    _check_distinct([pod["pod_name"] for pod in instances], "pod_name", reader)
    _check_distinct([pod["server_id"] for pod in instances], "server_id", reader)
    return entries


def _check_distinct(values: List[str], what: str, reader: _Reader) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise reader.fail(f"{what} {repeated[0]!r} stands there more than once")


def check_rank_table(table: RankTable) -> None:
    """Checks what every form must obey.

    Rank ids are 0 … N-1; network addresses differ; a server uses 1, 2, 4 or 8 devices, and 2 or
    4 of them stay within cards 0-3 or within 4-7, which are separate rings; several servers use
    8 each, and there are at most 512.

    Raises:
        UsageError: with the first violation.
    """
    reader = _Reader(table.source)
    rank_ids = [entry.rank_id for entry in table.entries]
    if rank_ids != list(range(len(rank_ids))):
        raise reader.fail(f"rank ids must be 0 to {len(rank_ids) - 1}, found {rank_ids}")
    _check_distinct([entry.device_ip for entry in table.entries], "device_ip", reader)
    for entry in table.entries:
        try:
            ipaddress.ip_address(entry.device_ip)
        except ValueError:
            raise reader.fail(f"device_ip {entry.device_ip!r} is no address") from None
    n_servers = 1 + max(entry.server_index for entry in table.entries)
    if n_servers > _MOST_SERVERS:
        raise reader.fail(f"{n_servers} servers; the most is {_MOST_SERVERS}")
    for server_index in range(n_servers):
        device_ids = [entry.device_id for entry in table.list_server(server_index)]
        problem = find_card_problem(device_ids)
        if problem is None and n_servers > 1 and len(device_ids) != CARDS_PER_SERVER:
            problem = f"one of several servers must use {CARDS_PER_SERVER} cards, not {device_ids}"
        if problem is not None:
            raise reader.fail(f"server {server_index}: {problem}")


def find_card_problem(device_ids: List[int]) -> Optional[str]:
    """Returns why one server cannot use these cards together, or None."""
    if len(set(device_ids)) != len(device_ids):
        return f"a device_id stands there more than once: {device_ids}"
    if max(device_ids) >= CARDS_PER_SERVER:
        return f"device ids are 0 to {CARDS_PER_SERVER - 1}, found {device_ids}"
    if len(device_ids) not in _COUNTS_PER_SERVER:
        return f"a server uses 1, 2, 4 or 8 cards, not {len(device_ids)}"
    if 1 < len(device_ids) < CARDS_PER_SERVER and len({d // 4 for d in device_ids}) > 1:
        return f"cards 0-3 and 4-7 are separate rings, {device_ids} crosses them"
    return None
