"""The log of a simulated rank: the lines that an Ascend rank writes, whole or damaged."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Iterator, List, Optional, Sequence, Tuple

from bench.devices.simulation import Loop, name_launch, simulate_loops
from bench.logs import write
from bench.spec import RunSpec

Piece = Tuple[float, bytes]
"""Simulated seconds since the start, and the bytes that are written then."""

FAILURE_MARK = b"ERROR: internal: simulated failure"

_FIRST_THREAD_ID = 281470000000000
_THREAD_ID_STRIDE = 4294967296
_PHASE_SOURCE = "session_manager.py:500"
_FLAG_SETTINGS = (
    ("train_batch_size", "batch_size"),
    ("max_seq_length", "seq_length"),
    ("max_predictions_per_seq", "max_predictions"),
    ("num_train_steps", "steps"),
)


@dataclass(frozen=True)
class LineWriter:
    """Puts prefixes before the messages of one rank.

    Attributes:
        started: time stamp at 0 seconds.
        thread_id: identity of the rank's main thread.
        two_handlers: each message comes a second time, in the form of TensorFlow's own handler.
    """

    started: datetime
    thread_id: int
    two_handlers: bool = False

    def log(self, message: str, seconds: float, source: str) -> List[str]:
        """A message as TensorFlow logs it: with two handlers its own form stands first."""
        when = self.started + timedelta(seconds=seconds)
        line = write.render_absl(message, when, self.thread_id, source)
        return [write.render_logger(message), line] if self.two_handlers else [line]

    def native(self, message: str, seconds: float, source: str) -> str:
        """A message of native code."""
        return write.render_native(message, self.started + timedelta(seconds=seconds), source)


def render_log(
    spec: RunSpec,
    rank: int,
    iterations_per_loop: int,
    started: datetime,
    model_config: Optional[str] = None,
) -> Iterator[Piece]:
    """The log of one rank in the pieces that are due at one time.

    Args:
        spec: the run, one card count.
        rank: whose log.
        iterations_per_loop: steps in a device loop.
        started: time stamp of the first line.
        model_config: path that the log names as that of the model, None for none.
    """
    damage = Damage(spec, rank)
    for seconds, lines in _list_lines(spec, rank, iterations_per_loop, started, model_config):
        yield seconds, damage.apply(lines)


def merge_logs(logs: Sequence[Iterator[Piece]]) -> bytes:
    """One log of several ranks that print into one file, in the order of time."""
    pieces = [(seconds, n, data) for n, log in enumerate(logs) for seconds, data in log]
    pieces.sort(key=lambda piece: piece[:2])
    return b"".join(data for _, _, data in pieces)


class Damage:
    """What happens to lines on their way into the file, drawn by the seed and the rank.

    A torn line loses its end, the line end included, so that the next line stands on the same
    line; a glued line loses its line end only; a lost line is not written.
    """

    def __init__(self, spec: RunSpec, rank: int) -> None:
        self._settings = spec.simulated
        self._random = random.Random(f"damage {spec.random_seed} {rank}{name_launch(spec)}")

    def apply(self, lines: Sequence[str]) -> bytes:
        """Lines without ends to the bytes that reach the file."""
        return b"".join(self._write(line) for line in lines)

    def _write(self, line: str) -> bytes:
        settings, data = self._settings, line.encode("utf-8")
        # What ends a failed run is kept whole: it is not what the damage is there to try.
        if data.startswith(FAILURE_MARK):
            return data + b"\n"
        draw = self._random.random()
        if draw < settings.torn_share:
            return data[: self._random.randrange(len(data))]
        draw -= settings.torn_share
        if draw < settings.glued_share:
            return data
        draw -= settings.glued_share
        return b"" if draw < settings.lost_share else data + b"\n"


def _list_lines(
    spec: RunSpec,
    rank: int,
    iterations_per_loop: int,
    started: datetime,
    model_config: Optional[str] = None,
) -> Iterator[Tuple[float, List[str]]]:
    settings = spec.simulated
    thread_id = _FIRST_THREAD_ID + rank * _THREAD_ID_STRIDE
    writer = LineWriter(started, thread_id, settings.two_handlers)
    head = [write.render_flag(flag, getattr(spec, name)) for flag, name in _FLAG_SETTINGS]
    head += [
        write.render_flag(flag, value) for flag, value in _list_facts(spec, rank, model_config)
    ]
    head.append(write.render_rank_line(spec.n_cards, rank))
    yield 0.0, [*head, *writer.log("Running local_init_op.", 0.0, _PHASE_SOURCE)]
    elapsed = 0.0
    last: Optional[Loop] = None
    for loop in simulate_loops(spec, rank, iterations_per_loop):
        if settings.fail_rank == rank and loop.end_step > settings.fail_step:
            yield elapsed, [f"{FAILURE_MARK.decode()} at step {loop.end_step}"]
            return
        elapsed += loop.seconds
        yield elapsed, _list_loop_lines(loop, elapsed, writer, settings.checkpoint_logged)
        last = loop
    total = None if last is None else last.mlm_loss + last.nsp_loss
    final = write.render_final_loss(total)
    yield elapsed, writer.log(final, elapsed, write.FINAL_LOSS_SOURCE)


def _list_facts(
    spec: RunSpec, rank: int, model_config: Optional[str]
) -> Iterator[Tuple[str, object]]:
    """What a real trainer finds while it runs."""
    yield "backend", "simulated"
    if model_config is not None:
        yield "bert_config_file", model_config
    yield "input_shares", f"simulated:{rank}/{spec.n_cards}"
    if spec.n_cards > 1:
        yield "collective_group_size", spec.n_cards


def _list_loop_lines(
    loop: Loop, elapsed: float, writer: LineWriter, checkpoint_logged: bool
) -> List[str]:
    # TensorFlow reports neither rate nor seconds for the first loop, which builds the graph.
    first = loop.index == 0
    lines: List[str] = []
    if loop.checkpoint and checkpoint_logged:
        saved = write.render_checkpoint(loop.end_step, "output/model.ckpt")
        lines += writer.log(saved, elapsed, write.CHECKPOINT_SOURCE)
    if not first:
        rate = write.render_step_rate(loop.steps / loop.seconds)
        lines += writer.log(rate, elapsed, write.STEP_RATE_SOURCE)
    losses = write.render_losses(
        loop.end_step,
        loop.mlm_loss,
        loop.nsp_loss,
        loop.mlm_loss + loop.nsp_loss,
        None if first else loop.seconds,
    )
    lines += writer.log(losses, elapsed, write.FIRST_LOSS_SOURCE if first else write.LOSS_SOURCE)
    lines.append(write.render_loss_scale(loop.loss_scale))
    geop = write.render_geop(round(loop.seconds * 1e6))
    lines.append(writer.native(geop, elapsed, write.GEOP_SOURCE))
    return lines
