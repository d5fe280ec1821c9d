"""Every metric once: key, unit, direction, help, digits and Prometheus series.

Tables, the exporter, the gate and the README all read this table, so that a metric is named,
rounded and judged in one way. Prometheus names follow the conventions of the Prometheus project:
base units, unit as suffix, ``_total`` for counters only, one prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

PREFIX = "ascend_bert_"

HIGHER = "higher"
LOWER = "lower"


@dataclass(frozen=True)
class Metric:
    """A figure of a result.

    Attributes:
        key: name in ``result.json`` and in machine-readable tables.
        header: column title in tables for people.
        unit: SI or field unit; ``"1"`` for a ratio.
        better: ``"higher"``, ``"lower"`` or None where neither is better.
        help: what it is and how it is formed.
        digits: significant digits in tables for people.
        gated: whether a regression gate judges it unless told otherwise.
    """

    key: str
    header: str
    unit: str
    better: Optional[str]
    help: str
    digits: int = 4
    gated: bool = False


@dataclass(frozen=True)
class Series:
    """A Prometheus series.

    Attributes:
        name: full name, prefix included.
        type: ``"gauge"`` or ``"counter"``; a counter's name ends in ``_total``.
        labels: label names, in order.
        help: the HELP text.
    """

    name: str
    type: str
    labels: Tuple[str, ...]
    help: str


RESULT_METRICS: Tuple[Metric, ...] = (
    Metric(
        "steps_per_second",
        "steps/s",
        "1/s",
        HIGHER,
        "Steps in the measured window divided by its time, the ranks' windows added up.",
    ),
    Metric(
        "sequences_per_second",
        "sequences/s",
        "1/s",
        HIGHER,
        "steps/s times the global batch (sequences of all cards per step).",
        gated=True,
    ),
    Metric(
        "sequences_per_second_per_card",
        "sequences/s/card",
        "1/s",
        HIGHER,
        "sequences/s divided by the number of cards.",
    ),
    Metric(
        "tokens_per_second",
        "tokens/s",
        "1/s",
        HIGHER,
        "sequences/s times the sequence length, padding included.",
    ),
    Metric(
        "scaling_efficiency_ratio",
        "scaling efficiency",
        "1",
        HIGHER,
        "sequences/s/card relative to the smallest card count of the same session.",
        digits=3,
    ),
    Metric(
        "step_time_p50_seconds",
        "step p50 [ms]",
        "s",
        LOWER,
        "Median step time over the measured intervals of all ranks, weighted by steps.",
    ),
    Metric(
        "step_time_p95_seconds",
        "step p95 [ms]",
        "s",
        LOWER,
        "95th percentile of step time over the measured intervals of all ranks.",
    ),
    Metric(
        "final_mlm_loss",
        "MLM loss",
        "nat",
        LOWER,
        "Mean masked-LM loss over the last reports of every rank.",
    ),
    Metric(
        "final_nsp_loss",
        "NSP loss",
        "nat",
        LOWER,
        "Mean next-sentence loss over the last reports of every rank.",
    ),
    Metric(
        "final_total_loss",
        "total loss",
        "nat",
        LOWER,
        "Mean total loss over the last reports of every rank.",
    ),
)

METRICS: Dict[str, Metric] = {metric.key: metric for metric in RESULT_METRICS}

RUN_STATES: Tuple[str, ...] = (
    "pending",
    "compiling",
    "measuring",
    "finished",
    "failed",
)
"""States a run passes through, in order; the last two are final."""


def _series(name: str, kind: str, labels: Tuple[str, ...], text: str) -> Series:
    return Series(PREFIX + name, kind, labels, text)


_RANK = ("rank",)

LIVE_SERIES: Tuple[Series, ...] = (
    _series(
        "run_info",
        "gauge",
        ("run_id", "model", "backend", "simulated", "precision", "task", "version"),
        "Facts of the run; always 1.",
    ),
    _series(
        "run_state", "gauge", ("state",), "1 for the state that the run is in, 0 for the rest."
    ),
    _series("run_start_timestamp_seconds", "gauge", (), "When the run was launched, Unix time."),
    _series("run_world_size", "gauge", (), "Number of ranks asked for."),
    _series("run_global_batch_size", "gauge", (), "Sequences of all cards in one step."),
    _series("run_sequence_length_tokens", "gauge", (), "Tokens in one sequence, padding included."),
    _series("run_target_steps", "gauge", (), "Steps asked for."),
    _series(
        "run_iterations_per_loop",
        "gauge",
        (),
        "Steps between two reports of a rank.",
    ),
    _series("train_global_step", "gauge", _RANK, "Last step that the rank reported."),
    _series("train_steps_total", "counter", _RANK, "Steps done by the rank in this run."),
    _series("train_sequences_total", "counter", _RANK, "Sequences consumed by the rank."),
    _series("train_tokens_total", "counter", _RANK, "Tokens consumed by the rank, with padding."),
    _series("train_loss", "gauge", _RANK, "Total loss at the last report."),
    _series("train_mlm_loss", "gauge", _RANK, "Masked-LM loss at the last report."),
    _series("train_nsp_loss", "gauge", _RANK, "Next-sentence loss at the last report."),
    _series("train_loss_scale", "gauge", _RANK, "Loss scale at the last report."),
    _series(
        "train_nonfinite_loss_total",
        "counter",
        _RANK,
        "Reports whose total loss was NaN or infinite.",
    ),
    _series("train_checkpoints_total", "counter", _RANK, "Checkpoints saved by the rank."),
    _series(
        "train_last_step_timestamp_seconds",
        "gauge",
        _RANK,
        "When the harness read the rank's last report, Unix time.",
    ),
    _series("rank_up", "gauge", ("rank", "device"), "1 while the rank's process lives."),
    _series(
        "exporter_parse_errors_total",
        "counter",
        _RANK,
        "Log lines of the rank that could not be read.",
    ),
    _series(
        "exporter_build_info",
        "gauge",
        ("version", "python_version"),
        "The harness that exports; always 1.",
    ),
)

SERIES: Dict[str, Series] = {series.name[len(PREFIX) :]: series for series in LIVE_SERIES}
"""Series by name without the prefix."""
