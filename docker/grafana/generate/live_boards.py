"""Boards of a run while it goes: overview, ranks, NPUs and network."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import (
    GREEN,
    RED,
    UP_DOWN,
    YELLOW,
    YES_NO,
    Query,
    add_row,
    build_board,
    build_heatmap,
    build_label_variable,
    build_lines,
    build_stat,
    build_states,
    build_table,
)

P = "ascend_bert_"
RUN = 'run_id="$run_id"'
RANK = RUN + ',rank=~"$rank"'
DEVICE = RUN + ',device=~"$device"'

_RUN_VARIABLE = ("run_id", "Run", "label_values(ascend_bert_run_info, run_id)")


# Numbers, because the last value of each state's own series would show every state ever seen.
_STATES = {
    "0": ("pending", "text"),
    "1": ("compiling", YELLOW),
    "2": ("measuring", "blue"),
    "3": ("finished", GREEN),
    "4": ("failed", RED),
}


def _number_state() -> str:
    terms = [
        f'{number} * max({P}run_state{{{RUN},state="{word}"}})'
        for number, (word, _) in _STATES.items()
    ]
    return " + ".join(terms)


def _count(key: str) -> str:
    return f"max(increase({P}{key}{{{RUN}}}[$window]))"


def _quantile(share: float) -> str:
    buckets = f"rate({P}train_step_duration_seconds_bucket{{{RUN}}}[$window])"
    return f"histogram_quantile({share}, sum by (le) ({buckets}))"


def build_run_overview() -> Dashboard:
    """How a run goes as a whole."""
    rate = f"max(rate({P}train_sequences_total{{{RUN}}}[$window]))"
    left = (
        f"(max({P}run_target_steps{{{RUN}}}) - min({P}train_global_step{{{RUN}}}))"
        f" / (avg(rate({P}train_steps_total{{{RUN}}}[$window])) > 0)"
    )
    board = build_board(
        "ascend-bert-run",
        "ascend-bert / Run overview",
        "Is the run healthy, how fast is it, and does it learn?",
    ).with_variable(build_label_variable(*_RUN_VARIABLE))
    add_row(
        board,
        "Now",
        build_stat(
            "State",
            "The state that the run is in.",
            Query(_number_state()),
            words=_STATES,
        ),
        build_stat(
            "Progress",
            "Steps that every rank has done, of those asked for.",
            Query(f"run_id:{P}train_progress:ratio{{{RUN}}}"),
            "percentunit",
            decimals=1,
        ),
        build_stat(
            "Sequences/s",
            "All cards together, over the window of rates.",
            Query(rate),
            decimals=1,
        ),
        build_stat(
            "Sequences/s/card",
            "The same by the number of ranks.",
            Query(f"{rate} / max({P}run_world_size{{{RUN}}})"),
            decimals=1,
        ),
        build_stat(
            "Step time",
            "Mean over all ranks in the last 5 minutes.",
            Query(f"run_id:{P}train_step_duration_seconds:mean5m{{{RUN}}}"),
            "s",
        ),
        build_stat(
            "Time left",
            "Steps left by the present rate; checkpoints to come are not counted.",
            Query(left),
            "s",
        ),
        build_stat(
            "Ranks up",
            "Processes that live.",
            Query(f"max({P}ranks_up{{{RUN}}})"),
        ),
        build_stat(
            "Reports with NaN",
            "Reports since the start whose loss was NaN or infinite.",
            Query(f"max({P}train_nonfinite_loss_total{{{RUN}}})"),
            steps=((None, GREEN), (1.0, RED)),
        ),
    )
    add_row(
        board,
        "Training",
        build_lines(
            "Losses",
            "Mean over ranks of the last reports.",
            [
                Query(f"run_id:{P}train_loss:mean{{{RUN}}}", "total"),
                Query(f"avg({P}train_mlm_loss{{{RUN}}})", "masked LM"),
                Query(f"avg({P}train_nsp_loss{{{RUN}}})", "next sentence"),
            ],
        ),
        build_lines(
            "Throughput",
            "Sequences of all cards per second.",
            [
                Query(rate, "over the window"),
                Query(f"run_id:{P}train_sequences:rate5m{{{RUN}}}", "over 5 minutes"),
            ],
            minimum=0,
        ),
        build_lines(
            "Step time",
            "Of the ranks' last intervals, and the tail of all intervals in the window by buckets.",
            [
                Query(f"quantile(0.5, {P}train_interval_step_seconds{{{RUN}}})", "median rank"),
                Query(f"max({P}train_interval_step_seconds{{{RUN}}})", "slowest rank"),
                Query(_quantile(0.99), "99 % of intervals"),
                Query(f"run_id:{P}train_step_duration_seconds:mean5m{{{RUN}}}", "mean of 5 min"),
            ],
            "s",
            minimum=0,
        ),
        build_lines(
            "Tokens",
            "Padding included.",
            [
                Query(f"run_id:{P}train_tokens:rate5m{{{RUN}}}", "tokens/s"),
                Query(f"max(rate({P}train_tokens_total{{{RUN}}}[$window]))", "over the window"),
            ],
            minimum=0,
        ),
        build_lines(
            "Loss scale",
            "The lowest of all ranks.",
            Query(f"min({P}train_loss_scale{{{RUN}}})", "loss scale"),
            width=8,
        ),
        build_lines(
            "Events in the window",
            "Checkpoints, reports with a loss that is not finite, log lines that cannot be read.",
            [
                Query(_count("train_checkpoints_total"), "checkpoints"),
                Query(_count("train_nonfinite_loss_total"), "not finite"),
                Query(_count("exporter_parse_errors_total"), "unreadable"),
            ],
            minimum=0,
            width=8,
        ),
        build_lines(
            "Energy",
            "Sequences per joule of all cards; only where cards tell their power.",
            Query(f"run_id:{P}sequences_per_joule:rate5m{{{RUN}}}", "sequences/J"),
            minimum=0,
            width=8,
        ),
    )
    return add_row(
        board,
        "Facts",
        build_stat(
            "Sizes",
            "What was asked for.",
            [
                Query(f"max({P}run_world_size{{{RUN}}})", "ranks"),
                Query(f"max({P}run_global_batch_size{{{RUN}}})", "global batch"),
                Query(f"max({P}run_sequence_length_tokens{{{RUN}}})", "sequence length"),
                Query(f"max({P}run_target_steps{{{RUN}}})", "steps"),
                Query(f"max({P}run_iterations_per_loop{{{RUN}}})", "steps per report"),
            ],
            width=18,
        ),
        build_stat(
            "Started",
            "When the run was launched.",
            Query(f"max({P}run_start_timestamp_seconds{{{RUN}}}) * 1000"),
            "dateTimeFromNow",
            width=6,
        ),
        build_table(
            "Run", "Facts of the run.", Query(f"{P}run_info{{{RUN}}}"), hidden=("Value",), width=12
        ),
        build_table(
            "Alerts",
            "Alerts of this run that fire or wait.",
            Query(f"ALERTS{{{RUN}}}"),
            hidden=("Value", "run_id"),
            width=12,
        ),
    )


def build_ranks() -> Dashboard:
    """Whether ranks are alike."""
    board = (
        build_board(
            "ascend-bert-ranks",
            "ascend-bert / Ranks",
            "Which rank holds up the others, and why?",
        )
        .with_variable(build_label_variable(*_RUN_VARIABLE))
        .with_variable(
            build_label_variable(
                "rank", "Ranks", f"label_values({P}rank_up{{{RUN}}}, rank)", multi=True
            )
        )
    )
    add_row(
        board,
        "Steps",
        build_lines(
            "Step time by rank",
            "Mean step time of each rank's last reported interval.",
            [
                Query(f"{P}train_interval_step_seconds{{{RANK}}}", "rank {{rank}}"),
                Query(f"{P}ranks_interval_step_seconds{{{RUN}}}", "quantile {{share}}"),
            ],
            "s",
            minimum=0,
        ),
        build_heatmap(
            "Step times of all ranks",
            "Intervals by mean step time.",
            Query(
                f"sum by (le) (increase({P}train_step_duration_seconds_bucket{{{RUN}}}"
                "[$__rate_interval]))",
                "{{le}}",
            ),
        ),
        build_lines(
            "Skew",
            "Step time of the slowest rank over that of the median rank.",
            Query(f"run_id:{P}train_step_skew:ratio{{{RUN}}}", "slowest ÷ median"),
            width=8,
        ),
        build_lines(
            "Steps apart",
            "Last step of the first rank minus that of the last one.",
            Query(f"run_id:{P}train_step_lag:max{{{RUN}}}", "steps"),
            width=8,
            minimum=0,
        ),
        build_lines(
            "Rate by rank",
            "Steps per second of each rank over the window of rates.",
            Query(f"rate({P}train_steps_total{{{RANK}}}[$window])", "rank {{rank}}"),
            width=8,
            minimum=0,
        ),
        build_lines(
            "Global step",
            "Last step that each rank reported.",
            [
                Query(f"{P}train_global_step{{{RANK}}}", "rank {{rank}}"),
                Query(f"{P}ranks_global_step{{{RUN}}}", "quantile {{share}}"),
            ],
        ),
        build_lines(
            "Time since the last report",
            "Grows while a rank is silent.",
            [
                Query(f"time() - {P}train_last_step_timestamp_seconds{{{RANK}}}", "rank {{rank}}"),
                Query(
                    f"time() - {P}ranks_last_step_timestamp_seconds{{{RUN}}}",
                    "quantile {{share}}",
                ),
            ],
            "s",
            minimum=0,
        ),
    )
    add_row(
        board,
        "Losses",
        build_lines(
            "Total loss",
            "Each rank has its own part of the data, so the curves differ by noise.",
            [
                Query(f"{P}train_loss{{{RANK}}}", "rank {{rank}}"),
                Query(f"{P}ranks_loss{{{RUN}}}", "quantile {{share}}"),
            ],
            width=6,
        ),
        build_lines(
            "Masked-LM loss",
            "By rank.",
            Query(f"{P}train_mlm_loss{{{RANK}}}", "rank {{rank}}"),
            width=6,
        ),
        build_lines(
            "Next-sentence loss",
            "By rank.",
            Query(f"{P}train_nsp_loss{{{RANK}}}", "rank {{rank}}"),
            width=6,
        ),
        build_lines(
            "Loss scale",
            "All ranks must have the same.",
            Query(f"{P}train_loss_scale{{{RANK}}}", "rank {{rank}}"),
            width=6,
        ),
    )
    return add_row(
        board,
        "Processes",
        build_states(
            "Life",
            "Whether the rank's process lives.",
            Query(f"{P}rank_up{{{RANK}}}", "rank {{rank}}, device {{device}}"),
            {"0": ("ended", "text"), "1": ("lives", GREEN)},
            width=8,
        ),
        build_lines(
            "Cores busy",
            "Processor time per second of the rank's process and its children.",
            Query(f"rate({P}rank_cpu_seconds_total{{{RANK}}}[$window])", "rank {{rank}}"),
            width=8,
            minimum=0,
        ),
        build_lines(
            "Memory",
            "Held in RAM.",
            Query(f"{P}rank_resident_memory_bytes{{{RANK}}}", "rank {{rank}}"),
            "bytes",
            width=8,
            minimum=0,
        ),
    )


def build_npus() -> Dashboard:
    """The cards and their network."""
    card = "NPU {{device}}"
    board = (
        build_board(
            "ascend-bert-npus",
            "ascend-bert / NPUs and network",
            "Do the cards run as they should: load, heat, memory, links?",
        )
        .with_variable(build_label_variable(*_RUN_VARIABLE))
        .with_variable(
            build_label_variable(
                "device", "NPUs", f"label_values({P}npu_info{{{RUN}}}, device)", multi=True
            )
        )
    )
    add_row(
        board,
        "Load",
        build_lines(
            "AI cores busy",
            "From the run's telemetry, or from npu-exporter where that runs.",
            [
                Query(f"device:{P}npu_core_utilization:ratio{{{DEVICE}}}", card),
                Query(f"avg({P}npu_core_utilization_ratio{{{DEVICE}}})", "mean"),
            ],
            "percentunit",
            minimum=0,
            maximum=1,
        ),
        build_lines(
            "High-bandwidth memory in use",
            "TensorFlow's adapter takes most of it at the start; a full one is no fault.",
            [
                Query(f"{P}npu_hbm_used_bytes{{{DEVICE}}}", card),
                Query(f"max({P}npu_hbm_size_bytes{{{DEVICE}}})", "size"),
            ],
            "bytes",
            minimum=0,
        ),
        build_lines(
            "Power",
            "Present power of each card.",
            Query(f"{P}npu_power_watts{{{DEVICE}}}", card),
            "watt",
            width=18,
            minimum=0,
        ),
        build_stat(
            "Power of all cards",
            "Sum of the cards of the run on this host.",
            Query(f"run_id:{P}npu_power_watts:sum{{{RUN}}}"),
            "watt",
            width=3,
            height=8,
        ),
        build_stat(
            "Energy",
            "Since sampling began, all cards.",
            Query(f"sum({P}npu_energy_joules_total{{{RUN}}})"),
            "joule",
            width=3,
            height=8,
        ),
        build_lines(
            "Temperature",
            "Of the chip.",
            Query(f"{P}npu_temperature_celsius{{{DEVICE}}}", card),
            "celsius",
            width=18,
        ),
        build_stat(
            "Hottest",
            "The hottest chip.",
            Query(f"max({P}npu_temperature_celsius{{{DEVICE}}})"),
            "celsius",
            width=6,
            height=8,
            steps=((None, GREEN), (75.0, YELLOW), (85.0, RED)),
        ),
        build_lines(
            "Frequency",
            "Of the AI cores, and the rated one.",
            [
                Query(f"{P}npu_core_frequency_hertz{{{DEVICE}}}", card),
                Query(f"{P}npu_core_rated_frequency_hertz{{{RUN}}}", "rated {{name}}"),
            ],
            "hertz",
        ),
        build_lines(
            "Frequency over the rated one",
            "Below 100 % a card is throttled.",
            Query(f"device:{P}npu_core_frequency:ratio{{{DEVICE}}}", card),
            "percentunit",
        ),
    )
    add_row(
        board,
        "Health",
        build_states(
            "Healthy",
            "What the card says of itself.",
            Query(f"{P}npu_healthy{{{DEVICE}}}", card),
            YES_NO,
            width=8,
        ),
        build_lines(
            "Memory errors",
            "Counted by the card; double-bit errors could not be corrected.",
            Query(f"{P}npu_hbm_ecc_errors_total{{{DEVICE}}}", card + " {{bits}} bit"),
            width=8,
            minimum=0,
        ),
        build_lines(
            "Foreign processes",
            "Processes on the card that are none of the run's.",
            Query(f"{P}npu_foreign_processes{{{DEVICE}}}", card),
            width=8,
            minimum=0,
        ),
        build_table(
            "Cards", "Identity.", Query(f"{P}npu_info{{{DEVICE}}}"), hidden=("Value", "run_id")
        ),
    )
    return add_row(
        board,
        "Network",
        build_states(
            "Port up",
            "A single host does not need these ports: its cards talk over HCCS.",
            Query(f"{P}npu_link_up{{{DEVICE}}}", card),
            UP_DOWN,
            width=8,
        ),
        build_states(
            "Network test",
            "hccn_tool -net_health.",
            Query(f"{P}npu_network_healthy{{{DEVICE}}}", card),
            YES_NO,
            width=8,
        ),
        build_lines(
            "Port came up",
            "How often, in the window of rates.",
            Query(f"increase({P}npu_link_up_transitions_total{{{DEVICE}}}[$window])", card),
            width=8,
            minimum=0,
        ),
        build_lines(
            "RoCE packets with errors",
            "In the window of rates.",
            [
                Query(
                    f"increase({P}npu_roce_receive_errors_total{{{DEVICE}}}[$window])",
                    card + " received",
                ),
                Query(
                    f"increase({P}npu_roce_transmit_errors_total{{{DEVICE}}}[$window])",
                    card + " sent",
                ),
            ],
            width=24,
            minimum=0,
        ),
    )
