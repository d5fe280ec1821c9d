"""Log text for tests: lines of every shape, whole jobs, and damage, all by seed."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import List

from bench.logs import write

WHEN = datetime(2020, 5, 21, 19, 45, 5, 731803)
THREAD = 281473752813584
OTHER_LINES = (
    "W0521 19:45:05.731803 281473752813584 deprecation.py:323] From x: y is deprecated",
    "2020-05-21 19:45:05.732132: W tensorflow/core/x.cc:12] Something odd",
    "2020-05-21 19:45:05.732132: I tensorflow/core/x.cc:12] Nothing odd",
    "hello, this line says nothing",
    "WARNING: not of TensorFlow",
    "ERROR:tensorflow:of TensorFlow",
    "  masked_lm_loss = 0.61",
    "I0521 19:45:05.731803 281473752813584 estimator.py:1147] Done calling model_fn.",
    "I0521 19:45:05.731803 281473752813584 foo.py:12] nothing here",
    "I0521 19:45:05.731803 28147375",
    "I0521 19:45:05.731803   123 a.py:1] global_step/sec: 1e-05",
    "",
    "名字",
    "[65536.0]",
    "loss_scale: ",
    "Saving checkpoints for 100 into ./m/model.ckpt.",
    "name: train_batch_size   128",
    "Evaluation [10/100]",
    "Traceback (most recent call last):",
    "ERROR: data: no such file",
    "global_step = 5, masked_lm_loss = 1.5, total_loss = nan (5.000 sec)",
    "progress\rmore\rglobal_step/sec: 2.5",
    "I1231 23:59:59.999999 281473752813584 a.py:1] global_step/sec: 2.5",
    "Loss for final step: 1.234.",
    "RANK_SIZE= 8  RANK_ID= 3",
)


def build_lines(
    seed: int, n_lines: int, n_ranks: int = 4, doubled: float = 0.0, others: float = 0.1
) -> List[bytes]:
    """Lines of a job whose ranks write into one log.

    Args:
        seed: of all choices.
        n_lines: at least so many.
        n_ranks: main threads.
        doubled: share of messages that come by two handlers.
        others: share of reports with some other line behind them.
    """
    rng = random.Random(seed)
    threads = [THREAD + 4096 * rng.randrange(1 << 18) for _ in range(n_ranks)]
    lines: List[str] = []
    when = WHEN
    step = 0
    while len(lines) < n_lines:
        step += 100
        days = rng.randrange(300) if rng.random() < 0.01 else 0
        when += timedelta(days=days, seconds=40, microseconds=rng.randrange(1_000_000))
        for thread in threads:
            for message, source in _build_messages(rng, step):
                share = rng.random()
                if share < doubled:
                    lines.append(write.render_logger(message))
                    if rng.random() < 0.1:
                        lines.append(write.render_loss_scale(65536.0))
                if share < doubled or share > doubled * 1.05:
                    lines.append(write.render_absl(message, when, thread, source))
                else:
                    lines.append(write.render_logger(message))
            lines.extend(_build_prints(rng, step, when))
            if rng.random() < others:
                lines.append(rng.choice(OTHER_LINES))
    return [line.encode() for line in lines]


def _build_messages(rng: random.Random, step: int) -> List[tuple]:
    elapsed = None if rng.random() < 0.05 else 40 + rng.random()
    losses = (rng.random() * 8, rng.random() * 10 ** -rng.randrange(9), rng.random() * 9)
    if rng.random() < 0.9:
        report = write.render_losses(step, *losses, elapsed)
    else:
        report = write.render_loss(step, losses[0], elapsed)
    rate = rng.choice([2.451, 2.0, 0.00001, 1234567.0, rng.random() * 100])
    messages = [
        (write.render_step_rate(rate), write.STEP_RATE_SOURCE),
        (report, write.LOSS_SOURCE if elapsed else write.FIRST_LOSS_SOURCE),
    ]
    if rng.random() < 0.1:
        scale = rng.choice(["loss_scale:[65536.0]", "loss_scale: [65536.0] "])
        messages.append((scale, "hooks.py:89"))
    if rng.random() < 0.05:
        messages.append((write.render_checkpoint(step, "./a/b.ckpt"), write.CHECKPOINT_SOURCE))
    return messages


def _build_prints(rng: random.Random, step: int, when: datetime) -> List[str]:
    kernel = f"GeOp{rng.randrange(20)}_0"
    lines = [
        write.render_native(
            write.render_geop(rng.randrange(5000), kernel, rng.choice([0, 0, 0, -1, 7])),
            when,
            write.GEOP_SOURCE,
        ),
        rng.choice(["loss_scale: [65536.0]", "loss_scale:[65536.0] ", "loss_scale: 65536.0"]),
    ]
    if rng.random() < 0.2:
        scale = rng.choice([None, 65536.0, 2.0**32])
        numbers = (rng.random() * 999, rng.random() * 9, rng.random(), rng.random() * 9)
        rate = rng.random() * 10 ** -rng.randrange(30)
        lines.append(write.render_trainer_print(step, *numbers, rate, scale, rng.random() < 0.5))
        lines.append(write.render_adapter_step(step))
    return lines


def damage(lines: List[bytes], seed: int, share: float) -> List[bytes]:
    """Cuts, glues, changes and repeats some of the lines."""
    rng = random.Random(seed)
    damaged = list(lines)
    for _ in range(int(share * len(lines))):
        index = rng.randrange(len(damaged))
        damaged[index] = damage_line(damaged[index], rng, lines)
    return damaged


def damage_line(line: bytes, rng: random.Random, others: List[bytes]) -> bytes:
    """Changes a line in one to three places."""
    data = bytearray(line)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(data) + 1)
        way = rng.randrange(7)
        if way == 0 and data:
            del data[min(place, len(data) - 1)]
        elif way == 1:
            data[place:place] = bytes([rng.randrange(256)])
        elif way == 2 and place < len(data):
            data[place] = rng.choice(b"0123456789.: \r[]eI\xff")
        elif way == 3:
            data[place:place] = rng.choice(others)
        elif way == 4:
            del data[place:]
        elif way == 5:
            del data[:place]
        else:
            data[place:place] = rng.choice([b"nan", b"-inf", b"1e999", b"\x00", b"loss_scale:"])
    return bytes(data)


def join(lines: List[bytes], terminated: bool = True) -> bytes:
    """The bytes of a log."""
    return b"\n".join(lines) + (b"\n" if terminated and lines else b"")
