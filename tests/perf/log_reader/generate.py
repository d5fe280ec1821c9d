"""Writes big logs of a job of eight ranks in one file, as the original setup has them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import BinaryIO, Iterator

from bench.logs import write

START = datetime(2020, 5, 21, 19, 45, 5, 731803)
STEPS_PER_REPORT = 200
RATE = 2.451
# One line in so many says nothing that is read.
NOISE_EVERY = 50
SCALE_EVERY = 4
NOISE = "I0521 19:45:05.731803 281473752813584 session_manager.py:500] Nothing that is measured."


def generate_reports(seed: int, n_ranks: int, doubled: bool) -> Iterator[str]:
    """Yields the lines of one report of all ranks after the other, without an end."""
    rng = random.Random(seed)
    threads = [281470000000016 + 4096 * rng.randrange(1 << 28) for _ in range(n_ranks)]
    step = 0
    when = START
    count = 0
    while True:
        step += STEPS_PER_REPORT
        seconds = STEPS_PER_REPORT / RATE + rng.gauss(0, 0.002)
        when += timedelta(seconds=seconds)
        rate = write.render_step_rate(STEPS_PER_REPORT / seconds)
        for thread in threads:
            moment = when + timedelta(microseconds=rng.randrange(1500))
            mlm, nsp = rng.uniform(0.5, 8.0), rng.lognormvariate(-3.5, 1.5)
            losses = write.render_losses(step, mlm, nsp, mlm + nsp, seconds)
            for message, source in (
                (rate, write.STEP_RATE_SOURCE),
                (losses, write.LOSS_SOURCE),
            ):
                if doubled:
                    yield write.render_logger(message)
                yield write.render_absl(message, moment, thread, source)
            geop = write.render_geop(rng.randrange(2000, 3000))
            yield write.render_native(geop, moment, write.GEOP_SOURCE)
            count += 1
            if count % SCALE_EVERY == 0:
                yield write.render_loss_scale(65536.0)
            if count % NOISE_EVERY == 0:
                yield NOISE


def write_log(
    stream: BinaryIO, n_lines: int, seed: int = 1, n_ranks: int = 8, doubled: bool = False
) -> int:
    """Writes a log of so many lines; returns its bytes."""
    lines = []
    n_bytes = 0
    for number, line in enumerate(generate_reports(seed, n_ranks, doubled), 1):
        lines.append(line)
        if number == n_lines or len(lines) == 10_000:
            data = ("\n".join(lines) + "\n").encode()
            n_bytes += stream.write(data)
            lines = []
        if number == n_lines:
            return n_bytes
    raise AssertionError("the generator does not end")
