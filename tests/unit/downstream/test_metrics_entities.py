"""Entity scores by conlleval's rules, and the original trainer's figures of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.downstream.metrics.entities import (
    compute_entity_metrics,
    compute_token_metrics,
    find_entities,
)

BIO = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
SENTENCES = st.lists(st.lists(st.tuples(BIO, BIO), min_size=1, max_size=9), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O", [("PER", 0, 1)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        # Broken sequences: an inside tag begins an entity after O and after another type.
        ("I-PER I-PER O I-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("O I-PER B-PER I-PER", [("PER", 1, 1), ("PER", 2, 3)]),
        # Other alphabets of the same thing.
        ("B-PER I-PER E-PER S-PER", [("PER", 0, 2), ("PER", 3, 3)]),
        ("B-PER M-PER E-PER S-LOC", [("PER", 0, 2), ("LOC", 3, 3)]),
        ("B-PER I-PER L-PER U-LOC", [("PER", 0, 2), ("LOC", 3, 3)]),
        ("E-PER E-PER I-PER", [("PER", 0, 0), ("PER", 1, 1), ("PER", 2, 2)]),
        # A type may have a hyphen.
        ("B-GEO-LOC I-GEO-LOC", [("GEO-LOC", 0, 1)]),
    ],
)
def test_entities(tags, entities):
    assert find_entities(tags.split()) == entities


def test_a_worked_example():
    reference = "B-PER I-PER O B-LOC I-LOC O B-ORG".split()
    prediction = "B-PER I-PER O B-LOC O O B-PER".split()
    found = compute_entity_metrics([reference], [prediction])
    assert (found["reference_entities"], found["predicted_entities"]) == (3, 3)
    assert (found["precision"], found["recall"], found["f1"]) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    assert found["types"]["PER"]["precision"] == 0.5
    assert found["types"]["PER"]["recall"] == 1.0
    assert found["types"]["ORG"]["predicted_entities"] == 0
    # Tokens: 5 wanted, 4 predicted, 3 of them with the right tag.
    assert (found["token_precision"], found["token_recall"]) == (0.75, 0.6)
    assert found["token_f1"] == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert found["token_accuracy"] == pytest.approx(5 / 7)


def test_entities_do_not_reach_over_the_end_of_a_sentence():
    found = compute_entity_metrics([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]])
    assert found["right_entities"] == 2


def test_nothing_to_find_and_nothing_found_is_zero():
    found = compute_entity_metrics([["O"]], [["O"]])
    assert (found["precision"], found["recall"], found["f1"], found["types"]) == (0, 0, 0, {})
    assert found["token_accuracy"] == 1.0


def conlleval(pairs):
    """Counts (right, wanted, predicted) token by token, as the scorer of CoNLL-2000 walks."""
    right = wanted = predicted = 0
    is_inside = False
    last = ("O", "O")
    tokens = [token for sentence in pairs for token in (*sentence, ("O", "O"))]
    for token in tokens:
        ends = [ends_before(a, b) for a, b in zip(last, token)]
        starts = [starts_at(a, b) for a, b in zip(last, token)]
        if is_inside:
            if all(ends) and last[0][2:] == last[1][2:]:
                is_inside = False
                right += 1
            elif ends[0] != ends[1] or token[0][2:] != token[1][2:]:
                is_inside = False
        if all(starts) and token[0][2:] == token[1][2:]:
            is_inside = True
        wanted += starts[0]
        predicted += starts[1]
        last = token
    return right, wanted, predicted


def ends_before(last, tag):
    return last != "O" and (tag == "O" or tag[0] == "B" or last[2:] != tag[2:])


def starts_at(last, tag):
    return tag != "O" and (tag[0] == "B" or last == "O" or last[2:] != tag[2:])


@given(SENTENCES)
def test_counts_are_those_of_a_walk_over_the_tokens(pairs):
    references = [[wanted for wanted, _ in sentence] for sentence in pairs]
    predictions = [[got for _, got in sentence] for sentence in pairs]
    found = compute_entity_metrics(references, predictions)
    counts = tuple(found[f"{n}_entities"] for n in ("right", "reference", "predicted"))
    assert counts == conlleval(pairs)


@given(SENTENCES)
def test_token_figures_are_those_of_the_confusion_matrix(pairs):
    """The original sums rows, columns and diagonal of the entity classes."""
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    matrix = [[0] * len(tags) for _ in tags]
    for sentence in pairs:
        for wanted, got in sentence:
            matrix[tags.index(wanted)][tags.index(got)] += 1
    diagonal = sum(matrix[i][i] for i in range(1, 5))
    columns = sum(matrix[i][j] for i in range(5) for j in range(1, 5))
    rows = sum(matrix[i][j] for i in range(1, 5) for j in range(5))
    precision = diagonal / columns if columns else 0.0
    recall = diagonal / rows if rows else 0.0
    references = [[wanted for wanted, _ in sentence] for sentence in pairs]
    predictions = [[got for _, got in sentence] for sentence in pairs]
    found = compute_token_metrics(references, predictions)
    assert (found["token_precision"], found["token_recall"]) == (precision, recall)


@pytest.mark.parametrize("predictions", [[], [["O"]], [["O", "O", "O"]]])
def test_lengths_must_fit(predictions):
    with pytest.raises(ValueError, match="sentence"):
        compute_entity_metrics([["O", "O"]], predictions)
