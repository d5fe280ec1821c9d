"""Drawing: markup that cannot be broken out of, scales, ticks, points that may be left out."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.markup import Markup, element, escape, join, render_table
from bench.report.plot import Line, Mark, Plot, Shade, Whisker, render_figure
from bench.report.scales import (
    Scale,
    build_scale,
    choose_log_ticks,
    choose_ticks,
    format_ticks,
    reduce_points,
)
from tests.report_pages import HOSTILE

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.text())
def test_text_comes_back_from_a_parser_and_never_as_a_tag(text):
    root = ElementTree.fromstring(element("p", text, title=text))
    assert list(root) == []
    assert set(root.attrib) == {"title"}
    kept = "".join(root.itertext())
    assert len(kept) == len(text)
    assert all(a in (b, "\ufffd") for a, b in zip(kept, text))


def test_what_turns_or_steers_text_is_replaced():
    text = escape(HOSTILE)
    assert not set("\x00\x1b\u202e<>\"'") & set(text)
    assert escape("\U0001ffff\ud800") == "\ufffd\ufffd"
    assert escape("文字 – ß \t ok") == "文字 – ß \t ok"


def test_only_markup_is_taken_as_it_is():
    inner = element("b", "<")
    assert isinstance(inner, Markup)
    assert element("p", inner, "<", None) == "<p><b>&lt;</b>&lt;</p>"
    assert element("p", inner + "<") == "<p>&lt;b&gt;&amp;lt;&lt;/b&gt;&lt;</p>"
    assert element("meta", http_equiv="x", class_="y", lang=None) == (
        '<meta http-equiv="x" class="y"/>'
    )
    assert join(["<", inner], "") == "&lt;<b>&lt;</b>"


def test_a_table_names_its_rows_and_columns():
    root = ElementTree.fromstring(render_table(["a", "b"], [["x", "1"]], "Label", [1]))
    assert root.get("aria-label") == "Label"
    assert [item.get("scope") for item in root.iter("th")] == ["col", "col", "row"]
    assert [item.get("class") for item in root.iter("td")] == ["number"]


@given(FINITE, st.floats(1e-6, 1e12), st.integers(2, 10))
def test_ticks_are_round_inside_and_not_too_many(low, span, most):
    high = low + span
    if not high > low + 1e-9 * abs(low):
        return
    ticks = choose_ticks(low, high, most)
    room = 1e-6 * (high - low) + 1e-9 * abs(low)
    assert len(ticks) <= most + 1
    assert all(low - room <= tick <= high + room for tick in ticks)
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.97, 1.03, ["0.98", "1.00", "1.02"]),
        (0.0, 123456.0, ["0", "50k", "100k"]),
        (-5.0, 5.0, ["-4", "-2", "0", "2", "4"]),
    ],
)
def test_tick_texts(low, high, texts):
    assert format_ticks(choose_ticks(low, high)) == texts


def test_ticks_of_ratios():
    assert choose_log_ticks(0.9, 60.0) == [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
    assert choose_log_ticks(1.0, 1e6) == [10.0**power for power in range(7)]
    assert choose_log_ticks(3.0, 4.0) == [3.0, 4.0]


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_a_scale_holds_its_values(values):
    scale = build_scale(values, 300.0, 30.0)
    places = scale.place(np.array(values))
    assert scale.high > scale.low
    assert np.all((places >= 30.0 - 1e-6) & (places <= 300.0 + 1e-6))


def test_equal_ratios_are_equally_far_apart():
    scale = Scale(1.0, 64.0, 0.0, 60.0, log=True)
    assert scale.place(np.array([1.0, 8.0, 64.0])) == pytest.approx([0.0, 30.0, 60.0])


@given(st.integers(0, 3000), st.integers(1, 50), st.integers(0, 2**31 - 1))
def test_each_column_keeps_its_lowest_and_highest_point(n, columns, seed):
    rng = np.random.RandomState(seed)
    x, y = np.sort(rng.uniform(0.0, 10.0, n)), rng.standard_normal(n)
    kept_x, kept_y = reduce_points(x, y, 0.0, 10.0, columns)
    assert len(kept_x) <= max(n, 0) and len(kept_x) <= 2 * columns
    assert np.all(np.diff(kept_x) >= 0.0)
    assert set(zip(kept_x, kept_y)) <= set(zip(x, y))
    column = np.minimum((x / 10.0 * columns).astype(int), columns - 1)
    kept_column = np.minimum((kept_x / 10.0 * columns).astype(int), columns - 1)
    for place in set(column):
        own, kept = y[column == place], kept_y[kept_column == place]
        assert (own.min(), own.max()) == (kept.min(), kept.max())


def _plot(**options):
    base = {"title": "T", "caption": "C", "description": "D", "x_label": "x", "y_label": "y"}
    return Plot(**{**base, **options})


def test_a_line_breaks_where_a_value_is_not_finite():
    y = np.array([1.0, 2.0, np.nan, 3.0, np.inf, 4.0])
    figure = render_figure(_plot(lines=[Line("a", np.arange(6.0), y)]), 1)
    path = next(
        item
        for item in ElementTree.fromstring(figure).iter("path")
        if item.get("class") == "line s0"
    )
    assert path.get("d").count("M") == 3
    assert "nan" not in figure and "inf" not in figure


def test_a_figure_says_what_it_shows():
    figure = render_figure(
        _plot(
            title=HOSTILE,
            lines=[Line(HOSTILE, np.arange(3.0), np.arange(3.0))],
            shades=[Shade("warm-up", "warm-up", [(0.0, 1.0)])],
            marks=[Mark(HOSTILE, x=1.0), Mark("y", y=1.0), Mark("outside", x=99.0)],
            whiskers=[Whisker(1.0, 1.0, 0.5, 1.5)],
            bars=[(0.0, 1.0, 2.0)],
        ),
        3,
    )
    root = ElementTree.fromstring(figure)
    svg = root.find("svg")
    assert svg.get("role") == "img"
    assert svg.get("aria-label").endswith("D")
    assert root.find("figcaption/strong").text.startswith("<script>")
    assert [item.find("span").text for item in root.iter("li")][-1] == "warm-up"
    assert "outside" not in [item.text for item in root.iter("text")]
    assert root.find(".//clipPath").get("id") == "clip-3"


@pytest.mark.parametrize("values", [[], [5.0], [5.0, 5.0], [np.nan, np.nan]])
def test_little_or_nothing_can_be_drawn_too(values):
    line = Line("a", np.arange(float(len(values))), np.array(values))
    ElementTree.fromstring(render_figure(_plot(lines=[line]), 1))
