"""Boards of stored results, and of the harness and its host."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import VariableOption
from panels import (
    GREEN,
    RED,
    UP_DOWN,
    YELLOW,
    YES_NO,
    Query,
    add_row,
    build_board,
    build_label_variable,
    build_lines,
    build_marks,
    build_stat,
    build_states,
    build_table,
)

P = "ascend_bert_"
RESULTS_JOB = "ascend-bert-results"
# One job at a time: a run's own endpoint shows its result, too, for as long as it lingers.
CASE = 'job="$job",case=~"$case"'
JOB = 'job="$job"'
HOST = 'instance=~"$instance"'
# The figure in the row below names the case, the row's facts come from result_info.
_LAST_FACTS = (
    "* on (job, instance, case) group_left (run_id, host, cards, version) " + P + "result_info"
)

VERDICTS = {"0": ("pass", GREEN), "1": ("no verdict", YELLOW), "2": ("regression", RED)}


def _number_verdict(series: str, labels: str) -> str:
    """A query that gives a key of :data:`VERDICTS`."""
    return (
        f'{P}{series}{{{labels},verdict="regression"}} * 2 + ignoring (verdict) '
        f'{P}{series}{{{labels},verdict="no_verdict"}}'
    )


def _add_marks(board: Dashboard) -> None:
    """Changes, known breaks and verdicts as marks in time."""
    for name, effect, color in (
        ("Worse from here on", "worse", RED),
        ("Better from here on", "better", GREEN),
        ("Known breaks", "known", "blue"),
    ):
        labels = f'{CASE},effect="{effect}"'
        expr = f"{P}history_change_timestamp_seconds{{{labels}}} * 1000"
        board.annotation(build_marks(name, expr, color))
    judged = f'{P}gate_judged_timestamp_seconds{{job="$job"}} * on (job, instance) group_right () '
    for verdict, color in (("regression", RED), ("no_verdict", YELLOW)):
        expr = f'{judged}({P}gate_verdict{{job="$job",verdict="{verdict}"}} == 1) * 1000'
        board.annotation(build_marks(VERDICTS["2" if color == RED else "1"][0], expr, color))


def build_nightly() -> Dashboard:
    """How the cases did over the nights."""
    board = build_board(
        "ascend-bert-nightly",
        "ascend-bert / Nightly history",
        "Has anything become slower since, and can the last results be believed?",
        since="now-30d",
        refresh="5m",
        window=False,
    )
    board.with_variable(
        build_label_variable("job", "Job", f"label_values({P}result_runs, job)").current(
            VariableOption(selected=True, text=RESULTS_JOB, value=RESULTS_JOB)
        )
    ).with_variable(
        build_label_variable(
            "case", "Cases", f'label_values({P}result_info{{job="$job"}}, case)', multi=True
        )
    )
    _add_marks(board)
    add_row(
        board,
        "Verdicts",
        build_stat(
            "Last verdict",
            "Of the gate, on the session that was judged last.",
            Query(f"max({_number_verdict('gate_verdict', JOB)})"),
            words=VERDICTS,
        ),
        build_stat(
            "Exit code",
            "0 pass, 1 regression, 3 no verdict, 4 and more: what stood in the way.",
            Query(f'max({P}gate_exit_code{{job="$job"}})'),
        ),
        build_stat(
            "Judged",
            "How long ago.",
            Query(f'time() - max({P}gate_judged_timestamp_seconds{{job="$job"}})'),
            "s",
        ),
        build_stat(
            "Worse",
            "Changes for the worse in the nightly series, the latest ten of each.",
            Query(f'count({P}history_change_ratio{{{CASE},effect="worse"}}) or vector(0)'),
        ),
        build_stat(
            "Waived",
            "Regressions that somebody let pass for a time.",
            Query(f"sum({P}gate_case_waived{{{CASE}}})"),
        ),
        build_stat(
            "Looks",
            "The most that a case took: while undecided, more is launched.",
            Query(f"max({P}gate_case_looks{{{CASE}}})"),
        ),
        build_stat(
            "Nights",
            "Of the longest series.",
            Query(f"max({P}history_nights{{{CASE}}})"),
        ),
        build_stat(
            "Damaged verdicts",
            "Files that cannot be read.",
            Query(f'sum({P}judged_unreadable_verdicts{{job="$job"}})'),
            steps=((None, GREEN), (1.0, RED)),
        ),
        build_states(
            "Verdict of each case",
            "The last one on each metric.",
            Query(_number_verdict("gate_case_verdict", CASE), "{{case}} {{metric}}"),
            VERDICTS,
        ),
        build_lines(
            "Against the baseline",
            "As the gate found it; below minus the margin, of a rate, is what must be ruled out.",
            [
                Query(f"{P}gate_case_change_ratio{{{CASE}}}", "{{case}} {{metric}}"),
                Query(f"-{P}gate_case_margin_ratio{{{CASE}}}", "{{case}} {{metric}} margin"),
            ],
            "percentunit",
        ),
        build_table(
            "Changes",
            "Of the nightly series: from which session on, and by how much.",
            Query(f"{P}history_change_ratio{{{CASE}}}"),
            hidden=("instance",),
            width=14,
        ),
        build_table(
            "Found this week",
            "After which night a change was found, Unix time.",
            Query(
                f'{P}history_change_found_timestamp_seconds{{{CASE},effect!="known"}}'
                " > time() - 604800"
            ),
            hidden=("instance", "kind"),
            width=7,
        ),
        build_table(
            "Session",
            "That was judged.",
            Query(f'{P}gate_info{{job="$job"}}'),
            hidden=("instance", "Value"),
            width=3,
        ),
    )
    add_row(
        board,
        "Last results",
        build_stat(
            "Cases",
            "Cases that have a result.",
            Query(f"count({P}result_info{{{CASE}}})"),
        ),
        build_stat(
            "Valid",
            "Share of cases whose last result is valid.",
            Query(f"avg({P}result_valid{{{CASE}}})"),
            "percentunit",
            steps=((None, RED), (1.0, GREEN)),
        ),
        build_stat(
            "Failed",
            "Cases whose last run failed.",
            Query(f"count({P}result_failed{{{CASE}}}) or vector(0)"),
            steps=((None, GREEN), (1.0, RED)),
        ),
        build_stat(
            "Oldest result",
            "Age of the case that has waited longest.",
            Query(f'max(case:{P}result_age_seconds:last{{case=~"$case"}})'),
            "s",
        ),
        build_stat(
            "Stored results",
            "All runs of these cases.",
            Query(f"sum({P}result_runs{{{CASE}}})"),
        ),
        build_stat(
            "Damaged results",
            "Run folders whose result cannot be read.",
            Query(f'sum({P}exporter_unreadable_results{{job="$job"}})'),
            steps=((None, GREEN), (1.0, RED)),
        ),
        build_stat(
            "Cases left out",
            "The exporter shows only so many cases, the latest ones.",
            Query(f'sum({P}exporter_cases_left_out{{job="$job"}})'),
        ),
        build_stat(
            "Duration",
            "Mean time that the last runs took.",
            Query(
                f"avg({P}result_end_timestamp_seconds{{{CASE}}}"
                f" - {P}result_start_timestamp_seconds{{{CASE}}})"
            ),
            "s",
        ),
        build_table(
            "Sequences per second",
            "The last result of each case.",
            Query(f"{P}result_sequences_per_second{{{CASE}}} {_LAST_FACTS}"),
            hidden=("instance",),
            width=14,
            height=9,
        ),
        build_table(
            "Checks that did not pass",
            "Of the last results.",
            Query(f"{P}result_check_passed{{{CASE}}} == 0"),
            hidden=("instance", "Value"),
            width=5,
            height=9,
        ),
        build_table(
            "Failures",
            "Of the last runs.",
            Query(f"{P}result_failed{{{CASE}}}"),
            hidden=("instance", "Value"),
            width=5,
            height=9,
        ),
    )
    add_row(
        board,
        "Speed",
        build_lines(
            "Sequences per second",
            "The last result of each case, its confidence interval and the median of 14 days.",
            [
                Query(f"{P}result_sequences_per_second{{{CASE}}}", "{{case}}"),
                Query(f"{P}result_sequences_per_second_low{{{CASE}}}", "{{case}} low"),
                Query(f"{P}result_sequences_per_second_high{{{CASE}}}", "{{case}} high"),
                Query(
                    f"case:{P}result_sequences_per_second:median14d{{{CASE}}}", "{{case}} median"
                ),
            ],
            width=24,
            height=10,
        ),
        build_lines(
            "Over the median of 14 days",
            "1 is as usual.",
            Query(
                f"{P}result_sequences_per_second{{{CASE}}}"
                f" / case:{P}result_sequences_per_second:median14d{{{CASE}}}",
                "{{case}}",
            ),
            "percentunit",
        ),
        build_lines(
            "Scaling efficiency",
            "Per card, relative to the smallest card count of the same session.",
            Query(f"{P}result_scaling_efficiency_ratio{{{CASE}}}", "{{case}}"),
            "percentunit",
            minimum=0,
        ),
        build_lines(
            "Step time",
            "Median and 95th percentile.",
            [
                Query(f"{P}result_step_time_p50_seconds{{{CASE}}}", "{{case}} median"),
                Query(f"{P}result_step_time_p95_seconds{{{CASE}}}", "{{case}} 95 %"),
            ],
            "s",
            minimum=0,
        ),
        build_lines(
            "Loss at the end",
            "Total, and masked LM.",
            [
                Query(f"{P}result_final_total_loss{{{CASE}}}", "{{case}} total"),
                Query(f"{P}result_final_mlm_loss{{{CASE}}}", "{{case}} masked LM"),
            ],
        ),
    )
    return add_row(
        board,
        "All of it",
        build_states(
            "Valid",
            "Whether the last result could be believed.",
            Query(f"{P}result_valid{{{CASE}}}", "{{case}}"),
            YES_NO,
            width=24,
            height=6,
        ),
        build_table(
            "Every figure of the last results",
            "Names are those of the series.",
            Query(f'sort_desc({{__name__=~"{P}result_.+",{CASE},kind="",check="",run_id=""}})'),
            hidden=("instance",),
            height=12,
        ),
    )


def build_harness() -> Dashboard:
    """The harness and the host it runs on."""
    board = build_board(
        "ascend-bert-harness",
        "ascend-bert / Harness and host",
        "Can the figures on the other boards be believed: are sources read, and is the host calm?",
    ).with_variable(
        build_label_variable(
            "instance",
            "Endpoints",
            f"label_values({P}exporter_build_info, instance)",
            multi=True,
        )
    )
    add_row(
        board,
        "Endpoints",
        build_states(
            "Answering",
            "Whether Prometheus reaches the endpoint.",
            Query(f'up{{job=~"ascend-bert.*",{HOST}}}', "{{job}} {{instance}}"),
            UP_DOWN,
            width=8,
        ),
        build_lines(
            "Time of a scrape",
            "As Prometheus sees it.",
            Query(
                f'scrape_duration_seconds{{job=~"ascend-bert.*",{HOST}}}', "{{job}} {{instance}}"
            ),
            "s",
            width=8,
            minimum=0,
        ),
        build_lines(
            "Series of a scrape",
            "At most 2,000 for 64 ranks.",
            Query(f'scrape_samples_scraped{{job=~"ascend-bert.*",{HOST}}}', "{{job}} {{instance}}"),
            width=8,
            minimum=0,
        ),
        build_table(
            "Versions",
            "Of the harness behind each endpoint.",
            Query(f"{P}exporter_build_info{{{HOST}}}"),
            hidden=("Value", "run_id"),
            height=5,
        ),
    )
    add_row(
        board,
        "Telemetry",
        build_states(
            "Sources",
            "Whether the last reading of a source gave values.",
            Query(f"{P}exporter_collector_success{{{HOST}}}", "{{collector}} {{instance}}"),
            YES_NO,
            width=8,
        ),
        build_lines(
            "Age of values",
            "Since a source last gave values.",
            Query(
                f"time() - {P}exporter_collector_last_success_timestamp_seconds{{{HOST}}}",
                "{{collector}} {{instance}}",
            ),
            "s",
            width=8,
            minimum=0,
        ),
        build_lines(
            "Time of a reading",
            "How long a source took.",
            Query(
                f"{P}exporter_collector_duration_seconds{{{HOST}}}", "{{collector}} {{instance}}"
            ),
            "s",
            width=8,
            minimum=0,
        ),
        build_lines(
            "Readings that failed",
            "Share of readings, and answers that were not understood, in the window of rates.",
            [
                Query(
                    f"rate({P}exporter_collection_failures_total{{{HOST}}}[$window])"
                    f" / rate({P}exporter_collections_total{{{HOST}}}[$window])",
                    "{{collector}} failed",
                ),
                Query(
                    f"increase({P}exporter_collector_parse_errors_total{{{HOST}}}[$window])",
                    "{{collector}} not understood",
                ),
            ],
            minimum=0,
            width=8,
        ),
        build_lines(
            "Samples",
            "Per second; one is due each second, and a late one is missed rather than delayed.",
            [
                Query(f"rate({P}exporter_samples_total{{{HOST}}}[$window])", "taken {{instance}}"),
                Query(
                    f"rate({P}exporter_samples_missed_total{{{HOST}}}[$window])",
                    "missed {{instance}}",
                ),
            ],
            minimum=0,
            width=8,
        ),
        build_lines(
            "Cost of telemetry",
            "Cores that sampling keeps busy, its commands included.",
            Query(
                f"rate({P}exporter_telemetry_cpu_seconds_total{{{HOST}}}[$window])", "{{instance}}"
            ),
            minimum=0,
            width=8,
        ),
    )
    return add_row(
        board,
        "Host",
        build_lines(
            "Processor",
            "Cores by what they do.",
            Query(
                f'sum by (mode) (rate({P}host_cpu_seconds_total{{mode!="idle",{HOST}}}[$window]))',
                "{{mode}}",
            ),
            minimum=0,
            stacked=True,
        ),
        build_lines(
            "Load",
            "Average over one minute.",
            Query(f"{P}host_load1{{{HOST}}}", "{{instance}}"),
            minimum=0,
        ),
        build_lines(
            "Memory",
            "What could be had without swapping, the size, and swap in use.",
            [
                Query(f"{P}host_memory_available_bytes{{{HOST}}}", "available {{instance}}"),
                Query(f"{P}host_memory_size_bytes{{{HOST}}}", "size {{instance}}"),
                Query(f"{P}host_swap_used_bytes{{{HOST}}}", "swap in use {{instance}}"),
            ],
            "bytes",
            minimum=0,
            width=8,
        ),
        build_lines(
            "Disk of the results",
            "Free space and size.",
            [
                Query(f"{P}host_filesystem_free_bytes{{{HOST}}}", "free {{instance}}"),
                Query(f"{P}host_filesystem_size_bytes{{{HOST}}}", "size {{instance}}"),
            ],
            "bytes",
            minimum=0,
            width=8,
        ),
        build_lines(
            "Network of the host",
            "All interfaces but loopback.",
            [
                Query(
                    f"rate({P}host_network_receive_bytes_total{{{HOST}}}[$window])",
                    "received {{instance}}",
                ),
                Query(
                    f"rate({P}host_network_transmit_bytes_total{{{HOST}}}[$window])",
                    "sent {{instance}}",
                ),
            ],
            "Bps",
            minimum=0,
            width=8,
        ),
    )
