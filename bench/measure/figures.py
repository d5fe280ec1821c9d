"""The two things that measuring gives: a figure and a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Measurement:
    """A figure with what is needed to read it.

    Attributes:
        value: in ``unit``; None when it could not be measured.
        unit: unit of ``value``.
        n: how many observations it rests on.
        window: which part of the run it covers, in words.
        reason: why ``value`` is None.
    """

    value: Optional[float]
    unit: str
    n: int
    window: str
    reason: Optional[str] = None


@dataclass(frozen=True)
class Check:
    """A validity check with its figure."""

    name: str
    passed: bool
    found: str
    wanted: str
