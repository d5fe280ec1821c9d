"""Series in the form that Apache Otava reads, so that its verdicts can be put beside ours.

One CSV file for each series, and an ``otava.yaml`` that names them as tests:
``OTAVA_CONFIG=otava.yaml otava analyze TEST``. Otava reads no empty cells, so nights without a
value have no line.
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
        all_series: each becomes a test.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from error
    tests: Dict[str, Any] = {}
    written = []
    for series in all_series:
        case = series.name.split(", ", 1)[1]
        name = re.sub(r"[^A-Za-z0-9]+", "_", f"{series.metric} {case}").strip("_")
        path = folder / f"{name}.csv"
        write_text_atomically(path, _render_csv(series))
        written.append(path)
        direction = -1 if METRICS[series.metric].better == LOWER else 1
        tests[name] = {
            "type": "csv",
            "file": str(path.resolve()),
            "time_column": "time",
            "attributes": ["session"],
            "metrics": {series.metric: {"column": series.metric, "direction": direction}},
            "csv_options": {"delimiter": ",", "quotechar": '"'},
        }
    config = folder / CONFIG_NAME
    write_text_atomically(config, yaml.safe_dump({"tests": tests}, sort_keys=False))
    return [*written, config]


def _render_csv(series: Series) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "session", series.metric])
    for night in series.nights:
        if night.value is not None:
            time = parse_time(night.started_at).strftime("%Y-%m-%d %H:%M:%S +0000")
            writer.writerow([time, night.session, repr(night.value)])
    return out.getvalue()
