"""What the one loop of fine-tuning asks of a task; nothing here or in a task needs TensorFlow."""

from __future__ import annotations

import abc
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence

import numpy as np

from bert.data.tokenization import Tokenizer
from bert.downstream.finetune_config import FineTuneConfig
from bert.downstream.sequences import Row

CLASSIFICATION, TOKEN, SPAN = "classification", "token", "span"

# Model output by name, one row per sequence in the order of the sequences.
Outputs = Mapping[str, np.ndarray]


class Head(NamedTuple):
    """What a task puts on the encoder.

    Attributes:
        kind: CLASSIFICATION, TOKEN or SPAN.
        scope: variable scope of `output_weights` and `output_bias`.
        n_labels: outputs per sequence or per token.
    """

    kind: str
    scope: str
    n_labels: int


class Encoded(NamedTuple):
    """Examples as sequences.

    Attributes:
        rows: features of each sequence.
        places: what each sequence is of, in words of the task; as many as there are rows.
    """

    rows: List[Row]
    places: List[Any]


class Task(abc.ABC):
    """One kind of task on one data set.

    Attributes:
        config: what was asked for.
        tokenizer: of the model's vocabulary.
        headline: name of the metric by which checkpoints are compared; higher is better.
    """

    headline = ""

    def __init__(self, config: FineTuneConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    @property
    @abc.abstractmethod
    def head(self) -> Head:
        """The head; known once `prepare` has been called."""

    @property
    @abc.abstractmethod
    def feature_lengths(self) -> Dict[str, int]:
        """Feature name → values per sequence."""

    @abc.abstractmethod
    def read(self, path: str, has_labels: bool) -> List[Any]:
        """Reads the examples of a file, with their labels (answers) or without.

        Raises:
            DataError: if something in it is wrong.
        """

    @abc.abstractmethod
    def prepare(self, examples: Mapping[str, Sequence[Any]]) -> None:
        """Fixes what depends on data: labels, from the training data or as training left them.

        Raises:
            DataError: if labels of data, task and checkpoint do not fit each other.
        """

    @abc.abstractmethod
    def write_state(self, directory: str) -> None:
        """Writes what a later evaluation or prediction needs beside the checkpoints."""

    @abc.abstractmethod
    def iterate_train_rows(self, examples: Sequence[Any]) -> Iterator[Row]:
        """Yields the sequences to train on."""

    @abc.abstractmethod
    def encode(self, examples: Sequence[Any]) -> Encoded:
        """Returns the sequences to score or to predict; with labels where the examples have."""

    @abc.abstractmethod
    def score(
        self, examples: Sequence[Any], encoded: Encoded, outputs: Outputs
    ) -> Dict[str, float]:
        """Returns the metrics of all examples; `headline` is among them."""

    @abc.abstractmethod
    def write_predictions(
        self, directory: str, examples: Sequence[Any], encoded: Encoded, outputs: Outputs
    ) -> List[str]:
        """Writes the prediction files and returns their paths.

        Raises:
            OutputError: if one cannot be written.
        """
