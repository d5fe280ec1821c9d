"""What simulated cards do: a pure function of the spec, so that every estimate can be scored.

All ranks of a run step together, as all-reduce makes them; the time of a loop is therefore drawn
once for the whole run and is the same on every rank.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Iterator

from bench.spec import RunSpec

_DECAY_SHARE = 1.0 / 3.0
_START_NSP_LOSS = math.log(2.0)
_LOSS_NOISE = 0.01
LOSS_SCALE = 65536.0


@dataclass(frozen=True)
class Loop:
    """One device loop of a rank.

    Attributes:
        index: 0 is the loop that also builds the graph.
        end_step: global step at its end.
        steps: steps in it.
        seconds: true time of the loop, the compile time of the first one included.
        mlm_loss: masked-LM loss of its last step, this rank's own.
        nsp_loss: next-sentence loss of its last step.
    """

    index: int
    end_step: int
    steps: int
    seconds: float
    mlm_loss: float
    nsp_loss: float


def compute_true_step_seconds(spec: RunSpec) -> float:
    """Mean step time of the simulated run.

    ``t(n) = (1 / rate) · (1 + cost · log2 n)``: the all-reduce of a ring or tree grows with the
    number of cards n.
    """
    settings = spec.simulated
    growth = 1.0 + settings.parallel_cost_ratio * math.log2(spec.n_cards)
    return growth / settings.steps_per_second


def simulate_loops(spec: RunSpec, rank: int, iterations_per_loop: int) -> Iterator[Loop]:
    """The loops of one rank, in order.

    Args:
        spec: the run, one card count.
        rank: whose losses are wanted; the times are common to all ranks.
        iterations_per_loop: steps in a loop, a divisor of the steps.
    """
    settings = spec.simulated
    step_seconds = compute_true_step_seconds(spec)
    times = random.Random(f"times {spec.random_seed}")
    losses = random.Random(f"losses {spec.random_seed} {rank}")
    for index in range(spec.steps // iterations_per_loop):
        noise = max(-0.9, times.gauss(0.0, settings.noise_ratio))
        seconds = iterations_per_loop * step_seconds * (1.0 + noise)
        end_step = (index + 1) * iterations_per_loop
        share = math.exp(-end_step / (_DECAY_SHARE * spec.steps))
        mlm = settings.final_loss + (settings.start_loss - settings.final_loss) * share
        yield Loop(
            index=index,
            end_step=end_step,
            steps=iterations_per_loop,
            seconds=seconds + (settings.compile_seconds if index == 0 else 0.0),
            mlm_loss=mlm * (1.0 + losses.gauss(0.0, _LOSS_NOISE)),
            nsp_loss=_START_NSP_LOSS * share * (1.0 + losses.gauss(0.0, _LOSS_NOISE)),
        )


def compute_true_rate(spec: RunSpec, iterations_per_loop: int, skip: int = 1) -> float:
    """Steps per second after the first ``skip`` loops: what a perfect reader finds."""
    loops = [loop for loop in simulate_loops(spec, 0, iterations_per_loop) if loop.index >= skip]
    return math.fsum(loop.steps for loop in loops) / math.fsum(loop.seconds for loop in loops)
