"""Figures of training: losses and loss scale."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from bench.report.plot import Line, Mark, Plot
from bench.results.model import RunResult

_LOSSES = (("mlm", "Masked-LM loss"), ("nsp", "Next-sentence loss"), ("total", "Total loss"))
_ENTROPY_KEY = "masked_token_entropy_nats"

Named = Sequence[Tuple[str, RunResult]]


def plot_losses(runs: Named) -> List[Plot]:
    """A plot for each kind of loss that any log tells.

    Args:
        runs: name and run of each line; the ranks of a run are averaged step by step.
    """
    plots = []
    for key, title in _LOSSES:
        lines: List[Line] = []
        broken: List[str] = []
        for place, (name, result) in enumerate(runs):
            x, y, n_broken = _average_ranks(result, key)
            if len(x):
                lines.append(Line(name, x, y, place))
            if n_broken:
                broken.append(f"{name} has {n_broken} reports that are NaN or infinite")
        if not lines:
            continue
        entropy = _find_entropy(runs[0][1]) if key == "mlm" else None
        caption = "Mean over the ranks of each report."
        if entropy is not None:
            caption += " Below the dotted line the model has learned from context."
        if broken:
            caption += " " + "; ".join(broken) + "."
        plots.append(
            Plot(
                title=title,
                caption=caption,
                description="; ".join(_describe(line) for line in lines),
                x_label="step",
                y_label="loss [nat]",
                lines=lines,
                marks=[]
                if entropy is None
                else [Mark(f"unigram entropy of the corpus {entropy:.2f}", y=entropy)],
            )
        )
    return plots


def plot_loss_scales(runs: Named) -> Optional[Plot]:
    """The loss scale of the first rank of each run, on a scale of powers of two."""
    lines = []
    for place, (name, result) in enumerate(runs):
        scales = next((rank.loss_scales for rank in result.ranks if rank.loss_scales), None)
        if scales is not None:
            values = _to_array(scales)
            with np.errstate(divide="ignore", invalid="ignore"):
                powers = np.where(values > 0.0, np.log2(values), math.nan)
            lines.append(Line(name, np.arange(1.0, len(powers) + 1.0), powers, place, "step"))
    if not any(np.isfinite(line.y).any() for line in lines):
        return None
    return Plot(
        title="Loss scale",
        caption="As reported by the first rank that tells it; a fall is an overflow.",
        description="; ".join(_describe(line, "log2 ") for line in lines),
        x_label="report",
        y_label="log2 of the loss scale",
        lines=lines,
    )


def _average_ranks(result: RunResult, key: str) -> Tuple[np.ndarray, np.ndarray, int]:
    """Steps, mean over the ranks that are finite there, and how many values are not finite."""
    sums: Dict[int, float] = {}
    counts: Dict[int, int] = {}
    broken = 0
    for rank in result.ranks:
        for step, value in zip(rank.losses.get("step", ()), rank.losses.get(key, ())):
            if step is None or value is None:
                continue
            if math.isfinite(value):
                sums[step] = sums.get(step, 0.0) + value
                counts[step] = counts.get(step, 0) + 1
            else:
                broken += 1
                sums.setdefault(step, 0.0)
                counts.setdefault(step, 0)
    steps = sorted(sums)
    values = [sums[step] / counts[step] if counts[step] else math.nan for step in steps]
    if not any(map(math.isfinite, values)):
        return np.array([]), np.array([]), broken
    return np.array(steps, dtype=float), np.array(values), broken


def _find_entropy(result: RunResult) -> Optional[float]:
    text = (result.found.get("data") or {}).get(_ENTROPY_KEY)
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _describe(line: Line, word: str = "") -> str:
    finite = line.y[np.isfinite(line.y)]
    return f"{line.name}: {word}from {finite[0]:.4g} to {finite[-1]:.4g}" if len(finite) else ""


def _to_array(values: Sequence[Any]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)
