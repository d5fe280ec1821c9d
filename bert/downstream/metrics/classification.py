"""Accuracy, F1 and Matthews correlation of classes, as scikit-learn defines them.

A confusion matrix C counts examples, C[i, j] being those of class i that were predicted as j. The
classes are those that occur among references or predictions: a class nobody named has no F1 and
does not enter the macro average. A quotient without denominator is 0.
"""

from __future__ import annotations

import math
from typing import Dict, Hashable, List, Sequence, Tuple

import numpy as np


def build_confusion_matrix(
    references: Sequence[Hashable], predictions: Sequence[Hashable]
) -> Tuple[np.ndarray, List[Hashable]]:
    """Counts which class was predicted as which.

    Args:
        references: right class of every example, of any hashable type.
        predictions: predicted class of every example.

    Returns:
        Counts [C, C] int64, and the C classes in the order of their first appearance.

    Raises:
        ValueError: lengths differ, or there is no example.
    """
    if len(references) != len(predictions) or not len(references):
        raise ValueError(
            f"{len(references)} references and {len(predictions)} predictions: as many of both, "
            "and at least one, are needed"
        )
    places: Dict[Hashable, int] = {}
    for label in (*references, *predictions):
        places.setdefault(label, len(places))
    counts = np.zeros([len(places), len(places)], np.int64)
    for reference, prediction in zip(references, predictions):
        counts[places[reference], places[prediction]] += 1
    return counts, list(places)


def compute_classification_metrics(
    references: Sequence[Hashable], predictions: Sequence[Hashable]
) -> Dict[str, float]:
    """Computes the scores of a classifier.

    Args:
        references: right class of every example.
        predictions: predicted class of every example.

    Returns:
        accuracy: share of right predictions.
        f1_macro: mean over classes of 2 TP / (2 TP + FP + FN).
        f1_micro: the same quotient of the sums over classes; with one class per example it is the
            accuracy.
        mcc: see `compute_matthews_correlation`.
        examples: how many there were.

    Raises:
        ValueError: lengths differ, or there is no example.
    """
    counts, _ = build_confusion_matrix(references, predictions)
    true_positives = np.diag(counts)
    # 2 TP + FP + FN of a class: its row and its column, the diagonal counted in both.
    named = counts.sum(axis=0) + counts.sum(axis=1)
    n_examples = int(counts.sum())
    return {
        "accuracy": float(true_positives.sum()) / n_examples,
        "f1_macro": float(np.mean(2.0 * true_positives / named)),
        "f1_micro": float(2.0 * true_positives.sum() / named.sum()),
        "mcc": compute_matthews_correlation(counts),
        "examples": n_examples,
    }


def compute_matthews_correlation(counts: np.ndarray) -> float:
    """Matthews correlation for any number of classes (Gorodkin 2004, R_K).

    With n examples, c right ones, t_k of class k and p_k predicted as k, it is
    (c n − Σ t_k p_k) / √((n² − Σ p_k²)(n² − Σ t_k²)), and 0 where that has no denominator.

    Args:
        counts: confusion matrix [C, C].
    """
    # Whole numbers of Python: the products of a large evaluation do not fit 64 bits.
    references = [int(n) for n in counts.sum(axis=1)]
    predictions = [int(n) for n in counts.sum(axis=0)]
    n, right = sum(references), int(np.trace(counts))
    covariance = right * n - sum(t * p for t, p in zip(references, predictions))
    of_predictions = n * n - sum(p * p for p in predictions)
    of_references = n * n - sum(t * t for t in references)
    if not of_predictions or not of_references:
        return 0.0
    return covariance / math.sqrt(of_predictions * of_references)
