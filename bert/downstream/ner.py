"""Fine-tunes and uses a labeller of tokens: `python -m bert.downstream.ner FLAGS`.

Labels are those of the training data, in BIO or a like scheme. What it writes to --output_dir,
beside the checkpoints, is told in `bert/downstream/README.md`; failures end as those of
`bert.pretrain`.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, Iterator, List, Mapping, Optional, Sequence

from bert.command import exit_process
from bert.data.atomic import atomic_file
from bert.downstream.command import run_task_command
from bert.downstream.datasets import NER
from bert.downstream.examples import TokenLabelExample, get_token_source
from bert.downstream.label_state import prepare_labels
from bert.downstream.labels import LABEL_MAP_NAME, LabelMap, build_tag_map, write_label_map
from bert.downstream.metrics.entities import compute_entity_metrics, compute_token_metrics
from bert.downstream.ner_features import build_row, get_feature_lengths, iterate_chunks, join_labels
from bert.downstream.readers.ner import read_ner
from bert.downstream.sequences import Row
from bert.downstream.task import TOKEN, Encoded, Head, Outputs, Task

_PREDICTIONS = "ner_predictions.txt"


class NerTask(Task):
    """One label per token; scored by whole entities."""

    headline = "f1"
    _labels: LabelMap

    @property
    def head(self) -> Head:
        """One logit per label and token."""
        return Head(TOKEN, "ner_classifier", len(self._labels))

    @property
    def feature_lengths(self) -> Dict[str, int]:
        """The sequence, its labels, and where they are."""
        return get_feature_lengths(self.config.max_seq_length)

    def read(self, path: str, has_labels: bool) -> List[TokenLabelExample]:
        """Reads one token and label per line."""
        return read_ner(path, has_labels)

    def prepare(self, examples: Mapping[str, Sequence[TokenLabelExample]]) -> None:
        """Takes the labels found in training data."""
        found = None
        if "train" in examples:
            found = build_tag_map(tag for e in examples["train"] for tag in e.labels or ())
        self._labels = prepare_labels(self.config, found)
        for split in examples.values():
            for example in split:
                for place, label in enumerate(example.labels or ()):
                    self._labels.get_id(label, get_token_source(example, place))

    def write_state(self, directory: str) -> None:
        """Writes the label map."""
        write_label_map(os.path.join(directory, LABEL_MAP_NAME), self._labels)

    def iterate_train_rows(self, examples: Sequence[TokenLabelExample]) -> Iterator[Row]:
        """Yields the sequences of all sentences; a long one gives several."""
        length = self.config.max_seq_length
        for chunk in iterate_chunks(examples, self.tokenizer, length):
            example = examples[chunk.example_index]
            yield build_row(
                chunk, example.labels, self._labels, example.source, self.tokenizer, length
            )

    def encode(self, examples: Sequence[TokenLabelExample]) -> Encoded:
        """Returns the sequences of all sentences."""
        chunks = list(iterate_chunks(examples, self.tokenizer, self.config.max_seq_length))
        return Encoded(list(self.iterate_train_rows(examples)), chunks)

    def score(
        self, examples: Sequence[TokenLabelExample], encoded: Encoded, outputs: Outputs
    ) -> Dict[str, float]:
        """Returns the scores of entities, and as token_… those of single tokens."""
        predicted = self._find_labels(examples, encoded, outputs)
        references = [list(example.labels or ()) for example in examples]
        return {
            **compute_entity_metrics(references, predicted),
            **compute_token_metrics(references, predicted),
        }

    def write_predictions(
        self,
        directory: str,
        examples: Sequence[TokenLabelExample],
        encoded: Encoded,
        outputs: Outputs,
    ) -> List[str]:
        """Writes ner_predictions.txt: token, right label if there is one, predicted label.

        Columns are separated by spaces and sentences by blank lines, as conlleval takes them.
        """
        path = os.path.join(directory, _PREDICTIONS)
        with atomic_file(path, "w", encoding="utf-8") as stream:
            for example, labels in zip(examples, self._find_labels(examples, encoded, outputs)):
                for place, (token, label) in enumerate(zip(example.tokens, labels)):
                    known = [] if example.labels is None else [example.labels[place]]
                    stream.write(" ".join([token, *known, label]) + "\n")
                stream.write("\n")
        return [path]

    def _find_labels(
        self, examples: Sequence[TokenLabelExample], encoded: Encoded, outputs: Outputs
    ) -> List[List[str]]:
        n_tokens = [len(example.tokens) for example in examples]
        return join_labels(encoded.places, outputs["predicted_ids"], n_tokens, self._labels)


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    return run_task_command(NER, NerTask, arguments)


if __name__ == "__main__":
    exit_process(main(sys.argv[1:]))
