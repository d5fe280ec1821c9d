"""The process of a simulated rank: writes the log that an Ascend rank would write, on its pace.

Started by the harness like a trainer, with the same environment; see ``bench.devices.simulation``
for what it pretends to do.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

from bench.devices.simulation import LOSS_SCALE, Loop, simulate_loops
from bench.errors import BenchError
from bench.logs import write
from bench.spec import RunSpec, build_spec, read_spec_file

Stamp = Callable[[str, float, str], str]

_EXIT_INTERNAL = 70
_EXIT_USAGE = 64
_FIRST_THREAD_ID = 281470000000000
_THREAD_ID_STRIDE = 4294967296
_FLAG_SETTINGS = (
    ("train_batch_size", "batch_size"),
    ("max_seq_length", "seq_length"),
    ("max_predictions_per_seq", "max_predictions"),
    ("num_train_steps", "steps"),
)


def main(arguments: Optional[List[str]] = None) -> int:
    """Writes the whole log to standard error; returns an exit code like the trainer's."""
    parser = argparse.ArgumentParser(prog="simulated-rank")
    parser.add_argument("--spec", required=True)
    parser.add_argument("--iterations-per-loop", type=int, required=True)
    known = parser.parse_args(arguments)
    try:
        spec = build_spec([read_spec_file(Path(known.spec))])
    except BenchError as error:
        sys.stderr.write(f"ERROR: usage: {error}\n")
        return _EXIT_USAGE
    rank = int(os.environ["RANK_ID"])
    settings = spec.simulated
    started = datetime.now()
    clock = time.monotonic()
    for seconds, text in render_log(spec, rank, known.iterations_per_loop, started):
        if settings.speed > 0.0:
            time.sleep(max(0.0, clock + seconds / settings.speed - time.monotonic()))
        sys.stderr.write(text)
        sys.stderr.flush()
        if settings.fail_rank == rank and text.startswith("ERROR: "):
            return _EXIT_INTERNAL
    return 0


def render_log(
    spec: RunSpec, rank: int, iterations_per_loop: int, started: datetime
) -> Iterator[Tuple[float, str]]:
    """The log in pieces: simulated seconds since the start, and the lines due then.

    Args:
        spec: the run, one card count.
        rank: whose log.
        iterations_per_loop: steps in a device loop.
        started: time stamp of the first line.
    """
    thread_id = _FIRST_THREAD_ID + rank * _THREAD_ID_STRIDE

    def stamp(message: str, seconds: float, source: str) -> str:
        when = started + timedelta(seconds=seconds)
        return write.render_absl(message, when, thread_id, source) + "\n"

    head = [write.render_flag(flag, getattr(spec, name)) for flag, name in _FLAG_SETTINGS]
    head.append(write.render_rank_line(spec.n_cards, rank))
    yield 0.0, "".join(line + "\n" for line in head)
    yield 0.0, stamp("Running local_init_op.", 0.0, "session_manager.py:500")
    elapsed = 0.0
    last: Optional[Loop] = None
    for loop in simulate_loops(spec, rank, iterations_per_loop):
        if spec.simulated.fail_rank == rank and loop.end_step > spec.simulated.fail_step:
            yield elapsed, f"ERROR: internal: simulated failure at step {loop.end_step}\n"
            return
        elapsed += loop.seconds
        yield elapsed, "".join(_list_loop_lines(loop, elapsed, started, stamp))
        last = loop
    total = None if last is None else last.mlm_loss + last.nsp_loss
    yield elapsed, stamp(write.render_final_loss(total), elapsed, write.FINAL_LOSS_SOURCE)


def _list_loop_lines(loop: Loop, elapsed: float, started: datetime, stamp: Stamp) -> Iterator[str]:
    # TensorFlow reports neither rate nor seconds for the first loop, which builds the graph.
    total = loop.mlm_loss + loop.nsp_loss
    first = loop.index == 0
    if not first:
        rate = write.render_step_rate(loop.steps / loop.seconds)
        yield stamp(rate, elapsed, write.STEP_RATE_SOURCE)
    losses = write.render_losses(
        loop.end_step, loop.mlm_loss, loop.nsp_loss, total, None if first else loop.seconds
    )
    yield stamp(losses, elapsed, write.FIRST_LOSS_SOURCE if first else write.LOSS_SOURCE)
    yield write.render_loss_scale(LOSS_SCALE) + "\n"
    when = started + timedelta(seconds=elapsed)
    geop = write.render_geop(round(loop.seconds * 1e6))
    yield write.render_native(geop, when, write.GEOP_SOURCE) + "\n"


if __name__ == "__main__":
    sys.exit(main())
