"""Time stamps without a year.

The absl prefix holds month, day and time, but no year. A stamp is kept as one integer, the
microseconds in a calendar of twelve months of 31 days: it orders stamps, survives a turn of the
year and can be taken apart without loss. Only :func:`compute_wall_seconds` needs a real calendar.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import List, Optional

import numpy as np

NO_STAMP = -(1 << 62)
DAY = 86_400_000_000
YEAR = 12 * 31 * DAY
# A year with a 29 February, for logs that do not tell theirs.
LEAP_YEAR = 2020


def parse_stamp(text: bytes) -> int:
    """Packs ``0521 19:45:05.731803`` or ``05-21 19:45:05.731803``, already known to be well formed.

    Returns:
        Microseconds in the calendar of 31-day months, from its 1 January.
    """
    day = 3 if text[2:3] == b"-" else 2
    days = (int(text[:2]) - 1) * 31 + int(text[day : day + 2]) - 1
    time = text[day + 3 :]
    seconds = int(time[:2]) * 3600 + int(time[3:5]) * 60 + int(time[6:8])
    return days * DAY + seconds * 1_000_000 + int(time[9:15])


def find_shift(stamps: np.ndarray, last: int) -> Optional[int]:
    """Finds what to add to stamps so that each comes into the year nearest to the one before it.

    Args:
        stamps: packed stamps, int64 [N], in any order.
        last: the unwrapped stamp before them, or ``NO_STAMP``.

    Returns:
        Microseconds, whole years; None if the stamps do not all lie in one half year, so that
        :func:`unwrap_stamp` has to follow them one by one.
    """
    if not len(stamps):
        return 0
    low, high = int(stamps.min()), int(stamps.max())
    shift = 0
    if last != NO_STAMP:
        shift = unwrap_stamp(low, last) - low
        low, high = min(low + shift, last), max(high + shift, last)
    return shift if high - low < YEAR // 2 else None


def unwrap_stamp(stamp: int, last: int) -> int:
    """Gives a stamp the year that brings it nearest to the one before it.

    Lines of several processes are up to milliseconds out of order, so at New Year the year may have
    to go back for a line, too.

    Args:
        stamp: packed stamp.
        last: the unwrapped stamp before it, or ``NO_STAMP`` for the first, whose year is 0.
    """
    return stamp if last == NO_STAMP else stamp + _round_half_down(last - stamp, YEAR) * YEAR


def _round_half_down(value: int, unit: int) -> int:
    """Nearest whole number of units; of two equally near, the smaller."""
    return -((unit // 2 - value) // unit)


def compute_wall_seconds(stamps: np.ndarray, year: Optional[int]) -> np.ndarray:
    """Converts unwrapped stamps to seconds since 1 January 00:00 of the log's first year.

    Args:
        stamps: int64 [N]; ``NO_STAMP`` gives nan.
        year: the first year of the log. When None, 29 February is taken to exist, so that a log
            that runs from February into March of an ordinary year has one day too much there.

    Returns:
        float64 [N]
    """
    absent = stamps == NO_STAMP
    years, rest = np.divmod(np.where(absent, 0, stamps), YEAR)
    slots, micros = np.divmod(rest, DAY)
    months, days = np.divmod(slots, 31)
    starts = np.zeros((0, 12), dtype=np.int64)
    low = high = 0
    if len(stamps):
        low, high = int(years.min()), int(years.max())
        starts = np.array([_list_month_starts(year, offset) for offset in range(low, high + 1)])
    first_days = starts[years - low, months]
    seconds = (first_days + days) * 86_400 + micros / 1e6
    return np.where(absent, np.nan, seconds)


def get_wall_seconds(stamp: int, year: Optional[int]) -> Optional[float]:
    """Does for one stamp what :func:`compute_wall_seconds` does; ``NO_STAMP`` gives None."""
    if stamp == NO_STAMP:
        return None
    years, rest = divmod(stamp, YEAR)
    slot, micros = divmod(rest, DAY)
    month, day = divmod(slot, 31)
    return (_list_month_starts(year, years)[month] + day) * 86_400 + micros / 1e6


@lru_cache(maxsize=64)
def _list_month_starts(year: Optional[int], offset: int) -> List[int]:
    """Days from 1 January of the first year to the first of each month, ``offset`` years on."""
    base = LEAP_YEAR if year is None else year
    if year is None:
        shift = offset * 366
        return [shift + (date(base, m, 1) - date(base, 1, 1)).days for m in range(1, 13)]
    target = min(max(base + offset, 1), 9999)
    return [(date(target, m, 1) - date(base, 1, 1)).days for m in range(1, 13)]
