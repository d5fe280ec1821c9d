"""What makes each alert fire, and what is like it but must not.

``firing`` and ``silent`` are series in promtool's notation, one sample a minute; ``at`` is the time
at which the alert is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

P = "ascend_bert_"


@dataclass(frozen=True)
class AlertCase:
    """One alert, firing and silent.

    Attributes:
        firing: series → values with which it fires.
        silent: the same series with values, or other series, with which it does not.
        at: promtool duration.
        count: how many alerts fire.
    """

    firing: Dict[str, str]
    silent: Tuple[Dict[str, str], ...]
    at: str = "30m"
    count: int = 1


FOUND = P + 'history_change_found_timestamp_seconds{case="c",metric="m",effect='

MEASURING = {P + 'run_state{run_id="r",state="measuring"}': "1x120"}
FINISHED = {
    P + 'run_state{run_id="r",state="measuring"}': "0x120",
    P + 'run_state{run_id="r",state="finished"}': "1x120",
}


def run(series: Dict[str, str], state: Dict[str, str] = MEASURING) -> Dict[str, str]:
    """Series of run ``r``, with the state that it is in."""
    return {**{P + name: values for name, values in series.items()}, **state}


def step_times(middle: int, slow: int) -> Dict[str, str]:
    """100 intervals a minute: ``slow`` over 2 s, ``middle`` over 0.1 s, the rest over 0.07 s."""
    name = P + 'train_step_duration_seconds_bucket{run_id="r",le="%s"}'
    below = {"0.07": 0, "0.1": 100 - middle - slow, "0.15": 100 - slow, "2.0": 100 - slow}
    counts = {**below, "3.0": 100, "+Inf": 100}
    return {name % bound: f"0+{count}x60" for bound, count in counts.items()}


OLD = 'exporter_collector_last_success_timestamp_seconds{collector="host"}'
LINK = 'npu_link_up{run_id="r",instance="h",device="0"}'
RATE = P + 'train_sequences_total{run_id="r"}'

ALERT_CASES: Dict[str, AlertCase] = {
    "TargetDown": AlertCase(
        {'up{job="ascend-bert",instance="h"}': "1x10 0x50"},
        (
            {'up{job="ascend-bert",instance="h"}': "1x28 0 1x50"},
            {'up{job="prometheus",instance="h"}': "0x60"},
        ),
    ),
    "TrainingStalled": AlertCase(
        run({'train_last_step_timestamp_seconds{run_id="r",rank="0"}': "0+60x10 600x50"}),
        (
            run({'train_last_step_timestamp_seconds{run_id="r",rank="0"}': "0+60x60"}),
            run({'train_last_step_timestamp_seconds{run_id="r",rank="0"}': "600x60"}, FINISHED),
        ),
    ),
    "NoFirstStep": AlertCase(
        run({'run_start_timestamp_seconds{run_id="r"}': "0x60"}),
        (
            run({'run_start_timestamp_seconds{run_id="r"}': "1800x60"}),
            run(
                {
                    'run_start_timestamp_seconds{run_id="r"}': "0x60",
                    'train_last_step_timestamp_seconds{run_id="r",rank="3"}': "60x60",
                }
            ),
            run({'run_start_timestamp_seconds{run_id="r"}': "0x60"}, FINISHED),
        ),
        at="40m",
    ),
    "RankMissing": AlertCase(
        run(
            {
                'run_world_size{run_id="r"}': "2x60",
                'rank_up{run_id="r",rank="0",device="0"}': "0x60",
                'rank_up{run_id="r",rank="1",device="1"}': "0x60",
            }
        ),
        (
            run(
                {
                    'run_world_size{run_id="r"}': "2x60",
                    'rank_up{run_id="r",rank="0",device="0"}': "1x60",
                    'rank_up{run_id="r",rank="1",device="1"}': "1x60",
                }
            ),
            run(
                {
                    'run_world_size{run_id="r"}': "2x60",
                    'rank_up{run_id="r",rank="0",device="0"}': "0x60",
                },
                FINISHED,
            ),
        ),
    ),
    "RankLagging": AlertCase(
        run(
            {
                'train_global_step{run_id="r",rank="0"}': "0+10x60",
                'train_global_step{run_id="r",rank="1"}': "0+5x60",
                'run_iterations_per_loop{run_id="r"}': "10x60",
            }
        ),
        (
            run(
                {
                    'train_global_step{run_id="r",rank="0"}': "0+10x60",
                    'train_global_step{run_id="r",rank="1"}': "0 0+10x60",
                    'run_iterations_per_loop{run_id="r"}': "10x60",
                }
            ),
        ),
    ),
    "NonFiniteLoss": AlertCase(
        run({'train_loss{run_id="r",rank="0"}': "9x10 " + 30 * "NaN "}),
        (
            run(
                {
                    'train_loss{run_id="r",rank="0"}': "9x60",
                    'train_nonfinite_loss_total{run_id="r"}': "3x60",
                }
            ),
        ),
    ),
    "LossScaleCollapsed": AlertCase(
        run({'train_loss_scale{run_id="r",rank="0"}': "0.5x60"}),
        (run({'train_loss_scale{run_id="r",rank="0"}': "1x60"}),),
    ),
    "ThroughputDropped": AlertCase(
        {**MEASURING, RATE: "0+600x30 18000+480x60"},
        ({**MEASURING, RATE: "0+600x30 18000+570x60"}, {**FINISHED, RATE: "0+600x30 18000x60"}),
        at="55m",
    ),
    "StepTimeTail": AlertCase(
        step_times(0, 2),
        (step_times(0, 0), step_times(50, 0), step_times(5, 0), step_times(100, 0)),
    ),
    "RunFailed": AlertCase(
        {P + 'run_state{run_id="r",state="failed"}': "1x60"},
        ({P + 'run_state{run_id="r",state="failed"}': "0x60"},),
    ),
    "NpuUnhealthy": AlertCase(
        {
            P + 'npu_healthy{instance="h",device="0"}': "0x60",
            P + 'npu_healthy{instance="h",device="1"}': "1x60",
            'npu_chip_info_health_status{instance="h",id="2"}': "0x60",
        },
        (
            {
                P + 'npu_healthy{instance="h",device="0"}': "1x60",
                'npu_chip_info_health_status{instance="h",id="2"}': "-1x60",
            },
        ),
        count=2,
    ),
    "NpuHot": AlertCase(
        {P + 'npu_temperature_celsius{instance="h",device="0"}': "90x60"},
        ({P + 'npu_temperature_celsius{instance="h",device="0"}': "85x60"},),
    ),
    "NpuThrottled": AlertCase(
        run(
            {
                'npu_core_frequency_hertz{run_id="r",instance="h",device="0"}': "8e8x60",
                'npu_core_frequency_hertz{run_id="r",instance="h",device="1"}': "1e9x60",
                'npu_info{run_id="r",instance="h",device="0",name="910A"}': "1x60",
                'npu_info{run_id="r",instance="h",device="1",name="910A"}': "1x60",
                'npu_core_rated_frequency_hertz{run_id="r",instance="h",name="910A"}': "1e9x60",
            }
        ),
        (
            run(
                {
                    'npu_core_frequency_hertz{run_id="r",instance="h",device="0"}': "8e8x60",
                    'npu_info{run_id="r",instance="h",device="0",name="910A"}': "1x60",
                    'npu_core_rated_frequency_hertz{run_id="r",instance="h",name="910A"}': "1e9x60",
                },
                FINISHED,
            ),
        ),
    ),
    "NpuIdleWhileMeasuring": AlertCase(
        run({'npu_core_utilization_ratio{run_id="r",device="0"}': "0.05x60"}),
        (
            run({'npu_core_utilization_ratio{run_id="r",device="0"}': "0.5x60"}),
            run({'npu_core_utilization_ratio{run_id="r",device="0"}': "0.05x60"}, FINISHED),
        ),
    ),
    "ForeignProcessOnNpu": AlertCase(
        run({'npu_foreign_processes{run_id="r",device="0"}': "1x60"}),
        (
            run({'npu_foreign_processes{run_id="r",device="0"}': "0x60"}),
            run({'npu_foreign_processes{run_id="r",device="0"}': "1x60"}, FINISHED),
        ),
    ),
    "NpuLinkDown": AlertCase(
        run({'run_world_size{run_id="r"}': "16x60", LINK: "0x60"}),
        (
            run({'run_world_size{run_id="r"}': "16x60", LINK: "1x60"}),
            # On one host cards do not need the port, and it is often not wired.
            run({'run_world_size{run_id="r"}': "8x60", LINK: "0x60"}),
        ),
    ),
    "NpuLinkFlapping": AlertCase(
        {P + 'npu_link_up_transitions_total{instance="h",device="0"}': "4x20 5x40"},
        ({P + 'npu_link_up_transitions_total{instance="h",device="0"}': "4x60"},),
    ),
    "RoceErrors": AlertCase(
        {
            P + 'npu_roce_receive_errors_total{instance="h",device="0"}': "0+1x60",
            P + 'npu_roce_transmit_errors_total{instance="h",device="0"}': "0x60",
        },
        (
            {
                P + 'npu_roce_receive_errors_total{instance="h",device="0"}': "7x60",
                P + 'npu_roce_transmit_errors_total{instance="h",device="0"}': "7x60",
            },
        ),
    ),
    "HbmDoubleBitError": AlertCase(
        {P + 'npu_hbm_ecc_errors_total{instance="h",device="0",bits="double"}': "0x10 1x50"},
        (
            {P + 'npu_hbm_ecc_errors_total{instance="h",device="0",bits="double"}': "1x60"},
            {P + 'npu_hbm_ecc_errors_total{instance="h",device="0",bits="single"}': "0+1x60"},
        ),
    ),
    "OutputDiskLow": AlertCase(
        {
            P + 'host_filesystem_free_bytes{instance="h",mount="output"}': "4x60",
            P + 'host_filesystem_size_bytes{instance="h",mount="output"}': "100x60",
        },
        (
            {
                P + 'host_filesystem_free_bytes{instance="h",mount="output"}': "6x60",
                P + 'host_filesystem_size_bytes{instance="h",mount="output"}': "100x60",
            },
        ),
    ),
    "HostMemoryLow": AlertCase(
        {
            P + 'host_memory_available_bytes{instance="h"}': "4x60",
            P + 'host_memory_size_bytes{instance="h"}': "100x60",
        },
        (
            {
                P + 'host_memory_available_bytes{instance="h"}': "6x60",
                P + 'host_memory_size_bytes{instance="h"}': "100x60",
            },
        ),
    ),
    "CollectorFailing": AlertCase(
        {P + 'exporter_collector_success{instance="h",collector="npu_smi"}': "0x60"},
        (
            {P + 'exporter_collector_success{instance="h",collector="npu_smi"}': "1x60"},
            {P + 'exporter_collector_success{instance="h",collector="npu_smi"}': "1x28 0 1x40"},
        ),
    ),
    "TelemetryOld": AlertCase(
        run(
            {
                OLD: "0x60",
            }
        ),
        (
            run(
                {
                    OLD: "0+60x60",
                }
            ),
        ),
    ),
    "ParserDrift": AlertCase(
        {P + 'exporter_parse_errors_total{run_id="r"}': "0x20 5x40"},
        ({P + 'exporter_parse_errors_total{run_id="r"}': "5x60"},),
    ),
    "ResultInvalid": AlertCase(
        {P + 'result_valid{case="c"}': "0x60"},
        (
            {P + 'result_valid{case="c"}': "1x60"},
            # A failed run is not valid either; it has an alert of its own.
            {
                P + 'result_valid{case="c"}': "0x60",
                P + 'result_failed{case="c",kind="trainer"}': "1x60",
            },
        ),
    ),
    "ResultFailed": AlertCase(
        {P + 'result_failed{case="c",kind="trainer"}': "1x60"},
        ({P + 'result_valid{case="c"}': "1x60"},),
    ),
    "ResultSlower": AlertCase(
        {P + 'result_sequences_per_second{case="c"}': "100x50 94x40"},
        (
            {P + 'result_sequences_per_second{case="c"}': "100x50 96x40"},
            {P + 'result_sequences_per_second{case="c"}': "100x50 106x40"},
        ),
        at="80m",
    ),
    "GateRegression": AlertCase(
        {P + 'gate_verdict{instance="h",verdict="regression"}': "1x60"},
        (
            {
                P + 'gate_verdict{instance="h",verdict="regression"}': "0x60",
                P + 'gate_verdict{instance="h",verdict="no_verdict"}': "1x60",
            },
        ),
    ),
    "ChangeForTheWorse": AlertCase(
        {FOUND + '"worse"}': "-3600x60"},
        (
            {FOUND + '"worse"}': "-90000x60"},
            {FOUND + '"better"}': "-3600x60"},
        ),
    ),
    "ResultOld": AlertCase(
        {P + 'result_end_timestamp_seconds{case="c"}': "-180000x120"},
        ({P + 'result_end_timestamp_seconds{case="c"}': "-3600x120"},),
        at="90m",
    ),
    "ResultsUnreadable": AlertCase(
        {P + 'exporter_unreadable_results{instance="h"}': "1x60"},
        ({P + 'exporter_unreadable_results{instance="h"}': "0x60"},),
    ),
}
