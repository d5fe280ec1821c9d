"""Where the sides of a comparison come from: run folders, sessions, results folders, baselines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import List, Sequence

from bench.errors import DataError, UsageError
from bench.judge.baselines import is_baseline, read_baseline
from bench.judge.launches import Launch, launch_of_result
from bench.results.store import RESULT_NAME, list_run_directories, read_result

_BUILD = re.compile(r":([A-Z])$")


def read_side(words: Sequence[str], output: Path) -> List[Launch]:
    """Reads the launches of one side.

    Args:
        words: each a run folder, a ``result.json``, a results folder, a baseline file, or the
            start of the run ids of a session under ``output``; ``:A`` behind it takes one of two
            builds.
        output: results folder in which session ids are looked up.

    Raises:
        UsageError: nothing has that name.
        DataError: a file is no result and no baseline.
    """
    launches: List[Launch] = []
    for word in words:
        launches.extend(_read_word(word, output))
    unique = {launch.run_id: launch for launch in launches}
    return list(unique.values())


def read_last_session(output: Path) -> List[Launch]:
    """The launches of the newest session.

    Raises:
        DataError: there are no results.
    """
    folders = list_run_directories(output)
    if not folders:
        raise DataError(f"no results under {output}; make some with 'ascend-bert bench'")
    launches = [launch_of_result(read_result(folder)) for folder in folders]
    last = max(launches, key=lambda launch: (launch.started_at, launch.session)).session
    return [launch for launch in launches if launch.session == last]


def _read_word(word: str, output: Path) -> List[Launch]:
    build = _BUILD.search(word)
    if build and not Path(word).exists():
        launches = _read_word(word[: build.start()], output)
        chosen = [launch for launch in launches if launch.build == build.group(1)]
        if not chosen:
            raise UsageError(f"{word}: no launch of build {build.group(1)} there")
        return chosen
    path = Path(word)
    if path.is_file():
        if is_baseline(_peek(path)):
            return list(read_baseline(path).launches)
        return [launch_of_result(read_result(path))]
    if (path / RESULT_NAME).is_file():
        return [launch_of_result(read_result(path))]
    folders = list_run_directories(path) if path.is_dir() else []
    if not folders and path.is_dir():
        folders = sorted(found.parent for found in path.glob("*/" + RESULT_NAME))
    if not folders and "/" not in word and len(word) >= 8:
        folders = [run for run in list_run_directories(output) if run.name.startswith(word)]
    if not folders:
        raise UsageError(
            f"{word} is no run folder, result file, results folder or baseline, "
            f"and no run under {output} begins like that"
        )
    return [launch_of_result(read_result(folder)) for folder in folders]


def _peek(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
