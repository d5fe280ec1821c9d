"""Every Prometheus series once: name, type, labels, unit in the name, help, and who gives it.

Collectors, the tables of the READMEs, the alert rules' tests and the dashboards all hold to this
table. Names follow the conventions of the Prometheus project: one prefix, base units as suffix,
``_total`` for counters only, ratios from 0 to 1, no rates or quantiles made beforehand.

Series of a run have ``run_id`` as their first label. A target label would be shorter, but
Prometheus takes up to 5 seconds to notice a change of those, and what the second run of a sweep did
in that time would be booked on the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from bench.catalogue import METRICS

PREFIX = "ascend_bert_"

RUN = "run"
RANK = "rank"
CARD = "card"
HOST = "host"
RESULT = "result"
JUDGED = "judged"
EXPORTER = "exporter"

MAX_RANK_SERIES = 256
"""Ranks of a run, or cards of a host, up to which each has series of its own."""

GROUPS: Dict[str, str] = {
    RUN: "the run as a whole, while it goes and while the endpoint lingers",
    RANK: f"one series per rank of the run, in runs of up to {MAX_RANK_SERIES}",
    CARD: "one series per card of the host, read from its tools in the background; up to "
    f"{MAX_RANK_SERIES} cards",
    HOST: "the host, or the container as far as it sees the host",
    RESULT: "the last stored result of each case",
    JUDGED: "what judging made of stored results: the history's changes, the gate's last verdicts",
    EXPORTER: "the harness itself",
}
"""Where series come from, and what that is, for tables of documentation."""

STEP_TIME_BUCKETS: Tuple[float, ...] = tuple(
    map(
        float,
        """0.01 0.0125 0.016 0.02 0.025 0.0315 0.04 0.05 0.063 0.08 0.1 0.125 0.16 0.2 0.25 0.315
        0.4 0.5 0.63 0.8 1 1.25 1.6 2 2.5 3.15 4 5 6.3""".split(),
    )
)
"""Upper bounds in seconds: preferred numbers R10, each about 1.26 times the one before. So
quantiles from buckets are off by an eighth or so, and step times that do not differ cannot look as
if their 99th percentile were twice their median."""


@dataclass(frozen=True)
class Series:
    """A Prometheus series.

    Attributes:
        name: full name, prefix included.
        type: ``"gauge"``, ``"counter"`` or ``"histogram"``; a counter's name ends in ``_total``.
        labels: label names, in order.
        help: the HELP text.
        group: key of :data:`GROUPS`.
    """

    name: str
    type: str
    labels: Tuple[str, ...]
    help: str
    group: str

    @property
    def key(self) -> str:
        """The name without the prefix."""
        return self.name[len(PREFIX) :]


OF_A_RUN = (RUN, RANK, CARD)
"""Groups whose series have ``run_id`` as their first label."""


def _series(kind: str, group: str, name: str, labels: str, text: str) -> Series:
    first = ("run_id",) if group in OF_A_RUN else ()
    return Series(PREFIX + name, kind, (*first, *labels.split()), text, group)


def _gauge(group: str, name: str, labels: str, text: str) -> Series:
    return _series("gauge", group, name, labels, text)


def _counter(group: str, name: str, labels: str, text: str) -> Series:
    return _series("counter", group, name, labels, text)


RUN_SERIES: Tuple[Series, ...] = (
    _gauge(
        RUN,
        "run_info",
        "model backend simulated precision task version",
        "Facts of the run; always 1.",
    ),
    _gauge(RUN, "run_state", "state", "1 for the state that the run is in, 0 for the rest."),
    _gauge(RUN, "run_start_timestamp_seconds", "", "When the run was launched, Unix time."),
    _gauge(RUN, "run_world_size", "", "Number of ranks asked for."),
    _gauge(RUN, "run_global_batch_size", "", "Sequences of all cards in one step."),
    _gauge(RUN, "run_sequence_length_tokens", "", "Tokens in one sequence, padding included."),
    _gauge(RUN, "run_target_steps", "", "Steps asked for."),
    _gauge(RUN, "run_iterations_per_loop", "", "Steps between two reports of a rank."),
    _counter(RUN, "train_sequences_total", "", "Sequences consumed by all ranks in this run."),
    _counter(
        RUN, "train_tokens_total", "", "Tokens consumed by all ranks in this run, with padding."
    ),
    _counter(
        RUN,
        "train_nonfinite_loss_total",
        "",
        "Reports of all ranks whose total loss was NaN or infinite.",
    ),
    _counter(RUN, "train_checkpoints_total", "", "Checkpoints saved."),
    _series(
        "histogram",
        RUN,
        "train_step_duration_seconds",
        "",
        "Mean step time of each reported interval of every rank, one observation per interval.",
    ),
    _gauge(RUN, "ranks_up", "", "Ranks whose process lives."),
    _gauge(RUN, "ranks_global_step", "share", "Quantiles over ranks of train_global_step."),
    _gauge(
        RUN,
        "ranks_interval_step_seconds",
        "share",
        "Quantiles over ranks of train_interval_step_seconds.",
    ),
    _gauge(RUN, "ranks_loss", "share", "Quantiles over ranks of train_loss, nats."),
    _gauge(
        RUN,
        "ranks_last_step_timestamp_seconds",
        "share",
        "Quantiles over ranks of train_last_step_timestamp_seconds, Unix time.",
    ),
    _gauge(RANK, "train_global_step", "rank", "Last step that the rank reported."),
    _counter(RANK, "train_steps_total", "rank", "Steps done by the rank in this run."),
    _gauge(
        RANK,
        "train_interval_step_seconds",
        "rank",
        "Mean step time in the rank's last reported interval.",
    ),
    _gauge(RANK, "train_loss", "rank", "Total loss at the last report, nats."),
    _gauge(RANK, "train_mlm_loss", "rank", "Masked-LM loss at the last report, nats."),
    _gauge(RANK, "train_nsp_loss", "rank", "Next-sentence loss at the last report, nats."),
    _gauge(RANK, "train_loss_scale", "rank", "Loss scale at the last report."),
    _gauge(
        RANK,
        "train_last_step_timestamp_seconds",
        "rank",
        "When the harness read the rank's last report, Unix time.",
    ),
    _gauge(RANK, "rank_up", "rank device", "1 while the rank's process lives."),
)
"""What a live run gives without telemetry."""

TELEMETRY_SERIES: Tuple[Series, ...] = (
    _counter(
        RANK,
        "rank_cpu_seconds_total",
        "rank",
        "Processor time of the rank's process and its children.",
    ),
    _gauge(
        RANK,
        "rank_resident_memory_bytes",
        "rank",
        "Memory that the rank's process and its children hold in RAM.",
    ),
    _gauge(
        CARD, "npu_info", "device name bus_id firmware_version", "Identity of a card; always 1."
    ),
    _gauge(CARD, "npu_healthy", "device", "1 when the card calls its health OK; cached."),
    _gauge(
        CARD,
        "npu_core_utilization_ratio",
        "device",
        "Share of time in which the AI cores were busy; cached.",
    ),
    _gauge(
        CARD, "npu_core_frequency_hertz", "device", "Present frequency of the AI cores; cached."
    ),
    _gauge(
        CARD,
        "npu_core_rated_frequency_hertz",
        "name",
        "Frequency of the AI cores of this kind of card when nothing slows them.",
    ),
    _gauge(CARD, "npu_temperature_celsius", "device", "Temperature of the chip; cached."),
    _gauge(CARD, "npu_power_watts", "device", "Present power of the card; cached."),
    _counter(
        CARD,
        "npu_energy_joules_total",
        "device",
        "Power of the card integrated over the time of sampling.",
    ),
    _gauge(CARD, "npu_hbm_used_bytes", "device", "High-bandwidth memory in use; cached."),
    _gauge(CARD, "npu_hbm_size_bytes", "device", "High-bandwidth memory in all."),
    _counter(
        CARD,
        "npu_hbm_ecc_errors_total",
        "device bits",
        "Memory errors that the card counted: bits single were corrected, double were not.",
    ),
    _gauge(
        CARD,
        "npu_foreign_processes",
        "device",
        "Processes on the card that are none of the run's ranks; cached.",
    ),
    _gauge(CARD, "npu_link_up", "device", "1 when the card's network port is up; cached."),
    _gauge(
        CARD, "npu_network_healthy", "device", "1 when the card's network test succeeded; cached."
    ),
    _counter(
        CARD,
        "npu_link_up_transitions_total",
        "device",
        "How often the card's network port came up since the card was started.",
    ),
    _counter(
        CARD,
        "npu_roce_receive_errors_total",
        "device",
        "RoCE packets that the card received with an error.",
    ),
    _counter(
        CARD,
        "npu_roce_transmit_errors_total",
        "device",
        "RoCE packets that the card sent with an error.",
    ),
    _counter(HOST, "host_cpu_seconds_total", "mode", "Processor time since boot by mode."),
    _gauge(HOST, "host_load1", "", "Load average over one minute."),
    _gauge(HOST, "host_memory_size_bytes", "", "RAM."),
    _gauge(HOST, "host_memory_available_bytes", "", "RAM that could be had without swapping."),
    _gauge(HOST, "host_swap_used_bytes", "", "Swap in use."),
    _gauge(
        HOST,
        "host_filesystem_size_bytes",
        "mount",
        "Size of the file system that holds the results.",
    ),
    _gauge(HOST, "host_filesystem_free_bytes", "mount", "Free space there for this user."),
    _counter(
        HOST,
        "host_network_receive_bytes_total",
        "",
        "Bytes received since boot over all interfaces but loopback.",
    ),
    _counter(
        HOST,
        "host_network_transmit_bytes_total",
        "",
        "Bytes sent since boot over all interfaces but loopback.",
    ),
    _gauge(
        EXPORTER,
        "exporter_collector_success",
        "collector",
        "1 when the last reading of this source gave values.",
    ),
    _gauge(
        EXPORTER,
        "exporter_collector_duration_seconds",
        "collector",
        "How long the last reading of this source took.",
    ),
    _gauge(
        EXPORTER,
        "exporter_collector_last_success_timestamp_seconds",
        "collector",
        "When this source last gave values, Unix time.",
    ),
    _counter(EXPORTER, "exporter_collections_total", "collector", "Readings of this source."),
    _counter(
        EXPORTER,
        "exporter_collection_failures_total",
        "collector",
        "Readings of this source that gave no values.",
    ),
    _counter(
        EXPORTER,
        "exporter_collector_parse_errors_total",
        "collector",
        "Answers of this source that were not understood.",
    ),
    _counter(EXPORTER, "exporter_samples_total", "", "Samples of telemetry taken."),
    _counter(
        EXPORTER,
        "exporter_samples_missed_total",
        "",
        "Samples that were due while the one before was still being taken.",
    ),
    _counter(
        EXPORTER,
        "exporter_telemetry_cpu_seconds_total",
        "",
        "Processor time that telemetry cost, its commands included.",
    ),
)
"""What telemetry adds to a live run."""

_CASE = "case"


def _list_result_figures() -> Tuple[Series, ...]:
    """One series per figure of a result, and its interval where a gate judges the figure."""
    rows = []
    for metric in METRICS.values():
        rows.append(_gauge(RESULT, f"result_{metric.key}", _CASE, metric.help))
        if metric.gated:
            for end, word in (("low", "Lower"), ("high", "Upper")):
                text = f"{word} end of the confidence interval of result_{metric.key}."
                rows.append(_gauge(RESULT, f"result_{metric.key}_{end}", _CASE, text))
    return tuple(rows)


RESULT_SERIES: Tuple[Series, ...] = (
    _gauge(
        RESULT,
        "result_info",
        "case run_id model backend simulated precision task cards batch_size seq_length host "
        "version",
        "Facts of the case's last result; always 1.",
    ),
    _gauge(RESULT, "result_runs", _CASE, "Stored results of the case."),
    _gauge(RESULT, "result_valid", _CASE, "1 when the last result finished and is valid."),
    _gauge(RESULT, "result_check_passed", "case check", "1 when the last result passed the check."),
    _gauge(
        RESULT, "result_failed", "case kind", "1 when the last run failed; kind says what it was."
    ),
    _gauge(RESULT, "result_start_timestamp_seconds", _CASE, "When it was launched, Unix time."),
    _gauge(RESULT, "result_end_timestamp_seconds", _CASE, "When it ended, Unix time."),
    *_list_result_figures(),
    _gauge(EXPORTER, "exporter_unreadable_results", "", "Run folders whose result is damaged."),
    _gauge(
        EXPORTER,
        "exporter_cases_left_out",
        "",
        "Cases that are not exported because there are too many; the latest ones are.",
    ),
)
"""What stored results give."""

_CELL = "case metric"
_CHANGE = "case metric session kind effect"

JUDGED_SERIES: Tuple[Series, ...] = tuple(
    _gauge(JUDGED, *row)
    for row in (
        ("history_nights", _CELL, "Nights on which the metric was measured."),
        ("history_change_timestamp_seconds", _CHANGE, "First night after a change, Unix time."),
        ("history_change_found_timestamp_seconds", _CHANGE, "Night that showed it, Unix time."),
        ("history_change_ratio", _CHANGE, "Level after the change over that before, minus 1."),
        ("gate_info", "session", "Session that was judged last; always 1."),
        ("gate_verdict", "verdict", "1 for the last verdict, 0 for the others."),
        ("gate_exit_code", "", "Exit code of the last verdict."),
        ("gate_judged_timestamp_seconds", "", "When the last verdict was given, Unix time."),
        ("gate_case_verdict", "case metric verdict", "1 for the last verdict on it, else 0."),
        ("gate_case_waived", _CELL, "1 when a waiver says that a regression does not count."),
        ("gate_case_looks", _CELL, "Looks that the verdict took."),
        ("gate_case_change_ratio", _CELL, "Candidate over baseline, minus 1."),
        ("gate_case_margin_ratio", _CELL, "Loss that a pass has to rule out."),
        ("judged_unreadable_verdicts", "", "Files of verdicts that are damaged."),
    )
)
"""What verdicts and the history give."""

COMMON_SERIES: Tuple[Series, ...] = (
    _gauge(
        EXPORTER,
        "exporter_build_info",
        "version python_version",
        "The harness that exports; always 1.",
    ),
    _counter(
        RUN,
        "exporter_parse_errors_total",
        "",
        "Log lines of all ranks that could not be read.",
    ),
)
"""What the harness says of itself."""

ALL_SERIES: Tuple[Series, ...] = (
    RUN_SERIES + TELEMETRY_SERIES + RESULT_SERIES + JUDGED_SERIES + COMMON_SERIES
)

SERIES: Dict[str, Series] = {series.key: series for series in ALL_SERIES}
"""Series by name without the prefix."""
