"""Settings of a session: how often, and in which order, its cases are launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from bench.settings import setting


@dataclass(frozen=True)
class SessionSpec:
    """How the launches of a session are chosen; no single run depends on it."""

    repeats: Optional[int] = setting(
        None,
        "int",
        "independent launches of each case; 5 on Ascend, else 1, if absent",
        minimum=1,
        maximum=1000,
    )
    until_precision: Optional[float] = setting(
        None,
        "share",
        "launch until the half width of the 95 % interval is that share of the rate",
        minimum=1e-4,
        maximum=1.0,
    )
    maximum_launches: int = setting(
        30, "int", "launches of a case at most, for until_precision", minimum=5, maximum=1000
    )
    order_seed: int = setting(
        0, "int", "seed of the order of launches", minimum=0, maximum=2**31 - 1
    )
