"""Lone intervals that took much longer or shorter than those around them.

A slow interval now and then (a checkpoint of which the log does not tell, a hiccup of the host)
belongs to the steady state and stays in every sum; only the search for changes of level must not
trip over it.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

SMALLEST_NOISE = 0.0005
"""Noise of an interval is taken to be at least this share; printing a rate with six digits makes
1e-6, and smaller changes than this one matter to nobody."""
SPIKE_SPREADS = 3.5
"""A spike is so many robust standard deviations away from its neighbours."""

_FEW_SPIKES = 0.12
_EVEN_SHARE = 0.8


def mark_spikes(series: np.ndarray, spreads: float = SPIKE_SPREADS, reach: int = 3) -> np.ndarray:
    """Finds values that stand out to one side of the values before and after them.

    A value is compared with the median of the values before it and of those after it, and must be
    beyond both; so neither a ramp nor the edge of a step has spikes. At the end of the series
    the values before decide; at its start nothing is a spike, for that is how a warm-up looks.

    Args:
        series: log step times, [n].
        spreads: how far a spike stands out.
        reach: how many values to either side are looked at.

    Returns:
        True where a value is a spike, [n].
    """
    low, high = bound_by_neighbours(series, reach)
    # Half of all values lie between the two medians; their middle is what shows the spread.
    middle = 1.4826 * float(np.median(np.abs(series - 0.5 * (low + high)))) if len(series) else 0.0
    spread = max(middle, SMALLEST_NOISE)
    return (series < low - spreads * spread) | (series > high + spreads * spread)


def bound_by_neighbours(series: np.ndarray, reach: int) -> Tuple[np.ndarray, np.ndarray]:
    """The smaller and the larger of the medians of the values before and after each, [n] both.

    The first ``reach`` values are their own bounds; the last ones have none after them.
    """
    n = len(series)
    low, high = series.copy(), series.copy()
    if n > 2 * reach:
        # medians[i] is of values i to i + reach - 1.
        medians = np.median(np.stack([series[i : n - reach + 1 + i] for i in range(reach)]), axis=0)
        before = medians[:-1]
        after = np.concatenate([medians[reach + 1 :], before[n - 2 * reach :]])
        low[reach:] = np.minimum(before, after)
        high[reach:] = np.maximum(before, after)
    return low, high


def remove_spikes(series: np.ndarray) -> np.ndarray:
    """Replaces lone spikes by what their neighbours say, [n].

    Only where they are few or come at even distances, as checkpoints do. Where many stand out
    without order, they are no spikes but a second mode, and to take some of them out would leave
    the rest looking like changes of level; then only those that stand out further are tried.
    """
    for spreads in (SPIKE_SPREADS, 2.0 * SPIKE_SPREADS, 4.0 * SPIKE_SPREADS):
        clean = series
        spikes = np.zeros(len(series), dtype=bool)
        # The wider second look finds the pairs and triples that the first one takes for a level.
        for reach in (3, 7):
            found = mark_spikes(clean, spreads, reach)
            low, high = bound_by_neighbours(clean, reach)
            clean = np.where(found, np.clip(clean, low, high), clean)
            spikes |= found
        clean = _restore_end(series, clean, spikes)
        places = np.flatnonzero(spikes)
        if len(places) <= _FEW_SPIKES * len(series) or _is_even(np.diff(places)):
            return clean
    return series


def _restore_end(series: np.ndarray, clean: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Gives back what stands out up to the last value if it is more than two: a new level."""
    last = len(series) - 1
    while last >= 0 and spikes[last]:
        last -= 1
    if len(series) - 1 - last > 2:
        return np.concatenate([clean[: last + 1], series[last + 1 :]])
    return clean


def _is_even(gaps: np.ndarray) -> bool:
    """Whether most gaps are alike; short ones must be so to the interval."""
    usual = float(np.median(gaps))
    allowed = 1.0 if usual >= 5.0 else 0.0
    return bool(np.mean(np.abs(gaps - usual) <= allowed) >= _EVEN_SHARE)
