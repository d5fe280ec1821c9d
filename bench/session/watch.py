"""Follows the logs of a run's ranks and keeps its live state up to date."""

from __future__ import annotations

import time
from pathlib import Path
from typing import List, Sequence, Tuple

from bench.logs.events import CheckpointSaved, Event, LossReport, LossScale, StepRate, TrainerPrint
from bench.logs.tail import LogTail
from bench.measure.live import LiveRun


class Watch:
    """Tails of all rank logs of a run.

    Args:
        logs: rank and log of each rank.
        live: is told what they say.
    """

    def __init__(self, logs: Sequence[Tuple[int, Path]], live: LiveRun) -> None:
        self._live = live
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
                self._live.set_problems(rank, sum(tail.reader.report().problem_counts.values()))

    def close(self) -> None:
        """Reads every log to its end and closes it."""
        now = time.time()
        for rank, tail in self._tails:
            for event in tail.close():
                self._observe(rank, event, now)

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
