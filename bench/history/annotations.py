"""Change points, breaks and verdicts as marks in time, in the form of Grafana's annotations API."""

from __future__ import annotations

import datetime
from typing import Any, Dict, List, Sequence

from bench.history.series import Series, parse_time
from bench.judge.change_points import DRIFT

TAG = "ascend-bert"


def build_annotations(all_series: Sequence[Series]) -> List[Dict[str, Any]]:
    """Bodies for ``POST /api/annotations``, oldest first.

    Times are in milliseconds of Unix time; a drift is a region from where it began to the night
    on which it was found. Tags: ``ascend-bert``, the kind (``step``, ``drift``, ``break``), for
    changes ``worse`` or ``better``, the metric, and ``cards:N``.
    """
    marks: List[Dict[str, Any]] = []
    for series in all_series:
        common = [series.metric, f"cards:{series.case['cards']}"]
        for change in series.changes:
            mark = {
                "time": _to_milliseconds(series.nights[change.index].started_at),
                "tags": [TAG, change.kind, "worse" if series.is_worse(change) else "better"]
                + common,
                "text": describe_change(series, change),
            }
            if change.kind == DRIFT:
                mark["timeEnd"] = _to_milliseconds(series.nights[change.found_at].started_at)
            marks.append(mark)
        for item in series.breaks:
            marks.append(
                {
                    "time": _to_milliseconds(series.nights[item.position].started_at),
                    "tags": [TAG, "break", *common],
                    "text": f"{series.name}: known break, {item.reason}",
                }
            )
    return sorted(marks, key=lambda mark: (mark["time"], mark["text"]))


def describe_change(series: Series, change: Any) -> str:
    """One line: what, since which night, and when it was seen."""
    first, found = series.nights[change.index], series.nights[change.found_at]
    verb = "drifted" if change.kind == DRIFT else "changed"
    word = "worse" if series.is_worse(change) else "better"
    return (
        f"{series.name}: {verb} by {100.0 * change.change_ratio:+.1f} % ({word}) from "
        f"{first.started_at[:10]} on (session {first.session}); found on {found.started_at[:10]}"
    )


def _to_milliseconds(text: str) -> int:
    moment = parse_time(text).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp() * 1000.0)
