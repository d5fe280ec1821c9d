"""Fast mode's draws: segments, masks and blocks, by their rules and by the exact mode's shares."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.data.blocks import (
    InstanceOptions,
    check_instance_options,
    derive_seed,
    draw_block_pairs,
    iterate_block_batches,
)
from bert.data.documents import build_tokenized_documents
from bert.data.instances import build_inputs
from bert.data.masking import (
    MaskingOptions,
    build_masking_table,
    count_targets,
    draw_masks,
    draw_uniform,
)
from bert.data.reference import iterate_reference_batches
from bert.data.segments import SegmentPairs, count_truncated, draw_segment_pairs
from bert.data.vocabulary import SPECIAL_TOKENS, build_vocabulary
from bert.errors import UsageError

# Ids 5.. are words; the odd ones continue a word.
VOCABULARY = build_vocabulary(
    [*SPECIAL_TOKENS, *(f"{'##' if i % 2 else ''}w{i}" for i in range(5, 105))]
)
TABLE = build_masking_table(VOCABULARY.ids, size=VOCABULARY.size)


def make_documents(seed, n_documents=30):
    rng = Random(seed)

    def sentence():
        return " ".join(str(rng.randint(5, 104)) for _ in range(rng.randint(1, 25)))

    texts = [[sentence() for _ in range(rng.randint(1, 15))] for _ in range(n_documents)]
    return build_tokenized_documents(texts, lambda text: [int(word) for word in text.split()])


def bits(seed=0):
    return np.random.PCG64(np.random.SeedSequence(seed))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 60))
def test_truncation_takes_from_the_longer_as_one_by_one(a_length, b_length, max_tokens):
    a, b = a_length, b_length
    while a + b > max_tokens:
        if a > b:
            a -= 1
        else:
            b -= 1
    a_loss, b_loss = count_truncated(np.array([a_length]), np.array([b_length]), max_tokens)
    assert (a_length - a_loss[0], b_length - b_loss[0]) == (a, b)


@given(st.integers(0, 10**6), st.sampled_from([5, 9, 32, 128]), st.sampled_from([0.0, 0.1, 1.0]))
def test_segments_are_runs_of_one_document_and_fit(seed, seq_length, short_seq_prob):
    documents = make_documents(seed, n_documents=1 + seed % 6)
    pairs = draw_segment_pairs(documents, seq_length, short_seq_prob, Random(seed))
    lengths_a, lengths_b = pairs.a_ends - pairs.a_starts, pairs.b_ends - pairs.b_starts
    assert lengths_a.min() >= 1
    assert lengths_b.min() >= 1
    assert (lengths_a + lengths_b).max() <= seq_length - 3
    ends = documents.sentence_starts[documents.document_starts[1:]]
    for starts, stops in ((pairs.a_starts, pairs.a_ends), (pairs.b_starts, pairs.b_ends)):
        assert np.array_equal(
            np.searchsorted(ends, starts, "right"), np.searchsorted(ends, stops - 1, "right")
        )
    follows = pairs.random_next == 0
    assert (pairs.b_starts[follows] >= pairs.a_ends[follows]).all()


def test_random_segments_come_from_other_documents():
    documents = make_documents(3)
    pairs = draw_segment_pairs(documents, 64, 0.1, Random(0))
    ends = documents.sentence_starts[documents.document_starts[1:]]
    document_a = np.searchsorted(ends, pairs.a_starts, "right")
    document_b = np.searchsorted(ends, pairs.b_starts, "right")
    is_random = pairs.random_next == 1
    assert (document_a[is_random] != document_b[is_random]).all()
    assert (document_a[~is_random] == document_b[~is_random]).all()


def test_inputs_are_cls_a_sep_b_sep_padded():
    tokens = np.arange(10, 20, dtype=np.int32)
    pairs = SegmentPairs(*(np.array([v]) for v in (1, 3, 7, 10, 1)))
    inputs = build_inputs(tokens, pairs, 10, 2, 3)
    assert inputs.input_ids.tolist() == [[2, 11, 12, 3, 17, 18, 19, 3, 0, 0]]
    assert inputs.segment_ids.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 0, 0]]
    assert inputs.lengths.tolist() == [8]


def test_the_number_of_targets_rounds_halves_to_even():
    lengths = np.array([3, 10, 30, 128, 5])
    assert count_targets(lengths, MaskingOptions(20, 0.15)).tolist() == [1, 2, 4, 19, 1]
    assert count_targets(lengths, MaskingOptions(3, 0.15)).tolist() == [1, 2, 3, 3, 1]


def make_inputs(n, seq_length=40, seed=0):
    rng = np.random.RandomState(seed)
    lengths = rng.randint(5, seq_length + 1, n)
    ids = rng.randint(5, 105, [n, seq_length]).astype(np.int32)
    place = np.arange(seq_length)
    ids[:, 0] = VOCABULARY.ids["[CLS]"]
    ids[place == lengths[:, None] - 1] = VOCABULARY.ids["[SEP]"]
    ids[place == lengths[:, None] // 2] = VOCABULARY.ids["[SEP]"]
    ids[place >= lengths[:, None]] = 0
    return ids, lengths


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("prob, max_predictions", [(0.15, 20), (0.15, 2), (1.0, 64), (0.4, 11)])
def test_masks_are_where_they_may_be_and_labels_are_the_originals(
    whole_words, prob, max_predictions
):
    ids, lengths = make_inputs(500)
    options = MaskingOptions(max_predictions, prob, whole_words)
    masked = draw_masks(ids, lengths, TABLE, options, bits())
    used = masked.weights > 0
    n_used = used.sum(axis=1)
    special = np.isin(ids, TABLE.special_ids)
    candidates = (np.arange(40) < lengths[:, None]) & ~special
    wanted = np.minimum(count_targets(lengths, options), candidates.sum(axis=1))
    if whole_words:
        assert (n_used <= wanted).all()
        # A word is masked whole or not at all.
        chosen = np.zeros(ids.shape, bool)
        chosen[np.nonzero(used)[0], masked.positions[used]] = True
        for row in range(len(ids)):
            group = None
            for place in np.flatnonzero(candidates[row]):
                if group is not None and TABLE.continues_word[ids[row, place]]:
                    assert chosen[row, place] == group
                group = chosen[row, place]
    else:
        assert (n_used == wanted).all()
    rows = np.arange(len(ids))[:, None]
    assert candidates[rows, masked.positions][used].all()
    assert (masked.label_ids == np.where(used, ids[rows, masked.positions], 0)).all()
    assert (masked.positions[~used] == 0).all()
    steps = np.diff(masked.positions, axis=1)
    assert (steps[used[:, 1:]] > 0).all()
    assert (np.diff(masked.weights, axis=1) <= 0).all()
    untouched = np.ones(ids.shape, bool)
    untouched[np.nonzero(used)[0], masked.positions[used]] = False
    assert (masked.input_ids == ids)[untouched].all()
    assert masked.input_ids.dtype == masked.positions.dtype == np.int32


def chi_square_is_plausible(observed, expected):
    """True if a sum of squares of about as many unit normals is within 5 deviations of its mean."""
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    statistic = ((observed - expected) ** 2 / expected).sum()
    degrees = len(observed) - 1
    return abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)


def test_every_place_and_pair_of_places_is_masked_equally_often():
    n, seq_length = 60000, 9
    ids = np.full([n, seq_length], 7, np.int32)
    ids[:, 0], ids[:, 4], ids[:, 8] = 2, 3, 3
    masked = draw_masks(ids, np.full([n], 9), TABLE, MaskingOptions(2, 0.2), bits(1))
    pairs = Counter(map(tuple, masked.positions.tolist()))
    places = [1, 2, 3, 5, 6, 7]
    expected = {(a, b) for i, a in enumerate(places) for b in places[i + 1 :]}
    assert set(pairs) == expected
    assert chi_square_is_plausible(list(pairs.values()), [n / 15] * 15)


def test_replacements_are_80_10_10():
    n = 40000
    ids = np.full([n, 5], 9, np.int32)
    ids[:, 0], ids[:, 2], ids[:, 4] = 2, 3, 3
    masked = draw_masks(ids, np.full([n], 5), TABLE, MaskingOptions(1, 0.2), bits(2))
    now = masked.input_ids[np.arange(n), masked.positions[:, 0]]
    n_random = len(TABLE.random_ids)
    counts = np.bincount(now, minlength=VOCABULARY.size)
    expected = np.full([VOCABULARY.size], 0.1 * n / n_random)
    expected[VOCABULARY.ids["[MASK]"]] += 0.8 * n
    expected[9] += 0.1 * n
    assert chi_square_is_plausible(counts, expected)


@pytest.mark.parametrize("whole_words", [False, True])
def test_fast_and_exact_mode_have_the_same_shares(whole_words):
    """Means over a corpus: lengths, masks, labels, and which words get masked."""
    documents = make_documents(11, n_documents=150)
    options = InstanceOptions(48, 8, dupe_factor=8, whole_words=whole_words)

    def collect(batches):
        batches = list(batches)
        return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}

    exact = collect(iterate_reference_batches(documents, TABLE, options))
    fast = collect(b.features for b in iterate_block_batches(documents, TABLE, options, 0))
    n = len(exact["input_ids"])
    assert abs(len(fast["input_ids"]) / n - 1) < 0.03

    def used(features):
        return features["masked_lm_weights"] > 0

    # Tolerances: five times the deviation of the difference over seeds, as measured.
    for tolerance, measure in (
        (1.2, lambda f: f["input_mask"].sum(axis=1)),
        (1.2, lambda f: (f["segment_ids"] == 1).sum(axis=1)),
        (0.05, lambda f: f["next_sentence_labels"]),
        (0.18, lambda f: used(f).sum(axis=1)),
        (0.022, lambda f: TABLE.continues_word[f["masked_lm_ids"]][used(f)]),
        (0.75, lambda f: f["masked_lm_positions"][used(f)]),
        (0.04, lambda f: f["masked_lm_positions"][:, 0] == 1),
    ):
        assert abs(measure(exact).mean() - measure(fast).mean()) < tolerance


def test_a_block_is_the_same_whoever_makes_it_and_differs_by_every_part_of_its_seed():
    documents = make_documents(1)

    def make(block, **changes):
        options = InstanceOptions(32, 5, dupe_factor=2)._replace(**changes)
        batches = list(iterate_block_batches(documents, TABLE, options, block))
        keys = np.concatenate([batch.keys for batch in batches])
        assert (np.diff(keys.astype(float)) >= 0).all()
        return np.concatenate([batch.features["input_ids"] for batch in batches]).tobytes()

    assert make(0) == make(0)
    assert len({make(0), make(1), make(0, random_seed=1), make(0, random_seed=-1)}) == 4


def test_duplicates_are_different_passes():
    documents = make_documents(1)
    options = InstanceOptions(32, 5, dupe_factor=3)
    one = draw_block_pairs(documents, options._replace(dupe_factor=1), 0)
    three = draw_block_pairs(documents, options, 0)
    n = len(one.a_starts)
    assert np.array_equal(three.a_ends[:n], one.a_ends)
    assert not np.array_equal(three.a_ends[n : 2 * n], one.a_ends)


def test_an_empty_block_gives_nothing():
    empty = build_tokenized_documents([], lambda text: [])
    assert list(iterate_block_batches(empty, TABLE, InstanceOptions(), 0)) == []


def test_draws_are_those_of_every_numpy_version():
    """PCG64's raw words and SeedSequence are kept by NumPy; golden numbers notice if not."""
    assert derive_seed(1, 23) != derive_seed(12, 3)
    uniform = draw_uniform(bits(5), [3]).tolist()
    assert [round(u, 6) for u in uniform] == [0.805003, 0.807941, 0.515326]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seq_length": 4}, "max_seq_length 4 is too small"),
        ({"max_predictions": 0}, "max_predictions_per_seq"),
        ({"masked_lm_prob": 0.0}, "masked_lm_prob"),
        ({"masked_lm_prob": float("nan")}, "masked_lm_prob"),
        ({"short_seq_prob": 1.5}, "short_seq_prob"),
        ({"dupe_factor": 0}, "dupe_factor"),
    ],
)
def test_options_that_cannot_work_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        check_instance_options(InstanceOptions()._replace(**change))
