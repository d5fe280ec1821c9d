"""The metrics endpoint: names from the catalogue, values from the live state, clean text."""

import math
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bench.catalogue import LIVE_SERIES, PREFIX, RUN_STATES
from bench.errors import PortError
from bench.export.collector import LiveCollector
from bench.export.server import MetricsServer
from bench.measure.live import LiveRun, RunFacts

FACTS = RunFacts(
    run_id="r",
    model='hostile"\\\nname',
    backend="cpu",
    simulated=False,
    precision="fp32",
    task="pretrain",
    world_size=2,
    batch_size=16,
    seq_length=128,
    steps=100,
    iterations_per_loop=10,
    started_at_seconds=1.5e9,
    devices=(0, 4),
)


def _expose(live):
    registry = CollectorRegistry()
    registry.register(LiveCollector(live.snapshot if live else lambda: None))
    return generate_latest(registry).decode()


def _full_run():
    live = LiveRun(FACTS)
    live.set_state("measuring")
    for rank in (0, 1):
        live.set_up(rank, True)
        live.report_loss(rank, 10, 10.0, 0.7, 10.7, 1.5e9)
        live.report_loss(rank, 30, math.nan, 0.6, math.nan, 1.5e9)
        live.report_rate(rank, 2.5, 1.5e9)
        live.report_loss_scale(rank, 65536.0)
        live.report_checkpoint(rank)
    return live


def test_counters_count_what_the_rank_did():
    body = _expose(_full_run())
    assert 'ascend_bert_train_steps_total{rank="1"} 30.0' in body
    assert 'ascend_bert_train_sequences_total{rank="1"} 480.0' in body
    assert 'ascend_bert_train_tokens_total{rank="1"} 61440.0' in body
    assert 'ascend_bert_train_mlm_loss{rank="0"} NaN' in body
    assert 'ascend_bert_train_nonfinite_loss_total{rank="0"} 1.0' in body
    assert 'ascend_bert_rank_up{device="4",rank="1"} 1.0' in body
    assert "ascend_bert_run_global_batch_size 32.0" in body
    assert 'model="hostile\\"\\\\\\nname"' in body


def test_every_series_of_the_catalogue_is_exported_and_no_other():
    body = _expose(_full_run())
    exported = set(re.findall(r"^# TYPE (\S+) ", body, re.MULTILINE))
    assert exported == {series.name for series in LIVE_SERIES}


def test_before_the_first_report_counters_are_0_and_gauges_absent():
    body = _expose(LiveRun(FACTS))
    assert 'ascend_bert_train_steps_total{rank="0"} 0.0' in body
    assert "ascend_bert_train_loss{" not in body
    assert 'ascend_bert_run_state{state="pending"} 1.0' in body


def test_between_runs_only_the_exporter_speaks():
    body = _expose(None)
    assert "ascend_bert_exporter_build_info" in body
    assert "ascend_bert_run_info" not in body


def test_one_state_at_a_time():
    live = LiveRun(FACTS)
    for state in RUN_STATES:
        live.set_state(state)
        values = re.findall(r"run_state\{state=\"(\w+)\"\} (\S+)", _expose(live))
        assert [name for name, value in values if value == "1.0"] == [state]
    with pytest.raises(ValueError, match="unknown run state"):
        live.set_state("paused")


def test_counters_never_fall_after_a_restart():
    live = LiveRun(FACTS)
    for step in (10, 50, 11):
        live.report_loss(0, step, 1.0, 1.0, 2.0, 0.0)
    assert live.snapshot().ranks[0].steps_done == 50
    assert live.snapshot().ranks[0].step == 11


def test_names_follow_the_conventions():
    for series in LIVE_SERIES:
        assert series.name.startswith(PREFIX)
        assert series.name.endswith("_total") == (series.type == "counter")
        assert series.help.endswith(".")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say():
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=_expose(_full_run()).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


@pytest.mark.skipif("CI" not in os.environ, reason="only CI promises promtool")
def test_ci_has_promtool():
    assert shutil.which("promtool")


def test_endpoint_on_loopback_and_its_end():
    live = _full_run()
    with MetricsServer(LiveCollector(live.snapshot), 0) as server:
        assert server.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(server.url, timeout=10) as response:
            assert response.headers["Content-Type"].startswith("text/plain")
            assert b"ascend_bert_train_steps_total" in response.read()
        port = int(server.url.split(":")[2].split("/")[0])
        with pytest.raises(PortError, match=f"127.0.0.1:{port}"):
            MetricsServer(LiveCollector(live.snapshot), port)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, timeout=10)
