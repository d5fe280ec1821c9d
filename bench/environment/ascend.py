"""The Ascend software and the cards: versions from files, the rest from ``npu-smi``."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence

from bench.devices import npu_smi
from bench.environment.sources import (
    COMMAND_TIMEOUT_SECONDS,
    AbsentFactError,
    Facts,
    Subject,
    World,
    exists,
    list_names,
    read_first,
    read_text,
    take,
)

_ROOT = "/usr/local/Ascend"
_ARCHITECTURES = ("arm64-linux", "x86_64-linux", "aarch64-linux")
_NPU_SMI = ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi")
_DEVICE_NODE = re.compile(r"davinci\d+$")
_HCCN_ADDRESS = re.compile(r"^address_\d+=", re.MULTILINE)

VERSION_FILES: Dict[str, Sequence[str]] = {
    "ascend_driver_version": (f"{_ROOT}/driver/version.info",),
    "ascend_firmware_version": (f"{_ROOT}/firmware/version.info",),
    "ascend_nnae_version": (
        f"{_ROOT}/nnae/latest/ascend_nnae_install.info",
        *(f"{_ROOT}/nnae/latest/{arch}/ascend_nnae_install.info" for arch in _ARCHITECTURES),
    ),
    "ascend_toolkit_version": (
        f"{_ROOT}/ascend-toolkit/latest/ascend_toolkit_install.info",
        *(
            f"{_ROOT}/ascend-toolkit/latest/{arch}/ascend_toolkit_install.info"
            for arch in _ARCHITECTURES
        ),
    ),
    "ascend_tfplugin_version": (
        f"{_ROOT}/tfplugin/latest/ascend_tfplugin_install.info",
        *(
            f"{_ROOT}/tfplugin/latest/{arch}/ascend_tfplugin_install.info"
            for arch in _ARCHITECTURES
        ),
    ),
    "ascend_fwkacllib_version": (
        f"{_ROOT}/nnae/latest/fwkacllib/version.info",
        f"{_ROOT}/ascend-toolkit/latest/fwkacllib/version.info",
        f"{_ROOT}/fwkacllib/version.info",
    ),
    "ascend_opp_version": (
        f"{_ROOT}/nnae/latest/opp/version.info",
        f"{_ROOT}/ascend-toolkit/latest/opp/version.info",
        f"{_ROOT}/opp/version.info",
    ),
}
"""Fact → where packages of CANN write their version; the first file that is there counts."""


def collect_ascend_files(world: World, subject: Subject) -> Facts:
    """What files tell: versions, device nodes, network configuration, rank table."""
    facts = {
        key: take(partial(_read_version, world, paths)) for key, paths in VERSION_FILES.items()
    }
    table = subject.rank_table or world.variables.get("RANK_TABLE_FILE")

    def rank_table() -> Dict[str, Any]:
        if not table:
            raise AbsentFactError("no rank table is used")
        return describe_rank_table(_read_user_file(table))

    def hccn() -> str:
        return read_text(world, "/etc/hccn.conf")

    facts.update(
        {
            "npu_device_nodes": take(lambda: _count_device_nodes(world)),
            "hccn_addresses": take(lambda: len(_HCCN_ADDRESS.findall(hccn()))),
            "hccn_sha256": take(lambda: hashlib.sha256(hccn().encode("utf-8")).hexdigest()),
            "rank_table_sha256": take(lambda: rank_table()["sha256"]),
            "rank_table_devices": take(lambda: rank_table()["devices"]),
            "rank_table_status": take(lambda: rank_table()["status"]),
        }
    )
    return facts


def collect_ascend_cards(world: World) -> Facts:
    """What ``npu-smi`` tells and does not change during a run."""
    overview = read_once(lambda: read_overview(world))
    board = read_once(lambda: _read_board(world, overview()))

    def field(name: str) -> str:
        fields = board()
        if name not in fields:
            raise AbsentFactError(f"npu-smi info -t board does not print {name!r}")
        return fields[name]

    return {
        "npu_smi_version": take(lambda: overview().tool_version),
        "npu_smi_driver_version": take(lambda: overview().driver_version),
        "npu_names": take(lambda: {str(chip.npu): chip.name for chip in overview().chips}),
        "npu_bus_ids": take(lambda: {str(chip.npu): chip.bus_id for chip in overview().chips}),
        "npu_hbm_bytes": take(
            lambda: {str(chip.npu): chip.hbm_total_bytes for chip in overview().chips}
        ),
        "npu_firmware_version": take(lambda: field("Firmware Version")),
        "npu_software_version": take(lambda: field("Software Version")),
        "npu_compatibility": take(lambda: field("Compatibility")),
        "npu_board_id": take(lambda: field("Board ID")),
    }


def collect_ascend_state(world: World) -> Facts:
    """What ``npu-smi`` tells of the cards at this moment."""
    overview = read_once(lambda: read_overview(world))

    def column(name: str) -> Dict[str, Any]:
        return {str(chip.npu): getattr(chip, name) for chip in overview().chips}

    return {
        "npu_health": take(lambda: column("health")),
        "npu_temperature_celsius": take(lambda: column("temperature_celsius")),
        "npu_power_watts": take(lambda: column("power_watts")),
        "npu_core_usage_ratio": take(lambda: column("core_usage_ratio")),
        "npu_hbm_used_bytes": take(lambda: column("hbm_used_bytes")),
        "npu_core_frequency_hertz": take(lambda: _read_frequencies(world, overview())),
        "npu_processes": take(lambda: _list_processes(overview())),
    }


def parse_version(text: str) -> Optional[str]:
    """Version of a ``version.info`` or ``*_install.info`` file.

    ``package_version`` names the release where both stand there; ``Version`` the component.
    """
    entries = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            entries[name.strip().lower()] = value.strip().strip('"')
    return entries.get("version") or entries.get("package_version") or None


def describe_rank_table(text: str) -> Dict[str, Any]:
    """Hash, status and number of devices of a rank table of either form.

    Raises:
        AbsentFactError: it is not JSON or has no list of servers or groups.
    """
    try:
        table = json.loads(text)
    except ValueError as error:
        raise AbsentFactError(f"the rank table is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise AbsentFactError("the rank table is not an object")
    if "server_list" in table:
        devices = sum(len(server.get("device", [])) for server in table["server_list"])
    elif "group_list" in table:
        devices = sum(
            len(instance.get("devices", []))
            for group in table["group_list"]
            for instance in group.get("instance_list", [])
        )
    else:
        raise AbsentFactError("the rank table has neither server_list nor group_list")
    return {
        "sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
        "devices": devices,
        "status": table.get("status"),
    }


def read_overview(world: World) -> npu_smi.Overview:
    """Runs ``npu-smi info``.

    Raises:
        AbsentFactError: it is not there, fails, or shows no card.
    """
    text = _run_npu_smi(world, ["info"])
    overview = npu_smi.parse_overview(text)
    if not overview.chips:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
        said = npu_smi.find_failure(text) or first
        raise AbsentFactError(f"npu-smi shows no card; it says: {said[:200]}")
    return overview


def read_once(read: Callable[[], Any]) -> Callable[[], Any]:
    """A reader that runs a slow command once and then gives the same answer or the same reason."""
    kept: List[Any] = []

    def again() -> Any:
        if not kept:
            try:
                kept.append(read())
            except AbsentFactError as error:
                kept.append(error)
        if isinstance(kept[0], AbsentFactError):
            raise kept[0]
        return kept[0]

    return again


def _run_npu_smi(world: World, arguments: List[str]) -> str:
    program = next((path for path in _NPU_SMI if exists(world, path)), "npu-smi")
    return world.run([program, *arguments], COMMAND_TIMEOUT_SECONDS)


def _read_board(world: World, overview: npu_smi.Overview) -> Dict[str, str]:
    card = str(overview.chips[0].npu)
    return npu_smi.parse_fields(_run_npu_smi(world, ["info", "-t", "board", "-i", card]))


def _list_processes(overview: npu_smi.Overview) -> List[Dict[str, Any]]:
    if not overview.has_process_table:
        raise AbsentFactError("this version of npu-smi lists no processes")
    return [asdict(process) for process in overview.processes]


def _read_frequencies(world: World, overview: npu_smi.Overview) -> Dict[str, Optional[float]]:
    frequencies: Dict[str, Optional[float]] = {}
    for npu in sorted({chip.npu for chip in overview.chips}):
        text = _run_npu_smi(world, ["info", "-t", "common", "-i", str(npu)])
        megahertz = npu_smi.parse_number(npu_smi.parse_fields(text).get("Aicore curFreq(MHZ)"))
        frequencies[str(npu)] = None if megahertz is None else megahertz * 1e6
    return frequencies


def _read_version(world: World, paths: Sequence[str]) -> Optional[str]:
    return parse_version(read_first(world, paths))


def _count_device_nodes(world: World) -> int:
    return sum(1 for name in list_names(world, "/dev") if _DEVICE_NODE.match(name))


def _read_user_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise AbsentFactError(f"{path} cannot be read: {error}") from error
