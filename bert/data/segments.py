"""Pairs of text segments for next-sentence prediction, in the fast mode.

The distribution is that of the public BERT's create_pretraining_data (Devlin et al. 2018, §3.1 and
its code): per pass over a document one target length, chunks of sentences up to it, a random split
into A and B, half of the B's from another document, truncation of the longer one at a random end.
What differs from the `reference` algorithm is only which random numbers are drawn.
"""

from __future__ import annotations

from bisect import bisect_left
from random import Random
from typing import List, NamedTuple, Tuple

import numpy as np

from bert.data.documents import TokenizedDocuments

# Draws for a document other than the current one; after that the last one drawn is taken.
RANDOM_DOCUMENT_DRAWS = 10
# [CLS] A [SEP] B [SEP]
N_SPECIAL_TOKENS = 3


class SegmentPairs(NamedTuple):
    """N instances as slices of the flat token array.

    Attributes:
        a_starts, a_ends, b_starts, b_ends: int64 [N]; segment A is tokens[a_start:a_end].
        random_next: int32 [N], 1 where B is not what follows A.
    """

    a_starts: np.ndarray
    a_ends: np.ndarray
    b_starts: np.ndarray
    b_ends: np.ndarray
    random_next: np.ndarray


def draw_segment_pairs(
    documents: TokenizedDocuments, seq_length: int, short_seq_prob: float, rng: Random
) -> SegmentPairs:
    """Makes one pass over all documents.

    Args:
        documents: also the pool that random segments are drawn from.
        seq_length: S; A and B together have at most S - 3 tokens.
        short_seq_prob: probability that a document's target is shorter than S - 3.
        rng: source of all draws.

    Returns:
        Truncated pairs, in the order of the documents.
    """
    max_tokens = seq_length - N_SPECIAL_TOKENS
    starts = documents.sentence_starts.tolist()
    bounds = documents.document_starts.tolist()
    random = rng.random
    rows: List[Tuple[int, int, int, int, int]] = []
    for d in range(documents.n_documents):
        target = max_tokens
        if random() < short_seq_prob:
            target = 2 + int(random() * (max_tokens - 1))
        first, end = bounds[d], bounds[d + 1]
        while first < end:
            # The chunk: sentences first..last-1, as few as reach the target.
            last = bisect_left(starts, starts[first] + target, first + 1, end)
            n_sentences = last - first
            split = first + 1
            if n_sentences >= 2:
                split = first + 1 + int(random() * (n_sentences - 1))
            if n_sentences == 1 or random() < 0.5:
                wanted = target - (starts[split] - starts[first])
                start, stop = _draw_random_segment(d, wanted, starts, bounds, random)
                rows.append((starts[first], starts[split], start, stop, 1))
                # The sentences that the random segment replaced are used by the next chunk.
                first = split
            else:
                rows.append((starts[first], starts[split], starts[split], starts[last], 0))
                first = last
    table = np.array(rows, np.int64).reshape(-1, 5)
    pairs = SegmentPairs(
        table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4].astype(np.int32)
    )
    return _truncate(pairs, max_tokens, rng)


def count_truncated(
    a_lengths: np.ndarray, b_lengths: np.ndarray, max_tokens: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Returns how many tokens A and B lose when always the longer one (B if equal) loses one."""
    excess = np.maximum(a_lengths + b_lengths - max_tokens, 0)
    difference = np.abs(a_lengths - b_lengths)
    from_longer = np.minimum(excess, difference)
    rest = excess - from_longer  # taken in turns, B first, once both are equally long
    longer_is_a = a_lengths > b_lengths
    a_loss = np.where(longer_is_a, from_longer, 0) + rest // 2
    b_loss = np.where(longer_is_a, 0, from_longer) + (rest + 1) // 2
    return a_loss, b_loss


def _draw_random_segment(
    current: int, wanted: int, starts: List[int], bounds: List[int], random
) -> Tuple[int, int]:
    """Returns the token slice of a run of sentences of another document, `wanted` tokens if any."""
    n_documents = len(bounds) - 1
    chosen = current
    for _ in range(RANDOM_DOCUMENT_DRAWS):
        chosen = int(random() * n_documents)
        if chosen != current:
            break
    first, end = bounds[chosen], bounds[chosen + 1]
    start = first + int(random() * (end - first))
    stop = bisect_left(starts, starts[start] + wanted, start + 1, end)
    return starts[start], starts[stop]


def _truncate(pairs: SegmentPairs, max_tokens: int, rng: Random) -> SegmentPairs:
    """Cuts A and B to `max_tokens`; each token lost is lost in front with probability 1/2."""
    a_loss, b_loss = count_truncated(
        pairs.a_ends - pairs.a_starts, pairs.b_ends - pairs.b_starts, max_tokens
    )
    a_front = _draw_halves(a_loss, rng)
    b_front = _draw_halves(b_loss, rng)
    return SegmentPairs(
        pairs.a_starts + a_front,
        pairs.a_ends - (a_loss - a_front),
        pairs.b_starts + b_front,
        pairs.b_ends - (b_loss - b_front),
        pairs.random_next,
    )


def _draw_halves(counts: np.ndarray, rng: Random) -> np.ndarray:
    """Binomial(count, 1/2) for each count, as the number of ones among that many random bits."""
    getrandbits = rng.getrandbits
    return np.array([bin(getrandbits(n)).count("1") if n else 0 for n in counts.tolist()], np.int64)
