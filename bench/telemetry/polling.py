"""A source of values that is asked again and again, in a thread of its own.

Asking runs a command that can be slow. A source rests after each call in proportion to the time
that it took, so that a slow tool is asked less often instead of keeping a core or the driver busy;
a question that gets no answer is asked ever more rarely.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from bench.telemetry.model import SourceState

Values = Mapping[int, Mapping[str, Any]]
"""Device → field of :class:`bench.telemetry.model.CardReading` → value."""

_LONGEST_PERIOD_SECONDS = 300.0
_STALE_PERIODS = 4.0
_STALE_SECONDS = 15.0
_JOIN_SECONDS = 2.0


@dataclass(frozen=True)
class Answer:
    """What a question gave.

    Attributes:
        values: by device; empty for none.
        reason: why there are none.
        cpu_seconds: processor time of the command.
        understood: false when the command ended well and its text made no sense.
    """

    values: Values = field(default_factory=dict)
    reason: Optional[str] = None
    cpu_seconds: float = 0.0
    understood: bool = True


@dataclass(frozen=True)
class Question:
    """One thing to ask.

    Attributes:
        name: for messages, such as ``-t ecc of card 3``.
        period_seconds: how often, at most.
        ask: runs the command; the event, when set, wants it to end.
    """

    name: str
    period_seconds: float
    ask: Callable[[threading.Event], Answer]


@dataclass
class _Standing:
    """How a question stands."""

    due: float
    period_seconds: float
    values: Values = field(default_factory=dict)
    answered_at: Optional[float] = None
    reason: Optional[str] = None


class PolledSource:
    """Asks its questions in turn and keeps the answers.

    Args:
        name: one of :data:`bench.telemetry.model.SOURCES`.
        questions: in order of importance.
        rest_ratio: rest after a call, as a multiple of its time.
        absent_reason: why there is nobody to ask; then no thread is started.
    """

    def __init__(
        self,
        name: str,
        questions: Sequence[Question],
        rest_ratio: float = 1.0,
        absent_reason: Optional[str] = None,
    ) -> None:
        now = time.monotonic()
        self.name = name
        self._questions = list(questions)
        self._standings = [_Standing(now, question.period_seconds) for question in questions]
        self._rest_ratio = rest_ratio
        self._absent_reason = absent_reason
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._state = SourceState(name, reason=absent_reason)
        self._cost_seconds = 0.0
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Starts asking."""
        if self._absent_reason is None and self._questions:
            self._thread = threading.Thread(
                target=self._run, name=f"telemetry {self.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends asking; a command that runs is killed."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    @property
    def state(self) -> SourceState:
        """How asking goes."""
        with self._lock:
            return self._state

    @property
    def cost_seconds(self) -> float:
        """Processor time so far, of the thread and of its commands."""
        with self._lock:
            return self._cost_seconds

    def get_values(self) -> Tuple[Dict[int, Dict[str, Any]], Optional[float]]:
        """The values that are not stale, and the age in seconds of the freshest of them."""
        now = time.monotonic()
        found: Dict[int, Dict[str, Any]] = {}
        age: Optional[float] = None
        with self._lock:
            for question, standing in zip(self._questions, self._standings):
                if standing.answered_at is None:
                    continue
                mine = now - standing.answered_at
                if mine > max(_STALE_SECONDS, _STALE_PERIODS * question.period_seconds):
                    continue
                age = mine if age is None else min(age, mine)
                for device, values in standing.values.items():
                    found.setdefault(device, {}).update(values)
        return found, age

    def _run(self) -> None:
        while not self._stop.is_set():
            index = min(range(len(self._standings)), key=lambda at: self._standings[at].due)
            wait = self._standings[index].due - time.monotonic()
            if wait > 0.0 and self._stop.wait(wait):
                break
            start, thread_start = time.monotonic(), time.thread_time()
            try:
                answer = self._questions[index].ask(self._stop)
            except Exception as error:  # text of an unknown tool must not end the sampling
                answer = Answer(reason=f"{type(error).__name__}: {error}"[:200], understood=False)
            if self._stop.is_set():
                break
            end = time.monotonic()
            own_seconds = time.thread_time() - thread_start
            self._note(index, answer, start, end, own_seconds)
            if self._stop.wait((end - start) * self._rest_ratio):
                break

    def _note(
        self, index: int, answer: Answer, start: float, end: float, own_seconds: float
    ) -> None:
        question, standing = self._questions[index], self._standings[index]
        with self._lock:
            before = self._state
            if answer.reason is None:
                standing.values, standing.answered_at = answer.values, end
                standing.reason = None
                standing.period_seconds = question.period_seconds
            else:
                standing.reason = f"{question.name}: {answer.reason}"
                longest = max(_LONGEST_PERIOD_SECONDS, question.period_seconds)
                standing.period_seconds = min(2.0 * standing.period_seconds, longest)
            standing.due = max(start + standing.period_seconds, end)
            reasons = [item.reason for item in self._standings if item.reason is not None]
            some_answer = any(
                item.answered_at is not None and item.reason is None for item in self._standings
            )
            succeeded = answer.reason is None
            self._cost_seconds += answer.cpu_seconds + own_seconds
            self._state = replace(
                before,
                success=some_answer,
                reason=reasons[0] if reasons else None,
                duration_seconds=end - start,
                last_success_seconds=time.time() if succeeded else before.last_success_seconds,
                collections=before.collections + 1,
                failures=before.failures + (not succeeded),
                parse_errors=before.parse_errors + (not answer.understood),
            )
