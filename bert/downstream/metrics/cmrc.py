"""F1 and exact match of CMRC 2018, as its official script (cmrc2018_evaluate.py, v5) defines them.

Chinese characters and the punctuation marks listed below are units of their own; what stands
between them is cut as English. Punctuation does not count. F1 compares the longest CONTIGUOUS run
of units that prediction and answer share with the length of each; exact match is equality. The best
answer of a question counts.

Two properties of the official list are kept, or figures could not be compared with published ones:
ASCII , . ! ? ; ( ) and quotation marks, and the left single quote, are not in it; and its entry of
two ellipsis characters never equals a character, so an ellipsis counts as text. What the list means
to do with the ellipsis is done with `drop_ellipsis`.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence

from bert.downstream.metrics.english_words import split_english_words

PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
ELLIPSIS = frozenset("…")
_FIRST_CHINESE, _LAST_CHINESE = "\u4e00", "\u9fa5"


def split_units(text: str, drop_ellipsis: bool = False) -> List[str]:
    """Cuts a text into the units that F1 counts; punctuation is left out.

    Args:
        text: an answer or a prediction.
        drop_ellipsis: leave out … too.
    """
    units: List[str] = []
    run: List[str] = []
    for char in remove_punctuation(text, drop_ellipsis):
        if not _FIRST_CHINESE <= char <= _LAST_CHINESE:
            run.append(char)
            continue
        if run:
            units += split_english_words("".join(run))
            run.clear()
        units.append(char)
    return units + split_english_words("".join(run)) if run else units


def remove_punctuation(text: str, drop_ellipsis: bool = False) -> str:
    """Returns a text in lower case, without spaces around it and without punctuation."""
    dropped = PUNCTUATION | ELLIPSIS if drop_ellipsis else PUNCTUATION
    return "".join(char for char in text.lower().strip() if char not in dropped)


def compute_longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the length of the longest run of units that stands, unbroken, in both."""
    places: Dict[str, List[int]] = {}
    for place, unit in enumerate(second):
        places.setdefault(unit, []).append(place)
    longest = 0
    # Place in `second` → length of the common run that ends there and at the unit before this one.
    lengths: Dict[int, int] = {}
    for unit in first:
        lengths = {place: lengths.get(place - 1, 0) + 1 for place in places.get(unit, ())}
        longest = max(longest, max(lengths.values(), default=0))
    return longest


def compute_f1(answers: Sequence[str], prediction: str, drop_ellipsis: bool = False) -> float:
    """Returns the best F1, 0 to 1, of a prediction over the accepted answers."""
    predicted = split_units(prediction, drop_ellipsis)
    best = 0.0
    for answer in answers:
        wanted = split_units(answer, drop_ellipsis)
        n_common = compute_longest_common_run(wanted, predicted)
        if n_common:
            precision, recall = n_common / len(predicted), n_common / len(wanted)
            best = max(best, 2.0 * precision * recall / (precision + recall))
    return best


def compute_exact_match(
    answers: Sequence[str], prediction: str, drop_ellipsis: bool = False
) -> float:
    """Returns 1 if a prediction equals an accepted answer but for punctuation, else 0."""
    predicted = remove_punctuation(prediction, drop_ellipsis)
    return float(any(remove_punctuation(a, drop_ellipsis) == predicted for a in answers))


def compute_cmrc_metrics(
    references: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    drop_ellipsis: bool = False,
) -> Dict[str, float]:
    """Computes the scores of predictions.

    Args:
        references: question → accepted answers, at least one each.
        predictions: question → predicted answer; those of other questions are not looked at.
        drop_ellipsis: do not count …, other than the official script.

    Returns:
        average: mean of the next two.
        f1, em: percentages over all questions; a question without prediction counts as 0.
        total: questions.
        skip: questions without prediction.

    Raises:
        ValueError: there are no questions.
    """
    if not references:
        raise ValueError("there are no questions to score")
    f1 = em = 0.0
    n_skipped = 0
    for question, answers in references.items():
        if question not in predictions:
            n_skipped += 1
            continue
        f1 += compute_f1(answers, predictions[question], drop_ellipsis)
        em += compute_exact_match(answers, predictions[question], drop_ellipsis)
    total = len(references)
    f1, em = 100.0 * f1 / total, 100.0 * em / total
    return {"average": (em + f1) * 0.5, "f1": f1, "em": em, "total": total, "skip": n_skipped}
