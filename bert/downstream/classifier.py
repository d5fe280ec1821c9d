"""Fine-tunes and uses a classifier of texts or pairs: `python -m bert.downstream.classifier FLAGS`.

Tasks are XNLI, LCQMC, ChnSentiCorp and tables of one's own. What it writes to --output_dir, beside
the checkpoints, is told in `bert/downstream/README.md`; failures end as those of `bert.pretrain`.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from bert.command import exit_process
from bert.data.atomic import atomic_file
from bert.downstream.command import run_task_command
from bert.downstream.datasets import CLASSIFIER, GENERIC, get_task_labels
from bert.downstream.examples import ClassificationExample
from bert.downstream.label_state import prepare_labels
from bert.downstream.labels import LABEL_MAP_NAME, LabelMap, build_label_map, write_label_map
from bert.downstream.metrics.classification import compute_classification_metrics
from bert.downstream.readers.classification import TextColumns, read_classification
from bert.downstream.sequences import Row, build_sequence
from bert.downstream.task import CLASSIFICATION, Encoded, Head, Outputs, Task

_PREDICTIONS = "test_results.tsv"


class ClassifierTask(Task):
    """One class per text, or pair of texts."""

    headline = "accuracy"
    _labels: LabelMap

    @property
    def head(self) -> Head:
        """One logit per class."""
        return Head(CLASSIFICATION, "classifier", len(self._labels))

    @property
    def feature_lengths(self) -> Dict[str, int]:
        """The sequence and its class."""
        length = self.config.max_seq_length
        return {"input_ids": length, "input_mask": length, "segment_ids": length, "label_ids": 1}

    def read(self, path: str, has_labels: bool) -> List[ClassificationExample]:
        """Reads a file in the published form of the data set."""
        name, options = self.config.task_name, self.config.options
        columns = None
        if name == GENERIC:
            columns = TextColumns(options["text_a"], options["text_b"], options["label"])
        return read_classification(name, path, has_labels, columns)

    def prepare(self, examples: Mapping[str, Sequence[ClassificationExample]]) -> None:
        """Takes the classes of the data set, or those found in training data."""
        fixed = get_task_labels(self.config.task_name)
        found = (example.label or "" for example in examples.get("train", ()))
        if fixed is None and "train" in examples:
            fixed = build_label_map(found)
        self._labels = prepare_labels(self.config, fixed)
        for split in examples.values():
            for example in split:
                if example.label is not None:
                    self._labels.get_id(example.label, example.source)

    def write_state(self, directory: str) -> None:
        """Writes the label map."""
        write_label_map(os.path.join(directory, LABEL_MAP_NAME), self._labels)

    def iterate_train_rows(self, examples: Sequence[ClassificationExample]) -> Iterator[Row]:
        """Yields one sequence per example."""
        length = self.config.max_seq_length
        for example in examples:
            first = self.tokenizer.encode(example.text_a)
            second = None if example.text_b is None else self.tokenizer.encode(example.text_b)
            label = 0
            if example.label is not None:
                label = self._labels.get_id(example.label, example.source)
            row = build_sequence(first, second, self.tokenizer, length)
            yield {**row, "label_ids": [label]}

    def encode(self, examples: Sequence[ClassificationExample]) -> Encoded:
        """Returns one sequence per example."""
        return Encoded(list(self.iterate_train_rows(examples)), list(range(len(examples))))

    def score(
        self, examples: Sequence[ClassificationExample], encoded: Encoded, outputs: Outputs
    ) -> Dict[str, float]:
        """Returns accuracy, F1 and Matthews correlation."""
        predicted = [self._labels.labels[i] for i in np.argmax(outputs["logits"], axis=-1)]
        return compute_classification_metrics([e.label for e in examples], predicted)

    def write_predictions(
        self,
        directory: str,
        examples: Sequence[ClassificationExample],
        encoded: Encoded,
        outputs: Outputs,
    ) -> List[str]:
        """Writes test_results.tsv: example, predicted class, probability of each class."""
        path = os.path.join(directory, _PREDICTIONS)
        labels = self._labels.labels
        logits = outputs["logits"].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = powers / powers.sum(axis=-1, keepdims=True)
        with atomic_file(path, "w", encoding="utf-8") as stream:
            names = [f"probability_{label}" for label in labels]
            stream.write("\t".join(["id", "label", *names]) + "\n")
            for example, row in zip(examples, probabilities):
                values = [f"{value:.6f}" for value in row]
                stream.write("\t".join([example.guid, labels[int(row.argmax())], *values]) + "\n")
        return [path]


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    return run_task_command(CLASSIFIER, ClassifierTask, arguments)


if __name__ == "__main__":
    exit_process(main(sys.argv[1:]))
