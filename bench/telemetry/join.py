"""Holds telemetry against the intervals of a run: what was going on in each of them."""

from __future__ import annotations

import bisect
import datetime
import statistics
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from bench.telemetry.model import CardReading, TelemetrySample
from bench.telemetry.summary import find_hold

THROTTLED = "throttled"
FREQUENCY_DROP = "frequency drop"
ECC = "memory errors"
LINK = "link event"
NETWORK = "network errors"
HEALTH = "health"
FOREIGN = "foreign process"

MARKS = (THROTTLED, FREQUENCY_DROP, ECC, LINK, NETWORK, HEALTH, FOREIGN)
"""What can be marked on an interval, in the order shown."""

LOW_FREQUENCY_RATIO = 0.95
"""A core clock below this share of the rated one, or of its usual one in the run, is low."""
BUSY_RATIO = 0.5
"""An idle card may slow its clock; only a busy one is throttled."""

_CALENDAR_YEAR = 2020
_COUNTERS: Dict[str, str] = {
    "hbm_ecc_single_bit_errors": ECC,
    "hbm_ecc_double_bit_errors": ECC,
    "link_up_count": LINK,
    "roce_receive_errors": NETWORK,
    "roce_transmit_errors": NETWORK,
}


@dataclass(frozen=True)
class Span:
    """A stretch of time, such as an interval of a rank.

    Attributes:
        start_seconds: Unix time.
        end_seconds: Unix time.
        device: physical id of the card that counts; None for all of the host.
    """

    start_seconds: float
    end_seconds: float
    device: Optional[int] = None


@dataclass(frozen=True)
class Annotation:
    """What telemetry says of a span.

    Attributes:
        n_samples: samples in it, the one that still held at its start included; with none, nothing
            is known and nothing is marked.
        marks: of :data:`MARKS`.
        temperature_max_celsius: of the cards that count.
        frequency_min_ratio: lowest core clock relative to the rated one.
        power_mean_watts: mean over the samples, added up over the cards that count.
    """

    n_samples: int = 0
    marks: Tuple[str, ...] = ()
    temperature_max_celsius: Optional[float] = None
    frequency_min_ratio: Optional[float] = None
    power_mean_watts: Optional[float] = None


def join(samples: Sequence[TelemetrySample], spans: Sequence[Span]) -> List[Annotation]:
    """Annotates each span.

    What changed from one sample to the next happened somewhere between them, and is marked on each
    span that reaches in there. Values of a source that is asked each 30 s come late by as much, and
    then mark the interval in which they were read.

    Args:
        samples: in order of time.
        spans: in any order.
    """
    hold_seconds = find_hold(samples)
    times = [sample.wall_seconds for sample in samples]
    usual = _find_usual_frequencies(samples)
    annotations = []
    for span in spans:
        first = bisect.bisect_right(times, span.start_seconds)
        last = bisect.bisect_right(times, span.end_seconds)
        if first > 0 and span.start_seconds - times[first - 1] <= hold_seconds:
            first -= 1
        after = last
        if 0 < last < len(times) and times[last - 1] < span.end_seconds:
            after += times[last] - times[last - 1] <= hold_seconds
        annotations.append(_annotate(samples[first:last], samples[first:after], span.device, usual))
    return annotations


def compute_unix_seconds(calendar_seconds: float, near_unix_seconds: float) -> float:
    """Turns the time of a log, which tells no year, into Unix time.

    Args:
        calendar_seconds: seconds since 1 January 00:00 local time of the log's first year, in a
            calendar with a 29 February, as an interval's ``wall_seconds``.
        near_unix_seconds: a moment not further than half a year away, such as the run's start.

    Returns:
        Unix time; local time that comes twice in autumn is taken for the first.
    """
    stamp = datetime.datetime(_CALENDAR_YEAR, 1, 1) + datetime.timedelta(seconds=calendar_seconds)
    near_year = datetime.datetime.fromtimestamp(near_unix_seconds).year
    candidates: List[float] = []
    for year in (near_year - 1, near_year, near_year + 1):
        try:
            candidates.append(stamp.replace(year=year).timestamp())
        except ValueError:  # 29 February of an ordinary year
            candidates.append(stamp.replace(year=year, day=28).timestamp() + 86400.0)
    return min(candidates, key=lambda seconds: abs(seconds - near_unix_seconds))


def build_spans(
    ends_and_lengths: Iterable[Tuple[Optional[float], Optional[float]]],
    near_unix_seconds: float,
    device: Optional[int] = None,
) -> List[Optional[Span]]:
    """Spans of intervals; None for one of which the log does not tell the time.

    Args:
        ends_and_lengths: time of the log at the end, see :func:`compute_unix_seconds`, and seconds.
        near_unix_seconds: start of the run.
        device: physical id of the rank's card.
    """
    spans: List[Optional[Span]] = []
    for end, seconds in ends_and_lengths:
        if end is None or seconds is None:
            spans.append(None)
        else:
            moment = compute_unix_seconds(end, near_unix_seconds)
            spans.append(Span(moment - seconds, moment, device))
    return spans


def _annotate(
    samples: Sequence[TelemetrySample],
    reaching: Sequence[TelemetrySample],
    device: Optional[int],
    usual: Dict[int, float],
) -> Annotation:
    if not samples:
        return Annotation()
    if device is None:
        devices = {number for sample in samples for number in sample.cards}
    else:
        devices = {device} if any(device in sample.cards for sample in samples) else set()
    marks: Set[str] = set()
    temperatures: List[float] = []
    ratios: List[float] = []
    powers: List[float] = []
    for number in sorted(devices):
        cards = [sample.cards[number] for sample in samples if number in sample.cards]
        marks |= _mark_states(cards, usual.get(number))
        marks |= _mark_changes(
            [sample.cards[number] for sample in reaching if number in sample.cards]
        )
        temperatures += [
            card.temperature_celsius for card in cards if card.temperature_celsius is not None
        ]
        ratios += [ratio for ratio in map(_compute_frequency_ratio, cards) if ratio is not None]
        watts = [card.power_watts for card in cards if card.power_watts is not None]
        if watts:
            powers.append(statistics.mean(watts))
    return Annotation(
        n_samples=len(samples),
        marks=tuple(mark for mark in MARKS if mark in marks),
        temperature_max_celsius=max(temperatures, default=None),
        frequency_min_ratio=min(ratios, default=None),
        power_mean_watts=sum(powers) if powers and len(powers) == len(devices) else None,
    )


def _mark_states(cards: Sequence[CardReading], usual_hertz: Optional[float]) -> Set[str]:
    marks = set()
    for card in cards:
        ratio = _compute_frequency_ratio(card)
        if _is_busy(card) and ratio is not None and ratio < LOW_FREQUENCY_RATIO:
            marks.add(THROTTLED)
        hertz = card.core_frequency_hertz
        if _is_busy(card) and hertz and usual_hertz and hertz < LOW_FREQUENCY_RATIO * usual_hertz:
            marks.add(FREQUENCY_DROP)
        if card.health in ("warning", "alarm", "critical"):
            marks.add(HEALTH)
        if card.foreign_process_ids:
            marks.add(FOREIGN)
    return marks


def _mark_changes(cards: Sequence[CardReading]) -> Set[str]:
    """Counters that grew, and ports that went down; a port that is never up is not wired."""
    marks = set()
    for name, mark in (("link_up", LINK), ("network_healthy", NETWORK)):
        states = [getattr(card, name) for card in cards if getattr(card, name) is not None]
        if any(before != after for before, after in zip(states, states[1:])):
            marks.add(mark)
    for name, mark in _COUNTERS.items():
        counts = [getattr(card, name) for card in cards if getattr(card, name) is not None]
        if any(after > before for before, after in zip(counts, counts[1:])):
            marks.add(mark)
    return marks


def _find_usual_frequencies(samples: Sequence[TelemetrySample]) -> Dict[int, float]:
    """Median core clock of each card while it was busy."""
    found: Dict[int, List[float]] = {}
    for sample in samples:
        for device, card in sample.cards.items():
            if card.core_frequency_hertz and _is_busy(card):
                found.setdefault(device, []).append(card.core_frequency_hertz)
    return {device: statistics.median(values) for device, values in found.items()}


def _is_busy(card: CardReading) -> bool:
    return card.core_usage_ratio is None or card.core_usage_ratio >= BUSY_RATIO


def _compute_frequency_ratio(card: CardReading) -> Optional[float]:
    if not card.core_frequency_hertz or not card.core_rated_frequency_hertz:
        return None
    return card.core_frequency_hertz / card.core_rated_frequency_hertz
