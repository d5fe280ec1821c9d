"""Reader of questions about a context."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.downstream.examples import Answer
from bert.downstream.readers.reading import read_reading, read_references
from bert.errors import DataError

CONTEXT = "李明在北京，王明在上海。北京很大。"


def build(answers, context=CONTEXT, **entry):
    qas = [{"id": "Q1", "question": "在哪里？", "answers": answers, **entry}]
    return {"version": "v1.0", "data": [{"paragraphs": [{"context": context, "qas": qas}]}]}


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="train.json"):
        path = tmp_path / name
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    return write_file


def test_an_answer_stands_where_its_start_says(write):
    """Item 25: the first occurrence was taken, whatever answer_start said."""
    path = write(build([{"text": "北京", "answer_start": 12}, {"text": "北京", "answer_start": 3}]))
    example = read_reading(path)[0]
    assert example.answers == (Answer("北京", 12), Answer("北京", 3))
    assert (example.question_id, example.context_id) == ("Q1", "0-0")
    assert example.references == ("北京", "北京")
    assert example.source == f"{path}: question Q1"


@pytest.mark.parametrize(
    ("stated", "start"),
    [(None, 3), (-1, 3), (0, 3), (5, 3), (11, 12), (13, 12), (999, 12)],
)
def test_a_start_that_is_off_means_the_nearest_place(write, caplog, stated, start):
    answer = {"text": "北京"} if stated is None else {"text": "北京", "answer_start": stated}
    path = write(build([answer]))
    assert read_reading(path)[0].answers == (Answer("北京", start),)
    is_told = "1 answers do not stand at their answer_start" in caplog.text
    assert is_told == (stated is not None and stated >= 0)


@given(st.text("ab", min_size=1, max_size=12), st.data())
def test_the_nearest_place_is_the_nearest(tmp_path_factory, context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    text = context[start : data.draw(st.integers(start + 1, len(context)))]
    stated = data.draw(st.integers(0, 15))
    path = tmp_path_factory.mktemp("reading") / "train.json"
    path.write_text(json.dumps(build([{"text": text, "answer_start": stated}], context)))
    found = read_reading(str(path))[0].answers[0]
    places = [i for i in range(len(context)) if context.startswith(text, i)]
    assert found.start_char in places
    assert abs(found.start_char - stated) == min(abs(place - stated) for place in places)


def test_spaces_around_an_answer_do_not_matter(write):
    path = write(build([{"text": " 上海\n", "answer_start": 8}]))
    answer = read_reading(path)[0].answers[0]
    assert answer == Answer("上海", 9)


def test_the_list_form_of_cmrc(write):
    content = [
        {
            "context_id": "TRIAL_1",
            "context_text": CONTEXT,
            "qas": [
                {"query_id": "TRIAL_1_QUERY_0", "query_text": "谁？", "answers": ["王明", "明"]},
                {"query_id": "TRIAL_1_QUERY_1", "query_text": "哪？", "answers": ["上海"]},
            ],
            "title": "x",
        }
    ]
    first, second = read_reading(write(content))
    assert (first.context_id, first.question) == ("TRIAL_1", "谁？")
    assert first.answers == (Answer("王明", 6), Answer("明", 1))
    assert second.answers == (Answer("上海", 9),)


def test_squad_2_has_questions_without_answer(write):
    content = build([], is_impossible=True, plausible_answers=[{"text": "大", "answer_start": 0}])
    path = write(content)
    example = read_reading(path, version_2=True)[0]
    assert (example.is_impossible, example.answers) == (True, ())
    assert read_references(path, version_2=True) == {"Q1": ()}
    with pytest.raises(DataError, match="Q1 has no answer, as in SQuAD 2.0; set --version_2_with"):
        read_reading(path)
    with pytest.raises(DataError, match="Q1 has no answers; only SQuAD 2.0"):
        read_references(path)


def test_files_without_answers_are_for_prediction(write):
    path = write(build([]))
    assert read_reading(path, has_answers=False)[0].answers == ()
    with pytest.raises(DataError, match="question Q1 has no answers; add one"):
        read_reading(path)
    with pytest.raises(DataError, match="question Q1 has no answers; set is_impossible, or add"):
        read_reading(path, version_2=True)


def test_references_need_not_stand_in_the_context(write):
    path = write(build([{"text": "首都北京", "answer_start": 3}, {"text": "北京"}]))
    assert read_references(path) == {"Q1": ("首都北京", "北京")}
    example = read_reading(path)[0]
    assert example.answers == (Answer("北京", 3),)
    assert example.references == ("首都北京", "北京")
    without = read_reading(path, has_answers=False)[0]
    assert (without.answers, without.references) == ((), ())


def test_byte_order_mark_and_ids(write):
    content = build([{"text": "北京", "answer_start": 3}], id=" 17 ")
    path = write("\ufeff" + json.dumps(content) + "\r\n")
    assert read_reading(path)[0].question_id == "17"
    assert list(read_references(path)) == ["17"]


NO_CONTEXT = {"data": [{"paragraphs": [{"qas": []}]}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; a JSON file is wanted"),
        ("\ufeff\n", "is empty"),
        ("{}", "neither .* as SQuAD has it nor the list"),
        ('{"data": {}}', "neither .* as SQuAD has it"),
        ('{"data": []}', "has no questions"),
        ("[]", "has no questions"),
        ('{"data": [\n,]}', "train.json:2: not JSON: "),
        ("[" * 100_000, "nested too deep"),
        (b'{"data":\n "\xb1\xb1"}', "train.json:2: not UTF-8 .*iconv"),
        ({"data": [{}]}, r"data\[0\]: 'paragraphs' is missing or not a list"),
        ({"data": [1]}, r"data\[0\]: 'paragraphs' is missing"),
        (NO_CONTEXT, r"data\[0\].paragraphs\[0\]: 'context' is missing or not a text"),
        ([{"context_text": "x"}], r"\[0\]: 'context_id' is missing"),
        (build([], question=None), r"qas\[0\]: 'question' is missing or not a text"),
        (build([], question=" "), "must not be empty"),
        (build([], id=""), "must not be empty"),
        (build("北京"), r"qas\[0\]: answers must be a list"),
        (build([{"answer_start": 3}]), r"qas\[0\].answers: 'text' is missing"),
        (build([{"text": "北京", "answer_start": "3"}]), "answer_start must be a whole number"),
        (build([{"text": " "}]), "question Q1 has an empty answer; fill or remove it"),
        (build([], is_impossible="no"), "is_impossible must be true or false"),
        (
            build([{"text": "南京", "answer_start": 3}]),
            "train.json: question Q1: the answer '南京' is not in the context; answers must be cop",
        ),
        (build([{"text": "南" * 40}]), "the answer '南{29}…' is not in the context"),
        (
            '{"data": [{"paragraphs": [{"context": "\\ud83d", "qas": []}]}]}',
            "half a surrogate pair",
        ),
    ],
)
def test_bad_files_are_told_by_place_and_remedy(write, content, message):
    """Item 25: an answer that is not in the context was a warning, and a TypeError later."""
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        read_reading(path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_an_id_that_occurs_twice(write):
    content = build([{"text": "北京"}])
    content["data"] *= 2
    path = write(content)
    for read in (read_reading, read_references):
        with pytest.raises(DataError, match="question Q1 is there twice"):
            read(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot read .*absent.json: No such file"):
        read_reading(str(tmp_path / "absent.json"))
