"""Intervals: the stretches of steps between two reports of a rank, each with its time and reason.

TensorFlow's step counter prints a rate to six digits, its loss hook the seconds to a millisecond.
For one interval both say the same; the rate is the sharper one for short intervals and is used
where both are there: ``seconds = steps / rate``. Where one of them reports more often than the
other, its reports alone are the intervals, so that no time counts twice.
"""

from __future__ import annotations

import bisect
import collections
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Set, Tuple

STEADY = "steady"
WARM_UP = "warm-up"
CHECKPOINT = "checkpoint"
EVALUATION = "evaluation"
OVERFLOW = "overflow-skipped"
TAIL = "tail"

_AGREEMENT_RATIO = 0.02
_AGREEMENT_SECONDS = 0.0015
"""A rate and a loss line describe the same interval when their seconds differ by no more."""
_MOMENT_RATIO = 0.25
"""The two are printed at one moment when their stamps differ by no more of the interval."""


@dataclass(frozen=True)
class RateRecord:
    """A step-rate line.

    Attributes:
        line: where it stands in its log; only the order matters.
        steps_per_second: as printed.
        wall_seconds: when it was printed, see :class:`Interval`.
    """

    line: int
    steps_per_second: float
    wall_seconds: Optional[float] = None


@dataclass(frozen=True)
class LossRecord:
    """A loss line.

    Attributes:
        line: where it stands in its log.
        step: global step.
        seconds: time since the rank's previous loss line; None on the first one.
        mlm: masked-LM loss, None where the trainer does not print it.
        nsp: next-sentence loss, likewise.
        total: total loss.
        wall_seconds: when it was printed, see :class:`Interval`.
    """

    line: int
    step: int
    seconds: Optional[float]
    mlm: Optional[float]
    nsp: Optional[float]
    total: Optional[float]
    wall_seconds: Optional[float] = None


@dataclass(frozen=True)
class BatchRecord:
    """A line that tells the time of one batch of a prediction.

    Attributes:
        batch: number, from 1.
        examples: sequences in it, without those that fill it up.
        seconds: its time.
        wall_seconds: when it was printed, see :class:`Interval`.
    """

    batch: int
    examples: int
    seconds: float
    wall_seconds: Optional[float] = None


@dataclass(frozen=True)
class RankTrack:
    """What one rank's log says, in the order of its lines.

    Attributes:
        label: how the log names the rank.
        rank: its global id where the log says so.
        saw_start: the log holds the start of the process, so its first interval is known to be
            the first of the run.
        batches: of a prediction; they are what is measured where nothing else is timed.
        checkpoint_lines: lines that tell of a checkpoint.
        evaluation_lines: lines that tell of an evaluation.
        overflow_lines: lines that tell of an update skipped for overflow.
        start_seconds: when its first line was printed, see :class:`Interval`.
    """

    label: str
    rank: Optional[int] = None
    rates: Sequence[RateRecord] = ()
    losses: Sequence[LossRecord] = ()
    batches: Sequence[BatchRecord] = ()
    checkpoint_lines: Sequence[int] = ()
    evaluation_lines: Sequence[int] = ()
    overflow_lines: Sequence[int] = ()
    start_seconds: Optional[float] = None
    loss_scales: Sequence[float] = ()
    saw_start: bool = False
    problem_count: int = 0
    problem_texts: Sequence[str] = field(default_factory=tuple)

    @property
    def predicts(self) -> bool:
        """Whether batches of a prediction are what its log times."""
        return bool(self.batches) and not self.rates


@dataclass(frozen=True)
class Interval:
    """One interval of a rank.

    Attributes:
        end_step: global step at its end, None where the log does not say.
        steps: steps in it; None where unknown, and then the same for all of the rank.
        seconds: its time; None where neither steps nor seconds are known.
        steps_per_second: rate in it.
        reason: :data:`STEADY`, or why it is not measured.
        wall_seconds: when its report was printed, seconds since 1 January 00:00 local time of
            the year in which the log began; None for lines without a time stamp.
    """

    end_step: Optional[int]
    steps: Optional[int]
    seconds: Optional[float]
    steps_per_second: float
    reason: str
    wall_seconds: Optional[float] = None


def build_intervals(track: RankTrack) -> List[Interval]:
    """Puts rates and loss lines together into intervals.

    The first interval after the start of a process is labelled warm-up: TensorFlow itself leaves
    the graph-building one unreported, and queues and caches fill in the next. An interval in which
    updates were skipped, an evaluation ran or a checkpoint was saved is labelled so. All others are
    steady here; :mod:`bench.measure.windows` looks closer.
    """
    if track.predicts:
        return _build_batches(track.batches)
    steps_before = _steps_of_losses(track.losses)
    stalled = _find_stalled(track.losses)
    common = _most_common([steps for steps in steps_before if steps])
    per_loss, per_rate = _count_between(track.rates, track.losses)
    if per_rate > 1:
        pairs = _pair((), track.losses, steps_before)
    elif per_loss > 1:
        pairs = [(rate, None) for rate in track.rates]
        common = common // per_loss if common and common % per_loss == 0 else None
    else:
        pairs = _pair(track.rates, track.losses, steps_before)
    last = len(track.losses) - 1
    intervals: List[Interval] = []
    previous_line = -1
    for rate, loss_index in pairs:
        loss = None if loss_index is None else track.losses[loss_index]
        steps = None if loss_index is None else steps_before[loss_index]
        line = max(rate.line if rate else -1, loss.line if loss else -1)
        if steps is None and rate is not None and loss is not None and loss.seconds:
            steps = max(1, round(rate.steps_per_second * loss.seconds))
        if steps is None:
            steps = common
        seconds, value = _time_of(rate, loss, steps)
        if value is None:
            continue
        reason = _find_tag(track, previous_line, line)
        if reason == STEADY and track.loss_scales and loss_index not in (None, last):
            # The global step does not move for a skipped update.
            is_short = bool(steps and common and steps < common)
            reason = OVERFLOW if is_short or loss_index in stalled else STEADY
        if reason == STEADY and track.saw_start and not intervals:
            reason = WARM_UP
        wall = rate.wall_seconds if rate else (loss.wall_seconds if loss else None)
        step = loss.step if loss else None
        intervals.append(Interval(step, steps, seconds, value, reason, wall))
        previous_line = line
    return intervals


def _build_batches(batches: Sequence[BatchRecord]) -> List[Interval]:
    """One interval per batch; a batch that is not full is the tail of its round."""
    full = max(record.examples for record in batches)
    return [
        Interval(
            record.batch,
            1,
            record.seconds,
            1.0 / record.seconds,
            STEADY if record.examples == full else TAIL,
            record.wall_seconds,
        )
        for record in batches
        if record.seconds > 0.0
    ]


def _find_tag(track: RankTrack, after: int, until: int) -> str:
    """What the log tells between two reports, the gravest first."""
    for reason, lines in (
        (OVERFLOW, track.overflow_lines),
        (EVALUATION, track.evaluation_lines),
        (CHECKPOINT, track.checkpoint_lines),
    ):
        place = bisect.bisect_right(lines, after)
        if place < len(lines) and lines[place] <= until:
            return reason
    return STEADY


def _time_of(
    rate: Optional[RateRecord], loss: Optional[LossRecord], steps: Optional[int]
) -> Tuple[Optional[float], Optional[float]]:
    """Seconds and rate of an interval; (None, None) when nothing usable was printed."""
    if rate is not None and rate.steps_per_second > 0.0:
        seconds = steps / rate.steps_per_second if steps else None
        return seconds, rate.steps_per_second
    if loss is not None and loss.seconds and steps:
        return loss.seconds, steps / loss.seconds
    return None, None


def _steps_of_losses(losses: Sequence[LossRecord]) -> List[Optional[int]]:
    """Steps of each loss line's interval; None on the first and where the step went back.

    The seconds of a loss line count from the line before it, also when that one was lost from the
    log; so a gain of several times the usual one means lost lines, and the interval is the usual.
    """
    steps: List[Optional[int]] = []
    for index, loss in enumerate(losses):
        gained = loss.step - losses[index - 1].step if index else 0
        steps.append(gained if gained > 0 else None)
    usual = _most_common([gained for gained in steps if gained])
    return [
        usual if gained and usual and gained > usual and gained % usual == 0 else gained
        for gained in steps
    ]


def _find_stalled(losses: Sequence[LossRecord]) -> Set[int]:
    """Loss lines whose interval brought no step forward: all its updates were skipped.

    A line that was torn and stands there a second time has no seconds.
    """
    return {
        index
        for index in range(1, len(losses))
        if losses[index].step == losses[index - 1].step
        and losses[index].seconds is not None
        and losses[index - 1].seconds is not None
    }


def _count_between(rates: Sequence[RateRecord], losses: Sequence[LossRecord]) -> Tuple[int, int]:
    """How many rates mostly stand between two loss lines, and loss lines between two rates."""
    rate_lines = [rate.line for rate in rates]
    loss_lines = [loss.line for loss in losses if loss.seconds is not None]
    per_loss = [
        bisect.bisect_left(rate_lines, after) - bisect.bisect_left(rate_lines, before)
        for before, after in zip(loss_lines, loss_lines[1:])
    ]
    per_rate = [
        bisect.bisect_left(loss_lines, after) - bisect.bisect_left(loss_lines, before)
        for before, after in zip(rate_lines, rate_lines[1:])
    ]
    return _get_usual(per_loss), _get_usual(per_rate)


def _pair(
    rates: Sequence[RateRecord],
    losses: Sequence[LossRecord],
    steps_before: Sequence[Optional[int]],
) -> List[Tuple[Optional[RateRecord], Optional[int]]]:
    """Pairs each rate with the loss line of the same interval, in line order.

    The two hooks print in either order, so a rate is held against the loss lines next to it on
    both sides and goes to that of the same moment, or whose time agrees better. Loss lines with
    seconds that no rate fits stand alone, as do rates without a loss line. Where most agree, a rate
    that does not fit the loss line of the same moment is a damaged number.
    """
    taken = set()
    pairs: List[Tuple[int, Optional[RateRecord], Optional[int]]] = []
    neighbours: List[List[int]] = []
    position = 0
    for rate in rates:
        while position < len(losses) and losses[position].line < rate.line:
            position += 1
        near = [index for index in (position - 1, position) if 0 <= index < len(losses)]
        same = [index for index in near if _is_same_moment(rate, losses[index])]
        best: Optional[Tuple[bool, float, int]] = None
        for index in near:
            distance = _disagreement(rate, losses[index], steps_before[index])
            if distance is not None and index not in taken:
                choice = (index not in same, distance, index)
                best = choice if best is None else min(best, choice)
        if best is not None:
            taken.add(best[2])
        pairs.append((rate.line, rate, None if best is None else best[2]))
        neighbours.append(same)
    if 2 * len(taken) > len(rates):
        pairs = [
            pair
            for pair, same in zip(pairs, neighbours)
            if pair[2] is not None or taken.issuperset(same)
        ]
    for index, loss in enumerate(losses):
        if index not in taken and loss.seconds is not None:
            pairs.append((loss.line, None, index))
    pairs.sort(key=lambda item: item[0])
    return [(rate, index) for _, rate, index in pairs]


def _is_same_moment(rate: RateRecord, loss: LossRecord) -> bool:
    """Whether both were printed at the end of one interval; False where no stamp tells."""
    if rate.wall_seconds is None or loss.wall_seconds is None or loss.seconds is None:
        return False
    return abs(rate.wall_seconds - loss.wall_seconds) < _MOMENT_RATIO * loss.seconds


def _disagreement(rate: RateRecord, loss: LossRecord, steps: Optional[int]) -> Optional[float]:
    """How far the two are apart in seconds; None when they cannot be the same interval."""
    if loss.seconds is None or rate.steps_per_second <= 0.0:
        return None
    count = steps if steps else max(1, round(rate.steps_per_second * loss.seconds))
    apart = abs(count / rate.steps_per_second - loss.seconds)
    allowed = _AGREEMENT_RATIO * loss.seconds + _AGREEMENT_SECONDS
    return apart if apart <= allowed else None


def _most_common(values: Sequence[int]) -> Optional[int]:
    return collections.Counter(values).most_common(1)[0][0] if values else None


def _get_usual(counts: Sequence[int]) -> int:
    """What more than half of the counts are, 1 if there is no such."""
    usual = _most_common(counts)
    return usual if usual is not None and 2 * counts.count(usual) > len(counts) else 1
