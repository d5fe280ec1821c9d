"""Reads the overview that ``npu-smi info`` prints, tool versions 1.8 to 25.

The widths of the columns changed from version to version, so lines are split at ``|`` and never at
a fixed column; which figure is which says the header of the same output. Every figure may be
``NA``, ``-`` or missing, a card may have one chip or two, and tables that are not known are passed
over. Sub-queries (``npu-smi info -t …``) are read by :mod:`bench.devices.npu_smi_fields`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from bench.devices.npu_smi_fields import parse_fields, parse_number

__all__ = [
    "CardProcess",
    "Chip",
    "Overview",
    "find_failure",
    "parse_fields",
    "parse_number",
    "parse_overview",
]

_HEADER = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*([^\s|]+)")
_BUS_ID = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]+$")
_INTEGER = re.compile(r"[0-9]{1,9}$")
_WORD = r"[^\s/|]+"
_TOKEN = re.compile(rf"({_WORD})\s*/\s*({_WORD})|({_WORD})")
_COLUMN = re.compile(r"(\S+?)\s?\(([^)\s]*)\)")
_ABSENT = ("", "NA", "N/A", "-", "--")

_USUAL_COLUMNS = (
    "Power(W) Temp(C) Hugepages-Usage(page)",
    "AICore(%) Memory-Usage(MB) HBM-Usage(MB)",
)
_BYTES_OF_UNIT = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}

_FAILURES = re.compile(
    r"initiali[sz]e failed|invalid (?:card|device|chip|parameter)|error parameter|execute failed"
    r"|not support|permission denied|out of the valid range|^failed|get .* failed",
    re.IGNORECASE,
)


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
        chip: number of the chip on its card.
        physical_id: device id of the chip where a card has several.
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
    chip: int = 0
    physical_id: Optional[int] = None

    @property
    def device(self) -> int:
        """The id by which the driver and the rank table know the chip."""
        return self.npu if self.physical_id is None else self.physical_id


@dataclass(frozen=True)
class CardProcess:
    """A process that holds a card.

    Attributes:
        npu: id of the card.
        process_id: as the driver knows it; in a container that can be the host's number.
        name: empty where the tool does not tell it.
        chip: number of the chip on its card.
    """

    npu: int
    process_id: int
    name: str
    chip: int = 0


@dataclass(frozen=True)
class Overview:
    """The output of ``npu-smi info``.

    Attributes:
        tool_version: of npu-smi.
        driver_version: as its header states it.
        chips: in the order printed.
        processes: in the order printed; empty also where the version has no such table.
        has_process_table: whether it has one.
    """

    tool_version: Optional[str]
    driver_version: Optional[str]
    chips: Tuple[Chip, ...]
    processes: Tuple[CardProcess, ...]
    has_process_table: bool = False


def parse_overview(text: str) -> Overview:
    """Parses ``npu-smi info``; whatever is not understood is left out."""
    header = _HEADER.search(text)
    chips: List[Chip] = []
    processes: List[CardProcess] = []
    columns = [_Columns("", _locate_columns(titles), False) for titles in _USUAL_COLUMNS]
    first: Optional[_Row] = None
    in_processes = has_process_table = False
    for line in text.splitlines():
        row = _split_row(line)
        if row is None:
            if first is not None and line.strip().startswith("+"):
                # A ruler stands between cards: what comes after it belongs to another one.
                chips.append(_build_chip(first, None, columns))
                first = None
            continue
        words = row.cells[0].split()
        if not words or not _INTEGER.match(words[0]):
            said = " ".join(row.cells).lower()
            if "process" in said:
                in_processes = has_process_table = True
            elif "(" in row.raw and len(row.cells) >= 3:
                in_processes = False
                which = 0 if "npu" in said.split() else 1
                columns[which] = _Columns(row.cells[0], _locate_columns(row.raw), True)
        elif in_processes:
            process = _build_process(row.cells)
            if process is not None:
                processes.append(process)
        elif first is not None and _is_second_row(row.cells, words):
            chips.append(_build_chip(first, row, columns))
            first = None
        elif len(row.cells) >= 3 and len(words) >= 2 and not _BUS_ID.match(row.cells[1]):
            if first is not None:
                chips.append(_build_chip(first, None, columns))
            first = row
    if first is not None:
        chips.append(_build_chip(first, None, columns))
    return Overview(
        tool_version=header.group(1) if header else None,
        driver_version=header.group(2) if header else None,
        chips=tuple(chips),
        processes=tuple(processes),
        has_process_table=has_process_table,
    )


def find_failure(text: str) -> Optional[str]:
    """The line in which a vendor's tool says that it failed; the exit code may be 0 even so."""
    for line in text.splitlines():
        if _FAILURES.search(line) and "|" not in line:
            return line.strip()[:200]
    return None


@dataclass(frozen=True)
class _Row:
    """A line of a table: its cells without the blanks around them, and the cells of figures raw."""

    cells: List[str]
    raw: str


@dataclass(frozen=True)
class _Column:
    """A column of figures: lower-case name, unit, where its title starts, whether ``a / b``."""

    name: str
    unit: str
    start: int
    is_pair: bool


@dataclass(frozen=True)
class _Columns:
    """The columns of one of the two lines of a chip.

    Attributes:
        identity: title of the first cell.
        columns: of figures.
        is_printed: they are those of the output, not the usual ones.
    """

    identity: str
    columns: List[_Column]
    is_printed: bool


@dataclass(frozen=True)
class _Figure:
    """One figure, or the two of ``used / total``, as printed."""

    unit: str
    values: List[Optional[float]]


def _split_row(line: str) -> Optional[_Row]:
    stripped = line.replace("\t", " ").strip()
    if len(stripped) < 2 or stripped[0] != "|":
        return None
    parts = stripped[1:].split("|")
    if not parts[-1].strip():
        parts = parts[:-1]
    return _Row([part.strip() for part in parts], " ".join(parts[2:]))


def _is_second_row(cells: Sequence[str], words: Sequence[str]) -> bool:
    """Whether it is the line of the chip; in that of the card a name follows the number."""
    if len(cells) < 2 or not all(_INTEGER.match(word) for word in words):
        return False
    return bool(_BUS_ID.match(cells[1])) or cells[1] in _ABSENT


def _locate_columns(raw: str) -> List[_Column]:
    return [
        _Column(
            match.group(1).lower(),
            match.group(2).lower(),
            match.start(),
            "usage" in match.group(1).lower() and match.group(2) != "%",
        )
        for match in _COLUMN.finditer(raw)
    ]


def _read_figures(raw: str, columns: _Columns) -> Dict[str, _Figure]:
    """The figures of a line by the name of their column.

    With as many figures of a kind as columns, they follow each other in order. With fewer, each
    belongs to the column whose title it stands nearest to; without a header nobody knows.
    """
    found: Dict[str, _Figure] = {}
    for is_pair in (False, True):
        wanted = [column for column in columns.columns if column.is_pair == is_pair]
        tokens = [match for match in _TOKEN.finditer(raw) if (match.group(3) is None) == is_pair]
        if not wanted:
            continue
        owners = wanted
        if len(tokens) < len(wanted) and columns.is_printed:
            owners = [_find_nearest(wanted, match.start()) for match in tokens]
        elif len(tokens) < len(wanted) and not is_pair:
            continue
        for column, match in zip(owners, tokens):
            words = match.groups()[:2] if is_pair else match.groups()[2:]
            found[column.name] = _Figure(column.unit, [parse_number(word) for word in words])
    return found


def _find_nearest(columns: Sequence[_Column], at: int) -> _Column:
    return min(columns, key=lambda column: abs(column.start - at))


def _build_chip(first: _Row, second: Optional[_Row], columns: Sequence[_Columns]) -> Chip:
    identity = first.cells[0].split()
    upper = _read_figures(first.raw, columns[0])
    lower = {} if second is None else _read_figures(second.raw, columns[1])
    words = [] if second is None else second.cells[0].split()
    bus_id = None if second is None else second.cells[1]
    busy = _get(lower, ("aicore", "util", "npu-util", "aicore-usage"), 0.0, 100.0)
    memory = lower.get("hbm-usage")
    hbm_used, hbm_total = (None, None) if memory is None else _get_bytes(memory)
    is_physical = "phy" in columns[1].identity.lower()
    return Chip(
        npu=int(identity[0]),
        name=" ".join(identity[1:]),
        health=first.cells[1],
        power_watts=_get(upper, ("power",), 0.0, 1e5),
        temperature_celsius=_get(upper, ("temp",), -100.0, 300.0),
        bus_id=None if bus_id in _ABSENT else bus_id,
        core_usage_ratio=None if busy is None else busy / 100.0,
        hbm_used_bytes=hbm_used,
        hbm_total_bytes=hbm_total,
        chip=int(words[0]) if words else 0,
        physical_id=int(words[1]) if len(words) > 1 and is_physical else None,
    )


def _get(
    figures: Dict[str, _Figure], names: Sequence[str], low: float, high: float
) -> Optional[float]:
    """The first of the named columns; what no card can have stands for "not known" in the tool."""
    for name in names:
        if name in figures:
            value = figures[name].values[0]
            return value if value is not None and low <= value <= high else None
    return None


def _get_bytes(figure: _Figure) -> Tuple[Optional[int], Optional[int]]:
    """Used and total; a memory of no size is one that the card has not got."""
    used, total = figure.values
    if not total or total < 0.0:
        return None, None
    unit = _BYTES_OF_UNIT.get(figure.unit, 1 << 20)
    return None if used is None or used < 0.0 else int(used * unit), int(total * unit)


def _build_process(cells: Sequence[str]) -> Optional[CardProcess]:
    words = cells[0].split()
    if len(cells) < 3 or not _INTEGER.match(cells[1]):
        return None
    # A name may hold the sign that the table is drawn with; the memory stands last.
    name = "|".join(cells[2:-1]) if len(cells) > 3 else cells[2]
    chip = int(words[1]) if len(words) > 1 and _INTEGER.match(words[1]) else 0
    return CardProcess(int(words[0]), int(cells[1]), name, chip)
