"""Questions about a context: CMRC 2018 and SQuAD 1.1 and 2.0.

CMRC 2018 is published in two forms, and both are read: as SQuAD's
`{"data": [{"paragraphs": [{"context": …, "qas": [{"id", "question", "answers"}]}]}]}`, and as a
list of `{"context_id", "context_text", "qas": [{"query_id", "query_text", "answers"}]}` whose
answers are plain strings.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Tuple

from bert.downstream.examples import Answer, ReadingExample
from bert.downstream.readers.json_files import check_encodable, read_json
from bert.errors import DataError

_logger = logging.getLogger(__name__)


def read_reading(
    path: str, version_2: bool = False, has_answers: bool = True
) -> List[ReadingExample]:
    """Reads a file of questions.

    An answer stands where its `answer_start` says. Where it does not, the occurrence nearest to
    that place is taken (published files have starts that are off by some characters), and one line
    of the log tells how many were; without an `answer_start` it is the first occurrence.

    Of several accepted answers one must be a span of the context; all are in `references`, for
    scoring compares texts only.

    Args:
        path: the file.
        version_2: whether questions without an answer are allowed.
        has_answers: whether questions must have answers (or be impossible); otherwise answers are
            not looked at.

    Returns:
        At least one question, in the order of the file.

    Raises:
        DataError: the file is unreadable, not UTF-8, not JSON or not of either form; an id occurs
            twice; an answer is empty, absent or not in its context.
    """
    moved: List[str] = []
    examples: List[ReadingExample] = []
    seen: Dict[str, None] = {}
    for raw in _iterate_questions(read_json(path), path):
        source = f"{path}: question {raw.question_id}"
        if raw.question_id in seen:
            raise DataError(f"{source} is there twice; give every question an id of its own")
        seen[raw.question_id] = None
        if raw.is_impossible and not version_2:
            raise DataError(
                f"{source} has no answer, as in SQuAD 2.0; set --version_2_with_negative"
            )
        answers: Tuple[Answer, ...] = ()
        if has_answers and not raw.is_impossible:
            if not raw.answers:
                remedy = "set is_impossible, or add one" if version_2 else "add one"
                raise DataError(f"{source} has no answers; {remedy}")
            answers = _place_answers(raw, source, moved)
        examples.append(
            ReadingExample(
                raw.question_id,
                raw.context_id,
                raw.question,
                raw.context,
                answers,
                raw.is_impossible,
                source,
                tuple(text for text, _ in raw.answers) if answers else (),
            )
        )
    if not examples:
        raise DataError(f"{path} has no questions")
    if moved:
        _logger.warning(
            "%s: %d answers do not stand at their answer_start; the nearest place was taken "
            "(first: %s)",
            path,
            len(moved),
            moved[0],
        )
    return examples


def read_references(path: str, version_2: bool = False) -> Dict[str, Tuple[str, ...]]:
    """Reads the accepted answers of every question, as the scorers take them.

    Args:
        path: the file.
        version_2: whether questions without an answer are allowed.

    Returns:
        Question → its answers, in the order of the file; none for a question that has no answer.

    Raises:
        DataError: the file is unreadable, not UTF-8, not JSON or not of a known form; an id occurs
            twice; a question has no answer though it must.
    """
    references: Dict[str, Tuple[str, ...]] = {}
    for raw in _iterate_questions(read_json(path), path):
        source = f"{path}: question {raw.question_id}"
        if raw.question_id in references:
            raise DataError(f"{source} is there twice; give every question an id of its own")
        if not raw.answers and not version_2:
            raise DataError(f"{source} has no answers; only SQuAD 2.0 has such questions")
        references[raw.question_id] = tuple(text for text, _ in raw.answers)
    if not references:
        raise DataError(f"{path} has no questions")
    return references


@dataclass(frozen=True)
class _Question:
    """A question as it stands in the file; an answer is (text, stated start)."""

    question_id: str
    context_id: str
    question: str
    context: str
    answers: Tuple[Tuple[str, Optional[int]], ...]
    is_impossible: bool


def _iterate_questions(content: Any, path: str) -> Iterator[_Question]:
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        for i, article in enumerate(content["data"]):
            source = f"{path}: data[{i}]"
            for j, paragraph in enumerate(_get(article, "paragraphs", list, source)):
                place = f"{source}.paragraphs[{j}]"
                context_id = paragraph.get("id") if isinstance(paragraph, dict) else None
                yield from _iterate_paragraph(
                    paragraph, "context", "id", "question", str(context_id or f"{i}-{j}"), place
                )
    elif isinstance(content, list):
        for i, paragraph in enumerate(content):
            place = f"{path}: [{i}]"
            context_id = _get(paragraph, "context_id", (str, int), place)
            yield from _iterate_paragraph(
                paragraph, "context_text", "query_id", "query_text", str(context_id), place
            )
    else:
        raise DataError(
            f'{path}: neither {{"data": […]}} as SQuAD has it nor the list that CMRC 2018 has'
        )


def _iterate_paragraph(
    paragraph: Any, context_key: str, id_key: str, question_key: str, context_id: str, source: str
) -> Iterator[_Question]:
    context = _get(paragraph, context_key, str, source)
    check_encodable(context, source)
    for i, entry in enumerate(_get(paragraph, "qas", list, source)):
        place = f"{source}.qas[{i}]"
        question_id = str(_get(entry, id_key, (str, int), place)).strip()
        question = _get(entry, question_key, str, place)
        for text in (question_id, question):
            check_encodable(text, place)
            if not text.strip():
                raise DataError(f"{place}: {id_key} and {question_key} must not be empty")
        is_impossible = entry.get("is_impossible", False)
        if not isinstance(is_impossible, bool):
            raise DataError(f"{place}: is_impossible must be true or false")
        listed = entry.get("answers", [])
        if not isinstance(listed, list):
            raise DataError(f"{place}: answers must be a list")
        answers = tuple(_parse_answer(answer, place) for answer in listed)
        yield _Question(question_id, context_id, question, context, answers, is_impossible)


def _parse_answer(answer: Any, source: str) -> Tuple[str, Optional[int]]:
    if isinstance(answer, str):
        return answer, None
    text = _get(answer, "text", str, f"{source}.answers")
    start = answer.get("answer_start")
    if start is not None and (not isinstance(start, int) or isinstance(start, bool)):
        raise DataError(f"{source}: answer_start must be a whole number")
    # Some converted files have -1 for what they did not know.
    return text, None if start is None or start < 0 else start


def _place_answers(raw: _Question, source: str, moved: List[str]) -> Tuple[Answer, ...]:
    """Finds the answers of a question; adds `source` to `moved` if one is not where it should be.

    Raises:
        DataError: an answer is empty, or none of them is in the context.
    """
    placed = []
    for text, stated in raw.answers:
        if not text.strip():
            raise DataError(f"{source} has an empty answer; fill or remove it")
        answer = _place_answer(text, stated, raw.context)
        if answer is not None:
            placed.append(answer)
            if stated is not None and answer != Answer(text, stated):
                moved.append(source)
    if not placed:
        raise DataError(
            f"{source}: the answer {_shorten(raw.answers[0][0])!r} is not in the context; answers "
            "must be copied from it letter by letter"
        )
    return tuple(placed)


def _place_answer(text: str, stated: Optional[int], context: str) -> Optional[Answer]:
    """Finds an answer where it should be, else as near to that as it is; None if nowhere."""
    if stated is not None and context.startswith(text, stated):
        return Answer(text, stated)
    # Spaces around an answer say nothing, and scorers do not look at them.
    text = text.strip()
    first = context.find(text)
    if first < 0 or stated is None:
        return Answer(text, first) if first >= 0 else None
    after = context.find(text, stated)
    before = context.rfind(text, 0, stated + len(text))
    found = [start for start in (before, after) if start >= 0]
    return Answer(text, min(found, key=lambda start: abs(start - stated)))


def _shorten(text: str, n_chars: int = 30) -> str:
    return text if len(text) <= n_chars else text[: n_chars - 1] + "…"


def _get(container: Any, key: str, kind: Any, source: str) -> Any:
    """Returns `container[key]` if it is there and of a type."""
    value = container.get(key) if isinstance(container, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {str: "a text", list: "a list", (str, int): "a text or number"}
        raise DataError(f"{source}: {key!r} is missing or not {names[kind]}")
    return value
