"""What an examination looks at and what it finds."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Sequence

from bench.devices.command import CommandAnswer, run_command
from bench.environment.sources import World

OK = "ok"
WARN = "warn"
FAIL = "fail"
SKIPPED = "skipped"

STATUSES = (OK, WARN, FAIL, SKIPPED)

TOOL_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One row of the report.

    Attributes:
        name: what was examined.
        status: one of :data:`STATUSES`.
        figure: what was found; why, when it was skipped.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    status: str
    figure: str
    remedy: str = ""


@dataclass(frozen=True)
class Patient:
    """The machine and the run that it is examined for.

    Attributes:
        backend: ``ascend``, ``cpu`` or ``simulated``.
        world: the machine.
        output: results directory.
        trainer_python: interpreter that will run the trainer.
        rank_table: rank table file, None for none.
        cancel: when set, commands are to end.
    """

    backend: str
    world: World = field(default_factory=World)
    output: str = "results"
    trainer_python: str = sys.executable
    rank_table: Optional[str] = None
    cancel: threading.Event = field(default_factory=threading.Event)

    def run(self, argv: Sequence[str], timeout_seconds: Optional[float] = None) -> CommandAnswer:
        """Runs a command of the machine, for :data:`TOOL_TIMEOUT_SECONDS` unless told."""
        variables = {
            name: value for name, value in self.world.variables.items() if name != "LC_ALL"
        }
        timeout = TOOL_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
        return run_command(argv, timeout, variables, self.cancel)


@dataclass(frozen=True)
class Examination:
    """One or more rows that are found together.

    Attributes:
        name: stands in place of the rows when it takes too long.
        examine: finds them; it may block, but its commands end when the patient's event is set.
        backends: on which it makes sense; empty for all.
    """

    name: str
    examine: Callable[[Patient], List[Finding]]
    backends: Sequence[str] = ()


def skip(name: str, why: str) -> Finding:
    """A row for what was not examined."""
    return Finding(name, SKIPPED, why)


def join_numbers(numbers: Sequence[int]) -> str:
    """``0-3,6``."""
    parts: List[str] = []
    start: Optional[int] = None
    for index, number in enumerate(numbers):
        start = number if start is None else start
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            parts.append(str(number) if start == number else f"{start}-{number}")
            start = None
    return ",".join(parts)
