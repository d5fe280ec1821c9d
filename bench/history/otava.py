"""Series in the form that Apache Otava reads, so that its verdicts can be put beside ours.

One CSV file for each case with a column for each metric, and an ``otava.yaml`` that names them:
``OTAVA_CONFIG=otava.yaml otava analyze TEST``. Nights without a value have an empty cell.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any, Dict, List, Sequence

import yaml

from bench.catalogue import LOWER, METRICS
from bench.errors import OutputError
from bench.history.series import Series, parse_time
from bench.results.store import write_text_atomically

CONFIG_NAME = "otava.yaml"


def write_otava(folder: Path, all_series: Sequence[Series]) -> List[Path]:
    """Writes the files; returns their paths, the configuration last.

    Args:
        folder: made if absent.
        all_series: those of one case form a file.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from error
    cases: Dict[str, List[Series]] = {}
    for series in all_series:
        cases.setdefault(series.name.split(", ", 1)[1], []).append(series)
    tests: Dict[str, Any] = {}
    written = []
    for case, members in cases.items():
        name = re.sub(r"[^A-Za-z0-9]+", "_", case).strip("_")
        path = folder / f"{name}.csv"
        write_text_atomically(path, _render_csv(members))
        written.append(path)
        tests[name] = {
            "type": "csv",
            "file": str(path.resolve()),
            "time_column": "time",
            "attributes": ["session"],
            "metrics": {
                series.metric: {
                    "column": series.metric,
                    "direction": -1 if METRICS[series.metric].better == LOWER else 1,
                }
                for series in members
            },
            "csv_options": {"delimiter": ",", "quotechar": '"'},
        }
    config = folder / CONFIG_NAME
    write_text_atomically(config, yaml.safe_dump({"tests": tests}, sort_keys=False))
    return [*written, config]


def _render_csv(members: Sequence[Series]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "session", *[series.metric for series in members]])
    for nights in zip(*[series.nights for series in members]):
        time = parse_time(nights[0].started_at).strftime("%Y-%m-%d %H:%M:%S +0000")
        values = ["" if night.value is None else repr(night.value) for night in nights]
        writer.writerow([time, nights[0].session, *values])
    return out.getvalue()
