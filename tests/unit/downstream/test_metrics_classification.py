"""Classification scores: worked examples, and slow definitions on generated cases."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.downstream.metrics.classification import compute_classification_metrics

LABELS = st.sampled_from(["neutral", "entailment", "contradiction", "0"])


def test_a_worked_example():
    #            predicted a b c
    # right a               2 1 0
    #       b               0 1 1
    #       c               0 0 1
    found = compute_classification_metrics(list("aaabbc"), list("aabbcc"))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["f1_micro"] == pytest.approx(4 / 6)
    assert found["f1_macro"] == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)
    # c n − Σ t p = 4·6 − (3·2 + 2·2 + 1·2); 36 − (4 + 4 + 4); 36 − (9 + 4 + 1).
    assert found["mcc"] == pytest.approx(12 / math.sqrt(24 * 22))
    assert found["examples"] == 6


def test_one_class_alone_has_no_correlation():
    found = compute_classification_metrics([1, 1], [1, 1])
    assert (found["accuracy"], found["f1_macro"], found["mcc"]) == (1.0, 1.0, 0.0)


def test_a_million_examples_do_not_overflow():
    found = compute_classification_metrics([0, 1] * 500_000, [0, 1] * 500_000)
    assert found["mcc"] == pytest.approx(1.0)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=20))
def test_the_slow_definitions(pairs):
    references, predictions = zip(*pairs)
    found = compute_classification_metrics(references, predictions)
    f1 = []
    for label in set(references) | set(predictions):
        tp = sum(r == p == label for r, p in pairs)
        fp = sum(p == label != r for r, p in pairs)
        fn = sum(r == label != p for r, p in pairs)
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn) if tp + fn else 0.0
        f1.append(2 * precision * recall / (precision + recall) if tp else 0.0)
    assert found["f1_macro"] == pytest.approx(sum(f1) / len(f1))
    right = sum(r == p for r, p in pairs)
    assert found["accuracy"] == found["f1_micro"] == pytest.approx(right / len(pairs))
    # Correlation of the two one-hot matrices, class by class (Gorodkin 2004).
    labels = sorted(set(references) | set(predictions))

    def covariance(first, second):
        n = len(pairs)
        total = 0.0
        for label in labels:
            x = [float(a == label) for a in first]
            y = [float(b == label) for b in second]
            mx, my = sum(x) / n, sum(y) / n
            total += sum((a - mx) * (b - my) for a, b in zip(x, y)) / n
        return total

    own = covariance(references, references) * covariance(predictions, predictions)
    expected = covariance(references, predictions) / math.sqrt(own) if own > 1e-12 else 0.0
    assert found["mcc"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("pair", [([], []), ([1], []), ([1, 2], [1])])
def test_lengths_must_fit(pair):
    with pytest.raises(ValueError, match="as many of both"):
        compute_classification_metrics(*pair)
