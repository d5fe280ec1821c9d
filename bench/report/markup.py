"""Elements of HTML and SVG as text, in which whatever comes from outside is escaped.

Everything is escaped unless it is :class:`Markup`, and only :func:`element`, :func:`join` and
:func:`raw` make that. So a name, a path or a line of a log cannot become a tag, wherever it goes.
The page is written so that an XML parser reads it, too.
"""

from __future__ import annotations

import re
from typing import Iterable, List, Optional, Sequence, Union

_VOID = frozenset({"br", "col", "link", "meta"})

# Characters that HTML forbids, and those that turn the direction of text, with which a line of a
# log could show as another one.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    "\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


class Markup(str):
    """Text that is markup already."""


Content = Union[str, Markup, None]


def raw(text: str) -> Markup:
    """Takes text as it is; for what this package wrote itself, such as its style sheet."""
    return Markup(text)


def escape(text: object) -> Markup:
    """Text with the characters of markup replaced, in content and in quoted attributes alike."""
    if isinstance(text, Markup):
        return text
    clean = _FORBIDDEN.sub("\ufffd", str(text))
    # The last two of each plane are no characters.
    if any(ord(character) & 0xFFFE == 0xFFFE for character in clean):
        clean = "".join("\ufffd" if ord(c) & 0xFFFE == 0xFFFE else c for c in clean)
    for mark, entity in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("'", "&#39;"),
    ):
        clean = clean.replace(mark, entity)
    return Markup(clean)


def element(name: str, *children: Content, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: text, which is escaped, or markup; None for nothing.
        attributes: a trailing ``_`` is dropped and others become ``-``; None leaves one out.
    """
    told = "".join(
        ' {}="{}"'.format(key.rstrip("_").replace("_", "-"), escape(value))
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{told}/>")
    inner = "".join(escape(child) for child in children if child is not None)
    return Markup(f"<{name}{told}>{inner}</{name}>")


def join(parts: Iterable[Content], between: str = "\n") -> Markup:
    """Markup of several parts in a row."""
    return Markup(between.join(escape(part) for part in parts if part is not None))


def render_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Content]],
    label: str,
    numeric: Sequence[int] = (),
    class_: Optional[str] = None,
) -> Markup:
    """A table that scrolls sideways where the page is narrow; the first column heads its row.

    Args:
        headers: of the columns.
        rows: cells.
        label: what it is, for readers who do not see it.
        numeric: columns that are set to the right.
        class_: of the table.
    """
    right = frozenset(numeric)

    def classes(column: int) -> Optional[str]:
        return "number" if column in right else None

    head = element(
        "tr",
        *[
            element("th", text, scope="col", class_=classes(column))
            for column, text in enumerate(headers)
        ],
    )
    body: List[Markup] = []
    for row in rows:
        cells = [
            element("th", cell, scope="row", class_=classes(0))
            if column == 0
            else element("td", cell, class_=classes(column))
            for column, cell in enumerate(row)
        ]
        body.append(element("tr", *cells))
    table = element("table", element("thead", head), element("tbody", *body), class_=class_)
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def render_list(items: Sequence[Content]) -> Optional[Markup]:
    """A list; nothing for no items."""
    return element("ul", *[element("li", item) for item in items]) if items else None


def render_details(summary: str, *children: Content, is_open: bool = False) -> Markup:
    """A part that is folded away until it is asked for."""
    return element(
        "details",
        element("summary", summary),
        *children,
        open="open" if is_open else None,
    )
