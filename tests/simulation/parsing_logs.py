"""Log text of known true rate: of the simulated backend, and written here in other shapes.

The true rate is Σ steps ÷ Σ seconds over the loops of the steady part. Two loops at the start never
belong to it: TensorFlow does not report the one that builds the graph, and in the next one queues
fill.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from bench.devices.simulated_log import merge_logs, render_log
from bench.devices.truth import build_truth
from bench.logs import write
from bench.spec import RunSpec, build_spec, for_cards

START = datetime(2026, 3, 2, 9, 30, 0)
RATE = 2.451
_THREAD = 281472000000000
_SKIPPED_LOOPS = 2


@dataclass(frozen=True)
class RunText:
    """The logs of one launch and what is true of it.

    Attributes:
        files: name → bytes; names sort by device.
        n_cards: ranks.
        rate: true steps per second in the steady part; NaN for none.
    """

    files: Mapping[str, bytes]
    n_cards: int
    rate: float


def simulate_run(
    seed: int,
    steps: int = 2000,
    loop: int = 10,
    cards: int = 4,
    save: int = 0,
    merged: bool = False,
    interruptions_count: bool = False,
    **effects: object,
) -> RunText:
    """Logs of the simulated backend.

    Args:
        seed: of the run.
        steps: of the run.
        loop: steps in a loop.
        cards: ranks.
        save: steps between checkpoints, 0 for none.
        merged: all ranks print into one file.
        interruptions_count: what the log does not tell of, as a checkpoint that is not logged, is
            part of the true rate.
        effects: settings of :mod:`bench.spec_simulated`.
    """
    spec = build_simulated_spec(seed, steps, cards, save, **effects)
    truth = build_truth(spec, loop, skip=_SKIPPED_LOOPS)
    key = "steps_per_second" + ("_with_interruptions" if interruptions_count else "")
    logs = [render_log(spec, rank, loop, START) for rank in range(cards)]
    if merged:
        files = {"train.log": merge_logs(logs)}
    else:
        files = {
            f"train_{rank}.log": b"".join(data for _, data in log) for rank, log in enumerate(logs)
        }
    rate = truth[key]
    return RunText(files, cards, math.nan if rate is None else float(rate))


def build_simulated_spec(
    seed: int, steps: int, cards: int, save: int, **effects: object
) -> RunSpec:
    """What to simulate."""
    asked = {"cards": cards, "steps": steps, "save_checkpoints_steps": save, "random_seed": seed}
    asked["warmup_steps"] = 0
    asked.update({f"simulated.{key}": value for key, value in effects.items()})
    return for_cards(build_spec([("simulation", asked)]), cards)


@dataclass(frozen=True)
class Shape:
    """How a trainer writes.

    Attributes:
        rate_every: loops between two step rates, 0 for none.
        loss_every: loops between two loss lines, 0 for none.
        loss_first: the loss line stands before the rate of the same loop.
        one_loss: the Estimator's own form, ``loss = …, step = …``.
        has_stamps: lines begin with the absl prefix, else as ``INFO:tensorflow:``.
    """

    rate_every: int = 1
    loss_every: int = 1
    loss_first: bool = False
    one_loss: bool = False
    has_stamps: bool = True


@dataclass(frozen=True)
class Process:
    """What one process of a rank does.

    Attributes:
        seconds: time of each loop, [n]; the first builds the graph.
        first_step: global step at its start.
        evaluations: loops with an evaluation at their start, its time included.
    """

    seconds: np.ndarray
    first_step: int = 0
    evaluations: Sequence[int] = ()


def render_rank(
    processes: Sequence[Process], steps: int, shape: Shape, thread: int = _THREAD
) -> bytes:
    """The log of a rank in another hand than the simulated backend's.

    Args:
        processes: one, or several that were started one after the other into the same log.
        steps: in a loop.
        shape: how the trainer writes.
        thread: of the first process; each has its own, as address randomisation brings about.
    """
    lines: List[str] = []
    when = START
    for number, process in enumerate(processes):
        for seconds, message, source in _list_messages(process, steps, shape):
            stamp = when + timedelta(seconds=seconds)
            if shape.has_stamps:
                lines.append(write.render_absl(message, stamp, thread + (number << 32), source))
            else:
                lines.append(write.render_logger(message))
        when += timedelta(seconds=float(process.seconds.sum()) + 60.0)
    return "\n".join([*lines, ""]).encode()


def _list_messages(process: Process, steps: int, shape: Shape) -> Iterator[Tuple[float, str, str]]:
    """Time since the start of the process, message, and where it comes from."""
    yield 0.0, "Calling model_fn.", "estimator.py:1145"
    ends = np.cumsum(process.seconds)
    for loop, end in enumerate(ends):
        step = process.first_step + (loop + 1) * steps
        if loop in process.evaluations:
            begin = float(end - process.seconds[loop])
            yield begin, "Starting evaluation at 2026-03-02T09:30:00Z", "evaluation.py:255"
            yield begin + 1.0, "Evaluation [10/10]", "evaluation.py:167"
            yield begin + 1.0, "Finished evaluation at 2026-03-02-09:31:00", "evaluation.py:275"
            text = write.render_eval_result(step - steps, {"loss": 1.5, "global_step": step})
            yield begin + 1.0, text, "estimator.py:2049"
        messages: List[Tuple[float, str, str]] = []
        if _is_due(loop, shape.rate_every) and loop:
            before = ends[max(0, loop - shape.rate_every)]
            rate = min(loop, shape.rate_every) * steps / float(end - before)
            messages.append((float(end), write.render_step_rate(rate), write.STEP_RATE_SOURCE))
        if _is_due(loop, shape.loss_every):
            elapsed = float(end - ends[max(0, loop - shape.loss_every)]) if loop else None
            source = write.LOSS_SOURCE if loop else write.FIRST_LOSS_SOURCE
            loss = 1.0 + 9.0 / (1.0 + loop)
            text = write.render_losses(step, loss, 0.1, loss + 0.1, elapsed)
            if shape.one_loss:
                text = write.render_loss(step, loss, elapsed)
            messages.append((float(end), text, source))
        yield from reversed(messages) if shape.loss_first else messages


def _is_due(loop: int, every: int) -> bool:
    return every > 0 and loop % every == 0


def write_run(
    seed: int,
    shape: Shape = Shape(),
    n_loops: int = 200,
    steps: int = 10,
    cards: int = 2,
    noise: float = 0.005,
    evaluation_every: int = 0,
    restart: Optional[Tuple[int, int]] = None,
) -> RunText:
    """Logs in another hand.

    Args:
        seed: of the noise.
        shape: how the trainer writes.
        n_loops: loops of each process.
        steps: in a loop.
        cards: ranks, in step with each other.
        noise: standard deviation of a loop's time over its mean.
        evaluation_every: loops between two evaluations, 0 for none.
        restart: (loops after which the first process was lost, those it had saved); a second one
            goes on from there into the same log.
    """
    rng = np.random.RandomState(seed)
    kept, saved = restart or (n_loops, 0)
    processes = [_build_process(rng, kept, steps, noise, evaluation_every, 0)]
    if restart:
        processes.append(_build_process(rng, n_loops, steps, noise, evaluation_every, saved))
    measured_steps, measured_seconds = 0.0, 0.0
    for number, process in enumerate(processes):
        # What fills queues after a restart is not told apart from any other loop.
        taken = np.arange(len(process.seconds)) >= (1 if number else _SKIPPED_LOOPS)
        taken[list(process.evaluations)] = False
        measured_steps += steps * float(taken.sum())
        measured_seconds += float(process.seconds[taken].sum())
    files = {
        f"train_{rank}.log": render_rank(processes, steps, shape, _THREAD + (rank << 36))
        for rank in range(cards)
    }
    return RunText(files, cards, measured_steps / measured_seconds)


def _build_process(
    rng: np.random.RandomState,
    n_loops: int,
    steps: int,
    noise: float,
    evaluation_every: int,
    first_loop: int,
) -> Process:
    seconds = steps / RATE * (1.0 + noise * rng.standard_normal(n_loops))
    every = evaluation_every or n_loops
    evaluations = tuple(range(every, n_loops, every))
    seconds[list(evaluations)] += 25.0
    seconds[0] += 30.0
    return Process(seconds, first_loop * steps, evaluations)


Build = Callable[[int], RunText]
"""Seed → logs."""
