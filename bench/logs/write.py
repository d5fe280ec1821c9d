"""Renders the lines that ``bench.logs.patterns`` reads: for simulated logs and for tests.

A ``render_`` function gives the message of one record; ``render_absl``, ``render_logger`` and
``render_native`` put the prefix before it. No line end is added.
"""

from __future__ import annotations

from datetime import datetime
from typing import Mapping, Optional

import numpy as np

# Where TF 1.15 writes these messages from.
STEP_RATE_SOURCE = "basic_session_run_hooks.py:692"
LOSS_SOURCE = "basic_session_run_hooks.py:260"
FIRST_LOSS_SOURCE = "basic_session_run_hooks.py:262"
CHECKPOINT_SOURCE = "basic_session_run_hooks.py:606"
FINAL_LOSS_SOURCE = "estimator.py:371"
GEOP_SOURCE = "tf_adapter/kernels/geop_npu.cc:526"

_LOGGER_NAMES = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}


def render_absl(
    message: str, when: datetime, thread_id: int, source: str, severity: str = "I"
) -> str:
    """Puts the absl prefix before a message.

    Args:
        message: the message.
        when: local time; the year is not written.
        thread_id: identity of the main thread, 5 wide at least.
        source: file and line, as ``estimator.py:371``.
        severity: I, W, E or F.
    """
    return f"{severity}{when:%m%d %H:%M:%S.%f} {thread_id:5d} {source}] {message}"


def render_logger(message: str, severity: str = "I") -> str:
    """Puts the prefix of TensorFlow's own handler before a message."""
    return f"{_LOGGER_NAMES[severity]}:tensorflow:{message}"


def render_native(message: str, when: datetime, source: str, severity: str = "I") -> str:
    """Puts the prefix of TensorFlow's native code before a message."""
    return f"{when:%Y-%m-%d %H:%M:%S.%f}: {severity} {source}] {message}"


def render_number(value: float) -> str:
    """Writes a float as the Estimator's hooks do: the shortest text of its 32-bit value."""
    return str(np.float32(value))


def render_step_rate(steps_per_second: float) -> str:
    """``global_step/sec: 2.451``"""
    return f"global_step/sec: {steps_per_second:g}"


def render_losses(
    global_step: int,
    masked_lm_loss: float,
    next_sentence_loss: float,
    total_loss: float,
    elapsed_seconds: Optional[float] = None,
) -> str:
    """The report with four tags; the first of a run has no elapsed time."""
    tags = {
        "global_step": str(global_step),
        "masked_lm_loss": render_number(masked_lm_loss),
        "next_sentence_loss": render_number(next_sentence_loss),
        "total_loss": render_number(total_loss),
    }
    text = ", ".join(f"{name} = {value}" for name, value in tags.items())
    return text + _render_elapsed(elapsed_seconds)


def render_loss(global_step: int, loss: float, elapsed_seconds: Optional[float] = None) -> str:
    """The Estimator's own report, with one loss."""
    text = f"loss = {render_number(loss)}, step = {global_step}"
    return text + _render_elapsed(elapsed_seconds)


def _render_elapsed(seconds: Optional[float]) -> str:
    return "" if seconds is None else f" ({seconds:.3f} sec)"


def render_loss_scale(value: float) -> str:
    """``loss_scale: [65536.0]``"""
    return f"loss_scale: [{render_number(value)}]"


def render_geop(microseconds: int, kernel: str = "GeOp15_0", status: int = 0) -> str:
    """End of a graph run on the device."""
    return (
        f"[GEOP] RunGraphAsync callback, status:{status}, kernel_name:{kernel}[ {microseconds}us]"
    )


def render_checkpoint(global_step: int, path: str) -> str:
    """``Saving checkpoints for 10000 into ./output/model.ckpt.``"""
    return f"Saving checkpoints for {global_step} into {path}."


def render_final_loss(loss: Optional[float]) -> str:
    """``Loss for final step: 1.234.``"""
    return f"Loss for final step: {None if loss is None else render_number(loss)}."


def render_adapter_step(global_step: int) -> str:
    """``global_step...100``"""
    return f"global_step...{global_step}"


def render_trainer_print(
    global_step: int,
    sequences_per_second: float,
    masked_lm_loss: float,
    next_sentence_loss: float,
    total_loss: float,
    learning_rate: float,
    loss_scale: Optional[float] = None,
    is_finite: bool = True,
) -> str:
    """The summary after a session run; without a loss scale its last two fields are missing."""
    fields = [
        f"Step = {global_step:6d} Throughput = {sequences_per_second:11.1f}",
        f"MLM Loss = {masked_lm_loss:10.4e} NSP Loss = {next_sentence_loss:10.4e}",
        f"Loss = {total_loss:9.6f} Average Loss = {total_loss:9.6f} LR = {learning_rate:6.4e}",
    ]
    if loss_scale is not None:
        fields.append(f"Loss scale = {loss_scale:6.4e} isFinite = {is_finite:6d}")
    return " ".join(fields)


def render_rank_line(rank_size: int, rank_id: int) -> str:
    """``RANK_SIZE= 8  RANK_ID= 3``"""
    return f"RANK_SIZE= {rank_size}  RANK_ID= {rank_id}"


def render_flag(name: str, value: object) -> str:
    """``name: train_batch_size        128``"""
    return f"name: {name:<24s} {value}"


def render_eval_result(global_step: int, metrics: Mapping[str, float]) -> str:
    """The metrics of an evaluation, by name."""
    pairs = ", ".join(
        f"{name} = {value if isinstance(value, int) else render_number(value)}"
        for name, value in sorted(metrics.items())
    )
    return f"Saving dict for global step {global_step}: {pairs}"
