"""Reads what ``hccn_tool -i N -… -g`` and ``/etc/hccn.conf`` say of the cards' network ports.

Lines are ``key:value``, some with ``[devid N]`` before them. Without an address, or for a wrong id,
the tool prints a sentence instead, with exit code 0 in some versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

QUERIES = (
    "link",
    "net_health",
    "link_stat",
    "stat",
    "speed",
    "ip",
    "netdetect",
    "gateway",
    "optical",
)
"""Queries of which this module reads the answers."""

_PREFIX = re.compile(r"^\s*\[devid\s+[0-9]+\]")
_INTEGER = re.compile(r"-?[0-9]{1,20}$")
_SPEED = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([KMG]?)b(?:it)?/s", re.IGNORECASE)
_RATE = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([KMG]?)B/s", re.IGNORECASE)
_MEASURE = re.compile(r"^(-?[0-9]+(?:\.[0-9]+)?)\s*(\S+)$")
_CHANGE = re.compile(r"^(.*\S)\s+LINK\s+(UP|DOWN)\s*$", re.IGNORECASE)
_CONF = re.compile(r"^\s*([a-z_]+?)_([0-9]{1,4})\s*=\s*(\S+)\s*$", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|[0-9A-Fa-f:]*:[0-9A-Fa-f:]+$")
_SCALE = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class LinkHistory:
    """The answer to ``-link_stat``.

    Attributes:
        up_count: how often the link came up since the card was started.
        down_count: how often it went down, where the version says so.
        changes: time as printed, in the card's own clock, and ``UP`` or ``DOWN``, latest first.
    """

    up_count: Optional[int]
    down_count: Optional[int]
    changes: Tuple[Tuple[str, str], ...] = ()


def parse_pairs(text: str) -> Dict[str, str]:
    """``key:value`` lines; keys in lower case with single blanks, the first of equals."""
    found: Dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = _PREFIX.sub("", line).partition(":")
        if colon and key.strip():
            found.setdefault(" ".join(key.lower().split()), value.strip())
    return found


def parse_link(text: str) -> Optional[bool]:
    """Whether the link is up, from ``-link``; None when the answer does not say."""
    status = parse_pairs(text).get("link status", "").upper()
    return {"UP": True, "DOWN": False}.get(status)


def parse_net_health(text: str) -> Optional[str]:
    """The word of ``-net_health``, such as ``Success``; ``Init`` is "not tested yet"."""
    return parse_pairs(text).get("net health status") or None


def parse_link_history(text: str) -> LinkHistory:
    """Counts and last changes, from ``-link_stat``."""
    pairs = parse_pairs(text)
    changes: List[Tuple[str, str]] = []
    for line in text.splitlines():
        match = _CHANGE.match(_PREFIX.sub("", line).strip())
        if match:
            changes.append((match.group(1), match.group(2).upper()))
    return LinkHistory(
        _parse_count(pairs.get("link up count")),
        _parse_count(pairs.get("link down count")),
        tuple(changes),
    )


def parse_statistics(text: str) -> Dict[str, int]:
    """Packet counters by name, from ``-stat``."""
    counts = {key: _parse_count(value) for key, value in parse_pairs(text).items()}
    return {key: value for key, value in counts.items() if value is not None}


def parse_speed(text: str) -> Optional[float]:
    """Bytes per second, from ``-speed``."""
    match = _SPEED.match(parse_pairs(text).get("speed", ""))
    return float(match.group(1)) * _SCALE[match.group(2).upper()] / 8.0 if match else None


def parse_bandwidth(text: str) -> Tuple[Optional[float], Optional[float]]:
    """Bytes per second sent and received, from ``-bandwidth``."""
    pairs = parse_pairs(text)
    return _parse_rate(pairs.get("bandwidth tx")), _parse_rate(pairs.get("bandwidth rx"))


def parse_address(text: str) -> Optional[str]:
    """The port's address, from ``-ip``; None where none was set."""
    return _parse_address(parse_pairs(text).get("ipaddr"))


def parse_detect_address(text: str) -> Optional[str]:
    """The address that the network test reaches for, from ``-netdetect``."""
    return _parse_address(parse_pairs(text).get("netdetect address"))


def parse_gateway(text: str) -> Optional[str]:
    """The default gateway, from ``-gateway``."""
    value = parse_pairs(text).get("default gateway", "")
    return _parse_address(value.split(",")[0].strip())


def parse_optical(text: str) -> Dict[str, float]:
    """Figures of the optical module by ``key_unit``, from ``-optical``; empty without a module."""
    figures: Dict[str, float] = {}
    for key, value in parse_pairs(text).items():
        match = _MEASURE.match(value)
        if match:
            name = re.sub(r"[^a-z0-9]+", "_", f"{key}_{match.group(2).lower()}").strip("_")
            figures[name] = float(match.group(1))
    return figures


def parse_hccn_conf(text: str) -> Dict[int, Dict[str, str]]:
    """``/etc/hccn.conf``: device id → key (``address``, ``netmask``, …) → value."""
    devices: Dict[int, Dict[str, str]] = {}
    for line in text.splitlines():
        match = _CONF.match(line)
        if match:
            devices.setdefault(int(match.group(2)), {})[match.group(1).lower()] = match.group(3)
    return devices


def _parse_count(text: Optional[str]) -> Optional[int]:
    if text is None or not _INTEGER.match(text):
        return None
    value = int(text)
    return value if value >= 0 else None


def _parse_rate(text: Optional[str]) -> Optional[float]:
    match = _RATE.match((text or "").replace("/sec", "/s"))
    return float(match.group(1)) * _SCALE[match.group(2).upper()] if match else None


def _parse_address(text: Optional[str]) -> Optional[str]:
    return text if text is not None and _ADDRESS.match(text) else None
