"""Exact mode: the generator, the algorithm against a plain one, and an example worked by hand."""

from __future__ import annotations

import hashlib
import json
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.data.blocks import InstanceOptions
from bert.data.documents import build_tokenized_documents
from bert.data.masking import build_masking_table
from bert.data.reference import iterate_reference_batches
from bert.data.reference_random import ReferenceRandom
from bert.data.vocabulary import SPECIAL_TOKENS, build_vocabulary
from tests.unit.data import plain_reference

WORDS = ["alpha", "beta", "gamma", "delta", "##s", "##ing", "##ed", "x", "y", "z", "。"]
VOCABULARY = build_vocabulary([*SPECIAL_TOKENS, *WORDS])
TABLE = build_masking_table(VOCABULARY.ids, size=VOCABULARY.size)


@given(st.integers(-(2**70), 2**70), st.data())
def test_the_generator_is_that_of_python(seed, data):
    ours, python = ReferenceRandom(seed), Random(seed)
    for _ in range(data.draw(st.integers(1, 30))):
        kind = data.draw(st.sampled_from(["random", "half", "randint", "shuffle", "head"]))
        if kind == "random":
            assert ours.random() == python.random()
        elif kind == "half":
            assert ours.below_half() == (python.random() < 0.5)
        elif kind == "randint":
            low = data.draw(st.integers(-5, 5))
            high = low + data.draw(st.one_of(st.integers(0, 70), st.integers(0, 2**31)))
            assert ours.randint(low, high) == python.randint(low, high)
        else:
            items = list(range(data.draw(st.integers(0, 140))))
            expected = list(items)
            python.shuffle(expected)
            if kind == "shuffle":
                ours.shuffle(items)
                assert items == expected
            else:
                n_head = data.draw(st.integers(1, 145))
                ours.shuffle_head(items, n_head)
                assert items[:n_head] == expected[:n_head]


def make_both(documents, options):
    """Instances of the plain algorithm and of ours, as lists of feature dictionaries."""
    plain = [
        plain_reference.features(
            instance, VOCABULARY.ids, options.seq_length, options.max_predictions
        )
        for instance in plain_reference.create_instances(
            documents,
            VOCABULARY.ids,
            options.random_seed,
            options.seq_length,
            options.max_predictions,
            options.masked_lm_prob,
            options.short_seq_prob,
            options.dupe_factor,
            options.whole_words,
        )
    ]
    texts = [[" ".join(sentence) for sentence in document] for document in documents]
    tokenized = build_tokenized_documents(texts, lambda text: VOCABULARY.encode(text.split(" ")))
    batches = list(iterate_reference_batches(tokenized, TABLE, options))
    ours = [
        {name: values[i].tolist() for name, values in batch.items()}
        for batch in batches
        for i in range(len(batch["input_ids"]))
    ]
    return plain, ours


DOCUMENTS = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), min_size=1, max_size=8),
    min_size=1,
    max_size=6,
)
OPTIONS = st.builds(
    InstanceOptions,
    seq_length=st.sampled_from([5, 6, 9, 16, 33, 128]),
    max_predictions=st.integers(1, 12),
    masked_lm_prob=st.sampled_from([0.01, 0.15, 0.5, 1.0]),
    short_seq_prob=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    dupe_factor=st.integers(1, 3),
    whole_words=st.booleans(),
    random_seed=st.integers(0, 2**40),
)


@given(DOCUMENTS, OPTIONS)
def test_equal_to_the_plain_algorithm(documents, options):
    plain, ours = make_both(documents, options)
    assert ours == plain


def test_equal_to_the_plain_algorithm_beyond_one_batch():
    rng = Random(5)
    documents = [
        [[rng.choice(WORDS) for _ in range(rng.randint(1, 30))] for _ in range(rng.randint(1, 20))]
        for _ in range(120)
    ]
    for whole_words in (False, True):
        options = InstanceOptions(64, 10, dupe_factor=4, whole_words=whole_words, random_seed=99)
        plain, ours = make_both(documents, options)
        assert len(plain) > 2048
        assert ours == plain


def test_an_example_worked_by_hand():
    """One document of two sentences, S = 9, seed 1; every draw of Random(1) is followed below."""
    documents = [[["alpha", "beta"], ["gamma", "delta", "x"]]]
    options = InstanceOptions(
        9, 2, masked_lm_prob=0.15, short_seq_prob=0.1, dupe_factor=1, random_seed=1
    )
    draws = Random(1)
    # Shuffling one document draws nothing. Target: 6, unless the first draw is below 0.1.
    assert draws.random() >= 0.1
    # The first sentence has 2 < 6 tokens; with the second, the last, the chunk has 5.
    assert draws.randint(1, 1) == 1  # A = alpha beta
    # Is B random? Not if the draw is at least one half.
    is_random = draws.random() < 0.5
    assert is_random
    # Ten draws for another document, in vain: there is only one, which is then taken.
    assert [draws.randint(0, 0) for _ in range(10)] == [0] * 10
    start = draws.randint(0, 1)
    assert start == 0
    # B: sentences from there until it has 6 - 2 = 4 tokens: both. Sentence two is used again.
    a, b = ["alpha", "beta"], ["alpha", "beta", "gamma", "delta", "x"]
    # Together 7 > 6: B is longer and loses its first token if the draw is below one half.
    assert draws.random() >= 0.5
    b.pop()
    tokens = ["[CLS]", *a, "[SEP]", *b, "[SEP]"]
    places = [1, 2, 4, 5, 6, 7]
    draws.shuffle(places)
    # round(9 * 0.15) = round(1.35) = 1 token is masked: the first of the shuffled places.
    place = places[0]
    draw = draws.random()
    assert draw < 0.8  # it becomes [MASK]
    label = tokens[place]
    tokens[place] = "[MASK]"
    first = {
        "input_ids": [VOCABULARY.ids[token] for token in tokens],
        "input_mask": [1] * 9,
        "segment_ids": [0] * 4 + [1] * 5,
        "masked_lm_positions": [place, 0],
        "masked_lm_ids": [VOCABULARY.ids[label], 0],
        "masked_lm_weights": [1.0, 0.0],
        "next_sentence_labels": [1],
    }
    _, ours = make_both(documents, options)
    assert len(ours) == 2  # the second is of the sentence that the random one replaced
    assert first in ours


def test_rounding_of_the_number_of_masks_is_half_to_even():
    # 10 tokens * 0.15 = 1.5 -> 2; 30 * 0.15 = 4.5 -> 4.
    for n_tokens, n_masks in ((10, 2), (30, 4)):
        documents = [[["x"] * 3, ["y"] * 60]]
        options = InstanceOptions(n_tokens, 20, short_seq_prob=0.0, dupe_factor=1)
        _, ours = make_both(documents, options)
        assert [sum(record["masked_lm_weights"]) for record in ours] == [n_masks] * len(ours)
        assert all(sum(record["input_mask"]) == n_tokens for record in ours)


def test_random_tokens_follow_the_order_of_the_vocabulary_with_duplicates():
    # "x" stands on lines 5 and 7: it keeps its place in the order, its id is 7.
    vocabulary = build_vocabulary([*SPECIAL_TOKENS, "x", "y", "x"])
    table = build_masking_table(vocabulary.ids, size=vocabulary.size)
    assert table.random_ids.tolist() == [0, 1, 2, 3, 4, 7, 6]


def test_a_text_that_spells_special_tokens_is_not_masked_there():
    tokens = ["x", "[SEP]", "y", "[CLS]"]
    options = InstanceOptions(12, 12, masked_lm_prob=1.0, dupe_factor=3)
    plain, ours = make_both([[tokens, tokens], [tokens]], options)
    assert ours == plain
    special = {VOCABULARY.ids["[CLS]"], VOCABULARY.ids["[SEP]"]}
    for record in ours:
        labels = np.array(record["masked_lm_ids"])[np.array(record["masked_lm_weights"]) > 0]
        assert not special & set(labels.tolist())


@pytest.mark.parametrize(
    "whole_words, golden", [(False, "cbb0e163c8981a1b"), (True, "18e5c067868e945c")]
)
def test_the_golden_instances_do_not_change(whole_words, golden):
    """Of Random(12345) over a fixed text, as first made and checked against the plain algorithm."""
    documents = [
        [[WORDS[(3 * i + 5 * j + 7 * k) % 11] for k in range(9)] for j in range(7)]
        for i in range(5)
    ]
    options = InstanceOptions(32, 5, dupe_factor=2, whole_words=whole_words)
    plain, ours = make_both(documents, options)
    assert ours == plain
    text = json.dumps(ours, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == golden
