"""The rules of JUnit XML as Apache Ant writes it, which is the strictest of its readers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import List, Tuple

_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$")
_SUITE = frozenset("name package id timestamp hostname tests failures errors skipped time".split())
_PROBLEMS = ("failure", "error", "skipped")


def check_junit(text: str) -> ElementTree.Element:
    """Parses a document and holds it to the rules: elements, their order, attributes, counts."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert root.tag == "testsuites" and not root.attrib
    for number, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == _SUITE
        assert suite.get("id") == str(number)
        assert _WHEN.match(suite.get("timestamp", ""))
        assert suite.get("hostname") and suite.get("name")
        float(suite.get("time", ""))
        tags = [item.tag for item in suite]
        cases = suite.findall("testcase")
        assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        assert int(suite.get("tests", "")) == len(cases)
        for tag, key in zip(_PROBLEMS, ("failures", "errors", "skipped")):
            assert int(suite.get(key, "")) == sum(1 for case in cases if case.find(tag) is not None)
        for case in cases:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert case.get("classname") and case.get("name")
            float(case.get("time", ""))
            assert len(case) <= 1
            for item in case:
                assert item.tag in _PROBLEMS and not len(item)
                needed = {"message"} if item.tag == "skipped" else {"message", "type"}
                assert set(item.attrib) == needed
    return root


def list_problems(root: ElementTree.Element) -> List[Tuple[str, str, str]]:
    """Kind, ``class: name`` and message of each test that did not pass."""
    return [
        (item.tag, "{}: {}".format(case.get("classname"), case.get("name")), item.get("message"))
        for case in root.iter("testcase")
        for item in case
    ]
