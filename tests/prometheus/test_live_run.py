"""A real Prometheus scrapes a run while it goes, its end, and its stored result."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bench.series import ALL_SERIES, JUDGED_SERIES, RESULT_SERIES
from tests.prometheus.boards import NAMES, ROOT, fill_in, list_queries
from tests.prometheus.services import (
    Receiver,
    fetch_json,
    find_free_port,
    run_alertmanager,
    run_prometheus,
    run_pushgateway,
    wait_for,
)

CARDS = 16
STEPS = 2000
SPEED = 150.0
"""Simulated seconds per second: the run takes about 7 s, of which each is a scrape."""

EMPTY_BY_DESIGN = {
    ("run-overview", "Alerts"): "no alert fires in a sound run",
    ("nightly", "Checks that did not pass"): "all pass",
    ("nightly", "Failures"): "there are none",
    ("nightly", "Against the baseline"): "there is no other night to compare with",
    ("nightly", "Changes"): "one night has none",
    ("nightly", "Found this week"): "one night has none",
}
"""Panels that are right when they show nothing; test_a_failed_run has data for them."""


def _start(arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=str(ROOT),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        **more,
    )


def _bench(output, *more, cards=CARDS, steps=STEPS, speed=SPEED):
    return [
        *["bench", "--backend", "simulated", "--cards", str(cards), "--steps", str(steps)],
        *["--set", f"simulated.speed={speed}", "--set", "simulated.steps_per_second=2.5"],
        *["--output", str(output), *more],
    ]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A run that has been scraped from beginning to end, and the exporter over its result."""
    folder = tmp_path_factory.mktemp("scene")
    output = folder / "results"
    address = f"127.0.0.1:{find_free_port()}"
    output.mkdir()
    processes = []
    with run_pushgateway(folder) as gateway:
        jobs = {"ascend-bert-results": address, "pushgateway": gateway}
        try:
            exporter = _start(["exporter", str(output), "--listen", address])
            processes.append(exporter)
            wait_for(exporter.stderr.readline, 20.0, "the exporter does not start")
            pattern = str(output / "prometheus" / "*.json")
            with run_prometheus(folder / "prometheus", pattern, jobs) as prometheus:
                push = f"http://{gateway}"
                run = _start(
                    _bench(
                        output,
                        *["--metrics-port", "0", "--push", push, "--linger", "300", "--quiet"],
                        cards=f"2,{CARDS}",
                    )
                )
                processes.append(run)
                yield {
                    "prometheus": prometheus,
                    "gateway": gateway,
                    "output": output,
                    "run": run,
                    "exporter": exporter,
                    "address": address,
                }
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
                process.stderr.close()


def _get_run_id(prometheus):
    """The run with most cards, when its turn in the sweep has come."""
    found = prometheus.query('ascend_bert_run_info{job="ascend-bert"}')
    run_ids = [sample["metric"]["run_id"] for sample in found]
    return next((run_id for run_id in run_ids if f"-{CARDS}p-" in run_id), None)


def _fill(expr, run_id, window="1m"):
    values = {
        "run_id": run_id,
        "rank": ".*",
        "device": ".*",
        "case": ".*",
        "job": "ascend-bert-results",
        "instance": ".*",
        "window": window,
        "__rate_interval": "10s",
    }
    return fill_in(expr, values)


def test_1_the_live_run_is_found_and_its_series_are_right(scene):
    prometheus = scene["prometheus"]
    run_id = wait_for(lambda: _get_run_id(prometheus), 60.0, "the run is not scraped")
    # Of the endpoint alone: the Pushgateway has them as well.
    query = f'count(ascend_bert_train_global_step{{run_id="{run_id}",job="ascend-bert"}})'
    wait_for(
        lambda: [s for s in prometheus.query(query) if s["value"][1] == str(CARDS)],
        60.0,
        "not every rank has reported",
    )
    # What the second run of the sweep does is not booked on the first.
    first = f'ascend_bert_run_state{{run_id!="{run_id}",state="finished"}}[1m]'
    assert prometheus.query(f"last_over_time({first}) == 1")
    # No label clashes with one of Prometheus' own.
    assert prometheus.query('{__name__=~"ascend_bert_.+",exported_job!=""}') == []
    wait_for(
        lambda: prometheus.query(
            f'run_id:ascend_bert_train_sequences:rate5m{{run_id="{run_id}"}} > 0'
        ),
        30.0,
        "no rate is recorded",
    )
    scene["run_id"] = run_id


def test_2_the_pushgateway_has_the_run(scene):
    def is_there():
        groups = fetch_json("http://{}/api/v1/metrics".format(scene["gateway"]))["data"]
        return [group for group in groups if "ascend_bert_train_loss" in group]

    (group,) = wait_for(is_there, 30.0, "nothing was pushed")
    assert group["labels"]["job"] == "ascend-bert-pushed"
    assert scene["run_id"].startswith(group["labels"]["session_id"])
    query = 'count by (run_id) (ascend_bert_run_info{job="ascend-bert"})'
    assert len(scene["prometheus"].query(query)) == 2


def test_3_the_end_is_scraped(scene):
    prometheus, run_id = scene["prometheus"], scene["run_id"]
    query = f'ascend_bert_run_state{{run_id="{run_id}",state="finished",job="ascend-bert"}} == 1'
    wait_for(lambda: prometheus.query(query), 90.0, "the end was not scraped")
    wait_for(
        lambda: len(prometheus.query('ascend_bert_result_valid{job="ascend-bert-results"}')) == 2,
        30.0,
        "the stored result was not scraped",
    )
    session = run_id[: len("20260101T000000Z-0000")]
    gate = ["gate", session, "--baseline", session, "--output", str(scene["output"])]
    judging = _start(gate)
    # A session says nothing against itself.
    assert judging.wait(30) == 3
    judging.stderr.close()
    wait_for(
        lambda: prometheus.query('ascend_bert_gate_verdict{verdict="no_verdict"} == 1'),
        30.0,
        "the verdict was not scraped",
    )
    time.sleep(3.0)  # rules need a scrape and an evaluation more
    scene["seen_at"] = time.time()


@pytest.mark.parametrize("name", NAMES)
def test_4_every_query_of_every_board_returns_data(scene, name):
    prometheus, at = scene["prometheus"], scene["seen_at"]
    empty = []
    for query in list_queries(name):
        expr = _fill(query.expr, scene["run_id"])
        found = (
            prometheus.query(expr, at)
            if query.instant
            else prometheus.query_range(expr, at - 60.0, at, 1.0)
        )
        if not found and (name, query.panel) not in EMPTY_BY_DESIGN:
            empty.append((query.panel, expr))
    assert empty == []


def test_5_every_recording_rule_returns_data_and_no_rule_fails(scene):
    prometheus, at = scene["prometheus"], scene["seen_at"]
    rules = prometheus.list_rules()
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert len(recorded) >= 15
    empty = [name for name in recorded if not prometheus.query_range(name, at - 60.0, at, 1.0)]
    assert empty == []
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    assert firing == []


def test_6_every_series_of_the_catalogue_was_scraped(scene):
    at = scene["seen_at"]
    prometheus = scene["prometheus"]
    optional = {series.name for series in RESULT_SERIES + JUDGED_SERIES}
    absent = []
    for series in ALL_SERIES:
        name = series.name + ("_count" if series.type == "histogram" else "")
        if not prometheus.query(f"max_over_time({name}[2m])", at) and series.name not in optional:
            absent.append(series.name)
    assert absent == []


def test_7_the_scrape_is_quick_and_small(scene):
    at, prometheus = scene["seen_at"], scene["prometheus"]
    job = '{job="ascend-bert"}'
    (size,) = prometheus.query(f"max_over_time(scrape_samples_scraped{job}[2m])", at)
    assert 300 < float(size["value"][1]) <= 2000
    (spent,) = prometheus.query(f"quantile_over_time(0.5, scrape_duration_seconds{job}[2m])", at)
    # 50 ms are the aim on a machine of its own (tests/perf/exporter); tests share theirs.
    assert float(spent["value"][1]) < 0.5


def test_8_all_is_cleaned_up_at_the_end(scene):
    # A signal ends the wait after the run, and nothing else.
    scene["run"].send_signal(signal.SIGTERM)
    assert scene["run"].wait(60) == 0
    assert list((scene["output"] / "prometheus").iterdir()) == []
    groups = fetch_json("http://{}/api/v1/metrics".format(scene["gateway"]))["data"]
    assert groups == []
    wait_for(
        lambda: (
            not [
                t for t in scene["prometheus"].list_targets() if t["labels"]["job"] == "ascend-bert"
            ]
        ),
        30.0,
        "the target of an ended run is still scraped",
    )
    # The end of the target is not an outage.
    assert scene["prometheus"].query('ALERTS{alertname="TargetDown",alertstate="firing"}') == []


def test_9_promtool_finds_nothing_to_say_about_either_endpoint(scene):
    import urllib.request

    with urllib.request.urlopen("http://{}/metrics".format(scene["address"]), timeout=10) as body:
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=body.read(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert (done.returncode, done.stdout.decode()) == (0, "")


def test_a_failed_run_reaches_the_receiver_of_alertmanager(tmp_path):
    output = tmp_path / "results"
    with Receiver() as receiver, run_alertmanager(tmp_path, receiver.url) as alertmanager:
        pattern = str(output / "prometheus" / "*.json")
        with run_prometheus(tmp_path / "prometheus", pattern, {}, alertmanager):
            failing = ["--set", "simulated.fail_rank=1", "--set", "simulated.fail_step=100"]
            words = ["--metrics-port", "0", "--linger", "30", "--quiet"]
            run = _start(_bench(output, *words, *failing, cards=2, steps=200, speed=40.0))
            try:
                alerts = wait_for(
                    lambda: [a for a in receiver.alerts if a["labels"]["alertname"] == "RunFailed"],
                    60.0,
                    "the alert did not arrive",
                )
                started = time.monotonic()
                run.send_signal(signal.SIGTERM)
                # A signal ends the linger; the failure of the run still decides the exit code.
                assert run.wait(20) == 4
                assert time.monotonic() - started < 10.0
            finally:
                run.kill()
                run.wait()
                run.stderr.close()
    (folder,) = (output / "runs").iterdir()
    (alert,) = alerts[:1]
    assert alert["labels"]["run_id"] == folder.name
    assert alert["labels"]["severity"] == "critical"
    assert folder.name in alert["annotations"]["summary"]
    assert "result.json" in alert["annotations"]["runbook"]
    assert json.loads((folder / "result.json").read_text())["state"] == "failed"
