"""Progress for people, on standard error: a bar on a terminal, plain lines when piped."""

from __future__ import annotations

import math
import sys
import time
from typing import Callable, Optional, TextIO

from tqdm import tqdm

from bench.measure.live import RunSnapshot

_PLAIN_SECONDS = 10.0


class Progress:
    """Shows how a run goes.

    Args:
        label: what stands before the bar or line.
        quiet: show nothing.
        stream: where to show it; standard error if None.
    """

    def __init__(self, label: str, quiet: bool = False, stream: Optional[TextIO] = None) -> None:
        self._label = label
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._bar: Optional[tqdm] = None
        self._shown_at = time.monotonic()
        self._shown_step = -1

    def update(self, snapshot: RunSnapshot) -> None:
        """Shows a new state, as often as the kind of output can bear."""
        self._show(lambda: self._show_state(snapshot))

    def close(self, snapshot: RunSnapshot) -> None:
        """Shows the last state."""
        self._show(lambda: self._show_last(snapshot))

    def note(self, text: str) -> None:
        """A line of its own."""
        self._show(lambda: self._write(text))

    def _show(self, action: Callable[[], None]) -> None:
        """A run goes on when the terminal or the reader of its errors is gone."""
        if self._quiet:
            return
        try:
            action()
        except (OSError, ValueError):
            self._quiet = True

    def _show_state(self, snapshot: RunSnapshot) -> None:
        if self._stream.isatty():
            self._update_bar(snapshot)
        elif time.monotonic() - self._shown_at >= _PLAIN_SECONDS:
            self._write_line(snapshot)

    def _show_last(self, snapshot: RunSnapshot) -> None:
        if self._bar is not None:
            self._update_bar(snapshot)
            self._bar.close()
        elif snapshot.step != self._shown_step:
            self._write_line(snapshot)

    def _write(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _update_bar(self, snapshot: RunSnapshot) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=snapshot.facts.steps,
                desc=self._label,
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt}{postfix}",
            )
        self._bar.n = snapshot.step
        self._bar.set_postfix_str(describe_snapshot(snapshot), refresh=False)
        self._bar.refresh()

    def _write_line(self, snapshot: RunSnapshot) -> None:
        self._shown_at = time.monotonic()
        self._shown_step = snapshot.step
        self._write(
            f"{self._label}: step {snapshot.step}/{snapshot.facts.steps} "
            + describe_snapshot(snapshot)
        )


def describe_snapshot(snapshot: RunSnapshot) -> str:
    """State, rate, losses and time left in a few words."""
    parts = [snapshot.state]
    rate = snapshot.steps_per_second
    if rate:
        parts.append(f"{rate:.4g} steps/s")
    for name, loss in (
        ("mlm", snapshot.mlm_loss),
        ("nsp", snapshot.nsp_loss),
        ("loss", snapshot.total_loss),
    ):
        if loss is not None:
            parts.append(f"{name} {loss:.4g}")
    eta = snapshot.eta_seconds
    if eta is not None and math.isfinite(eta) and snapshot.state == "measuring":
        parts.append(f"eta {render_duration(eta)}")
    return " ".join(parts)


def render_duration(seconds: float) -> str:
    """``1h02m``, ``3m05s`` or ``7s``."""
    whole = int(round(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    if whole >= 60:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole}s"
