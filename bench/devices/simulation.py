"""What simulated cards do: a pure function of the spec, so that every estimate can be scored.

The time of a loop of n steps of a run is::

    seconds = n · t · (1 + excess) · (1 + noise) · (1 + outlier) + checkpoint + compile

with ``t`` of :func:`compute_true_step_seconds`; the excess adds up slow start, ramp, shift, drift,
slow mode and straggler. All-reduce makes the ranks of a run step together, so these are drawn once
for the run and are the same on every rank, unless ``lockstep`` is off. What is drawn depends on the
seed alone, and each effect has a stream of its own: turning one on leaves the others as they were.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Iterator, List, Optional, Tuple

import numpy as np

from bench.spec import RunSpec

_DECAY_SHARE = 1.0 / 3.0
_START_NSP_LOSS = math.log(2.0)
_LOSS_NOISE = 0.01
_OUTLIER_TAIL = 1.5
_SMALLEST_FACTOR = 0.1

# The dynamic loss scale of the seed's trainer.
GROW_EVERY = 1000
SHRINK_EVERY = 2


@dataclass(frozen=True)
class Loop:
    """One device loop of a rank.

    Attributes:
        index: 0 is the loop that also builds the graph.
        end_step: global step at its end.
        steps: steps by which it advances the global step.
        skipped: steps that overflowed; they take time and advance nothing.
        seconds: time from the rank's report before it to its own, compile time included.
        checkpoint: a checkpoint was saved in it.
        loss_scale: loss scale after it.
        is_finite: whether its last step was not skipped.
        mlm_loss: masked-LM loss of its last step, this rank's own.
        nsp_loss: next-sentence loss of its last step.
    """

    index: int
    end_step: int
    steps: int
    skipped: int
    seconds: float
    checkpoint: bool
    loss_scale: float
    is_finite: bool
    mlm_loss: float
    nsp_loss: float


@dataclass(frozen=True)
class Course:
    """The loops of a run as columns of one entry per loop [L].

    Attributes:
        end_step: global step at the end, int.
        steps: steps that advance the global step, int.
        skipped: steps that overflowed, int.
        seconds: true time of the loop, float.
        checkpoint: a checkpoint was saved in it.
        outlier: it took far longer.
        slow_mode: it was in the slow one of two modes.
        loss_scale: loss scale after it, float.
        is_finite: whether its last step was not skipped.
    """

    end_step: np.ndarray
    steps: np.ndarray
    skipped: np.ndarray
    seconds: np.ndarray
    checkpoint: np.ndarray
    outlier: np.ndarray
    slow_mode: np.ndarray
    loss_scale: np.ndarray
    is_finite: np.ndarray

    def __len__(self) -> int:
        return len(self.seconds)


def compute_true_step_seconds(spec: RunSpec) -> float:
    """Step time of the simulated run at its full rate, without noise.

    ``t(n) = (1 / rate) · (1 + cost · log2 n)``: the all-reduce of a ring or tree grows with the
    number of cards n.
    """
    settings = spec.simulated
    growth = 1.0 + settings.parallel_cost_ratio * math.log2(spec.n_cards)
    luck = float(_stream(spec, "launch", None).normal(0.0, 1.0)) * settings.launch_noise_ratio
    return growth / settings.steps_per_second * math.exp(luck)


def simulate_loops(spec: RunSpec, rank: int, iterations_per_loop: int) -> Iterator[Loop]:
    """The loops of one rank, in order.

    Args:
        spec: the run, one card count.
        rank: whose.
        iterations_per_loop: steps in a loop, a divisor of the steps.
    """
    settings = spec.simulated
    course = simulate_course(spec, rank, iterations_per_loop)
    late = _stream(spec, "jitter", rank).normal(0.0, 1.0, len(course)) * settings.jitter_seconds
    # A late report makes its interval longer and the next one shorter, never less than nothing.
    reported = np.maximum.accumulate(np.cumsum(course.seconds) + np.abs(late))
    seconds = np.diff(reported, prepend=0.0)
    noise = _stream(spec, "losses", rank).normal(0.0, _LOSS_NOISE, (2, len(course)))
    for index in range(len(course)):
        end_step = int(course.end_step[index])
        share = math.exp(-end_step / (_DECAY_SHARE * spec.steps))
        mlm = settings.final_loss + (settings.start_loss - settings.final_loss) * share
        yield Loop(
            index=index,
            end_step=end_step,
            steps=int(course.steps[index]),
            skipped=int(course.skipped[index]),
            seconds=float(seconds[index]),
            checkpoint=bool(course.checkpoint[index]),
            loss_scale=float(course.loss_scale[index]),
            is_finite=bool(course.is_finite[index]),
            mlm_loss=mlm * (1.0 + float(noise[0, index])),
            nsp_loss=_START_NSP_LOSS * share * (1.0 + float(noise[1, index])),
        )


def simulate_course(spec: RunSpec, rank: int, iterations_per_loop: int) -> Course:
    """The course of a rank; in lockstep that of every rank.

    Args:
        spec: the run, one card count.
        rank: whose.
        iterations_per_loop: steps in a loop, a divisor of the steps.
    """
    return _simulate(spec, None if spec.simulated.lockstep else rank, iterations_per_loop)


@lru_cache(maxsize=8)
def _simulate(spec: RunSpec, rank: Optional[int], iterations_per_loop: int) -> Course:
    settings = spec.simulated
    steps, skipped, scales, finite = _simulate_steps(spec, iterations_per_loop)
    end_step = np.cumsum(steps)
    count = len(steps)
    middle = end_step - steps / 2.0
    outlier = _stream(spec, "outliers", rank).random_sample(count) < settings.outlier_share
    tail = _stream(spec, "outlier sizes", rank).pareto(_OUTLIER_TAIL, count) + 1.0
    slow_mode = _simulate_modes(spec, rank, count)
    factor = 1.0 + _compute_excess(spec, rank, end_step - steps, middle)
    factor += settings.bimodal_ratio * slow_mode
    factor *= np.maximum(_SMALLEST_FACTOR, 1.0 + _simulate_noise(spec, rank, count))
    factor *= 1.0 + np.where(outlier, settings.outlier_ratio * tail, 0.0)
    seconds = (steps + skipped) * compute_true_step_seconds(spec) * factor
    every = spec.save_checkpoints_steps
    checkpoint = np.zeros(count, dtype=bool)
    if every:
        checkpoint = end_step // every > (end_step - steps) // every
    seconds += np.where(checkpoint, settings.checkpoint_seconds, 0.0)
    seconds[0] += settings.compile_seconds
    return Course(end_step, steps, skipped, seconds, checkpoint, outlier, slow_mode, scales, finite)


def _simulate_steps(
    spec: RunSpec, iterations_per_loop: int
) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps done and skipped in each loop, and the loss scale and finiteness at its end.

    A skipped step does not advance the global step, so a run with overflows has more loops. The
    last loop ends at the last step. Ranks agree on overflows, as the flag is all-reduced.
    """
    settings = spec.simulated
    whole = spec.steps // iterations_per_loop
    if settings.loss_scale_limit is None and settings.overflow_share == 0.0:
        steps = np.full(whole, iterations_per_loop, dtype=np.int64)
        scales = np.full(whole, settings.loss_scale_start)
        return steps, np.zeros_like(steps), scales, np.ones(whole, dtype=bool)
    stream = _stream(spec, "overflows", None)
    limit = math.inf if settings.loss_scale_limit is None else settings.loss_scale_limit
    scale, good, bad, step = settings.loss_scale_start, 0, 0, 0
    rows: List[Tuple[int, int, float, bool]] = []
    while step < spec.steps:
        done = skipped = 0
        finite = True
        while done + skipped < iterations_per_loop and step + done < spec.steps:
            finite = scale <= limit and stream.random_sample() >= settings.overflow_share
            if finite:
                done, good = done + 1, good + 1
                if good >= GROW_EVERY:
                    scale, good, bad = scale * 2.0, 0, 0
            else:
                skipped, bad, good = skipped + 1, bad + 1, 0
                if bad >= SHRINK_EVERY:
                    scale, bad = max(1.0, scale / 2.0), 0
        step += done
        rows.append((done, skipped, scale, finite))
    columns = list(zip(*rows))
    return (
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2]),
        np.array(columns[3], dtype=bool),
    )


def _compute_excess(
    spec: RunSpec, rank: Optional[int], begin: np.ndarray, middle: np.ndarray
) -> np.ndarray:
    """Extra step time of each loop by its place in the run; a loop is slow from its begin on."""
    settings = spec.simulated
    excess = np.where(begin < settings.slow_start_steps, settings.slow_start_ratio, 0.0)
    if settings.ramp_steps:
        left = np.where(begin < settings.ramp_steps, 1.0 - middle / settings.ramp_steps, 0.0)
        excess = excess + settings.ramp_ratio * np.maximum(left, 0.0)
    if settings.shift_step:
        excess = excess + np.where(begin >= settings.shift_step, settings.shift_ratio, 0.0)
    excess = excess + settings.drift_ratio * middle / spec.steps
    straggler = settings.straggler_rank
    # In lockstep everybody waits for the straggler; else only it is slow.
    if straggler is not None and straggler < spec.n_cards and rank in (None, straggler):
        excess = excess + settings.straggler_ratio
    return np.maximum(excess, _SMALLEST_FACTOR - 1.0)


def _simulate_noise(spec: RunSpec, rank: Optional[int], count: int) -> np.ndarray:
    """Relative noise: first-order autoregressive, of the same variance at any correlation."""
    settings = spec.simulated
    shocks = _stream(spec, "times", rank).normal(0.0, settings.noise_ratio, count)
    correlation = settings.noise_correlation
    if correlation == 0.0:
        return shocks
    fresh = math.sqrt(1.0 - correlation * correlation)
    noise = np.empty(count)
    noise[0] = shocks[0]
    for index in range(1, count):
        noise[index] = correlation * noise[index - 1] + fresh * shocks[index]
    return noise


def _simulate_modes(spec: RunSpec, rank: Optional[int], count: int) -> np.ndarray:
    """Whether each loop is in the slow mode: a two-state chain, both states equally likely."""
    settings = spec.simulated
    if settings.bimodal_ratio == 0.0:
        return np.zeros(count, dtype=bool)
    draws = _stream(spec, "modes", rank).random_sample(count)
    switches = draws < 1.0 / settings.bimodal_dwell
    switches[0] = draws[0] < 0.5
    return np.cumsum(switches) % 2 == 1


def name_launch(spec: RunSpec) -> str:
    """What tells the seeds of a launch from those of others; nothing for the first."""
    launch = spec.simulated.launch
    return "" if launch == 1 else f" launch {launch}"


def _stream(spec: RunSpec, effect: str, rank: Optional[int]) -> np.random.RandomState:
    """Random numbers of one effect. RandomState is frozen: every numpy version gives the same."""
    text = f"{effect} {spec.random_seed} {'all' if rank is None else rank}{name_launch(spec)}"
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype="<u4"))
