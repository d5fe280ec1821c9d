"""The dashboards: made by their generator, sound by Grafana's schema, at one with the catalogue."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from bench.series import ALL_SERIES
from tests.prometheus.boards import (
    FOLDER,
    NAMES,
    ROOT,
    PanelQuery,
    list_panels,
    list_queries,
    read_board,
)

GENERATOR = ROOT / "docker" / "grafana" / "generate"
SCHEMA_TOOLS = Path(__file__).resolve().parent / "grafana_schema"
FOREIGN = {"ALERTS", "scrape_duration_seconds", "scrape_samples_scraped", "up"}
"""Series that Prometheus makes by itself."""

MARK_KEYS = {
    "expr": str,
    "step": str,
    "tagKeys": str,
    "textFormat": str,
    "titleFormat": str,
    "useValueForTime": bool,
}

FUNCTIONS = set(
    """avg by count group_left histogram_quantile increase label_replace le max min mode on or
    quantile rate sort_desc sum time vector ignoring verdict
    group_right
    case run_id host cards version job instance rank""".split()
)


def _list_recorded():
    names = set()
    for path in (ROOT / "docker" / "prometheus" / "rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            names |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return names


def _list_names(expr):
    """Names of series in a query: what is left when labels, strings and functions are gone."""
    bare = re.sub(r"\{[^}]*\}", "", re.sub(r'"[^"]*"', "", expr))
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    return set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_:]*", bare)) - FUNCTIONS


def _list_marked(name):
    marks = read_board(name)["annotations"].get("list", [])
    return {each for mark in marks for each in _list_names(mark["expr"])}


def _base_name(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    """JSON Schemas from the types that Grafana publishes, by Grafana's version in package.json."""
    folder = tmp_path_factory.mktemp("schema") / "tools"
    shutil.copytree(str(SCHEMA_TOOLS), str(folder))
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(install, cwd=str(folder), check=True, stdout=subprocess.DEVNULL)
    types = {panel["type"] for name in NAMES for panel in list_panels(read_board(name))}
    made = subprocess.run(
        ["node", "generate.mjs", *sorted(types)],
        cwd=str(folder),
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(made.stdout.decode())


def _check(schema, document, place):
    errors = list(jsonschema.Draft7Validator(schema).iter_errors(document))
    found = [jsonschema.exceptions.best_match([error]) for error in errors]
    assert not errors, f"{place}: {[(list(e.absolute_path), e.message[:200]) for e in found]}"


@pytest.mark.parametrize("name", NAMES)
def test_boards_hold_to_grafanas_schema(schemas, name):
    board = read_board(name)
    for mark in board["annotations"].get("list", []):
        # Grafana's schema leaves them to the data source, here Prometheus.
        own = {key: type(mark.pop(key)) for key in MARK_KEYS}
        assert own == MARK_KEYS
    _check(schemas["dashboard"], board, name)
    for panel in list_panels(board):
        place = f"{name}: {panel['title']}"
        _check(schemas["options"][panel["type"]], panel["options"], place)
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
        fields = schemas["fields"][panel["type"]]
        if custom is not None and fields is not None:
            _check(fields, custom, place)


def test_the_schema_finds_what_is_wrong(schemas):
    board = read_board("ranks")
    for change in ({"graphTooltip": 9}, {"unheard": 1}, {"panels": [{"title": 1}]}):
        with pytest.raises(AssertionError):
            _check(schemas["dashboard"], {**board, **change}, "changed")
    with pytest.raises(AssertionError):
        _check(schemas["options"]["stat"], {"textMode": "loud"}, "changed")


def test_boards_are_what_the_generator_makes(tmp_path):
    pytest.importorskip("grafana_foundation_sdk", reason="the SDK needs Python 3.11")
    subprocess.run(
        [sys.executable, str(GENERATOR / "build.py"), str(tmp_path)], check=True, cwd=str(ROOT)
    )
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(NAMES)
    for name in NAMES:
        made = (tmp_path / f"{name}.json").read_text(encoding="utf-8")
        stored = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert made == stored, f"{name}: run scripts/generate-dashboards"


@pytest.mark.parametrize("name", NAMES)
def test_boards_come_back_from_the_sdk_unchanged(name):
    pytest.importorskip("grafana_foundation_sdk", reason="the SDK needs Python 3.11")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    board = read_board(name)
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert again["panels"] == board["panels"]
    assert again["title"] == board["title"]


@pytest.mark.parametrize("name", NAMES)
def test_a_board_works_on_any_grafana(name):
    board = read_board(name)
    assert board["uid"].startswith("ascend-bert-")
    assert board.get("id") is None
    assert board["editable"] is False
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    panels = list_panels(board)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels:
        source = {"type": "prometheus", "uid": "${datasource}"}
        assert panel["datasource"] == source
        assert panel["title"]
        assert panel["description"].endswith(".")
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        for target in panel["targets"]:
            assert target["datasource"] == source
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= set(variables), panel["title"]
    for mark in board["annotations"].get("list", []):
        assert mark["datasource"] == source
        assert set(re.findall(r"\$(\w+)", mark["expr"])) <= set(variables)


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_lie_on_each_other(name):
    taken = {}
    for panel in read_board(name)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[(x, y)])
                taken[(x, y)] = panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_queries_use_only_series_that_exist(name):
    known = {series.name for series in ALL_SERIES} | _list_recorded() | FOREIGN
    marks = [
        PanelQuery(name, mark["name"], mark["expr"], False)
        for mark in read_board(name)["annotations"].get("list", [])
    ]
    for query in [*list_queries(name), *marks]:
        names = _list_names(query.expr)
        assert names or "__name__" in query.expr, query
        for each in names:
            assert each in known or _base_name(each) in known, query
            if _base_name(each) in known and each not in known:
                (series,) = [s for s in ALL_SERIES if s.name == _base_name(each)]
                assert series.type == "histogram", query


@pytest.mark.parametrize("name", NAMES)
def test_counters_are_shown_as_growth_and_gauges_as_they_are(name):
    types = {series.name: series.type for series in ALL_SERIES}
    for query in list_queries(name):
        for metric in re.findall(r"(?:rate|increase)\((\w+)", query.expr):
            assert types[_base_name(metric)] in ("counter", "histogram"), query


def test_every_series_is_on_a_board():
    """Nothing is exported that nobody would look at; there are no exceptions to list."""
    shown, patterns = set(), []
    for name in NAMES:
        for query in list_queries(name):
            shown |= {_base_name(each) for each in _list_names(query.expr)}
            shown |= _list_marked(name)
            patterns += re.findall(r'__name__=~"([^"]+)"', query.expr)
    recorded = {}
    for path in (ROOT / "docker" / "prometheus" / "rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    recorded[rule["record"]] = rule["expr"]
    for record in set(recorded) & shown:
        shown |= {_base_name(each) for each in re.findall(r"ascend_bert_\w+", recorded[record])}
    missing = {
        series.name
        for series in ALL_SERIES
        if series.name not in shown
        and not any(re.fullmatch(pattern, series.name) for pattern in patterns)
    }
    assert missing == set()


def test_the_table_of_series_is_what_the_generator_makes():
    made = subprocess.run(
        [sys.executable, str(GENERATOR / "series_table.py")],
        check=True,
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
    )
    stored = (ROOT / "docker" / "SERIES.md").read_bytes()
    assert made.stdout == stored, "run scripts/generate-dashboards"


def test_provisioning_points_where_compose_puts_things():
    folder = ROOT / "docker" / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())
    assert [each["type"] for each in source["datasources"]] == ["prometheus"]
    provider = yaml.safe_load((folder / "dashboards" / "ascend-bert.yaml").read_text())
    assert provider["providers"][0]["options"]["path"] == "/etc/grafana/dashboards"


def test_the_generator_is_there_for_the_developers_python():
    assert importlib.util.find_spec("grafana_foundation_sdk"), "scripts/prepare dev installs it"
