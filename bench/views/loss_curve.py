"""The masked-LM loss over the steps of a run, as a picture (SVG, no library needed)."""

from __future__ import annotations

import math
from html import escape
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from bench.results.model import RunResult

ENTROPY_KEY = "masked_token_entropy_nats"

_WIDTH, _HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 48, 48
_SMOOTHED_SHARE = 0.05
_INK, _FAINT, _LINE, _MARK = "#24292f", "#c8ccd1", "#0b62a4", "#b3541e"

Point = Tuple[float, float]
Place = Callable[[float, float], Point]


def render_loss_curve(result: RunResult) -> str:
    """Draws every report, their running mean, and the entropy of the corpus where it is known.

    The entropy is that of the masked tokens' frequencies, in nats: the loss of a model that knows
    how often each token occurs and nothing else. A curve below it has learned from the context.

    Args:
        result: a run whose log has masked-LM losses; ranks are averaged step by step.

    Returns:
        An SVG document; empty axes when there is nothing to draw.
    """
    points = average_ranks(result)
    entropy = _find_entropy(result)
    values = [y for _, y in points] + ([entropy] if entropy is not None else [])
    top = math.ceil(max(values, default=1.0))
    low = math.floor(min(values, default=0.0))
    last = max((x for x, _ in points), default=1.0)

    def place(x: float, y: float) -> Point:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / last
        down = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (top - y) / max(1e-9, top - low)
        return across, down

    parts = [_render_axes(last, low, top, place), _render_title(result, len(points))]
    if entropy is not None:
        parts.append(_render_entropy(entropy, last, place))
    parts.append(_render_path(points, place, _FAINT, 1.0))
    parts.append(_render_path(smooth(points), place, _LINE, 2.5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="13" role="img">\n'
        "<title>Masked-LM loss over training steps</title>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def average_ranks(result: RunResult) -> List[Point]:
    """Mean masked-LM loss of the ranks at each step; what is not finite is left out."""
    by_step: Dict[int, List[float]] = {}
    for rank in result.ranks:
        for step, loss in zip(rank.losses.get("step", ()), rank.losses.get("mlm", ())):
            if loss is not None and math.isfinite(loss):
                by_step.setdefault(step, []).append(loss)
    return [(float(step), sum(by_step[step]) / len(by_step[step])) for step in sorted(by_step)]


def smooth(points: Sequence[Point]) -> List[Point]:
    """Running mean over a twentieth of the points, centred."""
    half = max(1, int(len(points) * _SMOOTHED_SHARE / 2))
    smoothed = []
    for index, (step, _) in enumerate(points):
        near = points[max(0, index - half) : index + half + 1]
        smoothed.append((step, sum(loss for _, loss in near) / len(near)))
    return smoothed


def _find_entropy(result: RunResult) -> Optional[float]:
    text = (result.found.get("data") or {}).get(ENTROPY_KEY)
    try:
        return None if text is None else float(text)
    except (TypeError, ValueError):
        return None


def _render_axes(last: float, low: int, top: int, place: Place) -> str:
    lines = []
    for value in range(low, top + 1):
        (left, y), (right, _) = place(0.0, value), place(last, value)
        lines.append(
            f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="#e4e7eb"/>'
            f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end" fill="{_INK}">'
            f"{value}</text>"
        )
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = place(last * share, low)
        lines.append(
            f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle" fill="{_INK}">'
            f"{last * share:.0f}</text>"
        )
    lines.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle" fill="{_INK}">step</text>'
    )
    return "\n".join(lines)


def _render_title(result: RunResult, n_points: int) -> str:
    asked = result.asked
    text = "{}masked-LM loss, nats: {}, {} card(s), batch {} per card, {} tokens; n = {}".format(
        "SIMULATED " if result.simulated else "",
        asked["model"],
        result.n_cards,
        asked["batch_size"],
        asked.get("seq_length"),
        n_points,
    )
    return f'<text x="{_LEFT}" y="24" fill="{_INK}" font-size="15">{escape(text)}</text>'


def _render_entropy(entropy: float, last: float, place: Place) -> str:
    (left, y), (right, _) = place(0.0, entropy), place(last, entropy)
    return (
        f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_MARK}" '
        'stroke-width="1.5" stroke-dasharray="6 4"/>'
        f'<text x="{right:.1f}" y="{y - 6:.1f}" text-anchor="end" fill="{_MARK}">'
        f"unigram entropy of the corpus {entropy:.2f}</text>"
    )


def _render_path(points: Sequence[Point], place: Place, colour: str, width: float) -> str:
    placed = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
    return f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
