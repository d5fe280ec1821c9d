"""Reads what ``npu-smi`` prints, versions 1.8 to 24.1.

The widths of the columns changed from version to version, so lines are split at ``|`` and never at
a column. Every figure may be ``NA`` or ``-``; every key of a sub-query may be missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

_HEADER = re.compile(r"^\|\s*npu-smi\s+(\S+)\s+Version:\s*(\S+)\s*\|", re.MULTILINE)
_USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")
_BUS_ID = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]+$")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?$")
_MIB = 1 << 20


@dataclass(frozen=True)
class Chip:
    """One chip of the overview; None stands for ``NA`` and for what a version does not print.

    Attributes:
        npu: id of the card, the physical one also inside a container.
        name: such as ``910A``.
        health: ``OK``, ``Warning``, ``Alarm``, ``Critical`` or ``UNKNOWN``.
        power_watts: present power.
        temperature_celsius: present temperature.
        bus_id: PCIe address.
        core_usage_ratio: share of time in which the AI cores were busy.
        hbm_used_bytes: high-bandwidth memory in use.
        hbm_total_bytes: high-bandwidth memory in all.
    """

    npu: int
    name: str
    health: str
    power_watts: Optional[float]
    temperature_celsius: Optional[float]
    bus_id: Optional[str]
    core_usage_ratio: Optional[float]
    hbm_used_bytes: Optional[int]
    hbm_total_bytes: Optional[int]


@dataclass(frozen=True)
class CardProcess:
    """A process that holds a card."""

    npu: int
    process_id: int
    name: str


@dataclass(frozen=True)
class Overview:
    """The output of ``npu-smi info``.

    Attributes:
        tool_version: of npu-smi.
        driver_version: as its header states it.
        chips: in the order printed.
        processes: in the order printed; empty also where the version has no such table.
    """

    tool_version: Optional[str]
    driver_version: Optional[str]
    chips: Tuple[Chip, ...]
    processes: Tuple[CardProcess, ...]


def parse_overview(text: str) -> Overview:
    """Parses ``npu-smi info``."""
    header = _HEADER.search(text)
    chips: List[Chip] = []
    processes: List[CardProcess] = []
    first: Optional[List[str]] = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        words = cells[0].split()
        if not line.strip().startswith("|") or not words or not words[0].isdigit():
            continue
        if len(cells) == 4:
            process = _build_process(cells)
            if process is not None:
                processes.append(process)
        elif len(cells) == 3 and (_BUS_ID.match(cells[1]) or (cells[1] == "NA" and first)):
            if first is not None:
                chips.append(_build_chip(first, cells))
            first = None
        elif len(cells) == 3 and len(words) >= 2:
            first = cells
    return Overview(
        tool_version=header.group(1) if header else None,
        driver_version=header.group(2) if header else None,
        chips=tuple(chips),
        processes=tuple(processes),
    )


def parse_fields(text: str) -> Dict[str, str]:
    """``key : value`` lines of a sub-query such as ``npu-smi info -t board -i 0``.

    A section of the card's management controller may repeat keys of the chip, so the first counts.
    """
    fields: Dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(" : ")
        if colon and key.strip():
            fields.setdefault(key.strip(), value.strip())
    return fields


def parse_number(text: Optional[str]) -> Optional[float]:
    """A figure of a table or sub-query; None for ``NA``, ``-`` and what is absent."""
    return float(text) if text is not None and _NUMBER.match(text) else None


def _build_chip(first: List[str], second: List[str]) -> Chip:
    identity, figures, usages = first[0].split(), first[2].split(), _USAGE.findall(second[2])
    busy = parse_number((second[2].split() or [""])[0])
    # The last pair is the HBM; the one before it is the DDR memory of the control processor.
    hbm = usages[-1] if len(usages) >= 2 else None
    return Chip(
        npu=int(identity[0]),
        name=identity[1],
        health=first[1],
        power_watts=parse_number(figures[0]) if figures else None,
        temperature_celsius=parse_number(figures[1]) if len(figures) > 1 else None,
        bus_id=second[1] if second[1] != "NA" else None,
        core_usage_ratio=None if busy is None else busy / 100.0,
        hbm_used_bytes=None if hbm is None else int(hbm[0]) * _MIB,
        hbm_total_bytes=None if hbm is None else int(hbm[1]) * _MIB,
    )


def _build_process(cells: List[str]) -> Optional[CardProcess]:
    if not cells[1].isdigit():
        return None
    return CardProcess(int(cells[0].split()[0]), int(cells[1]), cells[2])
