"""The state of a run while it goes: fed with log events, read by progress and exporter.

These numbers are for watching. What is stored comes from the whole logs, read again at the end.
"""

from __future__ import annotations

import bisect
import math
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Tuple

from bench.catalogue import RUN_STATES
from bench.series import STEP_TIME_BUCKETS


@dataclass(frozen=True)
class RunFacts:
    """What does not change during a run."""

    run_id: str
    model: str
    backend: str
    simulated: bool
    precision: str
    task: str
    world_size: int
    batch_size: int
    seq_length: int
    steps: int
    iterations_per_loop: int
    started_at_seconds: float
    devices: Tuple[int, ...]


@dataclass(frozen=True)
class RankLive:
    """Last known state of a rank; counters never fall.

    Attributes:
        step: last global step reported, None before the first report.
        steps_done: steps of this run, a restore's starting step left out.
        steps_per_second: last reported rate.
        last_report_seconds: Unix time when the last report was read.
    """

    up: bool = False
    step: Optional[int] = None
    first_step: Optional[int] = None
    steps_done: int = 0
    steps_per_second: Optional[float] = None
    mlm_loss: Optional[float] = None
    nsp_loss: Optional[float] = None
    total_loss: Optional[float] = None
    loss_scale: Optional[float] = None
    nonfinite_losses: int = 0
    checkpoints: int = 0
    problems: int = 0
    last_report_seconds: Optional[float] = None


@dataclass(frozen=True)
class RunSnapshot:
    """A consistent copy of the whole state.

    Attributes:
        facts: what does not change.
        state: one of :data:`bench.catalogue.RUN_STATES`.
        ranks: by rank.
        step_time_counts: intervals of all ranks by mean step time; how many lie up to each
            bound of :data:`bench.series.STEP_TIME_BUCKETS` and above the one before, the rest last.
        step_time_sum_seconds: the mean step times of those intervals added up.
    """

    facts: RunFacts
    state: str
    ranks: Tuple[RankLive, ...] = field(default_factory=tuple)
    step_time_counts: Tuple[int, ...] = ()
    step_time_sum_seconds: float = 0.0

    @property
    def step(self) -> int:
        """The step that every rank has reached."""
        return min((rank.step or 0 for rank in self.ranks), default=0)

    @property
    def steps_per_second(self) -> Optional[float]:
        """Median of the ranks' last rates."""
        rates = sorted(rank.steps_per_second for rank in self.ranks if rank.steps_per_second)
        return rates[len(rates) // 2] if rates else None

    @property
    def mlm_loss(self) -> Optional[float]:
        """Mean of the ranks' last masked-LM losses."""
        return _mean([rank.mlm_loss for rank in self.ranks])

    @property
    def nsp_loss(self) -> Optional[float]:
        """Mean of the ranks' last next-sentence losses."""
        return _mean([rank.nsp_loss for rank in self.ranks])

    @property
    def total_loss(self) -> Optional[float]:
        """Mean of the ranks' last total losses."""
        return _mean([rank.total_loss for rank in self.ranks])

    @property
    def eta_seconds(self) -> Optional[float]:
        """Steps left ÷ the current rate."""
        rate = self.steps_per_second
        return (self.facts.steps - self.step) / rate if rate else None


class LiveRun:
    """Thread-safe holder of the state of one run."""

    def __init__(self, facts: RunFacts) -> None:
        self._lock = threading.Lock()
        self._facts = facts
        self._state = RUN_STATES[0]
        self._ranks: Dict[int, RankLive] = {rank: RankLive() for rank in range(facts.world_size)}
        self._step_time_counts = [0] * (len(STEP_TIME_BUCKETS) + 1)
        self._step_time_sum_seconds = 0.0

    def set_state(self, state: str) -> None:
        """Moves the run to a state of :data:`bench.catalogue.RUN_STATES`."""
        if state not in RUN_STATES:
            raise ValueError(f"unknown run state {state!r}")
        with self._lock:
            self._state = state

    def set_up(self, rank: int, up: bool) -> None:
        """Notes whether the process of a rank lives."""
        self._change(rank, up=up)

    def set_problems(self, rank: int, count: int) -> None:
        """Notes how many log lines of a rank could not be read."""
        self._change(rank, problems=count)

    def report_rate(self, rank: int, steps_per_second: float, now_seconds: float) -> None:
        """A ``global_step/sec`` line was read."""
        self._change(rank, steps_per_second=steps_per_second, last_report_seconds=now_seconds)
        if steps_per_second > 0.0 and math.isfinite(steps_per_second):
            seconds = 1.0 / steps_per_second
            with self._lock:
                self._step_time_counts[bisect.bisect_left(STEP_TIME_BUCKETS, seconds)] += 1
                self._step_time_sum_seconds += seconds

    def report_loss(
        self,
        rank: int,
        step: int,
        mlm: Optional[float],
        nsp: Optional[float],
        total: Optional[float],
        now_seconds: float,
    ) -> None:
        """A loss line was read."""
        with self._lock:
            old = self._ranks[rank]
            # The first report comes one loop after the step that the run started from.
            before = max(0, step - self._facts.iterations_per_loop)
            first = before if old.first_step is None else old.first_step
            finite = total is None or math.isfinite(total)
            self._ranks[rank] = replace(
                old,
                step=step,
                first_step=first,
                steps_done=max(old.steps_done, step - first),
                mlm_loss=mlm,
                nsp_loss=nsp,
                total_loss=total,
                nonfinite_losses=old.nonfinite_losses + (0 if finite else 1),
                last_report_seconds=now_seconds,
            )

    def report_loss_scale(self, rank: int, value: float) -> None:
        """A loss-scale line was read."""
        self._change(rank, loss_scale=value)

    def report_checkpoint(self, rank: int) -> None:
        """A checkpoint was saved."""
        with self._lock:
            old = self._ranks[rank]
            self._ranks[rank] = replace(old, checkpoints=old.checkpoints + 1)

    def snapshot(self) -> RunSnapshot:
        """A consistent copy."""
        with self._lock:
            ranks = tuple(self._ranks[rank] for rank in sorted(self._ranks))
            return RunSnapshot(
                self._facts,
                self._state,
                ranks,
                tuple(self._step_time_counts),
                self._step_time_sum_seconds,
            )

    def _change(self, rank: int, **changes: Any) -> None:
        with self._lock:
            self._ranks[rank] = replace(self._ranks[rank], **changes)


def _mean(values: List[Optional[float]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
