"""Pages of HTML for tests: read as XML, which the report promises to be, and looked into."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Dict, List, Tuple

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;]]>--><!--\x00\x1b[31m\u202e"
)
"""Markup, both quotes, an entity, ends of CDATA and comments, control characters, turned text."""

ELEMENTS = frozenset(
    """html head meta title link style body header nav main section footer div p h1 h2 h3 ul li a
    span strong pre details summary figure figcaption table thead tbody tr th td
    svg defs pattern rect path g text clipPath""".split()
)
"""All that a page is made of; nothing of it runs or loads."""


def parse_page(page: str) -> ElementTree.Element:
    """The elements of a page."""
    assert page.startswith("<!DOCTYPE html>\n<html")
    return ElementTree.fromstring(page.split("\n", 1)[1])


def check_harmless(page: str) -> ElementTree.Element:
    """Nothing but the known elements, no handler, no address but those inside the page."""
    root = parse_page(page)
    found = {item.tag for item in root.iter()}
    assert found <= ELEMENTS, found - ELEMENTS
    for item in root.iter():
        for name, value in item.attrib.items():
            assert not name.startswith("on"), name
            assert name not in ("src", "srcset", "style", "action", "data"), name
            if name == "href":
                assert value.startswith("#") or value == "data:,", value
            for address in re.findall(r"url\((.*?)\)", value):
                assert address.startswith("#"), address
    style = "".join(root.find("head/style").itertext())
    assert "@import" not in style
    assert all(address.startswith("#") for address in re.findall(r"url\((.*?)\)", style))
    identities = [item.get("id") for item in root.iter() if item.get("id")]
    assert len(identities) == len(set(identities))
    for item in root.iter("a"):
        assert item.get("href")[1:] in identities
    return root


def get_text(root: ElementTree.Element) -> str:
    """All text of the body, blanks put together."""
    return " ".join(" ".join(root.find("body").itertext()).split())


def read_colours(style: str) -> Dict[str, Dict[str, str]]:
    """Colours by name, of the light page, the dark page and paper."""
    parts = {
        "light": style.split("@media", 1)[0],
        "dark": style.split("(prefers-color-scheme: dark)", 1)[1].split("* {", 1)[0],
        "print": style.split("@media print", 1)[1],
    }
    return {
        name: dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", text))
        for name, text in parts.items()
    }


def compute_contrast(first: str, second: str) -> float:
    """Contrast of two colours by WCAG 2.1, 1 to 21."""
    bright, dim = sorted((_compute_luminance(first), _compute_luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _compute_luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255.0 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def list_figures(root: ElementTree.Element) -> List[Tuple[str, str]]:
    """Title and description of each figure."""
    return [
        ("".join(item.find("figcaption/strong").itertext()), item.find("svg").get("aria-label"))
        for item in root.iter("figure")
    ]
