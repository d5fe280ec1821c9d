"""Plots as figures of HTML with inline SVG: axes, lines, bands, bars, whiskers, shaded stretches.

A plot is data; colours, line patterns and sizes of text are the style sheet's, so that the same
drawing does for light, dark, paper and a phone. Whatever colour tells is told by a line pattern or
a hatch and in words, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np

from bench.report.markup import Markup, element, escape, join, raw
from bench.report.scales import (
    Scale,
    build_scale,
    choose_log_ticks,
    choose_ticks,
    format_ticks,
    reduce_points,
)

WIDTH, HEIGHT = 560.0, 300.0
RIGHT, TOP, BOTTOM = 16.0, 32.0, 54.0
LEAST_LEFT = 50.0
N_STYLES = 8
"""Line styles of the style sheet; a further line takes the first again."""

_COLUMNS = 320
_CHARACTER = 11.5
"""Width of a digit on a phone, where the text of a drawing is largest."""

Range = Tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A series.

    Attributes:
        name: in the legend; empty for none of its own.
        x, y: [n]; ``x`` rising, the line is broken where ``y`` is not finite.
        style: number of colour and pattern, from 0.
        form: ``"line"``, ``"step"`` (holds until the next point), ``"points"`` or ``"faint"``.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: int = 0
    form: str = "line"


@dataclass(frozen=True)
class Area:
    """What lies between two series."""

    name: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    style: int = 0


@dataclass(frozen=True)
class Shade:
    """Stretches of the x axis that are shaded for one reason; ``key`` names its style."""

    name: str
    key: str
    spans: Sequence[Range]


@dataclass(frozen=True)
class Mark:
    """A line across the plot at ``x`` or at ``y``, with a word; ``row`` keeps words apart."""

    label: str
    x: Optional[float] = None
    y: Optional[float] = None
    row: int = 0


@dataclass(frozen=True)
class Whisker:
    """A point with limits; equal limits for none."""

    x: float
    y: float
    low: float
    high: float
    style: int = 0


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        title: of the figure.
        caption: what is to be known to read it.
        description: what it shows, for readers who do not see it.
        x_label, y_label: of the axes, with units.
        x_range, y_range: ends of the axes; None for those of the data.
        x_ticks: values and texts; None for round values.
        x_log, y_log: whether equal ratios on the axis are equally far apart.
        bars: left end, right end and height of each, from 0.
    """

    title: str
    caption: str
    description: str
    x_label: str
    y_label: str
    lines: Sequence[Line] = ()
    areas: Sequence[Area] = ()
    shades: Sequence[Shade] = ()
    marks: Sequence[Mark] = ()
    whiskers: Sequence[Whisker] = ()
    bars: Sequence[Tuple[float, float, float]] = ()
    x_range: Optional[Range] = None
    y_range: Optional[Range] = None
    x_ticks: Optional[Sequence[Tuple[float, str]]] = None
    x_log: bool = False
    y_log: bool = False


def render_figure(plot: Plot, number: int) -> Markup:
    """A figure with its caption and legend.

    Args:
        plot: what to draw.
        number: unique in the page.
    """
    x, y = _build_scales(plot)
    clip = f"clip-{number}"
    inside = [
        *(_render_shade(shade, x) for shade in plot.shades),
        *(_render_bar(bar, x, y) for bar in plot.bars),
        *(_render_area(area, x, y) for area in plot.areas),
        *(_render_line(line, x, y) for line in plot.lines),
        *(_render_whisker(whisker, x, y) for whisker in plot.whiskers),
    ]
    frame = element(
        "clipPath",
        element("rect", x=x.start, y=TOP, width=x.end - x.start, height=HEIGHT - TOP - BOTTOM),
        id=clip,
    )
    svg = element(
        "svg",
        frame,
        _render_axes(plot, x, y),
        element("g", join(inside, ""), clip_path=f"url(#{clip})"),
        join([_render_mark(mark, x, y) for mark in plot.marks], ""),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label=f"{plot.title}. {plot.description}",
    )
    caption = element(
        "figcaption",
        element("strong", plot.title),
        element("span", " " + plot.caption) if plot.caption else None,
    )
    return element("figure", caption, svg, _render_legend(plot))


def _build_scales(plot: Plot) -> Tuple[Scale, Scale]:
    y = _build_y_scale(plot)
    longest = max((len(text) for text in format_ticks(_list_ticks(y))), default=0)
    xs = [_ends(line.x) for line in plot.lines] + [_ends(area.x) for area in plot.areas]
    spans = [end for shade in plot.shades for span in shade.spans for end in span]
    bars = [end for bar in plot.bars for end in bar[:2]]
    known = [value for pair in xs for value in pair] + spans + bars
    known += [whisker.x for whisker in plot.whiskers]
    low, high = plot.x_range or (min(known, default=0.0), max(known, default=1.0))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    start = max(LEAST_LEFT, 8.0 + _CHARACTER * longest)
    return Scale(low, high, start, WIDTH - RIGHT, plot.x_log), y


def _build_y_scale(plot: Plot) -> Scale:
    if plot.y_range is not None:
        return Scale(*plot.y_range, HEIGHT - BOTTOM, TOP, plot.y_log)
    ys = [value for line in plot.lines for value in _ends(line.y)]
    ys += [value for area in plot.areas for part in (area.low, area.high) for value in _ends(part)]
    ys += [value for item in plot.whiskers for value in (item.low, item.high, item.y)]
    ys += [mark.y for mark in plot.marks if mark.y is not None]
    ys += [0.0, *(bar[2] for bar in plot.bars)] if plot.bars else []
    return build_scale(ys, HEIGHT - BOTTOM, TOP)


def _list_ticks(scale: Scale) -> List[float]:
    if scale.log:
        return choose_log_ticks(scale.low, scale.high)
    return choose_ticks(scale.low, scale.high)


def _ends(values: np.ndarray) -> List[float]:
    finite = values[np.isfinite(values)]
    return [float(finite.min()), float(finite.max())] if len(finite) else []


def _render_axes(plot: Plot, x: Scale, y: Scale) -> Markup:
    parts: List[Markup] = []
    ticks = _list_ticks(y)
    for tick, text in zip(ticks, format_ticks(ticks)):
        place = y.at(tick)
        parts.append(raw(f'<path class="grid" d="M{x.start:g} {place:.1f}H{WIDTH - RIGHT:g}"/>'))
        parts.append(_render_text(text, x.start - 6, place + 4, "end"))
    if plot.x_ticks is not None:
        told = list(plot.x_ticks)
    else:
        values = choose_ticks(x.low, x.high, 6)
        told = list(zip(values, format_ticks(values)))
    bottom = HEIGHT - BOTTOM
    for value, text in told:
        place = x.at(value)
        anchor = "end" if place + 0.5 * _CHARACTER * len(text) > WIDTH else "middle"
        parts.append(raw(f'<path class="axis" d="M{place:.1f} {bottom:g}v5"/>'))
        parts.append(_render_text(text, place, bottom + 20, anchor))
    parts.append(raw(f'<path class="axis" d="M{x.start:g} {bottom:g}H{WIDTH - RIGHT:g}"/>'))
    parts.append(_render_text(plot.x_label, 0.5 * (x.start + WIDTH - RIGHT), HEIGHT - 10, "middle"))
    parts.append(_render_text(plot.y_label, 4.0, 16.0, "start"))
    return join(parts, "")


def _render_text(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _render_label(text: str, x: float, y: float, anchor: str) -> Markup:
    """Text that stays readable on top of lines and bars."""
    ground = element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_="halo")
    return join([ground, _render_text(text, x, y, anchor)], "")


def _render_line(line: Line, x: Scale, y: Scale) -> Markup:
    style = f"s{line.style % N_STYLES}"
    if line.form == "points":
        finite = np.isfinite(line.y)
        places = zip(x.place(line.x[finite]), y.place(line.y[finite]))
        # A line of no length with a round cap is a dot, and takes a tenth of a circle's text.
        d = "".join(f"M{px:.1f} {py:.1f}h0" for px, py in places)
        return raw(f'<path class="dots {style}" d="{d}"/>')
    d = "".join(
        _render_path(*_reduce(part_x, part_y, x), x, y, line.form == "step")
        for part_x, part_y in _split_finite(line.x, line.y)
    )
    kind = "faint" if line.form == "faint" else "line"
    return raw(f'<path class="{kind} {style}" d="{d}"/>')


def _split_finite(x: np.ndarray, y: np.ndarray) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """The stretches without a gap."""
    finite = np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]]).astype(int)))
    for start, end in zip(edges[::2], edges[1::2]):
        yield x[start:end], y[start:end]


def _reduce(part_x: np.ndarray, part_y: np.ndarray, x: Scale) -> Tuple[np.ndarray, np.ndarray]:
    return reduce_points(part_x, part_y, x.low, x.high, _COLUMNS)


def _render_path(px: np.ndarray, py: np.ndarray, x: Scale, y: Scale, step: bool) -> str:
    # Far outside is as good as just outside, and keeps numbers short.
    across = x.place(px)
    down = np.clip(y.place(py), -HEIGHT, 2.0 * HEIGHT)
    texts = [f"M{across[0]:.1f} {down[0]:.1f}"]
    if len(px) == 1:
        return texts[0] + "h0"
    for place, height in zip(across[1:], down[1:]):
        texts.append(f"H{place:.1f}V{height:.1f}" if step else f"L{place:.1f} {height:.1f}")
    return "".join(texts)


def _render_area(area: Area, x: Scale, y: Scale) -> Markup:
    finite = np.isfinite(area.low) & np.isfinite(area.high)
    low_x, low = _reduce(area.x[finite], area.low[finite], x)
    high_x, high = _reduce(area.x[finite], area.high[finite], x)
    if not len(low_x):
        return raw("")
    upper = _render_path(high_x, high, x, y, False)
    lower = _render_path(low_x[::-1], low[::-1], x, y, False)
    return raw(f'<path class="area s{area.style % N_STYLES}" d="{upper}L{lower[1:]}Z"/>')


def _render_shade(shade: Shade, x: Scale) -> Markup:
    height = HEIGHT - TOP - BOTTOM
    d = "".join(
        f"M{start:.1f} {TOP:g}H{max(end, start + 1.0):.1f}v{height:g}H{start:.1f}Z"
        for start, end in ((x.at(a), x.at(b)) for a, b in shade.spans)
    )
    return raw(f'<path class="shade {shade.key}" d="{d}"/>')


def _render_bar(bar: Tuple[float, float, float], x: Scale, y: Scale) -> Markup:
    left, right, top = x.at(bar[0]), x.at(bar[1]), y.at(bar[2])
    d = f"M{left:.1f} {y.at(0.0):.1f}V{top:.1f}H{right:.1f}V{y.at(0.0):.1f}Z"
    return raw(f'<path class="bar" d="{d}"/>')


def _render_whisker(item: Whisker, x: Scale, y: Scale) -> Markup:
    across, style = x.at(item.x), f"s{item.style % N_STYLES}"
    low, high, middle = y.at(item.low), y.at(item.high), y.at(item.y)
    d = f"M{across:.1f} {low:.1f}V{high:.1f}"
    if item.high > item.low:
        d += f"M{across - 6:.1f} {low:.1f}h12M{across - 6:.1f} {high:.1f}h12"
    return raw(
        f'<path class="whisker {style}" d="{d}"/>'
        f'<path class="dots {style}" d="M{across:.1f} {middle:.1f}h0"/>'
    )


def _render_mark(mark: Mark, x: Scale, y: Scale) -> Markup:
    if mark.x is not None:
        place = x.at(mark.x)
        if not x.start - 1 <= place <= WIDTH - RIGHT + 1:
            return raw("")
        late = place + 5.0 + _CHARACTER * len(mark.label) > WIDTH
        line = raw(f'<path class="mark" d="M{place:.1f} {TOP:g}V{HEIGHT - BOTTOM:g}"/>')
        height = TOP + 14.0 + 18.0 * (mark.row % 4)
        text = _render_label(
            mark.label, place + (-5 if late else 5), height, "end" if late else "start"
        )
        return join([line, text], "")
    assert mark.y is not None
    place = y.at(mark.y)
    if not TOP - 1 <= place <= HEIGHT - BOTTOM + 1:
        return raw("")
    line = raw(f'<path class="mark" d="M{x.start:g} {place:.1f}H{WIDTH - RIGHT:g}"/>')
    height = place - 5 if place > TOP + 20 else place + 16
    return join([line, _render_label(mark.label, WIDTH - RIGHT - 4, height, "end")], "")


def _render_legend(plot: Plot) -> Optional[Markup]:
    items: List[Markup] = []
    for line in plot.lines:
        if line.name:
            kind = "faint" if line.form == "faint" else "line"
            style = f"s{line.style % N_STYLES}"
            d = "M12 6h0" if line.form == "points" else "M0 6H24"
            kind = "dots" if line.form == "points" else kind
            items.append(_render_key(line.name, f"{kind} {style}", d))
    for area in plot.areas:
        if area.name:
            style = f"area s{area.style % N_STYLES}"
            items.append(_render_key(area.name, style, "M0 1H24V11H0Z"))
    for shade in plot.shades:
        items.append(_render_key(shade.name, f"shade {shade.key}", "M0 0H24V12H0Z"))
    return element("ul", *items, class_="legend") if len(items) > 1 or plot.shades else None


def _render_key(name: str, classes: str, d: str) -> Markup:
    swatch = raw(
        '<svg class="key" viewBox="0 0 24 12" aria-hidden="true">'
        f'<path class="{escape(classes)}" d="{d}"/></svg>'
    )
    return element("li", swatch, element("span", name))


def order_finite(x: Sequence[float], y: Sequence[float]) -> Tuple[np.ndarray, np.ndarray]:
    """Both as arrays in order of ``x``; values of ``x`` that are not finite are left out."""
    xs = np.array([math.nan if value is None else value for value in x], dtype=float)
    ys = np.array([math.nan if value is None else value for value in y], dtype=float)
    kept = np.isfinite(xs)
    order = np.argsort(xs[kept], kind="stable")
    return xs[kept][order], ys[kept][order]
