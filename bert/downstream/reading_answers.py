"""Scores of starts and ends to answers: the best spans of all windows of a question.

The score of a span is the sum of its start logit and its end logit. Every span of at most
`max_answer_length` pieces is looked at, so the best ones are found whatever `n_best_size` is.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from bert.downstream.examples import ReadingExample
from bert.downstream.reading_features import Window
from bert.errors import InternalError

_OUT = -1e30


class DecodeOptions(NamedTuple):
    """How answers are chosen.

    Attributes:
        n_best_size: answers kept per question.
        max_answer_length: pieces of the longest answer.
        version_2: whether a question may have no answer (SQuAD 2.0).
        null_score_threshold: no answer is given if the score of none exceeds that of the best
            answer by more than this.
    """

    n_best_size: int = 20
    max_answer_length: int = 64
    version_2: bool = False
    null_score_threshold: float = 0.0


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A possible answer; the text of none is empty.

    Attributes:
        text: characters of the context, as they stand there.
        start_logit, end_logit: of the first and of the last piece.
        start_index, end_index: the two pieces, counted in the context; -1 for no answer.
    """

    text: str
    start_logit: float
    end_logit: float
    start_index: int = -1
    end_index: int = -1

    @property
    def score(self) -> float:
        """Start logit and end logit together."""
        return self.start_logit + self.end_logit


class Decoded(NamedTuple):
    """What is answered to one question.

    Attributes:
        text: the answer, empty for none.
        n_best: candidates, best first, at least one.
        probabilities: softmax of their scores.
        null_odds: score of no answer minus that of the best answer.
        best_text: the best answer, whatever the score of none.
    """

    text: str
    n_best: List[Candidate]
    probabilities: List[float]
    null_odds: float
    best_text: str


def find_best_spans(
    start_logits: np.ndarray, end_logits: np.ndarray, window: Window, options: DecodeOptions
) -> List[Tuple[int, int]]:
    """Returns the spans of a window with the highest scores, as pieces of the window, best first.

    A span starts at a piece that has most context in this window. Equal scores go by place.

    Args:
        start_logits, end_logits: [S], of one window.
        window: where its pieces are.
        options: how many and how long.
    """
    n_pieces = len(window.spans)
    place = slice(window.offset, window.offset + n_pieces)
    starts = np.where(window.has_most_context, start_logits[place].astype(np.float64), _OUT)
    n_lengths = min(options.max_answer_length, n_pieces)
    ends = np.full([n_pieces + n_lengths - 1], _OUT)
    ends[:n_pieces] = end_logits[place]
    reach = np.arange(n_pieces)[:, None] + np.arange(n_lengths)  # [start, length - 1] → end
    scores = (starts[:, None] + ends[reach]).reshape(-1)
    order = np.arange(len(scores))
    if len(order) > options.n_best_size:
        order = np.sort(np.argpartition(-scores, options.n_best_size)[: options.n_best_size])
    order = order[np.argsort(-scores[order], kind="stable")]
    chosen = [divmod(int(i), n_lengths) for i in order if scores[i] > _OUT / 2]
    return [(start, start + length) for start, length in chosen]


def decode_question(
    example: ReadingExample,
    windows: Sequence[Tuple[Window, np.ndarray, np.ndarray]],
    options: DecodeOptions,
) -> Decoded:
    """Chooses among the spans of all windows.

    Args:
        example: the question.
        windows: its windows, each with start logits and end logits [S].
        options: how answers are chosen.

    Raises:
        InternalError: no score is a number.
    """
    candidates: List[Candidate] = []
    for window, start_logits, end_logits in windows:
        for first, last in find_best_spans(start_logits, end_logits, window, options):
            text = example.context[window.spans[first].start_char : window.spans[last].end_char]
            candidates.append(
                Candidate(
                    text,
                    float(start_logits[window.offset + first]),
                    float(end_logits[window.offset + last]),
                    window.first_piece + first,
                    window.first_piece + last,
                )
            )
    candidates.sort(key=lambda candidate: -candidate.score)
    n_best: List[Candidate] = []
    seen = set()
    for candidate in candidates:
        if candidate.text not in seen and len(n_best) < options.n_best_size:
            seen.add(candidate.text)
            n_best.append(candidate)
    if not n_best:
        raise InternalError(
            f"{example.source}: the model's scores are no numbers; its training has diverged"
        )
    best = n_best[0]
    null = min(
        (Candidate("", float(starts[0]), float(ends[0])) for _, starts, ends in windows),
        key=lambda candidate: candidate.score,
    )
    null_odds = null.score - best.score
    text = best.text
    if options.version_2:
        n_best = sorted([*n_best, null], key=lambda candidate: -candidate.score)
        if null_odds > options.null_score_threshold:
            text = ""
    return Decoded(text, n_best, _softmax([c.score for c in n_best]), null_odds, best.text)


def _softmax(scores: Sequence[float]) -> List[float]:
    powers = np.exp(np.asarray(scores) - max(scores))
    return [float(p) for p in powers / powers.sum()]


def build_n_best_object(decoded: Decoded) -> List[Dict[str, Any]]:
    """Returns the entry of one question in nbest_predictions.json."""
    return [
        {
            "text": candidate.text,
            "probability": probability,
            "start_logit": candidate.start_logit,
            "end_logit": candidate.end_logit,
            "start_index": candidate.start_index,
            "end_index": candidate.end_index,
        }
        for candidate, probability in zip(decoded.n_best, decoded.probabilities)
    ]
