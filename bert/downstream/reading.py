"""Fine-tunes and uses a reader of texts: `python -m bert.downstream.reading FLAGS`.

Tasks are CMRC 2018 and SQuAD 1.1 and 2.0. What it writes to --output_dir, beside the checkpoints,
is told in `bert/downstream/README.md`; failures end as those of `bert.pretrain`.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from bert.command import exit_process
from bert.data.atomic import atomic_file
from bert.data.tokenization import Tokenizer
from bert.downstream.command import run_task_command
from bert.downstream.datasets import READING, get_dataset
from bert.downstream.examples import ReadingExample
from bert.downstream.finetune_config import FineTuneConfig
from bert.downstream.metrics.cmrc import compute_cmrc_metrics
from bert.downstream.metrics.squad import compute_squad_v1_metrics, compute_squad_v2_metrics
from bert.downstream.readers.reading import read_reading
from bert.downstream.reading_answers import (
    Decoded,
    DecodeOptions,
    build_n_best_object,
    decode_question,
)
from bert.downstream.reading_features import (
    build_row,
    build_window_options,
    check_window_options,
    get_feature_lengths,
    iterate_windows,
)
from bert.downstream.sequences import Row
from bert.downstream.task import SPAN, Encoded, Head, Outputs, Task

_PREDICTIONS, _N_BEST, _NULL_ODDS = (
    "predictions.json",
    "nbest_predictions.json",
    "null_odds.json",
)


class ReadingTask(Task):
    """The span of a context that answers a question."""

    def __init__(self, config: FineTuneConfig, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.headline = get_dataset(config.task_name).headline_metric
        options = config.options
        self._version_2 = options["version_2_with_negative"]
        if self._version_2 is None:
            self._version_2 = config.task_name == "squad_v2"
        self._windows = build_window_options(
            config.max_seq_length, options["max_query_length"], options["doc_stride"]
        )
        check_window_options(self._windows)
        self._decoding = DecodeOptions(
            options["n_best_size"],
            options["max_answer_length"],
            self._version_2,
            options["null_score_diff_threshold"],
        )

    @property
    def head(self) -> Head:
        """A start and an end logit per token, under the names of the field's checkpoints."""
        return Head(SPAN, "squad_classifier/cls/squad", 2)

    @property
    def feature_lengths(self) -> Dict[str, int]:
        """The sequence, where an answer can be, and where it is."""
        return get_feature_lengths(self.config.max_seq_length)

    def read(self, path: str, has_labels: bool) -> List[ReadingExample]:
        """Reads a file of CMRC 2018 or SQuAD."""
        return read_reading(path, self._version_2, has_labels)

    def prepare(self, examples: Mapping[str, Sequence[ReadingExample]]) -> None:
        """Nothing: there are no labels."""

    def write_state(self, directory: str) -> None:
        """Nothing: there are no labels."""

    def iterate_train_rows(self, examples: Sequence[ReadingExample]) -> Iterator[Row]:
        """Yields all windows of all questions."""
        for window in iterate_windows(examples, self.tokenizer, self._windows, True):
            yield build_row(window, self.tokenizer, self.config.max_seq_length)

    def encode(self, examples: Sequence[ReadingExample]) -> Encoded:
        """Returns all windows of all questions."""
        with_answers = all(example.answers or example.is_impossible for example in examples)
        windows = list(iterate_windows(examples, self.tokenizer, self._windows, with_answers))
        length = self.config.max_seq_length
        return Encoded([build_row(w, self.tokenizer, length) for w in windows], windows)

    def score(
        self, examples: Sequence[ReadingExample], encoded: Encoded, outputs: Outputs
    ) -> Dict[str, float]:
        """Returns the metrics of the data set's official script."""
        decoded = self._decode(examples, encoded, outputs)
        answers = {question: each.text for question, each in decoded.items()}
        references = {example.question_id: list(example.references) for example in examples}
        if self.config.task_name == "cmrc":
            return compute_cmrc_metrics(references, answers)
        if not self._version_2:
            return compute_squad_v1_metrics(references, answers)
        # Answers below the threshold are empty already; odds tell how another would have done.
        best = {question: each.best_text for question, each in decoded.items()}
        odds = {question: each.null_odds for question, each in decoded.items()}
        threshold = self._decoding.null_score_threshold
        return compute_squad_v2_metrics(references, best, odds, threshold)

    def write_predictions(
        self,
        directory: str,
        examples: Sequence[ReadingExample],
        encoded: Encoded,
        outputs: Outputs,
    ) -> List[str]:
        """Writes predictions.json, nbest_predictions.json, and for SQuAD 2.0 null_odds.json."""
        decoded = self._decode(examples, encoded, outputs)
        content: Dict[str, Dict[str, Any]] = {
            _PREDICTIONS: {question: each.text for question, each in decoded.items()},
            _N_BEST: {question: build_n_best_object(each) for question, each in decoded.items()},
        }
        if self._version_2:
            content[_NULL_ODDS] = {question: each.null_odds for question, each in decoded.items()}
        paths = []
        for name, values in content.items():
            path = os.path.join(directory, name)
            with atomic_file(path, "w", encoding="utf-8") as stream:
                json.dump(values, stream, ensure_ascii=False, indent=4)
                stream.write("\n")
            paths.append(path)
        return paths

    def _decode(
        self, examples: Sequence[ReadingExample], encoded: Encoded, outputs: Outputs
    ) -> Dict[str, Decoded]:
        """Returns question → what is answered, in the order of the examples."""
        rows = zip(encoded.places, outputs["start_logits"], outputs["end_logits"])
        return {
            examples[index].question_id: decode_question(
                examples[index], list(windows), self._decoding
            )
            for index, windows in itertools.groupby(rows, key=lambda row: row[0].example_index)
        }


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    return run_task_command(READING, ReadingTask, arguments)


if __name__ == "__main__":
    exit_process(main(sys.argv[1:]))
