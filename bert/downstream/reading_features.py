"""Questions and contexts to windows for a model (SQuAD manner, Devlin et al. 2018, section 4.2).

A context longer than a sequence is read in overlapping windows `[CLS] question [SEP] part [SEP]`.
A piece of the context that stands in several windows counts where it has most context around it.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from bert.data.tokenization import Tokenizer
from bert.downstream.examples import ReadingExample
from bert.downstream.sequences import build_sequence
from bert.downstream.text_spans import PieceSpan, find_covering_pieces, tokenize_with_spans
from bert.errors import DataError, UsageError

START_POSITIONS, END_POSITIONS, SPAN_MASK = "start_positions", "end_positions", "input_span_mask"

# Weight of a window's length against the context around a piece, when windows are compared.
_LENGTH_SHARE = 0.01

# The field's defaults, for sequences of 384.
_MAX_QUERY_LENGTH, _DOC_STRIDE = 64, 120


class WindowOptions(NamedTuple):
    """How contexts are cut.

    Attributes:
        max_seq_length: S.
        max_query_length: longer questions lose their end.
        doc_stride: pieces between the starts of two windows.
    """

    max_seq_length: int
    max_query_length: int
    doc_stride: int


class Window(NamedTuple):
    """One window of one question.

    Attributes:
        example_index: which question, counted from 0.
        question: ids.
        first_piece: first piece of the context in this window.
        spans: pieces of the context in this window, with their characters.
        has_most_context: for each of them, whether no other window has more around it.
        start_position, end_position: the answer's pieces in the sequence; both 0, the place of
            [CLS], if it is not whole in this window.
    """

    example_index: int
    question: List[int]
    first_piece: int
    spans: List[PieceSpan]
    has_most_context: List[bool]
    start_position: int
    end_position: int

    @property
    def offset(self) -> int:
        """Position in the sequence of the window's first piece of the context."""
        return len(self.question) + 2


def build_window_options(
    max_seq_length: int, max_query_length: Optional[int], doc_stride: Optional[int]
) -> WindowOptions:
    """Returns the options with those put in that are None."""
    third = max(1, max_seq_length // 3)
    return WindowOptions(
        max_seq_length,
        min(_MAX_QUERY_LENGTH, third) if max_query_length is None else max_query_length,
        min(_DOC_STRIDE, third) if doc_stride is None else doc_stride,
    )


def check_window_options(options: WindowOptions) -> None:
    """Raises UsageError if windows would have no room, or leave pieces out."""
    for name, value in options._asdict().items():
        if value < 1:
            raise UsageError(f"--{name}={value} must be at least 1")
    if options.max_query_length + 4 > options.max_seq_length:
        raise UsageError(
            f"--max_query_length={options.max_query_length} leaves no room for a context in "
            f"--max_seq_length={options.max_seq_length}; it must be at most "
            f"{options.max_seq_length - 4}"
        )


def get_feature_lengths(max_seq_length: int) -> Dict[str, int]:
    """Returns feature name → values per record; see `build_row`."""
    names = ("input_ids", "input_mask", "segment_ids", SPAN_MASK)
    return {**dict.fromkeys(names, max_seq_length), START_POSITIONS: 1, END_POSITIONS: 1}


def cut_windows(n_pieces: int, n_room: int, stride: int) -> List[Tuple[int, int]]:
    """Returns start and length of the windows over `n_pieces` pieces, the last one to the end.

    A stride beyond the room would leave pieces out, so the room is the longest stride.
    """
    windows = []
    start = 0
    while True:
        length = min(n_pieces - start, n_room)
        windows.append((start, length))
        if start + length >= n_pieces:
            return windows
        start += min(length, stride)


def find_most_context(windows: Sequence[Tuple[int, int]], piece: int) -> int:
    """Returns the window in which a piece has the most context.

    The score is min(pieces to the left, pieces to the right) + 0.01 · length of the window; the
    first window with the highest score wins.
    """
    best, best_score = 0, -1.0
    for index, (start, length) in enumerate(windows):
        if not start <= piece < start + length:
            continue
        score = min(piece - start, start + length - 1 - piece) + _LENGTH_SHARE * length
        if score > best_score:
            best, best_score = index, score
    return best


def find_answer_pieces(example: ReadingExample, spans: List[PieceSpan]) -> Tuple[int, int]:
    """Returns the first and the last piece of the answer to train on.

    Raises:
        DataError: the question has no answer, or one of which the tokenizer leaves nothing.
    """
    if not example.answers:
        raise DataError(
            f"{example.source}: the question has no answer to train on; give one, mark it as "
            "is_impossible, or use the file for prediction only"
        )
    answer = example.answers[0]
    first, last = find_covering_pieces(
        spans, answer.start_char, answer.start_char + len(answer.text)
    )
    if last < first:
        raise DataError(
            f"{example.source}: the tokenizer leaves nothing of the answer {answer.text!r}; "
            "correct the answer or leave the question out"
        )
    return first, last


def iterate_windows(
    examples: Iterable[ReadingExample],
    tokenizer: Tokenizer,
    options: WindowOptions,
    with_answers: bool,
) -> Iterator[Window]:
    """Yields all windows of all questions, in order.

    Args:
        examples: the questions; those about one context should stand together.
        tokenizer: with a vocabulary.
        options: how contexts are cut.
        with_answers: whether start and end positions are wanted.

    Raises:
        DataError: an answer is wanted that is not there, or the context has no piece at all.
    """
    context, spans = None, []
    for index, example in enumerate(examples):
        if example.context != context:
            context, spans = example.context, tokenize_with_spans(example.context, tokenizer)
        if not spans:
            raise DataError(f"{example.source}: the tokenizer leaves nothing of the context")
        question = tokenizer.encode(example.question)[: options.max_query_length]
        n_room = options.max_seq_length - len(question) - 3
        first = last = -1
        if with_answers and not example.is_impossible:
            first, last = find_answer_pieces(example, spans)
        bounds = cut_windows(len(spans), n_room, options.doc_stride)
        best = [find_most_context(bounds, piece) for piece in range(len(spans))]
        for number, (start, length) in enumerate(bounds):
            start_position = end_position = 0
            if start <= first and last < start + length:
                start_position = first - start + len(question) + 2
                end_position = last - start + len(question) + 2
            yield Window(
                index,
                question,
                start,
                spans[start : start + length],
                [window == number for window in best[start : start + length]],
                start_position,
                end_position,
            )


def build_row(window: Window, tokenizer: Tokenizer, max_seq_length: int) -> Dict[str, List[int]]:
    """Returns the features of a window.

    Beside the sequence there are `start_positions`, `end_positions` and `input_span_mask`, which
    is 1 where an answer may start and end: at [CLS] (no answer) and in the context.
    """
    pieces = tokenizer.vocabulary.encode(span.token for span in window.spans)
    row = build_sequence(window.question, pieces, tokenizer, max_seq_length)
    return {
        **row,
        SPAN_MASK: [1] + [0] * (window.offset - 1) + [1] * len(pieces),
        START_POSITIONS: [window.start_position],
        END_POSITIONS: [window.end_position],
    }
