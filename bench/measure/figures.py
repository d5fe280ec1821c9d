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
        low, high: confidence limits, in ``unit``; None where there are none.
        level: of the confidence interval.
        covers: what the interval speaks of, ``"this launch only"`` or ``"launches"``.
        n_launches: independent launches that it rests on.
        detectable_effect_ratio: smallest loss of the value, as a share of it, that a comparison
            of two cases with so many launches finds (false alarms 1 %, power 95 %); None where
            it cannot be known.
    """

    value: Optional[float]
    unit: str
    n: int
    window: str
    reason: Optional[str] = None
    low: Optional[float] = None
    high: Optional[float] = None
    level: Optional[float] = None
    covers: Optional[str] = None
    n_launches: int = 1
    detectable_effect_ratio: Optional[float] = None


@dataclass(frozen=True)
class Check:
    """A validity check with its figure.

    Attributes:
        name: what is checked.
        passed: None when it could not be checked, and ``found`` says why.
        found: the figure.
        wanted: what it is held against.
        required: whether a failure makes the run invalid, or is only said.
    """

    name: str
    passed: Optional[bool]
    found: str
    wanted: str
    required: bool = True

    @property
    def fatal(self) -> bool:
        """Whether it makes the run invalid."""
        return self.passed is False and self.required
