"""Follows the logs of a run's ranks and keeps its live state up to date."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from bench.errors import InfrastructureError
from bench.logs.events import CheckpointSaved, Event, LossReport, LossScale, StepRate, TrainerPrint
from bench.logs.tail import LogTail
from bench.measure.live import LiveRun
from bench.session.hang import ProgressClock

_PROGRESS = (StepRate, LossReport, TrainerPrint, CheckpointSaved)
_OTHER_FILES = 256


class Watch:
    """Tails of all rank logs of a run.

    Args:
        logs: rank and log of each rank.
        live: is told what they say.
        clock: is told when they say anything of the training.
    """

    def __init__(
        self, logs: Sequence[Tuple[int, Path]], live: LiveRun, clock: Optional[ProgressClock] = None
    ) -> None:
        self._live = live
        self._clock = clock
        self._tails: List[Tuple[int, LogTail]] = [(rank, LogTail(str(path))) for rank, path in logs]
        self._measuring = False

    def poll(self) -> None:
        """Reads what is new in every log; never waits."""
        now = time.time()
        for rank, tail in self._tails:
            events = tail.poll()
            for event in events:
                self._observe(rank, event, now)
            if events:
                self._note_progress(rank, events)
                self._live.set_problems(rank, sum(tail.reader.report().problem_counts.values()))

    def close(self) -> None:
        """Reads every log to its end and closes it."""
        now = time.time()
        for rank, tail in self._tails:
            for event in tail.close():
                self._observe(rank, event, now)

    def _note_progress(self, rank: int, events: Sequence[Event]) -> None:
        """A step's rate and losses are one report, also when two handlers write each line."""
        if self._clock is None or not any(isinstance(event, _PROGRESS) for event in events):
            return
        steps = [e.global_step for e in events if isinstance(e, (LossReport, TrainerPrint))]
        n_rates = sum(isinstance(event, StepRate) for event in events)
        n_reports = len(set(steps)) or n_rates or 1
        self._clock.note(rank, time.monotonic(), steps[-1] if steps else None, n_reports)

    def _observe(self, rank: int, event: Event, now: float) -> None:
        live = self._live
        if isinstance(event, StepRate):
            live.report_rate(rank, event.steps_per_second, now)
        elif isinstance(event, (LossReport, TrainerPrint)):
            live.report_loss(
                rank,
                event.global_step,
                event.masked_lm_loss,
                event.next_sentence_loss,
                event.total_loss,
                now,
            )
            self._start_measuring()
        elif isinstance(event, LossScale):
            live.report_loss_scale(rank, event.value)
        elif isinstance(event, CheckpointSaved):
            live.report_checkpoint(rank)

    def _start_measuring(self) -> None:
        # A first report means that the graph is built; the state must not go back afterwards.
        if not self._measuring:
            self._measuring = True
            self._live.set_state("measuring")


def reserve_files(n_logs: int) -> None:
    """Sees to it that so many logs can be open at once.

    Raises:
        InfrastructureError: the system's limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n_logs + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InfrastructureError(
            f"{n_logs} logs cannot be read at once: this process may have {hard} open files; "
            "raise the limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
