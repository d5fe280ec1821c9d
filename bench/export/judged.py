"""What judging made of stored results: the last verdicts, and changes in the nightly series."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from prometheus_client.registry import Collector

from bench.errors import DataError
from bench.export.families import Family, Sample, build_family, build_value
from bench.export.stored import MAX_CASES, ResultReader, StoredResult, list_last, parse_time
from bench.history.series import Series, build_all_series
from bench.judge.launches import Launch
from bench.judge.model import VERDICTS
from bench.judge.rules import Rules
from bench.judge.verdicts import StoredCell, StoredVerdict, list_verdicts, read_verdict

MAX_CHANGES = 10
"""Changes of a series that are shown, the latest ones: boards look back some weeks."""

MAX_VERDICTS = 100
"""Sessions whose verdict is read, the latest ones: each case shows its last."""

_STATES = {verdict: verdict.replace(" ", "_") for verdict in VERDICTS}


@dataclass
class VerdictReader:
    """Reads stored verdicts, each once as long as its file stays the same.

    Attributes:
        output: results directory.
        n_unreadable: files that could not be read the last time.
    """

    output: Path
    n_unreadable: int = 0
    _known: Dict[Path, Tuple[Tuple[int, int], Optional[StoredVerdict]]] = field(
        default_factory=dict
    )

    def read(self) -> List[StoredVerdict]:
        """The verdicts in the order in which they were given."""
        known = {}
        for path in list_verdicts(self.output)[-MAX_VERDICTS:]:
            try:
                found = path.stat()
            except OSError:
                continue  # removed since it was listed
            stamp = (found.st_mtime_ns, found.st_size)
            old = self._known.get(path)
            known[path] = old if old and old[0] == stamp else (stamp, _read(path))
        self._known = known
        self.n_unreadable = sum(verdict is None for _, verdict in known.values())
        verdicts = [verdict for _, verdict in known.values() if verdict is not None]
        return sorted(verdicts, key=lambda verdict: (verdict.judged_at, verdict.session))


class JudgedCollector(Collector):
    """Reads verdicts, and looks for changes when there are new results, at each scrape.

    Args:
        results: stored results.
        verdicts: stored verdicts.
        rules: metrics of the history, and known breaks.
        max_cases: how many cases to export, those with the latest results.
    """

    def __init__(
        self,
        results: ResultReader,
        verdicts: VerdictReader,
        rules: Rules,
        max_cases: int = MAX_CASES,
    ) -> None:
        self._results = results
        self._verdicts = verdicts
        self._rules = rules
        self._max_cases = max_cases
        self._seen: Dict[str, Tuple[Tuple[StoredResult, ...], List[Series]]] = {}

    def describe(self) -> List[Family]:
        """Nothing, so that registering does not read."""
        return []

    def collect(self) -> Iterator[Family]:
        """Families of the history and of the gate; nothing where nothing was judged."""
        results = self._results.read()
        shown = {result.case for result in list_last(results)[-self._max_cases :]}
        series = self._find_series([result for result in results if result.case in shown])
        yield from build_history_families(series)
        verdicts = self._verdicts.read()
        yield build_value("judged_unreadable_verdicts", self._verdicts.n_unreadable)
        cases = {result.run_id: result.case for result in results if result.case in shown}
        yield from build_verdict_families(verdicts, cases)

    def _find_series(self, results: Sequence[StoredResult]) -> Dict[str, List[Series]]:
        """Case → its series, built anew only where a result came or went."""
        by_case: Dict[str, List[StoredResult]] = {}
        for result in results:
            # Two builds that are compared in one session are no night.
            if result.launch is not None and not result.launch.build:
                by_case.setdefault(result.case, []).append(result)
        seen = {}
        for case, mine in by_case.items():
            old = self._seen.get(case)
            if old is not None and _are_same(old[0], mine):
                seen[case] = old
                continue
            launches: List[Launch] = [one.launch for one in mine if one.launch is not None]
            found = build_all_series(launches, self._rules.metrics, self._rules.breaks)
            with_values = [s for s in found if any(night.value is not None for night in s.nights)]
            seen[case] = (tuple(mine), with_values)
        self._seen = seen
        return {case: series for case, (_, series) in seen.items()}


def build_history_families(series_of: Mapping[str, Sequence[Series]]) -> Iterator[Family]:
    """Nights and changes of each case and metric.

    Args:
        series_of: case → its series.
    """
    nights: List[Sample] = []
    began: List[Sample] = []
    found: List[Sample] = []
    ratios: List[Sample] = []
    for case, listed in series_of.items():
        for series in listed:
            first = (case, series.metric)
            count = sum(night.value is not None for night in series.nights)
            nights.append((first, float(count)))
            # Of two that begin on the same night the later one says more.
            changes = _list_changes(first, series)[-MAX_CHANGES:]
            for labels, times, ratio in {change[0]: change for change in changes}.values():
                began.append((labels, parse_time(times[0])))
                found.append((labels, parse_time(times[1])))
                ratios.append((labels, ratio))
    for key, samples in (
        ("history_nights", nights),
        ("history_change_timestamp_seconds", began),
        ("history_change_found_timestamp_seconds", found),
        ("history_change_ratio", ratios),
    ):
        if samples:
            yield build_family(key, samples)


def build_verdict_families(
    verdicts: Sequence[StoredVerdict], case_of: Mapping[str, str]
) -> Iterator[Family]:
    """The last verdict of all, and the last one on each case and metric.

    Args:
        verdicts: in the order in which they were given.
        case_of: run id → case, of the cases that are shown.
    """
    if not verdicts:
        return
    last = verdicts[-1]
    yield build_family("gate_info", [((last.session,), 1.0)])
    yield build_family("gate_verdict", _list_states((), last.verdict))
    yield build_value("gate_exit_code", float(last.exit_code))
    yield build_value("gate_judged_timestamp_seconds", parse_time(last.judged_at))
    cells: Dict[Tuple[str, str], StoredCell] = {}
    for verdict in verdicts:
        for cell in verdict.cells:
            case = next((case_of[run] for run in cell.run_ids if run in case_of), None)
            if case is not None:
                cells[(case, cell.metric)] = cell
    if not cells:
        return
    states = [_list_states(labels, cell.verdict) for labels, cell in cells.items()]
    yield build_family("gate_case_verdict", [sample for each in states for sample in each])
    items = cells.items()
    yield build_family("gate_case_waived", [(at, float(cell.waived)) for at, cell in items])
    yield build_family("gate_case_looks", [(at, float(cell.look)) for at, cell in items])
    yield build_family("gate_case_change_ratio", [(at, cell.change_ratio) for at, cell in items])
    yield build_family("gate_case_margin_ratio", [(at, cell.margin_ratio) for at, cell in items])


def _list_changes(
    first: Tuple[str, str], series: Series
) -> List[Tuple[Tuple[str, ...], Tuple[str, str], Optional[float]]]:
    """Labels, start of the first night and of the night it was found on, ratio; oldest first."""
    marks: List[Tuple[Tuple[str, ...], Tuple[str, str], Optional[float]]] = []
    for change in series.changes:
        night, seen = series.nights[change.index], series.nights[change.found_at]
        effect = "worse" if series.is_worse(change) else "better"
        labels = (*first, night.session, change.kind, effect)
        marks.append((labels, (night.started_at, seen.started_at), change.change_ratio))
    for known in series.breaks:
        night = series.nights[known.position]
        times = (night.started_at, night.started_at)
        marks.append(((*first, night.session, "break", "known"), times, known.change_ratio))
    return sorted(marks, key=lambda mark: mark[1])


def _list_states(labels: Tuple[str, ...], verdict: str) -> List[Sample]:
    return [((*labels, word), float(one == verdict)) for one, word in _STATES.items()]


def _are_same(left: Sequence[StoredResult], right: Sequence[StoredResult]) -> bool:
    # The reader gives the very same object as long as the file has not changed.
    return len(left) == len(right) and all(a is b for a, b in zip(left, right))


def _read(path: Path) -> Optional[StoredVerdict]:
    try:
        return read_verdict(path)
    except DataError:
        return None
