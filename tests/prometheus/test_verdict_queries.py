"""What the nightly board shows of verdicts and changes, by Prometheus' own engine."""

import subprocess

import pytest
import yaml

from tests.prometheus.boards import fill_in, list_queries, read_board

P = "ascend_bert_"
AT = 'job="ascend-bert-results",instance="h"'
CELL = f'{AT},case="c",metric="sequences_per_second"'
CHANGE = f'{CELL},session="s",kind="step",effect="worse"'


def _check(tmp_path, series, expr, wanted):
    expr = fill_in(expr, {"job": "ascend-bert-results", "case": ".*"})
    test = {
        "interval": "1m",
        "input_series": [{"series": P + name, "values": value} for name, value in series.items()],
        "promql_expr_test": [
            {
                "expr": f"max({expr})",
                "eval_time": "10m",
                "exp_samples": [{"labels": "{}", "value": wanted}] if wanted is not None else [],
            }
        ],
    }
    path = tmp_path / "verdicts.test.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()


def _state(name, labels, verdict):
    words = ("pass", "no_verdict", "regression")
    return {f'{name}{{{labels},verdict="{word}"}}': f"{int(word == verdict)}x20" for word in words}


@pytest.mark.parametrize(("number", "word"), list(enumerate(["pass", "no_verdict", "regression"])))
@pytest.mark.parametrize(
    ("panel", "series", "labels"),
    [
        ("Last verdict", "gate_verdict", AT),
        ("Verdict of each case", "gate_case_verdict", CELL),
    ],
)
def test_a_verdict_is_shown_as_what_it_is(tmp_path, number, word, panel, series, labels):
    (query,) = [query for query in list_queries("nightly") if query.panel == panel]
    _check(tmp_path, _state(series, labels, word), query.expr, number)


def test_changes_are_counted_and_stand_where_they_began(tmp_path):
    series = {
        f"history_change_ratio{{{CHANGE}}}": "-0.06x20",
        f"history_change_timestamp_seconds{{{CHANGE}}}": "1700000000x20",
    }
    (query,) = [query for query in list_queries("nightly") if query.panel == "Worse"]
    _check(tmp_path, series, query.expr, 1)
    _check(tmp_path, {}, query.expr, 0)
    marks = {mark["name"]: mark["expr"] for mark in read_board("nightly")["annotations"]["list"]}
    _check(tmp_path, series, marks["Worse from here on"], 1700000000000)
    _check(tmp_path, series, marks["Better from here on"], None)


def test_red_nights_stand_when_they_were_judged(tmp_path):
    marks = {mark["name"]: mark["expr"] for mark in read_board("nightly")["annotations"]["list"]}
    series = {
        f"gate_judged_timestamp_seconds{{{AT}}}": "1700000000x20",
        **_state("gate_verdict", AT, "regression"),
    }
    _check(tmp_path, series, marks["regression"], 1700000000000)
    _check(tmp_path, series, marks["no verdict"], None)
