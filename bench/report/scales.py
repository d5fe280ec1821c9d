"""Scales of plots: from values to places, and ticks at round values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np


@dataclass(frozen=True)
class Scale:
    """Places values on a line.

    Attributes:
        low, high: values at the ends, ``low`` below ``high``; above 0 where ``log``.
        start, end: places of the ends, in units of the drawing.
        log: whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, values: np.ndarray) -> np.ndarray:
        """Places of values, [n]; what lies outside is placed outside."""
        if self.log:
            share = np.log(values / self.low) / math.log(self.high / self.low)
        else:
            share = (values - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * share

    def at(self, value: float) -> float:
        """Place of one value."""
        return float(self.place(np.array([value]))[0])


def build_scale(
    values: Sequence[float], start: float, end: float, margin_ratio: float = 0.05
) -> Scale:
    """A scale that holds all finite values, with some room at both ends."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = (high - low) * margin_ratio
    # All the same: a tenth around it, so that the line is in the middle.
    room = room if room > 1e-12 * max(abs(low), abs(high)) else 0.1 * abs(high) or 1.0
    bottom = low - room
    return Scale(0.0 if low >= 0.0 > bottom else bottom, high + room, start, end)


def choose_ticks(low: float, high: float, most: int = 6) -> List[float]:
    """Round values from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten.

    Args:
        low, high: ends; ``low`` below ``high``.
        most: ticks at the most, at least 2.
    """
    span = high - low
    if not (span > 0.0 and math.isfinite(span)):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * f for f in (1.0, 2.0, 5.0, 10.0, 20.0) if span / (power * f) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def choose_log_ticks(low: float, high: float) -> List[float]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``; powers alone over many decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1.0, 2.0, 5.0) if last - first < 4 else (1.0,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in ticks if low <= tick <= high] or [low, high]


def format_ticks(ticks: Sequence[float]) -> List[str]:
    """Short texts with as many decimals as tell the ticks apart; thousands and millions as k, M."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    divisor, unit = next(
        (pair for pair in ((1e9, "G"), (1e6, "M"), (1e4, "k")) if largest >= pair[0]), (1.0, "")
    )
    divisor = 1e3 if unit == "k" else divisor
    if 0.0 < largest < 1e-3:
        return [f"{tick:.3g}" for tick in ticks]
    step = min((abs(b - a) for a, b in zip(ticks, ticks[1:])), default=largest)
    step = (step or largest) / divisor
    decimals = 0 if step <= 0.0 else max(0, -math.floor(math.log10(step) + 1e-9))
    texts = [f"{tick / divisor:.{min(decimals, 6)}f}" for tick in ticks]
    return [text + unit if float(text) else "0" for text in texts]


def reduce_points(
    x: np.ndarray, y: np.ndarray, first: float, last: float, columns: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Keeps of each column of the drawing the lowest and the highest point.

    What is drawn is the same to the eye, and no outlier is lost, as it would be by taking each nth.

    Args:
        x: rising, [n].
        y: finite, [n].
        first, last: ends of the axis.
        columns: of the drawing.

    Returns:
        At most two points per column, in order of x.
    """
    if len(x) <= 2 * columns:
        return x, y
    width = (last - first) or 1.0
    column = np.clip(((x - first) / width * columns).astype(int), 0, columns - 1)
    order = np.lexsort((y, column))
    starts = np.flatnonzero(np.diff(np.concatenate([[-1], column[order]])))
    ends = np.concatenate([starts[1:], [len(order)]]) - 1
    kept = np.unique(np.concatenate([order[starts], order[ends]]))
    return x[kept], y[kept]
