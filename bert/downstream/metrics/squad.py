"""Exact match and F1 of SQuAD 1.1 and 2.0, as their official scripts define them.

Texts are compared in lower case, without ASCII punctuation, without the articles a, an, the and
with single spaces. F1 is that of their words as bags; the best answer of a question counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def normalize_answer(text: str) -> str:
    """Returns what of a text is compared."""
    words = _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return " ".join(words.split())


def compute_exact_match(answer: str, prediction: str) -> float:
    """Returns 1 if both are equal once normalized, else 0."""
    return float(normalize_answer(answer) == normalize_answer(prediction))


def compute_f1(answer: str, prediction: str) -> float:
    """Returns the F1, 0 to 1, of the words of two texts; 0 if either has none."""
    wanted, got = normalize_answer(answer).split(), normalize_answer(prediction).split()
    n_common = sum((Counter(wanted) & Counter(got)).values())
    if not n_common:
        return 0.0
    precision, recall = n_common / len(got), n_common / len(wanted)
    return 2.0 * precision * recall / (precision + recall)


def compute_squad_v1_metrics(
    references: Mapping[str, Sequence[str]], predictions: Mapping[str, str]
) -> Dict[str, float]:
    """Computes the scores of SQuAD 1.1.

    Args:
        references: question → accepted answers, at least one each.
        predictions: question → predicted answer; those of other questions are not looked at.

    Returns:
        exact_match, f1: percentages over all questions; one without prediction counts as 0.
        total: questions.
        skip: questions without prediction.

    Raises:
        ValueError: there are no questions.
    """
    _check_questions(references)
    exact = f1 = 0.0
    asked = [question for question in references if question in predictions]
    for question in asked:
        answers, prediction = references[question], predictions[question]
        exact += max(compute_exact_match(answer, prediction) for answer in answers)
        f1 += max(compute_f1(answer, prediction) for answer in answers)
    total = len(references)
    return {
        "exact_match": 100.0 * exact / total,
        "f1": 100.0 * f1 / total,
        "total": total,
        "skip": total - len(asked),
    }


def compute_squad_v2_metrics(
    references: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    na_probs: Optional[Mapping[str, float]] = None,
    na_prob_thresh: float = 1.0,
) -> Dict[str, float]:
    """Computes the scores of SQuAD 2.0.

    A prediction is no answer if it is empty, or if its no-answer probability exceeds the threshold.

    Args:
        references: question → accepted answers, none for a question without answer.
        predictions: question → predicted answer; those of other questions are not looked at.
        na_probs: question → probability that there is no answer, or any score that grows with it;
            None for 0 throughout.
        na_prob_thresh: the threshold; the official script's is 1.

    Returns:
        exact, f1, total: percentages over all questions and their number. With HasAns_ and NoAns_
            before the name: over those with and without an answer, if there are any.
        best_exact, best_exact_thresh, best_f1, best_f1_thresh: the best scores that any threshold
            would have given, and it (only with `na_probs`).
        skip: questions without prediction. They count as 0; the official script ends with an error.

    Raises:
        ValueError: there are no questions, or a prediction has no no-answer probability.
    """
    _check_questions(references)
    asked = [question for question in references if question in predictions]
    exact, f1 = _compute_raw_scores(references, predictions, asked)
    has_answer = {question: bool(answers) for question, answers in references.items()}
    probabilities = dict.fromkeys(asked, 0.0) if na_probs is None else na_probs
    for question in asked:
        if question not in probabilities:
            raise ValueError(f"question {question} has no no-answer probability")

    def apply_threshold(scores: Mapping[str, float]) -> Dict[str, float]:
        return {
            question: float(not has_answer[question])
            if probabilities[question] > na_prob_thresh
            else score
            for question, score in scores.items()
        }

    metrics: Dict[str, float] = {}
    final_exact, final_f1 = apply_threshold(exact), apply_threshold(f1)
    groups = {
        "": list(references),
        "HasAns_": [question for question in references if has_answer[question]],
        "NoAns_": [question for question in references if not has_answer[question]],
    }
    for prefix, questions in groups.items():
        if questions:
            metrics[prefix + "exact"] = _compute_percentage(final_exact, questions)
            metrics[prefix + "f1"] = _compute_percentage(final_f1, questions)
            metrics[prefix + "total"] = len(questions)
    if na_probs is not None:
        for name, scores in (("exact", exact), ("f1", f1)):
            best, threshold = find_best_threshold(predictions, scores, na_probs, has_answer)
            metrics[f"best_{name}"], metrics[f"best_{name}_thresh"] = best, threshold
    metrics["skip"] = len(references) - len(asked)
    return metrics


def find_best_threshold(
    predictions: Mapping[str, str],
    scores: Mapping[str, float],
    na_probs: Mapping[str, float],
    has_answer: Mapping[str, bool],
) -> Tuple[float, float]:
    """Finds the threshold of the no-answer probability that gives the best score.

    Answers are taken on one by one, from the least probability up; the threshold is 0 if none at
    all is best. As in the official script, of equal probabilities some may be counted as taken on
    and others not.

    Args:
        predictions: question → predicted answer.
        scores: question → score from 0 to 1, without any threshold.
        na_probs: question → probability that there is no answer.
        has_answer: question → whether it has one; of all questions.

    Returns:
        The best score in percent of all questions, and its threshold.
    """
    score: float = sum(not has_answer[question] for question in scores)
    best, threshold = score, 0.0
    for question in sorted(na_probs, key=lambda q: na_probs[q]):
        if question not in scores:
            continue
        if has_answer[question]:
            score += scores[question]
        elif predictions[question]:
            score -= 1
        if score > best:
            best, threshold = score, na_probs[question]
    return 100.0 * best / len(has_answer), threshold


def _compute_raw_scores(
    references: Mapping[str, Sequence[str]], predictions: Mapping[str, str], asked: Sequence[str]
) -> Tuple[Dict[str, float], Dict[str, float]]:
    """Returns exact match and F1 per question, without any threshold."""
    exact: Dict[str, float] = {}
    f1: Dict[str, float] = {}
    for question in asked:
        # An answer of which nothing is left to compare is none.
        answers: List[str] = [a for a in references[question] if normalize_answer(a)] or [""]
        prediction = predictions[question]
        exact[question] = max(compute_exact_match(answer, prediction) for answer in answers)
        f1[question] = max(_compute_f1_or_emptiness(answer, prediction) for answer in answers)
    return exact, f1


def _compute_f1_or_emptiness(answer: str, prediction: str) -> float:
    """F1; if either text has no words, whether neither has."""
    if normalize_answer(answer) and normalize_answer(prediction):
        return compute_f1(answer, prediction)
    return compute_exact_match(answer, prediction)


def _compute_percentage(scores: Mapping[str, float], questions: Sequence[str]) -> float:
    return 100.0 * sum(scores.get(question, 0.0) for question in questions) / len(questions)


def _check_questions(references: Mapping[str, Sequence[str]]) -> None:
    if not references:
        raise ValueError("there are no questions to score")
