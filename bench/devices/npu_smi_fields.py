"""Reads the sub-queries ``npu-smi info -t …``: ``key : value`` lines of one card.

Where a chip's lines start differs: in ``-t common`` the line ``Chip ID`` stands before them, in
``usages``, ``power``, ``temp``, ``memory`` and ``ecc`` behind them, with ``-c`` or for a card with
one chip it may be missing. The card's management controller has a section of its own that repeats
keys of the chip. No key is always there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Dict, List, Mapping, Optional, Tuple

QUERIES = ("common", "usages", "temp", "power", "memory", "ecc", "health", "board")
"""Sub-queries whose keys :func:`build_details` knows."""

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?$")
_LINE = re.compile(r"^\s*(?P<key>[^:]*?)\s*:(?:\s+|$)(?P<value>.*)$")
_ERROR_CODE = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{4,8})$")
_PROCESS = re.compile(
    r"Process id\s*:\s*([0-9]+)\s*(?:Process name\s*:\s*(.*?)\s*)?Process memory", re.IGNORECASE
)
_ABSENT = ("", "NA", "N/A", "-", "--", "UNKNOWN")
_CARD_KEYS = ("npuid", "chipcount", "npucount")
# What the tool prints for a count that the card does not give.
_NO_COUNT = (-1.0, 4294967295.0)
_MIB = 1 << 20


@dataclass(frozen=True)
class ChipDetails:
    """What sub-queries tell of a chip; None for what they do not.

    Attributes:
        core_frequency_hertz: present frequency of the AI cores.
        core_rated_frequency_hertz: the one they have when nothing slows them.
        core_count: AI cores.
        core_usage_ratio: share of time in which they were busy.
        power_watts: present power.
        temperature_celsius: of the chip.
        hbm_temperature_celsius: of the high-bandwidth memory.
        hbm_total_bytes: its size.
        hbm_usage_ratio: share of it in use.
        hbm_bandwidth_usage_ratio: share of its bandwidth in use.
        hbm_ecc_single_bit_errors: corrected errors.
        hbm_ecc_double_bit_errors: errors that could not be corrected.
        hbm_isolated_pages: pages taken out of use after errors.
        health: as printed.
        error_codes: hexadecimal codes of present faults; empty for none.
        software_version: of the driver.
        firmware_version: of the card.
        compatibility: what the tool says of driver and firmware together.
        bus_id: PCIe address.
        name: such as ``910A``.
    """

    core_frequency_hertz: Optional[float] = None
    core_rated_frequency_hertz: Optional[float] = None
    core_count: Optional[int] = None
    core_usage_ratio: Optional[float] = None
    power_watts: Optional[float] = None
    temperature_celsius: Optional[float] = None
    hbm_temperature_celsius: Optional[float] = None
    hbm_total_bytes: Optional[int] = None
    hbm_usage_ratio: Optional[float] = None
    hbm_bandwidth_usage_ratio: Optional[float] = None
    hbm_ecc_single_bit_errors: Optional[int] = None
    hbm_ecc_double_bit_errors: Optional[int] = None
    hbm_isolated_pages: Optional[int] = None
    health: Optional[str] = None
    error_codes: Optional[Tuple[str, ...]] = None
    software_version: Optional[str] = None
    firmware_version: Optional[str] = None
    compatibility: Optional[str] = None
    bus_id: Optional[str] = None
    name: Optional[str] = None


def parse_number(text: Optional[str]) -> Optional[float]:
    """A figure of a table or sub-query; None for ``NA``, ``-`` and what is absent."""
    return float(text) if text is not None and _NUMBER.match(text) else None


def parse_fields(text: str) -> Dict[str, str]:
    """``key : value`` lines of the first chip and of the card, keys as printed.

    A section of the card's management controller may repeat keys of the chip, so the first counts.
    """
    found: Dict[str, str] = {}
    for key, value in _list_lines(text):
        found.setdefault(key, value)
    return found


def parse_chips(text: str) -> Dict[int, Dict[str, str]]:
    """Fields of each chip by its number; keys in lower case without blanks.

    Lines that name no chip count as those of chip 0.
    """
    lines = [(_normalise(key), value) for key, value in _list_lines(text)]
    ids = [index for index, (key, _) in enumerate(lines) if key == "chipid"]
    before_first = lines[: ids[0]] if ids else []
    closes = any(key not in _CARD_KEYS for key, _ in before_first)
    chips: Dict[int, Dict[str, str]] = {}
    section: Dict[str, str] = {}
    is_controller = False
    for key, value in lines:
        if key == "chipid":
            number = int(value) if re.match(r"[0-9]{1,6}$", value) else 0
            if closes:
                chips.setdefault(number, {}).update(section)
                section = {}
            else:
                section = chips.setdefault(number, {})
            is_controller = False
        elif key == "chipname" and value.lower().startswith("mcu"):
            is_controller = True
        elif key not in _CARD_KEYS and not is_controller:
            section.setdefault(key, value)
    if not ids and section:
        chips[0] = section
    return chips


def build_details(found: Mapping[str, str]) -> ChipDetails:
    """The known values among the fields of a chip, as :func:`parse_chips` gives them."""

    def number(low: float, high: float, *names: str) -> Optional[float]:
        for name in names:
            value = parse_number(found.get(name))
            if value is not None and low <= value <= high:
                return value
        return None

    def scaled(factor: float, *names: str) -> Optional[float]:
        value = number(0.0, 1e9, *names)
        return None if value is None else value * factor

    def count(*names: str) -> Optional[int]:
        for name in names:
            value = parse_number(found.get(name))
            if value is not None and value >= 0.0 and value not in _NO_COUNT:
                return int(value)
        return None

    def ratio(name: str) -> Optional[float]:
        value = number(0.0, 100.0, name)
        return None if value is None else value / 100.0

    def word(*names: str) -> Optional[str]:
        values = [found[name] for name in names if name in found]
        return next((value for value in values if value.upper() not in _ABSENT), None)

    hbm_bytes = scaled(_MIB, "hbmcapacity(mb)")
    isolated = [count(f"hbm{bits}bitisolatedpagescount") for bits in ("single", "double")]
    return ChipDetails(
        core_frequency_hertz=scaled(1e6, "aicorecurfreq(mhz)"),
        core_rated_frequency_hertz=scaled(1e6, "aicorefreq(mhz)"),
        core_count=count("aicorecount"),
        core_usage_ratio=ratio("aicoreusagerate(%)"),
        power_watts=number(0.0, 1e5, "npureal-timepower(w)", "power(w)", "powerdissipation(w)"),
        temperature_celsius=number(-100.0, 300.0, "nputemperature(c)", "temperature(c)"),
        hbm_temperature_celsius=number(-100.0, 300.0, "hbmtemperature(c)"),
        hbm_total_bytes=int(hbm_bytes) if hbm_bytes else None,
        hbm_usage_ratio=ratio("hbmusagerate(%)"),
        hbm_bandwidth_usage_ratio=ratio("hbmbandwidthusagerate(%)"),
        hbm_ecc_single_bit_errors=count("hbmsinglebiterrorcount"),
        hbm_ecc_double_bit_errors=count("hbmdoublebiterrorcount"),
        hbm_isolated_pages=None
        if isolated == [None, None]
        else sum(pages or 0 for pages in isolated),
        health=word("healthstatus", "health"),
        error_codes=_parse_error_codes(found.get("errorcode")),
        software_version=word("softwareversion"),
        firmware_version=word("firmwareversion"),
        compatibility=word("compatibility"),
        bus_id=word("pciebusinfo"),
        name=word("chipname"),
    )


def parse_details(text: str) -> Dict[int, ChipDetails]:
    """What a sub-query tells of each chip."""
    return {chip: build_details(found) for chip, found in parse_chips(text).items()}


def merge_details(old: ChipDetails, new: ChipDetails) -> ChipDetails:
    """The values of ``new`` where it has them, else those of ``old``."""
    names = [field.name for field in fields(new)]
    known = {name: getattr(new, name) for name in names if getattr(new, name) is not None}
    return replace(old, **known)


def parse_card_list(text: str) -> List[int]:
    """Ids of the cards that ``npu-smi info -l`` prints."""
    return [
        int(value)
        for key, value in _list_lines(text)
        if _normalise(key) == "npuid" and re.match(r"[0-9]{1,6}$", value)
    ]


def parse_card_processes(text: str) -> List[Tuple[int, str]]:
    """Process id and name of each process that ``npu-smi info -t proc-mem`` prints."""
    return [(int(number), name or "") for number, name in _PROCESS.findall(text)]


def _list_lines(text: str) -> List[Tuple[str, str]]:
    """Key and value of each line; a line without a key continues the value before it."""
    lines: List[Tuple[str, str]] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        key, value = match.group("key"), match.group("value").strip()
        if key:
            lines.append((key, value))
        elif lines and value:
            before = lines[-1]
            lines[-1] = (before[0], f"{before[1]} {value}".strip())
    return lines


def _normalise(key: str) -> str:
    return "".join(key.lower().split())


def _parse_error_codes(text: Optional[str]) -> Optional[Tuple[str, ...]]:
    """Codes of ``Error Code``; none for ``NA``, as the line is there."""
    if text is None:
        return None
    matches = (_ERROR_CODE.match(word) for word in text.split())
    return tuple(match.group(1).upper() for match in matches if match)
