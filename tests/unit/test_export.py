"""The metrics of a live run: names from the catalogue, values from the state, clean text."""

import math
import os
import re
import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bench.catalogue import RUN_STATES
from bench.export.collector import BuildCollector, LiveCollector
from bench.export.telemetry import TelemetryCollector
from bench.measure.live import LiveRun, RunFacts
from bench.series import COMMON_SERIES, PREFIX, RUN_SERIES, TELEMETRY_SERIES
from bench.telemetry.model import (
    CardReading,
    HostReading,
    RankReading,
    SourceState,
    TelemetrySample,
    TelemetrySnapshot,
)

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


def _expose(*collectors):
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry).decode()


def _expose_live(live):
    return _expose(LiveCollector(live.snapshot if live else lambda: None))


def _telemetry(get_snapshot):
    return TelemetryCollector(get_snapshot, lambda: FACTS)


def _full_run():
    live = LiveRun(FACTS)
    live.set_state("measuring")
    for rank in (0, 1):
        live.set_up(rank, True)
        live.set_problems(rank, 3)
        live.report_loss(rank, 10, 10.0, 0.7, 10.7, 1.5e9)
        live.report_loss(rank, 30, math.nan, 0.6, math.nan, 1.5e9)
        live.report_rate(rank, 2.5, 1.5e9)
        live.report_loss_scale(rank, 65536.0)
        live.report_checkpoint(rank)
    return live


def _full_card(device):
    return CardReading(
        device=device,
        name="910A",
        bus_id="0000:C1:00.0",
        firmware_version="1.76.22.3.220",
        health="ok",
        power_watts=250.5,
        energy_joules=1000.0,
        temperature_celsius=61.0,
        core_usage_ratio=0.87,
        core_frequency_hertz=9.0e8,
        core_rated_frequency_hertz=1.0e9,
        hbm_used_bytes=30 << 30,
        hbm_total_bytes=32 << 30,
        hbm_ecc_single_bit_errors=2,
        hbm_ecc_double_bit_errors=0,
        process_ids=(7, 8),
        foreign_process_ids=(8,),
        link_up=True,
        network_health="Success",
        link_up_count=3,
        roce_receive_errors=1,
        roce_transmit_errors=0,
        roce_retries=0,
    )


def _full_telemetry(devices=(0, 4), n_ranks=2):
    host = HostReading(
        cpu_seconds={"user": 5.0, "idle": 6.0, "guest": 5.0},
        load_average_1min=0.5,
        memory_total_bytes=1 << 34,
        memory_available_bytes=1 << 33,
        swap_used_bytes=0,
        network_receive_bytes={"eth0": 10, "eth1": 5},
        network_transmit_bytes={"eth0": 20},
        output_total_bytes=1000,
        output_free_bytes=900,
    )
    sources = {
        name: SourceState(name, True, None, 0.01, 1.5e9, 10, 1, 2) for name in ("host", "npu_smi")
    }
    ranks = {
        rank: RankReading(rank, rank, 100 + rank, cpu_seconds=1.5, resident_bytes=1 << 20)
        for rank in range(n_ranks)
    }
    cards = {device: _full_card(device) for device in devices}
    sample = TelemetrySample(1.0, 1.5e9, cards=cards, host=host, ranks=ranks)
    return TelemetrySnapshot(sample, sources, samples=10, missed=1, cost_seconds=0.25)


def _list_names(body):
    return set(re.findall(r"^# TYPE (\S+) ", body, re.MULTILINE))


def test_counters_count_what_the_run_did():
    body = _expose_live(_full_run())
    assert 'ascend_bert_train_steps_total{rank="1",run_id="r"} 30.0' in body
    assert 'ascend_bert_train_sequences_total{run_id="r"} 960.0' in body
    assert 'ascend_bert_train_tokens_total{run_id="r"} 122880.0' in body
    assert 'ascend_bert_train_mlm_loss{rank="0",run_id="r"} NaN' in body
    assert 'ascend_bert_train_checkpoints_total{run_id="r"} 1.0' in body
    assert 'ascend_bert_train_nonfinite_loss_total{run_id="r"} 2.0' in body
    assert 'ascend_bert_exporter_parse_errors_total{run_id="r"} 6.0' in body
    assert 'ascend_bert_rank_up{device="4",rank="1",run_id="r"} 1.0' in body
    assert 'ascend_bert_run_global_batch_size{run_id="r"} 32.0' in body
    assert 'model="hostile\\"\\\\\\nname"' in body


def test_step_times_are_a_histogram_of_intervals():
    live = LiveRun(FACTS)
    for rate in (2.5, 2.5, 5.0, 0.1, 0.0, math.inf):
        live.report_rate(0, rate, 1.5e9)
    body = _expose_live(live)
    name = "ascend_bert_train_step_duration_seconds"
    # 1/5 = 0.2 s lies in the bucket that it bounds; a rate of 0 or infinity is no step time.
    assert f'{name}_bucket{{le="0.16",run_id="r"}} 0.0' in body
    assert f'{name}_bucket{{le="0.2",run_id="r"}} 1.0' in body
    assert f'{name}_bucket{{le="0.4",run_id="r"}} 3.0' in body
    assert f'{name}_bucket{{le="6.3",run_id="r"}} 3.0' in body
    assert f'{name}_bucket{{le="+Inf",run_id="r"}} 4.0' in body
    assert f'{name}_count{{run_id="r"}} 4.0' in body
    (total,) = re.findall(rf'{name}_sum{{run_id="r"}} (\S+)', body)
    assert float(total) == pytest.approx(0.4 + 0.4 + 0.2 + 10.0)


def test_telemetry_in_base_units():
    body = _expose(_telemetry(_full_telemetry))
    assert 'ascend_bert_npu_power_watts{device="4",run_id="r"} 250.5' in body
    assert 'ascend_bert_npu_core_frequency_hertz{device="0",run_id="r"} 9e+08' in body
    assert 'ascend_bert_npu_core_rated_frequency_hertz{name="910A",run_id="r"} 1e+09' in body
    assert 'ascend_bert_npu_hbm_ecc_errors_total{bits="single",device="0",run_id="r"} 2.0' in body
    assert 'ascend_bert_npu_foreign_processes{device="0",run_id="r"} 1.0' in body
    assert "ascend_bert_host_network_receive_bytes_total 15.0" in body
    assert 'ascend_bert_host_cpu_seconds_total{mode="user"} 5.0' in body
    assert "guest" not in body
    assert 'ascend_bert_exporter_collector_parse_errors_total{collector="npu_smi"} 2.0' in body


def test_what_a_card_does_not_tell_is_absent_not_0():
    cards = {0: CardReading(0, health="unknown", network_health="Init")}
    snapshot = TelemetrySnapshot(TelemetrySample(0.0, 1.6e9, cards=cards))
    body = _expose(_telemetry(lambda: snapshot))
    samples = [line for line in body.splitlines() if line.startswith(PREFIX + "npu_")]
    assert samples == [
        'ascend_bert_npu_info{bus_id="",device="0",firmware_version="",name="",run_id="r"} 1.0'
    ]


@pytest.mark.parametrize(
    ("health", "value"), [("ok", "1.0"), ("warning", "0.0"), ("critical", "0.0")]
)
def test_health_as_a_flag(health, value):
    cards = {3: CardReading(3, health=health)}
    snapshot = TelemetrySnapshot(TelemetrySample(0.0, 1.6e9, cards=cards))
    body = _expose(_telemetry(lambda: snapshot))
    assert f'ascend_bert_npu_healthy{{device="3",run_id="r"}} {value}' in body


def test_without_telemetry_or_before_its_first_sample_nothing_is_made_up():
    assert _expose(_telemetry(lambda: None)) == ""
    body = _expose(_telemetry(TelemetrySnapshot))
    assert "ascend_bert_exporter_samples_total 0.0" in body
    assert "npu_" not in body
    assert "host_" not in body


def test_the_end_of_a_run_is_seen_while_the_next_one_goes():
    first, second = LiveRun(FACTS), LiveRun(RunFacts(**{**vars(FACTS), "run_id": "s"}))
    first.set_state("failed")
    second.set_state("compiling")
    body = _expose(LiveCollector(second.snapshot, lambda: [first.snapshot()] * 30))
    assert 'run_state{run_id="r",state="failed"} 1.0' in body
    assert 'run_state{run_id="s",state="compiling"} 1.0' in body
    assert body.count("# TYPE ascend_bert_run_state ") == 1
    assert body.count('run_state{run_id="r",state="failed"}') == 20
    assert 'run_world_size{run_id="r"}' not in body


def test_the_last_sample_of_the_run_before_is_not_booked_on_this_one():
    later = RunFacts(**{**vars(FACTS), "run_id": "later", "started_at_seconds": 1.7e9})
    body = _expose(TelemetryCollector(_full_telemetry, lambda: later))
    assert "ascend_bert_host_load1" in body
    assert "later" not in body
    assert "ascend_bert_npu_" not in body
    assert "npu_info" not in _expose(TelemetryCollector(_full_telemetry, lambda: None))


def test_every_series_of_the_catalogue_is_exported_and_no_other():
    body = _expose(
        BuildCollector(),
        LiveCollector(_full_run().snapshot),
        _telemetry(_full_telemetry),
    )
    catalogue = RUN_SERIES + TELEMETRY_SERIES + COMMON_SERIES
    assert _list_names(body) == {series.name for series in catalogue}


def test_64_ranks_and_cards_stay_below_2000_series():
    facts = {**vars(FACTS), "world_size": 64, "devices": tuple(range(64))}
    live = LiveRun(RunFacts(**facts))
    for rank in range(64):
        live.report_loss(rank, 10, 10.0, 0.7, 10.7, 1.5e9)
        live.report_rate(rank, 2.5, 1.5e9)
        live.report_loss_scale(rank, 65536.0)
    telemetry = _full_telemetry(range(64), 64)
    body = _expose(
        BuildCollector(),
        LiveCollector(live.snapshot),
        _telemetry(lambda: telemetry),
    )
    n_series = sum(not line.startswith("#") for line in body.splitlines())
    assert 1800 < n_series <= 2000


def test_before_the_first_report_counters_are_0_and_gauges_absent():
    body = _expose_live(LiveRun(FACTS))
    assert 'ascend_bert_train_steps_total{rank="0",run_id="r"} 0.0' in body
    assert 'ascend_bert_train_step_duration_seconds_count{run_id="r"} 0.0' in body
    assert "ascend_bert_train_loss{" not in body
    assert 'ascend_bert_run_state{run_id="r",state="pending"} 1.0' in body


def test_before_the_first_run_only_the_exporter_speaks():
    body = _expose(BuildCollector(), LiveCollector(lambda: None))
    assert "ascend_bert_exporter_build_info" in body
    assert "ascend_bert_run_info" not in body


def test_one_state_at_a_time():
    live = LiveRun(FACTS)
    for state in RUN_STATES:
        live.set_state(state)
        values = re.findall(r"run_state\{run_id=\"r\",state=\"(\w+)\"\} (\S+)", _expose_live(live))
        assert [name for name, value in values if value == "1.0"] == [state]
    with pytest.raises(ValueError, match="unknown run state"):
        live.set_state("paused")


def test_counters_never_fall_after_a_restart():
    live = LiveRun(FACTS)
    for step in (10, 50, 11):
        live.report_loss(0, step, 1.0, 1.0, 2.0, 0.0)
    assert live.snapshot().ranks[0].steps_done == 50
    assert live.snapshot().ranks[0].step == 11


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say():
    body = _expose(
        BuildCollector(),
        LiveCollector(_full_run().snapshot),
        _telemetry(_full_telemetry),
    )
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=body.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


@pytest.mark.skipif("CI" not in os.environ, reason="only CI promises promtool")
def test_ci_has_promtool():
    assert shutil.which("promtool")


@pytest.mark.parametrize("n_ranks", [256, 257])
def test_very_many_ranks_show_as_quantiles(n_ranks):
    facts = {**vars(FACTS), "world_size": n_ranks, "devices": tuple(range(n_ranks))}
    live = LiveRun(RunFacts(**facts))
    for rank in range(n_ranks):
        live.set_up(rank, rank > 0)
        live.report_loss(rank, 10 * rank, 10.0, 0.7, math.nan if rank == 3 else rank, 1.5e9 + rank)
        live.report_rate(rank, 2.0 if rank else 0.5, 1.5e9)
    telemetry = _full_telemetry(range(n_ranks), n_ranks)
    body = _expose(BuildCollector(), LiveCollector(live.snapshot), _telemetry(lambda: telemetry))
    assert ("ascend_bert_train_global_step{" in body) == (n_ranks <= 256)
    assert ("ascend_bert_npu_power_watts{" in body) == (n_ranks <= 256)
    shown = dict(re.findall(r'ascend_bert_ranks_global_step{[^}]*share="([^"]+)"} (\S+)', body))
    top = 10.0 * (n_ranks - 1)
    assert shown == {
        "0": "0.0", "0.05": str(10.0 * round(0.05 * (n_ranks - 1))),
        "0.5": str(10.0 * round(0.5 * (n_ranks - 1))),
        "0.95": str(10.0 * round(0.95 * (n_ranks - 1))), "1": str(top),
    }  # fmt: skip
    assert f'ascend_bert_ranks_up{{run_id="{FACTS.run_id}"}} {n_ranks - 1}.0' in body
    assert re.search(r'ranks_interval_step_seconds{[^}]*share="1"} 2.0', body)
    if n_ranks > 256:
        assert sum(not line.startswith("#") for line in body.splitlines()) < 200
