"""Everything that a report shows, read from result folders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from bench.errors import BenchError, DataError, UsageError
from bench.history.index import INDEX_NAME, read_launches, update_index
from bench.history.series import Series, build_all_series
from bench.judge.evaluate import Outcome
from bench.judge.launches import describe_case, launch_of_result
from bench.judge.rules import Rules
from bench.results.cases import group_results
from bench.results.model import RunResult
from bench.results.store import RESULT_NAME, list_run_directories, read_result
from bench.telemetry.store import FILE_NAME, StoredTelemetry, read_telemetry

MOST_SAMPLES = 4000
LEAST_NIGHTS = 2


@dataclass(frozen=True)
class Report:
    """What a page is made of.

    Attributes:
        results: the runs, oldest first.
        outcome: of the gate; None where the runs were held against nothing.
        baseline: what they were held against, in words.
        telemetry: run id → telemetry, of one launch per case.
        series: nightly series of the cases of the runs.
        remarks: what could not be read, one line each.
    """

    results: Tuple[RunResult, ...]
    outcome: Optional[Outcome] = None
    baseline: str = ""
    telemetry: Mapping[str, StoredTelemetry] = field(default_factory=dict)
    series: Tuple[Series, ...] = ()
    remarks: Tuple[str, ...] = ()


def find_runs(words: Sequence[str], output: Path) -> List[Path]:
    """Run folders that are named, or those of the last session.

    Args:
        words: each a run folder, a ``result.json``, a results folder, or the start of the run ids
            of a session under ``output``; none for the last session.
        output: results folder.

    Raises:
        UsageError: nothing has that name.
        DataError: there are no results.
    """
    if words:
        return list(dict.fromkeys(folder for word in words for folder in _find(word, output)))
    folders = list_run_directories(output)
    if not folders:
        raise DataError(f"no results under {output}; make some with 'ascend-bert bench'")
    # Run ids begin with the time of their session, to the second, and its four random digits.
    last = folders[-1].name.split("-")[:2]
    return [folder for folder in folders if folder.name.split("-")[:2] == last]


def _find(word: str, output: Path) -> List[Path]:
    path = Path(word)
    if path.name == RESULT_NAME and path.is_file():
        return [path.parent]
    if (path / RESULT_NAME).is_file():
        return [path]
    folders = list_run_directories(path) if path.is_dir() else []
    if not folders and "/" not in word and len(word) >= 8:
        folders = [run for run in list_run_directories(output) if run.name.startswith(word)]
    if not folders:
        raise UsageError(
            f"{word} is no run folder, result file or results folder, "
            f"and no run under {output} begins like that"
        )
    return folders


def read_runs(folders: Sequence[Path]) -> Tuple[List[RunResult], Dict[str, Path], List[str]]:
    """The runs, oldest first, their folders, and what could not be read.

    Raises:
        DataError: none of them can be read.
    """
    results: List[RunResult] = []
    places: Dict[str, Path] = {}
    problems: List[str] = []
    for folder in folders:
        try:
            result = read_result(folder)
        except DataError as error:
            problems.append(f"left out: {error}")
            continue
        results.append(result)
        places[result.run_id] = folder
    if not results:
        raise DataError(problems[0] if problems else "no run to report on")
    return sorted(results, key=lambda item: (item.started_at, item.run_id)), places, problems


def read_case_telemetry(
    results: Sequence[RunResult], places: Mapping[str, Path]
) -> Tuple[Dict[str, StoredTelemetry], List[str]]:
    """Telemetry of the first launch of each case that has any, and what could not be read."""
    found: Dict[str, StoredTelemetry] = {}
    problems: List[str] = []
    for group in group_results(results):
        for result in group:
            if not (places[result.run_id] / FILE_NAME).is_file():
                continue
            try:
                found[result.run_id] = read_telemetry(places[result.run_id], MOST_SAMPLES)
                break
            except DataError as error:
                problems.append(str(error))
    return found, problems


def read_series(
    results: Sequence[RunResult], output: Path, rules: Rules
) -> Tuple[List[Series], List[str]]:
    """Series of the cases of the runs, from two nights on, and why there are none."""
    if not (output / "runs").is_dir():
        return [], []
    try:
        update_index(output / INDEX_NAME, output)
        launches = [item for item in read_launches(output / INDEX_NAME) if item.state != "running"]
    except BenchError as error:
        # A folder that cannot be written must not stand in the way of reading results.
        return [], [f"no history: {error}"]
    cases = [describe_case(launch_of_result(result)) for result in results]
    wanted = [item for item in launches if describe_case(item) in cases]
    found = build_all_series(wanted, rules.metrics, rules.breaks) if wanted else []
    return [
        series
        for series in found
        if sum(1 for night in series.nights if night.value is not None) >= LEAST_NIGHTS
    ], []
