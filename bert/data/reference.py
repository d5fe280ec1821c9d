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
from typing import Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np

from bert.data.blocks import BATCH_INSTANCES, InstanceOptions
from bert.data.documents import TokenizedDocuments, permute_documents
from bert.data.instances import build_features, build_inputs
from bert.data.masking import MaskedBatch, MaskingOptions, MaskingTable, count_targets
from bert.data.reference_random import KEPT, MASKED, ReferenceRandom
from bert.data.segments import N_SPECIAL_TOKENS, RANDOM_DOCUMENT_DRAWS, SegmentPairs


class DrawnInstances(NamedTuple):
    """Everything drawn for N instances.

    Attributes:
        pairs: truncated segment pairs.
        n_targets: int64 [N], masked tokens of each.
        positions: int32 [sum of n_targets + 1], places in the sequence, in the order drawn.
        replacements: int32 of the same size: MASKED, KEPT, or a place in
            the table's `random_ids`.
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
    passes: List[DrawnInstances] = []
    for _ in range(options.dupe_factor):
        rows: List[Tuple[int, int, int, int, int]] = []
        for d in range(documents.n_documents):
            for pair in _draw_document_pairs(d, starts, bounds, options, rng):
                rows.append(pair)
                masks.draw(*pair[:4])
        # Arrays hold a pass in a fifth of the memory that lists of numbers need.
        passes.append(_build_drawn_instances(rows, masks))
    return DrawnInstances(
        SegmentPairs(*map(np.concatenate, zip(*(drawn.pairs for drawn in passes)))),
        np.concatenate([drawn.n_targets for drawn in passes]),
        # The last entry is nobody's: where nothing is masked at all, there is something to index.
        np.concatenate([*(drawn.positions for drawn in passes), [0]]).astype(np.int32),
        np.concatenate([*(drawn.replacements for drawn in passes), [KEPT]]).astype(np.int32),
    )


def _build_drawn_instances(
    rows: List[Tuple[int, int, int, int, int]], masks: _MaskDrawer
) -> DrawnInstances:
    """Moves what was drawn in one pass from lists into arrays."""
    columns = np.array(rows, np.int64).reshape(-1, 5)
    pairs = SegmentPairs(*columns[:, :4].T.copy(), random_next=columns[:, 4].astype(np.int32))
    n_targets, targets, replacements = masks.take()
    a_lengths = np.repeat(pairs.a_ends - pairs.a_starts, n_targets)
    positions = targets + 1 + (targets >= a_lengths)  # [CLS] is before A, [SEP] after it
    return DrawnInstances(pairs, n_targets, positions.astype(np.int32), replacements)


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
        self.targets: List[int] = []
        self.replacements: List[int] = []
        self._rng = rng
        self._n_random = len(table.random_ids)
        n_tokens = np.arange(options.seq_length + 1)
        masking = MaskingOptions(options.max_predictions, options.masked_lm_prob)
        self._n_wanted = count_targets(n_tokens, masking).tolist()
        self._numbers = list(range(options.seq_length))
        # Text can only give [CLS] or [SEP] with a vocabulary that spells them with ##.
        special = np.isin(tokens, table.special_ids)
        self._special = special.tolist() if special.any() else None
        self._continues = table.continues_word[tokens].tolist() if options.whole_words else None

    def draw(self, a_start: int, a_end: int, b_start: int, b_end: int) -> None:
        """Draws the masks of [CLS] A [SEP] B [SEP]; targets are counted through A and B."""
        n_tokens = a_end - a_start + b_end - b_start
        n_wanted = self._n_wanted[n_tokens + N_SPECIAL_TOKENS]
        if self._continues is None and self._special is None:
            numbers = self._numbers[:n_tokens]
            self._rng.shuffle_head(numbers, n_wanted)
            chosen = numbers[:n_wanted]
        else:
            groups = self._group_tokens(chain(range(a_start, a_end), range(b_start, b_end)))
            self._rng.shuffle(groups)
            chosen = _take_groups(groups, n_wanted)
        self.n_targets.append(len(chosen))
        self.targets += chosen
        self._rng.draw_replacements(len(chosen), self._n_random, self.replacements)

    def take(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns targets per instance, targets and replacements so far, and forgets them."""
        taken = (
            np.array(self.n_targets, np.int64),
            np.array(self.targets, np.int32),
            np.array(self.replacements, np.int32),
        )
        self.n_targets, self.targets, self.replacements = [], [], []
        return taken

    def _group_tokens(self, sources: Iterable[int]) -> List[List[int]]:
        groups: List[List[int]] = []
        for number, source in enumerate(sources):
            if self._special is not None and self._special[source]:
                continue
            if groups and self._continues is not None and self._continues[source]:
                groups[-1].append(number)
            else:
                groups.append([number])
        return groups


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
    random_ids = table.random_ids[np.maximum(replacements, 0)]
    replacements = np.where(
        replacements == MASKED, table.mask_id, np.where(replacements == KEPT, labels, random_ids)
    )
    masked = input_ids.copy()
    masked[np.broadcast_to(rows, used.shape)[used], positions[used]] = replacements[used]
    return MaskedBatch(
        masked, positions.astype(np.int32), labels.astype(np.int32), used.astype(np.float32)
    )
