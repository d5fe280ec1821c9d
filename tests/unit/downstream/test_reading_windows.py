"""Contexts to windows and logits to answers: right positions, exact characters, best spans."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from hypothesis import given
from hypothesis import strategies as st

from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import build_vocabulary
from bert.downstream.examples import Answer, ReadingExample
from bert.downstream.reading_answers import DecodeOptions, build_n_best_object, decode_question
from bert.downstream.reading_features import (
    WindowOptions,
    build_row,
    build_window_options,
    check_window_options,
    cut_windows,
    find_most_context,
    iterate_windows,
)
from bert.errors import DataError, InternalError, UsageError

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "甲",
    "乙",
    "丙",
    "，",
    "。",
    "ab",
    "##ab",
    "the",
    "on",
]
TOKENIZER = Tokenizer(build_vocabulary(WORDS), TokenizerOptions())
DECODING = DecodeOptions(n_best_size=20, max_answer_length=64)


def build_example(context, start=0, end=0, question="甲？", impossible=False):
    answers = () if impossible or end <= start else (Answer(context[start:end], start),)
    return ReadingExample("q1", "c1", question, context, answers, impossible, "f.json: question q1")


def list_windows(example, options, with_answers=True):
    return list(iterate_windows([example], TOKENIZER, options, with_answers))


def score_as_oracle(windows, length):
    """Logits that are high at the positions to train on, and low elsewhere."""
    scored = []
    for window in windows:
        starts, ends = np.full([2, length], -5.0, np.float32)
        starts[window.start_position] = ends[window.end_position] = 5.0
        scored.append((window, starts, ends))
    return scored


texts = st.text("甲乙丙，。 ab\tAB", min_size=1, max_size=40).filter(lambda t: not t.isspace())


@given(st.data(), texts, st.integers(12, 30), st.integers(1, 12))
def test_the_answer_comes_back_letter_by_letter(data, context, length, stride):
    """Item 25: spaces and upper case of the original text stay."""
    places = [i for i, char in enumerate(context) if not char.isspace()]
    start = data.draw(st.sampled_from(places))
    end = data.draw(st.sampled_from([i + 1 for i in places if i >= start]))
    example = build_example(context, start, end)
    options = WindowOptions(length, 3, stride)
    windows = list_windows(example, options)
    holding = [window for window in windows if window.end_position]
    for window in holding:
        row = build_row(window, TOKENIZER, length)
        assert len(row["input_span_mask"]) + 1 == len(row["input_ids"]) <= length
        first = window.spans[window.start_position - window.offset]
        last = window.spans[window.end_position - window.offset]
        # The pieces cover the answer; a piece of several letters may reach beyond it.
        assert first.start_char <= start < first.end_char
        assert last.start_char < end <= last.end_char
        assert row["input_span_mask"][window.start_position] == 1
    if len(windows) == 1:
        (window,) = holding
        decoded = decode_question(example, score_as_oracle(windows, length), DECODING)
        spans = window.spans
        wanted = context[
            spans[window.start_position - window.offset].start_char : spans[
                window.end_position - window.offset
            ].end_char
        ]
        assert decoded.text == wanted
        assert example.answers[0].text in decoded.text


def test_an_answer_with_spaces_and_capitals():
    context = "甲。The  ON ab，乙"
    example = build_example(context, 2, 12)
    windows = list_windows(example, WindowOptions(30, 5, 10))
    assert decode_question(example, score_as_oracle(windows, 30), DECODING).text == "The  ON ab"


def test_the_place_of_an_answer_is_its_start_and_not_its_first_occurrence():
    """Item 25: the first occurrence was taken."""
    (window,) = list_windows(build_example("甲乙，甲乙。", 3, 5), WindowOptions(30, 5, 10))
    assert (window.start_position, window.end_position) == (window.offset + 3, window.offset + 4)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25))
def test_windows_cover_everything_and_each_piece_has_one_best(n_pieces, n_room, stride):
    windows = cut_windows(n_pieces, n_room, stride)
    covered = {piece for start, length in windows for piece in range(start, start + length)}
    assert covered == set(range(n_pieces))
    assert all(length <= n_room for _, length in windows)
    for piece in range(n_pieces):
        start, length = windows[find_most_context(windows, piece)]
        assert start <= piece < start + length


def test_the_window_with_the_most_context():
    # Of the published explanation: "bought" has 4 left and 0 right in B, 1 left and 3 right in C.
    windows = [(0, 5), (3, 5), (6, 5)]
    assert find_most_context(windows, 7) == 2
    assert [find_most_context(windows, piece) for piece in (0, 3, 4, 10)] == [0, 0, 1, 2]


def test_a_window_without_the_whole_answer_points_at_the_start_of_the_sequence():
    example = build_example("甲乙丙甲乙丙甲乙丙甲", 8, 10)
    windows = list_windows(example, WindowOptions(10, 2, 3))
    assert len(windows) > 2
    positions = [(window.start_position, window.end_position) for window in windows]
    assert positions[0] == (0, 0)
    assert positions[-1][1] - positions[-1][0] == 1


def test_bad_data_and_options():
    with pytest.raises(DataError, match=r"f.json: question q1: the question has no answer"):
        list_windows(build_example("甲"), WindowOptions(10, 2, 3))
    with pytest.raises(DataError, match="leaves nothing of the context"):
        list_windows(build_example("\u200b"), WindowOptions(10, 2, 3), with_answers=False)
    nothing = ReadingExample("q1", "c", "甲", "甲\u200b", (Answer("\u200b", 1),), False, "f: q1")
    with pytest.raises(DataError, match="leaves nothing of the answer"):
        list_windows(nothing, WindowOptions(10, 2, 3))
    assert list_windows(build_example("甲", impossible=True), WindowOptions(10, 2, 3))
    with pytest.raises(UsageError, match="--max_query_length=9 .* at most 6"):
        check_window_options(WindowOptions(10, 9, 3))
    with pytest.raises(UsageError, match="--doc_stride=0 must be at least 1"):
        check_window_options(WindowOptions(10, 2, 0))
    assert build_window_options(384, None, None) == WindowOptions(384, 64, 120)
    assert build_window_options(48, None, 7) == WindowOptions(48, 16, 7)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_the_best_answers_are_those_of_a_search_of_all_spans(seed, n_best, longest, version_2):
    """Items 22 and 25: long answers, no answer at all, and every field of every candidate."""
    random = np.random.RandomState(seed)
    context = "".join(random.choice(list("甲乙丙，。"), size=random.randint(1, 15)))
    example = build_example(context)
    length = 12
    windows = list_windows(example, WindowOptions(length, 2, 4), with_answers=False)
    scored = [(w, *random.normal(size=[2, length]).astype(np.float32)) for w in windows]
    options = DecodeOptions(n_best, longest, version_2, null_score_threshold=0.0)
    best = {}
    for window, starts, ends in scored:
        n_pieces = len(window.spans)
        for first, last in itertools.product(range(n_pieces), range(n_pieces)):
            if first <= last < first + longest and window.has_most_context[first]:
                text = context[window.spans[first].start_char : window.spans[last].end_char]
                score = float(starts[window.offset + first]) + float(ends[window.offset + last])
                best[text] = max(score, best.get(text, -np.inf))
    null = min(float(starts[0]) + float(ends[0]) for _, starts, ends in scored)
    highest = max(best.values())
    decoded = decode_question(example, scored, options)
    assert decoded.null_odds == pytest.approx(null - highest)
    assert best[decoded.best_text] == pytest.approx(highest)
    assert decoded.text == ("" if version_2 and null > highest else decoded.best_text)
    wanted = sorted([*best.values()], reverse=True)
    found = [c.score for c in decoded.n_best if c.text]
    assert found[: n_best // 3] == pytest.approx(wanted[: len(found[: n_best // 3])])
    assert sum(decoded.probabilities) == pytest.approx(1.0)
    assert (decoded.n_best[-1].text == "" or version_2 is False) or "" in [
        c.text for c in decoded.n_best
    ]
    for entry in build_n_best_object(decoded):
        assert set(entry) == {
            *("text", "probability", "start_logit", "end_logit", "start_index", "end_index")
        }


def test_scores_that_are_no_numbers():
    example = build_example("甲乙")
    (window,) = list_windows(example, WindowOptions(10, 2, 4), with_answers=False)
    nothing = np.full([10], np.nan, np.float32)
    with pytest.raises(InternalError, match="question q1: the model's scores are no numbers"):
        decode_question(example, [(window, nothing, nothing)], DECODING)
