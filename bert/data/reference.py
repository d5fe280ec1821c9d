"""Exact mode: the very instances that the public BERT's create_pretraining_data.py makes.

The algorithm takes all its random numbers from one generator, `random.Random(random_seed)`, in an
order that text lengths decide; to get the same instances every draw must be made, in that order:
shuffle of the documents; per duplicate and document the segment pairs, each followed by its
truncation and its masking; shuffle of the instances.

Three things make it fast all the same. The generator's words come from NumPy in bulk (it has the
same Mersenne Twister), and `random`, `randint` and `shuffle` are done on them here. Which tokens an
instance holds is not looked at while drawing: lengths decide everything, but for whole words, for
which one bit per token does. And the records are built from the drawn numbers a batch at a time.

All tokens and instances are held in memory, as the shuffle of the instances demands.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain
from random import Random
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from bert.data.blocks import BATCH_INSTANCES, InstanceOptions
from bert.data.documents import TokenizedDocuments, permute_documents
from bert.data.instances import build_features, build_inputs
from bert.data.masking import MASK_SHARE, MaskedBatch, MaskingTable
from bert.data.segments import N_SPECIAL_TOKENS, RANDOM_DOCUMENT_DRAWS, SegmentPairs

_WORDS_AT_ONCE = 1 << 16
_HALF_WORD = 1 << 31
# Replacements that are not a random token's id.
_MASK, _KEEP = -1, -2


class ReferenceRandom:
    """The draws of CPython's `random.Random` (3.2 and later), from 32-bit words made in bulk.

    Attributes:
        next_word: callable giving the next output of the Mersenne Twister.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        *key, position = Random(seed).getstate()[1]
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {"key": np.array(key, np.uint32), "pos": position},
        }
        self.next_word = chain.from_iterable(iter(self._draw_words, None)).__next__

    def random(self) -> float:
        """As Random.random: 53 bits of two words."""
        high = self.next_word() >> 5
        return ((high << 26) + (self.next_word() >> 6)) / 9007199254740992.0

    def below_half(self) -> bool:
        """As `Random.random() < 0.5`, which the first word decides."""
        high = self.next_word()
        self.next_word()
        return high < _HALF_WORD

    def randint(self, low: int, high: int) -> int:
        """As Random.randint; both ends are included, and fewer than 2^32 numbers lie between."""
        n = high - low + 1
        shift = 32 - n.bit_length()
        draw = self.next_word
        value = draw() >> shift
        while value >= n:
            value = draw() >> shift
        return low + value

    def shuffle(self, items: List) -> None:
        """As Random.shuffle: from the end, each with a place up to its own."""
        draw = self.next_word
        for i in range(len(items) - 1, 0, -1):
            shift = 32 - (i + 1).bit_length()
            j = draw() >> shift
            while j > i:
                j = draw() >> shift
            items[i], items[j] = items[j], items[i]

    def shuffle_head(self, items: List, n_head: int) -> None:
        """As shuffle, but only the first `n_head` items are right afterwards.

        A place that has had its turn is not read again, so beyond the head one of the two
        assignments of a swap can be left out.
        """
        draw = self.next_word
        i = len(items) - 1
        while i >= n_head and i > 0:
            # All places from here down to a power of two take their draws from as many bits.
            bits = (i + 1).bit_length()
            shift = 32 - bits
            lowest = max(n_head, (1 << (bits - 1)) - 1, 1)
            for place in range(i, lowest - 1, -1):
                j = draw() >> shift
                while j > place:
                    j = draw() >> shift
                items[j] = items[place]
            i = lowest - 1
        if i > 0:
            head = items[: i + 1]
            self.shuffle(head)
            items[: i + 1] = head

    def _draw_words(self) -> List[int]:
        return self._bits.random_raw(_WORDS_AT_ONCE).tolist()


class DrawnInstances(NamedTuple):
    """Everything drawn for N instances.

    Attributes:
        pairs: truncated segment pairs.
        n_targets: int64 [N], masked tokens of each.
        positions: int32 [sum of n_targets + 1], places in the sequence, in the order drawn.
        replacements: int32 of the same size: an id, _MASK or _KEEP.
    """

    pairs: SegmentPairs
    n_targets: np.ndarray
    positions: np.ndarray
    replacements: np.ndarray


def iterate_reference_batches(
    documents: TokenizedDocuments, table: MaskingTable, options: InstanceOptions
) -> Iterator[Dict[str, np.ndarray]]:
    """Makes the instances of a corpus, in the reference's order.

    Args:
        documents: in the order of the text.
        table: of the vocabulary; `random_ids` in the order of the vocabulary's lines.
        options: see InstanceOptions.

    Yields:
        Features by name, of up to BATCH_INSTANCES instances.
    """
    rng = ReferenceRandom(options.random_seed)
    order = list(range(documents.n_documents))
    rng.shuffle(order)
    documents = permute_documents(documents, order)
    drawn = draw_instances(documents, table, options, rng)
    order = list(range(len(drawn.n_targets)))
    rng.shuffle(order)
    target_ends = np.cumsum(drawn.n_targets)
    classify_id, separate_id = table.special_ids.tolist()
    for start in range(0, len(order), BATCH_INSTANCES):
        chosen = np.array(order[start : start + BATCH_INSTANCES])
        pairs = SegmentPairs(*(column[chosen] for column in drawn.pairs))
        inputs = build_inputs(documents.tokens, pairs, options.seq_length, classify_id, separate_id)
        masked = _apply_masks(inputs.input_ids, drawn, chosen, target_ends, table, options)
        yield build_features(inputs, masked, pairs.random_next)


def draw_instances(
    documents: TokenizedDocuments,
    table: MaskingTable,
    options: InstanceOptions,
    rng: ReferenceRandom,
) -> DrawnInstances:
    """Makes every draw of all duplicates but for the two shuffles."""
    starts = documents.sentence_starts.tolist()
    bounds = documents.document_starts.tolist()
    masks = _MaskDrawer(documents.tokens, table, options, rng)
    rows: List[Tuple[int, int, int, int, int]] = []
    for _ in range(options.dupe_factor):
        for d in range(documents.n_documents):
            for pair in _draw_document_pairs(d, starts, bounds, options, rng):
                rows.append(pair)
                masks.draw(*pair[:4])
    columns = np.array(rows, np.int64).reshape(-1, 5)
    pairs = SegmentPairs(*columns[:, :4].T, random_next=columns[:, 4].astype(np.int32))
    return DrawnInstances(
        pairs,
        np.array(masks.n_targets, np.int64),
        # The last entry is nobody's: where nothing is masked at all, there is something to index.
        np.array([*masks.positions, 0], np.int32),
        np.array([*masks.replacements, _KEEP], np.int32),
    )


def _draw_document_pairs(
    d: int, starts: List[int], bounds: List[int], options: InstanceOptions, rng: ReferenceRandom
) -> Iterator[Tuple[int, int, int, int, int]]:
    """Yields (a_start, a_end, b_start, b_end, random_next) of one pass, truncated."""
    max_tokens = options.seq_length - N_SPECIAL_TOKENS
    target = max_tokens
    if rng.random() < options.short_seq_prob:
        target = rng.randint(2, max_tokens)
    first, end = bounds[d], bounds[d + 1]
    while first < end:
        last = bisect_left(starts, starts[first] + target, first + 1, end)
        split = first + 1
        if last - first >= 2:
            split = first + rng.randint(1, last - first - 1)
        a_start, a_end = starts[first], starts[split]
        # A chunk of one sentence is paired at random without a draw.
        random_next = last - first == 1 or rng.below_half()
        if random_next:
            chosen = d
            for _ in range(RANDOM_DOCUMENT_DRAWS):
                chosen = rng.randint(0, len(bounds) - 2)
                if chosen != d:
                    break
            start = bounds[chosen] + rng.randint(0, bounds[chosen + 1] - bounds[chosen] - 1)
            wanted = target - (a_end - a_start)
            stop = bisect_left(starts, starts[start] + wanted, start + 1, bounds[chosen + 1])
            b_start, b_end = starts[start], starts[stop]
            first = split
        else:
            b_start, b_end = a_end, starts[last]
            first = last
        excess = a_end - a_start + b_end - b_start - max_tokens
        for _ in range(excess):
            front = rng.below_half()
            if a_end - a_start > b_end - b_start:
                if front:
                    a_start += 1
                else:
                    a_end -= 1
            elif front:
                b_start += 1
            else:
                b_end -= 1
        yield a_start, a_end, b_start, b_end, int(random_next)


class _MaskDrawer:
    """Draws masks, one instance after another, and keeps them in flat lists."""

    def __init__(
        self,
        tokens: np.ndarray,
        table: MaskingTable,
        options: InstanceOptions,
        rng: ReferenceRandom,
    ) -> None:
        self.n_targets: List[int] = []
        self.positions: List[int] = []
        self.replacements: List[int] = []
        self._rng = rng
        self._options = options
        self._random_ids = table.random_ids.tolist()
        # Text can only give [CLS] or [SEP] with a vocabulary that spells them with ##.
        special = np.isin(tokens, table.special_ids)
        self._special = special.tolist() if special.any() else None
        self._continues = table.continues_word[tokens].tolist() if options.whole_words else None

    def draw(self, a_start: int, a_end: int, b_start: int, b_end: int) -> None:
        """Draws the masks of [CLS] A [SEP] B [SEP]."""
        a_length, b_length = a_end - a_start, b_end - b_start
        n_tokens = a_length + b_length + N_SPECIAL_TOKENS
        options = self._options
        wanted = max(1, int(round(n_tokens * options.masked_lm_prob)))
        wanted = min(options.max_predictions, wanted)
        if self._continues is None and self._special is None:
            places = list(range(1, a_length + 1))
            places += range(a_length + 2, a_length + b_length + 2)
            self._rng.shuffle_head(places, wanted)
            chosen: Sequence[int] = places[:wanted]
        else:
            groups = self._group_places(a_start, a_end, b_start, b_end)
            self._rng.shuffle(groups)
            chosen = _take_groups(groups, wanted)
        self.n_targets.append(len(chosen))
        self.positions += chosen
        self._draw_replacements(len(chosen))

    def _group_places(self, a_start: int, a_end: int, b_start: int, b_end: int) -> List[List[int]]:
        groups: List[List[int]] = []
        sources = chain(
            zip(range(1, a_end - a_start + 1), range(a_start, a_end)),
            zip(range(a_end - a_start + 2, self._options.seq_length), range(b_start, b_end)),
        )
        for place, source in sources:
            if self._special is not None and self._special[source]:
                continue
            if groups and self._continues is not None and self._continues[source]:
                groups[-1].append(place)
            else:
                groups.append([place])
        return groups

    def _draw_replacements(self, n: int) -> None:
        rng = self._rng
        draw = rng.next_word
        for _ in range(n):
            high = draw() >> 5
            if ((high << 26) + (draw() >> 6)) / 9007199254740992.0 < MASK_SHARE:
                self.replacements.append(_MASK)
            elif rng.below_half():
                self.replacements.append(_KEEP)
            else:
                which = rng.randint(0, len(self._random_ids) - 1)
                self.replacements.append(self._random_ids[which])


def _take_groups(groups: List[List[int]], wanted: int) -> List[int]:
    chosen: List[int] = []
    for group in groups:
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(group) <= wanted:
            chosen += group
    return chosen


def _apply_masks(
    input_ids: np.ndarray,
    drawn: DrawnInstances,
    chosen: np.ndarray,
    target_ends: np.ndarray,
    table: MaskingTable,
    options: InstanceOptions,
) -> MaskedBatch:
    """Masks the chosen instances as drawn; targets are listed by place."""
    n, n_predictions = len(chosen), options.max_predictions
    counts = drawn.n_targets[chosen]
    column = np.arange(n_predictions)
    used = column < counts[:, None]
    source = np.where(used, (target_ends[chosen] - counts)[:, None] + column, 0)
    beyond = np.iinfo(np.int32).max
    positions = np.where(used, drawn.positions[source], beyond)
    by_place = np.argsort(positions, axis=1, kind="stable")
    rows = np.arange(n)[:, None]
    positions = np.where(used, positions[rows, by_place], 0)
    replacements = drawn.replacements[source][rows, by_place]
    labels = np.where(used, input_ids[rows, positions], 0)
    replacements = np.where(replacements == _MASK, table.mask_id, replacements)
    replacements = np.where(replacements == _KEEP, labels, replacements)
    masked = input_ids.copy()
    masked[np.broadcast_to(rows, used.shape)[used], positions[used]] = replacements[used]
    return MaskedBatch(
        masked, positions.astype(np.int32), labels.astype(np.int32), used.astype(np.float32)
    )
