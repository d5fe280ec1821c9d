"""Every metric once: key, unit, direction, help and digits.

Tables, the exporter, the gate and the README all read this table, so that a metric is named,
rounded and judged in one way. ``bench.series`` has the Prometheus series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

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
        "step_time_p99_seconds",
        "step p99 [ms]",
        "s",
        LOWER,
        "99th percentile of step time; from 100 intervals on.",
    ),
    Metric(
        "straggler_index",
        "straggler index",
        "1",
        LOWER,
        "Step time of the slowest rank over that of the median rank; 1 when all are alike.",
    ),
    Metric(
        "time_to_first_step_seconds",
        "first step [s]",
        "s",
        LOWER,
        "From the first line of the log to the end of the first step, graph compile included.",
        digits=3,
    ),
    Metric(
        "checkpoint_overhead_seconds",
        "checkpoint [s]",
        "s",
        LOWER,
        "Mean time that an interval with a checkpoint takes beyond that of its steps.",
        digits=3,
    ),
    Metric(
        "checkpoint_overhead_ratio",
        "checkpoint share",
        "1",
        LOWER,
        "Time that checkpoints take beyond that of the steps, over the time of all intervals.",
        digits=3,
    ),
    Metric(
        "skipped_steps_ratio",
        "skipped",
        "1",
        LOWER,
        "Share of steps whose update was skipped for overflow, as far as the log tells.",
        digits=3,
    ),
    Metric(
        "model_flops_per_second_per_card",
        "model FLOP/s/card",
        "1/s",
        HIGHER,
        "FLOPs that the model needs for a sequence times sequences/s/card.",
    ),
    Metric(
        "model_flops_utilisation_ratio",
        "MFU",
        "1",
        HIGHER,
        "Model FLOP/s of a card over its published peak.",
        digits=3,
    ),
    Metric(
        "sequences_per_joule",
        "sequences/J",
        "1/J",
        HIGHER,
        "sequences/s over the mean power of all cards in the measured window.",
    ),
    Metric(
        "final_metric",
        "metric",
        "1",
        HIGHER,
        "Headline metric of the task at the best checkpoint, on all held-out examples.",
        gated=True,
    ),
    Metric(
        "time_to_target_seconds",
        "to target [s]",
        "s",
        LOWER,
        "From the first line of the log to the first scored checkpoint that reaches the target, "
        "the scoring itself not counted.",
        digits=3,
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
