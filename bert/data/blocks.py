"""One block of documents to instances: the unit of work, of seeding and of random segments.

Every number drawn for a block comes from generators seeded by (random seed, block, duplicate), so a
block gives the same instances whoever makes it, and whenever.

Instances leave a block in the order of a random 64-bit key of theirs. Merging the blocks of a
corpus by key gives a uniformly random order of all instances without holding them in memory.
"""

from __future__ import annotations

import hashlib
from random import Random
from typing import Dict, Iterator, List, NamedTuple

import numpy as np

from bert.data.documents import TokenizedDocuments
from bert.data.instances import build_features, build_inputs
from bert.data.masking import MaskingOptions, MaskingTable, draw_masks
from bert.data.segments import N_SPECIAL_TOKENS, SegmentPairs, draw_segment_pairs
from bert.errors import UsageError

# Part of the algorithm: another number gives other (equally good) records.
BATCH_INSTANCES = 2048


class InstanceOptions(NamedTuple):
    """What instances are like; the defaults are those of the seed's create_pretraining_data.

    Attributes:
        seq_length: S.
        max_predictions: P.
        masked_lm_prob: share of tokens to predict.
        short_seq_prob: share of document passes with a shorter target.
        dupe_factor: passes over each document, each with other masks.
        whole_words: mask the pieces of a word together.
        random_seed: of everything drawn.
    """

    seq_length: int = 128
    max_predictions: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    whole_words: bool = False
    random_seed: int = 12345


class KeyedBatch(NamedTuple):
    """Consecutive instances of a block.

    Attributes:
        keys: uint64 [N], ascending.
        features: name → [N, M], see `schema`.
    """

    keys: np.ndarray
    features: Dict[str, np.ndarray]


def check_instance_options(options: InstanceOptions) -> None:
    """Raises UsageError if no instances can be made so."""
    if options.seq_length < N_SPECIAL_TOKENS + 2:
        raise UsageError(
            f"max_seq_length {options.seq_length} is too small: [CLS] A [SEP] B [SEP] needs "
            f"{N_SPECIAL_TOKENS} special tokens and at least one each of A and B; give 5 or more"
        )
    if options.max_predictions < 1:
        raise UsageError(f"max_predictions_per_seq must be at least 1: {options.max_predictions}")
    if not 0 < options.masked_lm_prob <= 1:
        raise UsageError(f"masked_lm_prob must be above 0, at most 1: {options.masked_lm_prob}")
    if not 0 <= options.short_seq_prob <= 1:
        raise UsageError(f"short_seq_prob must be within 0 and 1: {options.short_seq_prob}")
    if options.dupe_factor < 1:
        raise UsageError(f"dupe_factor must be at least 1: {options.dupe_factor}")


def derive_seed(*parts: object) -> int:
    """Returns a 128-bit seed that depends on every part and on their order."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def iterate_block_batches(
    documents: TokenizedDocuments, table: MaskingTable, options: InstanceOptions, block: int
) -> Iterator[KeyedBatch]:
    """Makes the instances of one block.

    Args:
        documents: of the block, also the pool of its random segments.
        table: of the vocabulary.
        options: see InstanceOptions.
        block: the block's number.

    Yields:
        Batches of up to BATCH_INSTANCES; keys ascend from batch to batch.
    """
    if documents.n_documents == 0:
        return
    pairs = draw_block_pairs(documents, options, block)
    seed = options.random_seed
    bits = np.random.PCG64(np.random.SeedSequence(derive_seed(seed, block, "masks")))
    keys = bits.random_raw(len(pairs.a_starts)).astype(np.uint64)
    order = np.argsort(keys, kind="stable")
    masking = MaskingOptions(options.max_predictions, options.masked_lm_prob, options.whole_words)
    classify_id, separate_id = table.special_ids.tolist()
    for start in range(0, len(order), BATCH_INSTANCES):
        chosen = order[start : start + BATCH_INSTANCES]
        batch = SegmentPairs(*(column[chosen] for column in pairs))
        inputs = build_inputs(documents.tokens, batch, options.seq_length, classify_id, separate_id)
        masked = draw_masks(inputs.input_ids, inputs.lengths, table, masking, bits)
        features = build_features(inputs, masked, batch.random_next)
        yield KeyedBatch(keys[chosen], features)


def draw_block_pairs(
    documents: TokenizedDocuments, options: InstanceOptions, block: int
) -> SegmentPairs:
    """Returns the segment pairs of all duplicates of a block, duplicate after duplicate."""
    passes: List[SegmentPairs] = []
    for duplicate in range(options.dupe_factor):
        rng = Random(derive_seed(options.random_seed, block, duplicate))
        passes.append(
            draw_segment_pairs(documents, options.seq_length, options.short_seq_prob, rng)
        )
    return SegmentPairs(*(np.concatenate(columns) for columns in zip(*passes)))
