"""Metrics of checkpoints: one line for the log, one file for people, one for programs."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, NamedTuple, Sequence

from bert.data.atomic import atomic_file
from bert.errors import OutputError

RESULTS_NAME, TEST_RESULTS_NAME, BEST_NAME = "eval_results", "test_results", "best_checkpoint.json"


class Scored(NamedTuple):
    """A checkpoint and its metrics; nested ones, such as those per type, are objects."""

    checkpoint: str
    step: int
    metrics: Dict[str, Any]


def render_results(scored: Scored, separator: str) -> str:
    """Returns `name = value` of global step and metrics, sorted; nested metrics are left out."""
    values = {
        "global_step": scored.step,
        **{name: value for name, value in scored.metrics.items() if not isinstance(value, dict)},
    }
    return separator.join(f"{name} = {values[name]}" for name in sorted(values))


def find_best(headline: str, scored: Sequence[Scored]) -> Scored:
    """Returns the checkpoint with the highest headline metric, the earliest one of equals."""
    return max(scored, key=lambda each: (each.metrics[headline], -each.step))


def write_results(
    directory: str,
    task_name: str,
    headline: str,
    scored: Sequence[Scored],
    name: str = RESULTS_NAME,
) -> Scored:
    """Writes `<name>.json`, with all checkpoints, and `<name>.txt`, with the best one.

    Returns:
        The best one.

    Raises:
        OutputError: a file cannot be written.
    """
    best = find_best(headline, scored)
    checkpoints: List[Dict[str, Any]] = [_build_object(each) for each in scored]
    content = {
        "task": task_name,
        "headline_metric": headline,
        "best": _build_object(best),
        "checkpoints": checkpoints,
    }
    path = os.path.join(directory, f"{name}.json")
    with atomic_file(path, "w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, indent=2)
        stream.write("\n")
    with atomic_file(os.path.join(directory, f"{name}.txt"), "w", encoding="utf-8") as stream:
        stream.write(render_results(best, "\n") + "\n")
    return best


def remove_results(directory: str, name: str) -> None:
    """Removes what `write_results` wrote for other data, lest it stand beside new predictions.

    Raises:
        OutputError: a file cannot be removed.
    """
    for ending in ("json", "txt"):
        path = os.path.join(directory, f"{name}.{ending}")
        try:
            os.remove(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {error.strerror}") from error


def write_best(directory: str, headline: str, best: Scored) -> None:
    """Writes which checkpoint of the directory is the best one.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {
        "checkpoint": os.path.basename(best.checkpoint),
        "global_step": best.step,
        "metric": headline,
        "value": best.metrics[headline],
    }
    with atomic_file(os.path.join(directory, BEST_NAME), "w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, indent=2)
        stream.write("\n")


def _build_object(scored: Scored) -> Dict[str, Any]:
    return {
        "checkpoint": os.path.basename(scored.checkpoint),
        "global_step": scored.step,
        **scored.metrics,
    }
