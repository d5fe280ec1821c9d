"""Masked-LM targets, drawn for a whole batch of instances at once.

Rule (Devlin et al. 2018, §3.1): of the tokens other than [CLS] and [SEP], a share `masked_lm_prob`
of the sequence's length, at least one and at most P, are targets. Of these 80 % become [MASK], 10 %
stay, 10 % become a random token. With whole-word masking the pieces of a word go together.

Shapes: N = instances, S = sequence length, P = predictions per sequence.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

MASK_SHARE = 0.8
KEEP_SHARE = 0.1


class MaskingOptions(NamedTuple):
    """How targets are chosen.

    Attributes:
        max_predictions: P.
        masked_lm_prob: share of a sequence's tokens, special ones included, to predict.
        whole_words: mask the pieces of a word together.
    """

    max_predictions: int
    masked_lm_prob: float
    whole_words: bool = False


class MaskingTable(NamedTuple):
    """What masking needs to know of a vocabulary of V tokens.

    Attributes:
        mask_id: of [MASK].
        special_ids: ids of [CLS] and [SEP], never masked.
        random_ids: int32 [V'], ids that a random replacement is drawn from, equally likely.
        continues_word: bool [V], True for pieces that start with ##.
    """

    mask_id: int
    special_ids: np.ndarray
    random_ids: np.ndarray
    continues_word: np.ndarray


class MaskedBatch(NamedTuple):
    """Masked inputs.

    Attributes:
        input_ids: int32 [N, S].
        positions: int32 [N, P], ascending, 0 where unused.
        label_ids: int32 [N, P], the original tokens, 0 where unused.
        weights: float32 [N, P], 1 where used.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    label_ids: np.ndarray
    weights: np.ndarray


def count_targets(lengths: np.ndarray, options: MaskingOptions) -> np.ndarray:
    """Number of targets of sequences of `lengths` tokens: int64 [N]. Halves round to even."""
    wanted = np.rint(lengths * options.masked_lm_prob).astype(np.int64)
    return np.minimum(options.max_predictions, np.maximum(1, wanted))


def draw_masks(
    input_ids: np.ndarray,
    lengths: np.ndarray,
    table: MaskingTable,
    options: MaskingOptions,
    bits: np.random.PCG64,
) -> MaskedBatch:
    """Chooses the targets of each instance and masks them.

    Args:
        input_ids: int32 [N, S], unmasked.
        lengths: int64 [N], tokens of each instance, special ones included.
        table: of the vocabulary.
        options: see MaskingOptions.
        bits: source of all draws; only its raw 64-bit words are used, which NumPy keeps the same
            from version to version.
    """
    n, seq_length = input_ids.shape
    candidates = np.arange(seq_length) < lengths[:, None]
    for special_id in table.special_ids:
        candidates &= input_ids != special_id
    n_targets = count_targets(lengths, options)
    if options.whole_words:
        chosen = _choose_whole_words(input_ids, candidates, n_targets, table, bits)
    else:
        chosen = _choose_tokens(candidates, n_targets, bits)
    positions, weights = _list_positions(chosen, options.max_predictions)
    rows = np.arange(n)[:, None]
    labels = input_ids[rows, positions]
    replaced = _draw_replacements(labels, table, bits)
    masked = input_ids.copy()
    used = weights > 0
    masked[np.broadcast_to(rows, used.shape)[used], positions[used]] = replaced[used]
    return MaskedBatch(
        masked, positions.astype(np.int32), np.where(used, labels, 0).astype(np.int32), weights
    )


def draw_uniform(bits: np.random.PCG64, shape) -> np.ndarray:
    """float64 in [0, 1) from raw words, the same on every NumPy version."""
    return (_draw_words(bits, shape) >> np.uint64(11)) * (1.0 / (1 << 53))


def _draw_words(bits: np.random.PCG64, shape) -> np.ndarray:
    return bits.random_raw(int(np.prod(shape))).reshape(shape)


def _choose_tokens(
    candidates: np.ndarray, n_targets: np.ndarray, bits: np.random.PCG64
) -> np.ndarray:
    """Equally likely subsets of `n_targets` candidates (all, if fewer): bool [N, S]."""
    n, seq_length = candidates.shape
    # A random key per place, the place itself in its lowest bits: partitioning the keys gives the
    # chosen places at once, and no two keys are equal.
    place_bits = np.uint64(max(1, (seq_length - 1).bit_length()))
    places = np.arange(seq_length, dtype=np.uint64)
    keys = (_draw_words(bits, [n, seq_length]) >> place_bits << place_bits) | places
    keys[~candidates] |= np.uint64(1 << 63)
    keys[candidates] &= np.uint64((1 << 63) - 1)
    most = min(int(n_targets.max()), seq_length)
    if most < seq_length:
        keys = np.partition(keys, most - 1, axis=1)[:, :most]
    keys = np.sort(keys, axis=1)
    taken = (np.arange(most) < n_targets[:, None]) & (keys < np.uint64(1 << 63))
    chosen = np.zeros(candidates.shape, bool)
    at = (keys & ((np.uint64(1) << place_bits) - np.uint64(1))).astype(np.int64)
    chosen[np.nonzero(taken)[0], at[taken]] = True
    return chosen


def _choose_whole_words(
    input_ids: np.ndarray,
    candidates: np.ndarray,
    n_targets: np.ndarray,
    table: MaskingTable,
    bits: np.random.PCG64,
) -> np.ndarray:
    """Whole words in random order, leaving out those too long for what is left: bool [N, S]."""
    n, seq_length = candidates.shape
    rows = np.arange(n)
    # A continuation joins the last group, also across a special token between them.
    starts_word = candidates & ~(table.continues_word[input_ids])
    first = np.argmax(candidates, axis=1)
    starts_word[rows, first] = candidates[rows, first]
    word = np.cumsum(starts_word, axis=1) - 1  # [N, S]; of candidates only
    sizes = np.zeros([n, seq_length], np.int64)
    at_rows, at_places = np.nonzero(candidates)
    np.add.at(sizes, (at_rows, word[at_rows, at_places]), 1)
    keys = _draw_words(bits, [n, seq_length]) >> np.uint64(1)
    keys[sizes == 0] = np.uint64((1 << 64) - 1)
    order = np.argsort(keys, axis=1, kind="stable")
    taken = np.zeros([n, seq_length], bool)
    left = n_targets.copy()
    for turn in range(int((sizes > 0).sum(axis=1).max())):
        group = order[:, turn]
        size = sizes[rows, group]
        fits = (size > 0) & (size <= left)
        taken[rows, group] |= fits
        left -= np.where(fits, size, 0)
    return candidates & taken[rows[:, None], np.maximum(word, 0)]


def _list_positions(chosen: np.ndarray, max_predictions: int):
    """Places of the chosen tokens: int64 [N, P], ascending; float32 [N, P] weights."""
    n = chosen.shape[0]
    positions = np.zeros([n, max_predictions], np.int64)
    weights = np.zeros([n, max_predictions], np.float32)
    rows, places = np.nonzero(chosen)
    counts = chosen.sum(axis=1)
    column = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions[rows, column] = places
    weights[rows, column] = 1.0
    return positions, weights


def _draw_replacements(
    labels: np.ndarray, table: MaskingTable, bits: np.random.PCG64
) -> np.ndarray:
    """[MASK], the token itself or a random one, for each label: int32 [N, P]."""
    how = draw_uniform(bits, labels.shape)
    which = (draw_uniform(bits, labels.shape) * len(table.random_ids)).astype(np.int64)
    replaced = np.where(how < MASK_SHARE + KEEP_SHARE, labels, table.random_ids[which])
    return np.where(how < MASK_SHARE, table.mask_id, replaced).astype(np.int32)


def build_masking_table(ids, continuation_prefix: str = "##", size: Optional[int] = None):
    """Builds the table from `Vocabulary.ids` (token → id) of a vocabulary of `size` lines."""
    continues_word = np.zeros([size or max(ids.values()) + 1], bool)
    for token, token_id in ids.items():
        continues_word[token_id] = token.startswith(continuation_prefix)
    return MaskingTable(
        mask_id=ids["[MASK]"],
        special_ids=np.array([ids["[CLS]"], ids["[SEP]"]], np.int32),
        random_ids=np.array(list(ids.values()), np.int32),
        continues_word=continues_word,
    )
