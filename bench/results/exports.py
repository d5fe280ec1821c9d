"""One result in the forms of others. All digits are kept, so every form holds the same numbers."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from tabulate import tabulate

from bench.measure.figures import Check, Measurement
from bench.measure.repeats import ONE_LAUNCH_SAYS
from bench.results.model import RunResult
from bench.results.modelzoo import OUR_MARK, SIMULATED_MARK, CaseLog, render_case_log

_INTERVAL_COLUMNS = (
    "end_step",
    "steps",
    "seconds",
    "steps_per_second",
    "told",
    "reason",
    "wall_seconds",
)
_TIME_FORMATS = ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ")

_CASE_NOTES = (
    OUR_MARK + " {version} from run {run_id}.",
    "The keys are those of the ModelZoo test scripts, for tools that gather them; the numbers are",
    "not formed as those scripts do:",
    "ActualFPS: sequences per second, sum of steps over sum of time in the steady intervals of all",
    "  ranks, times the global batch. The scripts take the mean of the rates that one device",
    "  printed, warm-up included, times the devices.",
    "TrainingTime: milliseconds per step, as in ID0060. The BertNV scripts write seconds there.",
    "ActualLoss: mean of the last reports of all ranks. The scripts take one device's last one.",
    "E2ETrainingTime: seconds from launch to end. DeviceType: architecture of the host, as there.",
    "Validity: {validity}. The scripts do not check any and always exit with 0.",
)


def render_csv(result: RunResult) -> str:
    """The figures, one line each."""
    fields = _list_measurement_fields(result)
    rows: List[Sequence[Any]] = [["run_id", "figure", *fields]]
    for key, measurement in result.summary.items():
        values = [getattr(measurement, field) for field in fields]
        rows.append([result.run_id, key, *map(_plain, values)])
    return _write_csv(rows)


def render_intervals(result: RunResult) -> str:
    """The raw intervals of all ranks, one line each."""
    rows: List[Sequence[Any]] = [["run_id", "rank", "label", "interval", *_INTERVAL_COLUMNS]]
    for rank in result.ranks:
        columns = [rank.intervals.get(name, []) for name in _INTERVAL_COLUMNS]
        for index, values in enumerate(itertools.zip_longest(*columns)):
            rows.append([result.run_id, rank.rank, rank.label, index, *map(_plain, values)])
    return _write_csv(rows)


def render_markdown(result: RunResult) -> str:
    """Figures, checks and the circumstances, as a document."""
    figures = [
        [
            key,
            _plain(item.value),
            _describe_limits(item),
            item.unit,
            str(item.n),
            item.reason or item.window,
        ]
        for key, item in result.summary.items()
    ]
    checks = [
        [check.name, _describe_check(check), check.found, check.wanted] for check in result.validity
    ]
    facts = result.found.get("environment", {}).get("facts", {})
    known = [[key, _plain_fact(value)] for key, value in facts.items() if value is not None]
    parts = [
        f"# {result.run_id}",
        *(["**SIMULATED: no device was measured.**"] if result.simulated else []),
        *_describe_import(result),
        _describe(result),
        "## Figures",
        _table(
            figures, ["figure", "value", "95 %", "unit", "n", "window, or why there is no value"]
        ),
        *([f"95 %: {ONE_LAUNCH_SAYS}."] if any(row[2] for row in figures) else []),
        "## Checks",
        _table(checks, ["check", "", "found", "wanted"]),
        "## Environment",
        _table(known, ["fact", "value"]),
    ]
    return "\n\n".join(parts)


def render_modelzoo(result: RunResult) -> str:
    """The ``${CaseName}.log`` of the ModelZoo test scripts."""
    notes = tuple(
        note.format(
            version=result.tool.get("version", "?"),
            run_id=result.run_id,
            validity=_describe_validity(result),
        )
        for note in _CASE_NOTES
    )
    asked = result.asked
    network = Path(str(asked.get("model") or "unknown")).stem
    rate = result.value("steps_per_second")
    facts = result.found.get("environment", {}).get("facts", {})
    case = CaseLog(
        network=network,
        ranks=result.n_cards,
        batch_size=asked.get("batch_size"),
        device_type=facts.get("architecture"),
        case_name="{}_bs{}_{}p_perf".format(network, asked.get("batch_size"), result.n_cards),
        sequences_per_second=result.value("sequences_per_second"),
        step_seconds=1.0 / rate if rate else None,
        loss=result.value("final_total_loss"),
        duration_seconds=compute_duration_seconds(result),
    )
    absent = [
        f"{key} is absent: {measurement.reason}"
        for key, measurement in result.summary.items()
        if measurement.value is None and measurement.reason
    ]
    simulated = (f"{SIMULATED_MARK}: no device was measured.",) if result.simulated else ()
    return render_case_log(case, (*simulated, *notes, *absent))


EXPORTS: Dict[str, Callable[[RunResult], str]] = {
    "csv": render_csv,
    "intervals": render_intervals,
    "markdown": render_markdown,
    "modelzoo": render_modelzoo,
}
"""Name of a form → how it is rendered, without a final newline."""


def compute_duration_seconds(result: RunResult) -> Optional[float]:
    """Wall time from launch to end; None while it runs."""
    begin, end = _parse_time(result.started_at), _parse_time(result.ended_at)
    if begin is None or end is None:
        return None
    return (end - begin).total_seconds()


def _parse_time(text: Optional[str]) -> Optional[datetime.datetime]:
    for form in _TIME_FORMATS if text else ():
        try:
            return datetime.datetime.strptime(str(text), form)
        except ValueError:
            continue
    return None


def _describe(result: RunResult) -> str:
    asked: Mapping[str, Any] = result.asked
    # Of an import not all is known.
    known = [
        form.format(value)
        for form, value in (
            ("{}", asked.get("model")),
            ("{} card(s)", result.n_cards),
            ("backend {}", result.found.get("backend")),
            ("batch {} per card", asked.get("batch_size")),
            ("sequence length {}", asked.get("seq_length")),
            ("{} steps", asked.get("steps")),
            ("{}", asked.get("precision")),
        )
        if value is not None
    ]
    return f"{', '.join(known)}; started {result.started_at}; {_describe_validity(result)}."


def _describe_validity(result: RunResult) -> str:
    if result.failure is not None:
        return f"failed: {result.failure.message}"
    if result.state == "running":
        return "not finished"
    failed = [check.name for check in result.validity if check.fatal]
    return "invalid: {}".format(", ".join(failed)) if failed else "valid"


def _describe_check(check: Check) -> str:
    if check.passed is None:
        return "not checked"
    if check.passed:
        return "passed"
    return "FAILED" if check.required else "failed (not required here)"


def _describe_limits(item: Measurement) -> str:
    if item.low is None or item.high is None:
        return ""
    return f"{_plain(item.low)} to {_plain(item.high)}"


def _describe_import(result: RunResult) -> List[str]:
    imported = result.found.get("imported")
    if not imported:
        return []
    names = ", ".join(source["name"] for source in imported["sources"])
    lines = [f"**Imported** from {names}; figures: {imported['estimate']}."]
    lines += [f"- {warning}" for warning in imported["warnings"]]
    return ["\n".join(lines)]


def _list_measurement_fields(result: RunResult) -> Tuple[str, ...]:
    for measurement in result.summary.values():
        return tuple(vars(measurement))
    return ("value", "low", "high", "level", "unit", "n", "window", "reason")


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _plain_fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain_fact(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(map(_plain_fact, value))
    return _plain(value)


def _table(rows: List[List[str]], headers: List[str]) -> str:
    # A bar or a line end would end the cell.
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True) if rows else "None."


def _write_csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().rstrip("\n")
