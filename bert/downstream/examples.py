"""What the readers of the downstream tasks give, before any tokenizer has seen it.

Readers and their results:

    readers.classification.read_classification(task, path, has_labels) → [ClassificationExample]
    readers.ner.read_ner(path, has_labels)                             → [TokenLabelExample]
    readers.reading.read_reading(path, version_2, has_answers)         → [ReadingExample]

Every example knows where it stands in its file (`source`), so that whatever is wrong with it can
be told to the user in those words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class ClassificationExample:
    """A text, or a pair of texts, and its class.

    Attributes:
        guid: name of the example, `<name of the file>-<line>`; unique within a file.
        text_a: the text, or the first of the pair.
        text_b: the second of the pair; None for a task of single texts.
        label: the class by its name; None in data without labels.
        source: `file:line`.
    """

    guid: str
    text_a: str
    text_b: Optional[str]
    label: Optional[str]
    source: str


@dataclass(frozen=True)
class TokenLabelExample:
    """A sentence whose tokens have a label each.

    Attributes:
        guid: name of the example, `<name of the file>-<line of the first token>`.
        tokens: as they stand in the file; mostly single characters. A tokenizer may make several
            pieces of one, or (of a space or a control character) none.
        labels: as many as there are tokens; None in data without labels.
        source: `file:line` of the first token.
    """

    guid: str
    tokens: Tuple[str, ...]
    labels: Optional[Tuple[str, ...]]
    source: str


def get_token_source(example: TokenLabelExample, place: int) -> str:
    """Returns `file:line` of a token; those of a sentence stand on consecutive lines."""
    path, _, line = example.source.rpartition(":")
    return f"{path}:{int(line) + place}"


@dataclass(frozen=True)
class Answer:
    """An answer as a span of the context: `context[start_char:start_char + len(text)] == text`.

    Attributes:
        text: never empty.
        start_char: index of its first character (Unicode code point) in the context.
    """

    text: str
    start_char: int


@dataclass(frozen=True)
class ReadingExample:
    """A question about a context.

    Attributes:
        question_id: key of the question in prediction files; unique within a file.
        context_id: names the context; the same for all questions about it.
        question: the question.
        context: the text that holds the answers, exactly as in the file.
        answers: the accepted answers that stand in the context, the first being the one to train
            on; empty in data without answers and for a question that has none.
        is_impossible: whether the context has no answer (SQuAD 2.0 only).
        source: `file: question ID`.
        references: every accepted answer as it is in the file, also one that is no span of the
            context, for scoring; empty when `answers` is.
    """

    question_id: str
    context_id: str
    question: str
    context: str
    answers: Tuple[Answer, ...]
    is_impossible: bool
    source: str
    references: Tuple[str, ...] = ()
