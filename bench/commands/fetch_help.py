"""Where the data sets of the downstream tasks are published; nothing is downloaded."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Dict, List, Sequence

import yaml

from bench.errors import UsageError

_TABLE = Path(__file__).with_name("downstream_datasets.yaml")


def read_datasets() -> Dict[str, Dict[str, Any]]:
    """Reads task → what is known about its data set, as the head of the table explains."""
    found: Dict[str, Dict[str, Any]] = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return found


def render_fetch_help(tasks: Sequence[str]) -> str:
    """Tells where the data of tasks are published, or of no task which there are.

    Raises:
        UsageError: a task is unknown.
    """
    datasets = read_datasets()
    for task in tasks:
        if task not in datasets:
            close = difflib.get_close_matches(task, datasets, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UsageError(f"unknown task {task!r}{hint}; known are {', '.join(datasets)}")
    if not tasks:
        width = max(map(len, datasets))
        lines = [f"{task:<{width}}  {entry['title']}" for task, entry in datasets.items()]
        return "\n".join([*lines, "", "ascend-bert data fetch-help TASK tells more of one."])
    return "\n\n".join(_render_dataset(task, datasets[task]) for task in tasks)


def _render_dataset(task: str, entry: Dict[str, Any]) -> str:
    lines: List[str] = [f"{task}: {entry['title']}"]
    lines += [f"  {name + ':':<11}{entry[name]}" for name in ("paper", "licence")]
    lines += [f"  {'published:':<11}{address}" for address in entry["published"]]
    lines.append("  files, below the data directory:")
    width = max(len(file["path"]) for file in entry["files"])
    for file in entry["files"]:
        n_examples = file["examples"]
        count = "" if n_examples is None else f" ({n_examples:,} examples)"
        lines.append(f"    {file['path']:<{width}}  {file['source']}{count}")
    lines.append("  checksums: none are published; compare the numbers of examples")
    lines += [f"  note: {note}" for note in entry["notes"]]
    return "\n".join(lines)
