"""Stored results as Prometheus metrics: the last one of every case."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from prometheus_client.registry import Collector

from bench.catalogue import METRICS
from bench.errors import DataError
from bench.export.families import Family, Sample, build_family, build_value
from bench.judge.launches import Launch, launch_of_result
from bench.measure.scaling import compute_scaling_efficiency
from bench.results.fingerprint import build_fingerprint, hash_fingerprint
from bench.results.model import RunResult
from bench.results.store import RESULT_NAME, list_run_directories, read_result
from bench.series import SERIES

MAX_CASES = 50
"""More are left out, and said to be: a scrape must stay small whatever a folder holds."""

_EFFICIENCY = "scaling_efficiency_ratio"
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class StoredResult:
    """What is exported of a result.

    Attributes:
        case: results with the same one can be compared.
        family: the case without its card count, and the session: what scaling is formed over.
        cards: how many were asked for.
        labels: values of the labels of ``result_info`` behind ``case``.
        valid: the run finished and is valid.
        failure: kind of failure, None when there was none.
        started_seconds: Unix time.
        ended_seconds: the same, None where not known.
        checks: name → passed, only those that could be checked.
        figures: series key → value, of a valid run only.
        launch: what judging reads of it.
    """

    case: str
    family: Tuple[str, str]
    cards: int
    labels: Tuple[str, ...]
    valid: bool
    failure: Optional[str]
    started_seconds: float
    ended_seconds: Optional[float]
    checks: Mapping[str, bool]
    figures: Mapping[str, float]
    launch: Optional[Launch] = None

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self.labels[0] if self.labels else ""


@dataclass
class ResultReader:
    """Reads run folders, each result once as long as its file stays the same.

    Attributes:
        list_folders: gives the folders of the runs.
        n_unreadable: folders whose result could not be read the last time.
    """

    list_folders: Callable[[], Sequence[Path]]
    n_unreadable: int = 0
    _known: Dict[Path, Tuple[Tuple[int, int], Optional[StoredResult]]] = field(default_factory=dict)

    def read(self) -> List[StoredResult]:
        """All results of runs that have ended, in order of their start."""
        known = {}
        for folder in self.list_folders():
            try:
                found = (folder / RESULT_NAME).stat()
            except OSError:
                continue  # not written yet, or removed since it was listed
            stamp = (found.st_mtime_ns, found.st_size)
            old = self._known.get(folder)
            known[folder] = old if old and old[0] == stamp else (stamp, _read(folder))
        self._known = known
        self.n_unreadable = sum(result is None for _, result in known.values())
        results = [result for _, result in known.values() if result and result.case]
        return sorted(results, key=lambda result: result.started_seconds)


class ResultCollector(Collector):
    """Reads stored results at each scrape.

    Args:
        reader: where they come from.
        max_cases: how many cases to export, those with the latest results.
    """

    def __init__(self, reader: ResultReader, max_cases: int = MAX_CASES) -> None:
        self._reader = reader
        self._max_cases = max_cases

    def describe(self) -> List[Family]:
        """Nothing, so that registering does not read."""
        return []

    def collect(self) -> Iterator[Family]:
        """Families of the catalogue; a figure that a result lacks is left out."""
        results = self._reader.read()
        counts: Dict[str, int] = {}
        for result in results:
            counts[result.case] = counts.get(result.case, 0) + 1
        ordered = list_last(results)
        shown = ordered[-self._max_cases :]
        yield build_value("exporter_unreadable_results", self._reader.n_unreadable)
        yield build_value("exporter_cases_left_out", len(ordered) - len(shown))
        if shown:
            yield from build_result_families(shown, counts, compute_efficiencies(results))


def list_last(results: Sequence[StoredResult]) -> List[StoredResult]:
    """The last result of each case, in order of their start, as ``results`` are."""
    last = {result.case: result for result in results}
    return sorted(last.values(), key=lambda result: result.started_seconds)


def list_stored(output: Path) -> Callable[[], Sequence[Path]]:
    """The run folders of a results directory, listed anew each time."""
    return lambda: list_run_directories(output)


def build_result_families(
    results: Sequence[StoredResult],
    counts: Mapping[str, int],
    efficiencies: Mapping[Tuple[Tuple[str, str], int], Optional[float]],
) -> Iterator[Family]:
    """Families with one series per case.

    Args:
        results: the last of each case.
        counts: case → stored results.
        efficiencies: family and cards → scaling efficiency.
    """

    def one(read: Callable[[StoredResult], Optional[float]]) -> List[Sample]:
        return [((result.case,), read(result)) for result in results]

    yield build_family("result_info", [((result.case, *result.labels), 1.0) for result in results])
    yield build_family("result_runs", one(lambda result: counts[result.case]))
    yield build_family("result_valid", one(lambda result: float(result.valid)))
    yield build_family(
        "result_check_passed",
        [
            ((result.case, name), float(passed))
            for result in results
            for name, passed in result.checks.items()
        ],
    )
    yield build_family(
        "result_failed",
        [((result.case, result.failure), 1.0) for result in results if result.failure],
    )
    yield build_family("result_start_timestamp_seconds", one(lambda result: result.started_seconds))
    yield build_family("result_end_timestamp_seconds", one(lambda result: result.ended_seconds))
    for key in list_figure_keys():
        if key == f"result_{_EFFICIENCY}":
            samples = one(
                lambda result: (
                    efficiencies.get((result.family, result.cards)) if result.valid else None
                )
            )
        else:
            samples = [((result.case,), result.figures.get(key)) for result in results]
        if any(value is not None for _, value in samples):
            yield build_family(key, samples)


def list_figure_keys() -> List[str]:
    """Series that carry a figure of a result or an end of its interval."""
    keys = []
    for metric in METRICS.values():
        for ending in ("", "_low", "_high"):
            if f"result_{metric.key}{ending}" in SERIES:
                keys.append(f"result_{metric.key}{ending}")
    return keys


def compute_efficiencies(
    results: Sequence[StoredResult],
) -> Dict[Tuple[Tuple[str, str], int], Optional[float]]:
    """Scaling efficiency of each card count within each session and case."""
    rates: Dict[Tuple[str, str], Dict[int, List[float]]] = {}
    for result in results:
        rate = result.figures.get("result_sequences_per_second")
        if rate is not None:
            rates.setdefault(result.family, {}).setdefault(result.cards, []).append(rate)
    found: Dict[Tuple[Tuple[str, str], int], Optional[float]] = {}
    for family, by_cards in rates.items():
        means = {cards: sum(values) / len(values) for cards, values in by_cards.items()}
        for cards, ratio in compute_scaling_efficiency(means).items():
            found[(family, cards)] = ratio
    return found


def build_stored(result: RunResult) -> StoredResult:
    """Takes out of a result what is exported."""
    asked = result.asked
    figures: Dict[str, float] = {}
    if result.valid:
        for key, measurement in result.summary.items():
            for ending, value in (
                ("", measurement.value),
                ("_low", measurement.low),
                ("_high", measurement.high),
            ):
                series = f"result_{key}{ending}"
                if value is not None and series in SERIES:
                    figures[series] = value
    backend = str(result.found.get("backend"))
    facts = result.found.get("environment", {}).get("facts", {})
    common = _describe_family(result)
    fingerprint = hash_fingerprint(build_fingerprint(result))
    return StoredResult(
        case=f"{common}-{result.n_cards}p-{fingerprint[:6]}",
        family=(str(result.session.get("id")), common),
        cards=result.n_cards,
        labels=(
            result.run_id,
            str(asked["model"]),
            backend,
            "true" if result.simulated else "false",
            str(asked.get("precision") or ""),
            str(asked.get("task") or ""),
            str(result.n_cards),
            str(asked["batch_size"] or ""),
            str(asked.get("seq_length") or ""),
            str(facts.get("host_name") or ""),
            str(result.tool.get("version") or ""),
        ),
        valid=result.valid,
        failure=None if result.failure is None else result.failure.kind,
        started_seconds=parse_time(result.started_at) or 0.0,
        ended_seconds=parse_time(result.ended_at),
        checks={check.name: check.passed for check in result.validity if check.passed is not None},
        figures=figures,
        launch=launch_of_result(result),
    )


def _read(folder: Path) -> Optional[StoredResult]:
    """The result of a folder; with an empty case while its run still goes, None when damaged."""
    try:
        result = read_result(folder)
        stored = build_stored(result)
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if result.state == "running":
        return StoredResult("", ("", ""), 0, (), False, None, stored.started_seconds, None, {}, {})
    return stored


def _describe_family(result: RunResult) -> str:
    """Readable name of what was run, without the card count."""
    asked = result.asked
    words = [
        Path(str(asked["model"])).stem,
        str(result.found.get("backend") or "unknown"),
        "b{}".format(asked["batch_size"]) if asked.get("batch_size") else "",
        "s{}".format(asked["seq_length"]) if asked.get("seq_length") else "",
        str(asked.get("precision") or ""),
    ]
    return _UNSAFE.sub("_", "-".join(word for word in words if word))


def parse_time(text: Optional[str]) -> Optional[float]:
    """Unix time of a stored time, in seconds; None for what is none."""
    if not text:
        return None
    try:
        # Python 3.7 does not read the Z of UTC.
        when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return when.timestamp()
