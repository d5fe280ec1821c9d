"""What the READMEs say is there, is there."""

import re
from pathlib import Path

import pytest

from bench.cli import build_parser

ROOT = Path(__file__).resolve().parent.parent.parent
READMES = ("README.md", "README.zh-CN.md")


@pytest.mark.parametrize("name", READMES)
def test_no_placeholder_is_left_and_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "@@" not in text
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("name", READMES)
def test_every_verb_is_in_the_table(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    (verbs,) = (action.choices for action in build_parser()._actions if action.dest == "verb")
    for verb in verbs:
        assert f"`ascend-bert {verb}" in text, verb


@pytest.mark.parametrize("name", READMES)
def test_scripts_that_are_named_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for script in set(re.findall(r"scripts/[a-z_0-9-]+(?:\.sh)?", text)):
        assert (ROOT / script).exists(), script
