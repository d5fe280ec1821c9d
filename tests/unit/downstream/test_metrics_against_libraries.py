"""The metrics say what scikit-learn, seqeval and NLTK say, on generated cases.

`tests/golden/downstream/record_scores.py` ran those libraries and wrote down what they said.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bert.downstream.metrics.classification import compute_classification_metrics
from bert.downstream.metrics.english_words import split_sentence_words
from bert.downstream.metrics.entities import compute_entity_metrics, find_entities

RECORD = json.loads(
    (Path(__file__).resolve().parents[2] / "golden" / "downstream" / "scores.json").read_text(
        encoding="utf-8"
    )
)


def test_the_record_is_of_the_reference_libraries():
    assert set(RECORD["libraries"]) == {"scikit-learn", "seqeval", "nltk"}
    assert [len(RECORD[name]) for name in ("classification", "entities", "words")] == [
        200,
        200,
        600,
    ]


def test_classification_is_that_of_scikit_learn():
    for case in RECORD["classification"]:
        found = compute_classification_metrics(case["references"], case["predictions"])
        for name in ("accuracy", "f1_macro", "f1_micro", "mcc"):
            assert found[name] == pytest.approx(case[name], abs=1e-12), (name, case)


def test_entities_are_those_of_seqeval():
    for case in RECORD["entities"]:
        references = [sentence.split() for sentence in case["references"]]
        predictions = [sentence.split() for sentence in case["predictions"]]
        for tags, entities in zip(references, case["entities"]):
            assert find_entities(tags) == [tuple(entity) for entity in entities]
        found = compute_entity_metrics(references, predictions)
        for name in ("precision", "recall", "f1"):
            assert found[name] == pytest.approx(case[name], abs=1e-12), (name, case)


def test_english_words_are_those_of_nltk():
    for case in RECORD["words"]:
        assert split_sentence_words(case["text"]) == case["words"], case["text"]
