"""Written rank tables to :class:`~bench.ranktable.model.RankTable`.

Parsing refuses what cannot be understood: absent keys, wrong kinds, counts that are no numbers.
Whether the facts obey HCCL's rules is the business of :mod:`bench.ranktable.rules`, so that a table
that is well formed and wrong can be shown with all its faults at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from bench.errors import UsageError
from bench.ranktable.model import MAX_CARDS, LabFacts, RankEntry, RankTable
from bench.ranktable.text import describe_kind, parse_json_object, read_text_file, shorten

_KEYS: Mapping[str, Sequence[str]] = {
    "1.0": ("server_count", "server_list", "status", "version"),
    "1.0 server": ("server_id", "device"),
    "1.0 device": ("device_id", "device_ip", "rank_id"),
    "lab": (
        "board_id chip_info deploy_mode group_count group_list para_plane_nic_location "
        "para_plane_nic_name para_plane_nic_num status"
    ).split(),
    "lab group": "device_num server_num group_name instance_count instance_list".split(),
    "lab instance": ("devices", "rank_id", "server_id"),
    "pod": ("group_count", "group_list", "status"),
    "pod group": ("device_count", "group_name", "instance_count", "instance_list"),
    "pod instance": ("devices", "pod_name", "server_id"),
    "device": ("device_id", "device_ip"),
}
"""Keys of each part; others are remarked upon and not kept."""


def read_rank_table(path: Path) -> RankTable:
    """Reads a rank table file of any form.

    Raises:
        UsageError: it cannot be read or understood; one line with file, place and reason.
    """
    return parse_rank_table(read_text_file(path, "rank table"), str(path))


def parse_rank_table(text: str, source: str) -> RankTable:
    """Parses a rank table of any form.

    Args:
        text: JSON.
        source: the file, for messages.

    Raises:
        UsageError: see :func:`read_rank_table`.
    """
    root = parse_json_object(text, source)
    reader = _Reader(source)
    status = reader.get_text(root, "status", "the table")
    if "server_list" in root:
        return _parse_servers(root, status, reader)
    if "group_list" in root:
        return _parse_groups(root, status, reader)
    if status != "completed":
        # What a controller leaves there before it has done its work.
        raise reader.fail(
            f"status is {shorten(status)} and no server is listed: whoever writes the table has "
            "not finished"
        )
    raise reader.fail("has neither server_list nor group_list")


class _Reader:
    """Typed access to parts of a table; every message has the source and the place."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._remarks: Dict[str, int] = {}

    @property
    def remarks(self) -> Tuple[str, ...]:
        """Each kind of remark once, with how often it was made."""
        return tuple(
            text if count == 1 else f"{text} ({count} times)"
            for text, count in self._remarks.items()
        )

    def fail(self, message: str) -> UsageError:
        return UsageError(f"rank table {self._source}: {message}")

    def remark(self, text: str) -> None:
        self._remarks[text] = self._remarks.get(text, 0) + 1

    def get_text(self, part: Mapping[str, Any], key: str, where: str, empty: bool = False) -> str:
        if key not in part:
            raise self.fail(f"{where} has no {key}")
        value = part[key]
        if not isinstance(value, str):
            raise self.fail(
                f"{where}: {key} must be a text in quotes, found {describe_kind(value)}"
            )
        if not value and not empty:
            raise self.fail(f"{where}: {key} is empty")
        return value

    def get_count(self, part: Mapping[str, Any], key: str, where: str) -> int:
        text = self.get_text(part, key, where)
        # Five digits are more than any id or count of 4,096 ranks has.
        if not (text.isdigit() and text.isascii() and len(text) <= 5):
            raise self.fail(f"{where}: {key} must be a whole number, found {shorten(text)}")
        return int(text)

    def get_list(
        self, part: Mapping[str, Any], key: str, where: str, keys: str
    ) -> List[Mapping[str, Any]]:
        """A list of objects, not empty; remarks on keys that are not known."""
        if key not in part:
            raise self.fail(f"{where} has no {key}")
        value = part[key]
        if not isinstance(value, list):
            raise self.fail(f"{where}: {key} must be a list, found {describe_kind(value)}")
        if not value:
            raise self.fail(f"{where}: {key} is empty")
        if len(value) > MAX_CARDS:
            raise self.fail(f"{where}: {key} has {len(value)} entries, at most {MAX_CARDS} go")
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.fail(f"{key}[{index}] must be an object, found {describe_kind(item)}")
            self.note_unknown(item, keys)
        return value

    def note_unknown(self, part: Mapping[str, Any], keys: str) -> None:
        for key in part:
            if key not in _KEYS[keys]:
                self.remark(f"the key {shorten(key)} of a {keys} entry is not known; ignored")

    def check_count(self, part: Mapping[str, Any], key: str, n_found: int, where: str) -> None:
        stated = self.get_count(part, key, where)
        if stated != n_found:
            raise self.fail(f"{where}: {key} says {stated}, listed are {n_found}")


def _parse_servers(root: Mapping[str, Any], status: str, reader: _Reader) -> RankTable:
    version = reader.get_text(root, "version", "the table")
    if version != "1.0":
        raise reader.fail(f"version must be '1.0', found {shorten(version)}")
    reader.note_unknown(root, "1.0")
    servers = reader.get_list(root, "server_list", "the table", "1.0 server")
    reader.check_count(root, "server_count", len(servers), "the table")
    entries: List[RankEntry] = []
    for s, server in enumerate(servers):
        where = f"server_list[{s}]"
        server_id = reader.get_text(server, "server_id", where)
        for d, device in enumerate(reader.get_list(server, "device", where, "1.0 device")):
            place = f"{where}.device[{d}]"
            entries.append(
                RankEntry(
                    rank_id=reader.get_count(device, "rank_id", place),
                    device_id=reader.get_count(device, "device_id", place),
                    device_ip=reader.get_text(device, "device_ip", place),
                    server_id=server_id,
                    where=place,
                )
            )
    _check_distinct([server["server_id"] for server in servers], "server_id", reader)
    return RankTable("1.0", status, _sort(entries), remarks=reader.remarks)


def _parse_groups(root: Mapping[str, Any], status: str, reader: _Reader) -> RankTable:
    is_lab = root.get("deploy_mode") == "lab"
    form = "lab" if is_lab else "pod"
    reader.note_unknown(root, form)
    groups = reader.get_list(root, "group_list", "the table", form + " group")
    reader.check_count(root, "group_count", len(groups), "the table")
    if len(groups) != 1:
        raise reader.fail(f"group_list must have one group, found {len(groups)}")
    group = groups[0]
    where = "group_list[0]"
    name = reader.get_text(group, "group_name", where, empty=True)
    instances = reader.get_list(group, "instance_list", where, form + " instance")
    reader.check_count(group, "instance_count", len(instances), where)
    if not is_lab:
        entries = _parse_pods(group, instances, reader)
        return RankTable("pod", status, tuple(entries), name, remarks=reader.remarks)
    entries = _parse_lab(group, instances, reader)
    lab = _parse_lab_facts(root, len(entries), reader)
    return RankTable("lab", status, _sort(entries), name, lab, reader.remarks)


def _parse_lab(
    group: Mapping[str, Any], instances: Sequence[Mapping[str, Any]], reader: _Reader
) -> List[RankEntry]:
    entries: List[RankEntry] = []
    for i, instance in enumerate(instances):
        where = f"instance_list[{i}]"
        devices = reader.get_list(instance, "devices", where, "device")
        if len(devices) != 1:
            raise reader.fail(f"{where} must have one device, found {len(devices)}")
        entries.append(
            RankEntry(
                rank_id=reader.get_count(instance, "rank_id", where),
                device_id=reader.get_count(devices[0], "device_id", where),
                device_ip=reader.get_text(devices[0], "device_ip", where),
                server_id=reader.get_text(instance, "server_id", where),
                where=where,
            )
        )
    reader.check_count(group, "device_num", len(entries), "group_list[0]")
    n_servers = len({entry.server_id for entry in entries})
    reader.check_count(group, "server_num", n_servers, "group_list[0]")
    return entries


def _parse_lab_facts(root: Mapping[str, Any], n_devices: int, reader: _Reader) -> LabFacts:
    names = root.get("para_plane_nic_name")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise reader.fail("the table: para_plane_nic_name must be a list of texts")
    reader.check_count(root, "para_plane_nic_num", len(names), "the table")
    if len(names) not in (n_devices, min(n_devices, 8)):
        raise reader.fail(
            f"the table: para_plane_nic_name lists {len(names)} ports for {n_devices} devices"
        )
    return LabFacts(
        board_id=reader.get_text(root, "board_id", "the table"),
        chip_info=reader.get_text(root, "chip_info", "the table"),
        nic_location=reader.get_text(root, "para_plane_nic_location", "the table"),
    )


def _parse_pods(
    group: Mapping[str, Any], instances: Sequence[Mapping[str, Any]], reader: _Reader
) -> List[RankEntry]:
    entries: List[RankEntry] = []
    for i, pod in enumerate(instances):
        where = f"instance_list[{i}]"
        pod_name = reader.get_text(pod, "pod_name", where)
        server_id = reader.get_text(pod, "server_id", where)
        for d, device in enumerate(reader.get_list(pod, "devices", where, "device")):
            place = f"{where}.devices[{d}]"
            entries.append(
                RankEntry(
                    rank_id=len(entries),
                    device_id=reader.get_count(device, "device_id", place),
                    device_ip=reader.get_text(device, "device_ip", place),
                    server_id=server_id,
                    pod_name=pod_name,
                    where=place,
                )
            )
    reader.check_count(group, "device_count", len(entries), "group_list[0]")
    _check_distinct([pod["pod_name"] for pod in instances], "pod_name", reader)
    return entries


def _check_distinct(values: Sequence[str], what: str, reader: _Reader) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise reader.fail(f"{what} {shorten(value)} is listed twice")
        seen.add(value)


def _sort(entries: Sequence[RankEntry]) -> Tuple[RankEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.rank_id))
