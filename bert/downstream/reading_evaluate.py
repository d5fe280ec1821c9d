"""Scores answers of a reading task: one file of predictions, or all of a folder.

    python -m bert.downstream.reading_evaluate DATASET PREDICTIONS [OUTPUT] [--metric cmrc]

DATASET is the file with the right answers, PREDICTIONS a file `{"question": "answer", …}` or a
folder of such files. The result is JSON, on stdout and in OUTPUT: of a file its scores, of a folder
`{"BEST": scores, "FILES": [scores, …], "IGNORED": {file: why}}`; files that are no predictions for
this data set, such as n-best lists, are left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from bert.data.atomic import atomic_file
from bert.data.commands import ArgumentParser, run_command
from bert.downstream.metrics.cmrc import compute_cmrc_metrics
from bert.downstream.metrics.squad import compute_squad_v1_metrics, compute_squad_v2_metrics
from bert.downstream.readers.json_files import read_json
from bert.downstream.readers.reading import read_references
from bert.errors import DataError, UsageError

# Metric → the score by which the best of several files is chosen.
HEADLINES = {"cmrc": "average", "squad_v1": "f1", "squad_v2": "f1"}
_FLAGS = ("dataset_file", "prediction_folder", "output_metrics")


def read_predictions(path: str) -> Dict[str, str]:
    """Reads question → answer.

    Raises:
        DataError: the file is unreadable, not JSON, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f'{path}: predictions are an object {{"question": "answer", …}}')
    for question, answer in content.items():
        if not isinstance(answer, str):
            raise DataError(
                f"{path}: the answer to {question} is not a text; predictions, not n-best lists "
                "or probabilities, are scored"
            )
    return {question.strip(): answer for question, answer in content.items()}


def read_na_probs(path: str) -> Dict[str, float]:
    """Reads question → probability that it has no answer.

    Raises:
        DataError: the file is unreadable or not of this form.
    """
    content = read_json(path)
    numbers = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
        raise DataError(f'{path}: no-answer probabilities are an object {{"question": number, …}}')
    for question, number in content.items():
        # JSON of Python has NaN and Infinity, and whole numbers of any length.
        if not abs(number) <= sys.float_info.max:
            raise DataError(f"{path}: the no-answer probability of {question} is not finite")
    return {question.strip(): float(number) for question, number in content.items()}


def compute_reading_metrics(
    metric: str,
    references: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    na_probs: Optional[Mapping[str, float]] = None,
    na_prob_thresh: float = 1.0,
    drop_ellipsis: bool = False,
) -> Dict[str, float]:
    """Computes the scores that `metric` names: cmrc, squad_v1 or squad_v2.

    Raises:
        DataError: a no-answer probability is missing.
    """
    if metric == "cmrc":
        return compute_cmrc_metrics(references, predictions, drop_ellipsis)
    if metric == "squad_v1":
        return compute_squad_v1_metrics(references, predictions)
    try:
        return compute_squad_v2_metrics(references, predictions, na_probs, na_prob_thresh)
    except ValueError as error:
        raise DataError(str(error)) from error


def render_scores(metric: str, scores: Mapping[str, float], path: str) -> Dict[str, Any]:
    """Returns scores as the official scripts print them, and the file that they are of."""
    if metric != "cmrc":
        return {**scores, "FILE": path}
    shares = {name.upper(): f"{scores[name]:.3f}" for name in ("average", "f1", "em")}
    return {**shares, "TOTAL": scores["total"], "SKIP": scores["skip"], "FILE": path}


def score_files(
    metric: str,
    references: Mapping[str, Sequence[str]],
    paths: Sequence[str],
    drop_ellipsis: bool = False,
) -> Dict[str, Any]:
    """Scores all files of predictions among `paths`.

    Returns:
        BEST, FILES and IGNORED, as the command prints them. Of equal ones the first is best.

    Raises:
        DataError: none is a file of predictions.
    """
    scored: List[Tuple[float, Dict[str, Any]]] = []
    ignored: Dict[str, str] = {}
    for path in paths:
        try:
            predictions = read_predictions(path)
        except DataError as error:
            ignored[path] = str(error)
            continue
        if references.keys().isdisjoint(predictions):
            ignored[path] = f"{path}: it answers no question of the data set"
            continue
        scores = compute_reading_metrics(
            metric, references, predictions, drop_ellipsis=drop_ellipsis
        )
        scored.append((scores[HEADLINES[metric]], render_scores(metric, scores, path)))
    if not scored:
        reason = f"; the first is not: {next(iter(ignored.values()))}" if ignored else ""
        raise DataError(f"none of {len(paths)} JSON files has predictions{reason}")
    best = max(scored, key=lambda pair: pair[0])[1]
    return {"BEST": best, "FILES": [shown for _, shown in scored], "IGNORED": ignored}


def list_json_files(directory: str) -> List[str]:
    """Returns the JSON files of a folder, those of later steps behind those of earlier ones.

    Raises:
        DataError: the folder cannot be read, or has none.
    """
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".json")]
    except OSError as error:
        raise DataError(f"cannot read {directory}: {error.strerror}") from error
    if not names:
        raise DataError(f"{directory} has no *.json; predictions of a reading task are wanted")
    return [os.path.join(directory, name) for name in sorted(names, key=_get_natural_key)]


def _get_natural_key(name: str) -> List[Tuple[int, Union[int, str]]]:
    # Digits are compared by value: step 900 is before step 1000.
    pieces = re.split(r"([0-9]+)", name)
    return [(0, int(piece)) if i % 2 else (1, piece) for i, piece in enumerate(pieces)]


def build_parser() -> ArgumentParser:
    """Builds the command line."""
    parser = ArgumentParser(
        prog="python -m bert.downstream.reading_evaluate",
        description=__doc__.split("\n")[0],
        formatter_class=argparse.HelpFormatter,
    )
    for name, metavar, text in (
        ("dataset_file", "DATASET", "file with the right answers"),
        ("prediction_folder", "PREDICTIONS", "file or folder of predictions"),
        ("output_metrics", "OUTPUT", "file for the result, besides stdout"),
    ):
        parser.add_argument(name + "_place", metavar=metavar, nargs="?", help=text)
        parser.add_argument("--" + name, metavar=metavar, help="the same by name")
    parser.add_argument(
        "--metric", choices=sorted(HEADLINES), default="cmrc", help="whose definition (cmrc)"
    )
    parser.add_argument("--na_prob_file", help="squad_v2: question → probability of no answer")
    parser.add_argument(
        "--na_prob_thresh", type=float, default=1.0, help="squad_v2: no answer above it (1.0)"
    )
    parser.add_boolean("drop_ellipsis", False, "cmrc: leave … out, other than the official script")
    return parser


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses the command line; the three files may stand by place or by name.

    Raises:
        UsageError: a file is missing or given twice, or an option does not go with the metric.
    """
    flags = build_parser().parse_args(arguments)
    for name in _FLAGS:
        by_place, by_name = getattr(flags, name + "_place"), getattr(flags, name)
        if by_place is not None and by_name is not None:
            raise UsageError(f"{name} is given twice: {by_place} and --{name}={by_name}")
        setattr(flags, name, by_name if by_place is None else by_place)
    if not flags.dataset_file or not flags.prediction_folder:
        raise UsageError("the data set and the predictions are needed; see --help")
    if flags.metric != "squad_v2" and (flags.na_prob_file or flags.na_prob_thresh != 1.0):
        raise UsageError("no-answer probabilities go with --metric squad_v2")
    if flags.metric != "cmrc" and flags.drop_ellipsis:
        raise UsageError("--drop_ellipsis goes with --metric cmrc")
    if os.path.isdir(flags.prediction_folder) and flags.na_prob_file:
        raise UsageError("--na_prob_file belongs to one file of predictions, not to a folder")
    return flags


def main(arguments: List[str]) -> int:
    """Scores, prints and writes."""
    flags = parse_arguments(arguments)
    references = read_references(flags.dataset_file, flags.metric == "squad_v2")
    if os.path.isdir(flags.prediction_folder):
        paths = list_json_files(flags.prediction_folder)
        result = score_files(flags.metric, references, paths, flags.drop_ellipsis)
    else:
        predictions = read_predictions(flags.prediction_folder)
        missing = [question for question in references if question not in predictions]
        if missing:
            sys.stderr.write(
                f"{len(missing)} of {len(references)} questions have no prediction and count as "
                f"0, such as {missing[0]}\n"
            )
        scores = compute_reading_metrics(
            flags.metric,
            references,
            predictions,
            read_na_probs(flags.na_prob_file) if flags.na_prob_file else None,
            flags.na_prob_thresh,
            flags.drop_ellipsis,
        )
        result = render_scores(flags.metric, scores, flags.prediction_folder)
    text = json.dumps(result, ensure_ascii=False, indent=2)
    if flags.output_metrics:
        with atomic_file(flags.output_metrics, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
