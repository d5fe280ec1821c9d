"""The downstream data sets: their tasks, labels, and the names their files are published under."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple

from bert.downstream.labels import LabelMap
from bert.errors import DataError, UsageError, render_suggestion

CLASSIFIER, NER, READING = "classifier", "ner", "reading"
SPLITS = ("train", "dev", "test")
GENERIC = "generic"


@dataclass(frozen=True)
class Dataset:
    """What is known about a data set before its files are read.

    Attributes:
        name: the task name of the command line.
        kind: CLASSIFIER, NER or READING.
        is_pair: whether an example has two texts; None if the user's columns tell.
        labels: all labels in the order of their ids; None if they come from the training data.
        headline_metric: by which checkpoints are compared; higher is better.
        files: split → names that its file may have, in the order they are looked for.
    """

    name: str
    kind: str
    is_pair: Optional[bool]
    labels: Optional[Tuple[str, ...]]
    headline_metric: str
    files: Mapping[str, Tuple[str, ...]]


def _name_files(*patterns: str) -> Dict[str, Tuple[str, ...]]:
    return {split: tuple(p.replace("*", split) for p in patterns) for split in SPLITS}


_XNLI_FILES = {
    "train": ("multinli/multinli.train.zh.tsv", "multinli.train.zh.tsv", "train.tsv"),
    "dev": ("xnli.dev.tsv", "dev.tsv"),
    "test": ("xnli.test.tsv", "test.tsv"),
}

DATASETS: Dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "xnli",
            CLASSIFIER,
            True,
            ("contradiction", "entailment", "neutral"),
            "accuracy",
            _XNLI_FILES,
        ),
        Dataset("lcqmc", CLASSIFIER, True, ("0", "1"), "accuracy", _name_files("*.tsv", "*.txt")),
        Dataset("chnsenti", CLASSIFIER, False, ("0", "1"), "accuracy", _name_files("*.tsv")),
        Dataset(GENERIC, CLASSIFIER, None, None, "accuracy", _name_files("*.tsv", "*.jsonl")),
        Dataset("ner", NER, None, None, "f1", _name_files("*.txt", "msra_*_bio.txt", "*.tsv")),
        Dataset(
            "cmrc",
            READING,
            None,
            None,
            "average",
            _name_files("cmrc2018_*.json", "new_cmrc2018_*.json", "*.json"),
        ),
        Dataset("squad_v1", READING, None, None, "f1", _name_files("*-v1.1.json", "*.json")),
        Dataset("squad_v2", READING, None, None, "f1", _name_files("*-v2.0.json", "*.json")),
    )
}

# Names in use elsewhere for the same files.
ALIASES = {
    "chnsenticorp": "chnsenti",
    "msra": "ner",
    "cmrc2018": "cmrc",
    "squad": "squad_v1",
    "squad1": "squad_v1",
    "squad2": "squad_v2",
}


def get_dataset(task: str) -> Dataset:
    """Returns the data set of a task name, whatever its case.

    Raises:
        UsageError: there is no such task.
    """
    name = task.strip().lower()
    found = DATASETS.get(ALIASES.get(name, name))
    if found is None:
        raise UsageError(
            f"unknown task {task!r}{render_suggestion(name, DATASETS)}; "
            f"known are {', '.join(DATASETS)}"
        )
    return found


def get_task_labels(task: str) -> Optional[LabelMap]:
    """Returns the labels of a task; None if they are those found in the training data."""
    labels = get_dataset(task).labels
    return LabelMap(labels) if labels else None


def find_split_file(task: str, data_dir: str, split: str) -> str:
    """Finds the file of a split in `data_dir/<task>` or in `data_dir`.

    Raises:
        DataError: there is none.
        UsageError: the task or the split is unknown.
    """
    dataset = get_dataset(task)
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; known are {', '.join(SPLITS)}")
    for directory in (os.path.join(data_dir, dataset.name), data_dir):
        for name in dataset.files[split]:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                return path
    wanted = " or ".join(dataset.files[split])
    raise DataError(
        f"no {split} file of {dataset.name} in {data_dir} or its folder {dataset.name}: "
        f"{wanted} is wanted; `ascend-bert data fetch-help {dataset.name}` tells where it is "
        "published"
    )
