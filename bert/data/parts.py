"""Parts: the records of one block on disk, made once, merged at the end.

A part is three files in the working directory, named for the block and for a fingerprint of all
that its content depends on (text, vocabulary, options, version of the algorithm):

    <name>.records      framed records, ascending by key
    <name>.index.npy    uint64 [2, N]: keys, ends in the records file
    <name>.json         counts; written last, so that it says the other two are whole

An interrupted run leaves parts that the next one finds by their names.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from bert.data.atomic import atomic_file
from bert.data.blocks import InstanceOptions, iterate_block_batches
from bert.data.documents import build_tokenized_documents
from bert.data.examples import FramedRecords, encode_framed_examples
from bert.data.masking import MaskingTable
from bert.data.record_outputs import RecordOutputs
from bert.data.schema import MASKED_LM_WEIGHTS, NEXT_SENTENCE_LABELS

# Records merged at a time: what the merge holds in memory is a small multiple of this.
MERGE_BYTES = 64 << 20
_FINGERPRINT_CHARS = 16


class Part(NamedTuple):
    """One part that is whole.

    Attributes:
        stem: path without suffix.
        counts: documents, sentences, tokens, instances, random_next, masked_tokens.
    """

    stem: str
    counts: Dict[str, int]


def build_part_stem(
    directory: str, block: int, documents: Sequence[Sequence[str]], settings: str
) -> str:
    """Returns the path, without suffix, of the part of a block.

    Args:
        directory: the working directory.
        block: the block's number.
        documents: its text.
        settings: everything else the content depends on, as text.
    """
    digest = hashlib.sha256(settings.encode())
    for document in documents:
        digest.update("\n".join(document).encode("utf-8", "surrogatepass") + b"\n\n")
    return os.path.join(directory, f"block-{block:06d}-{digest.hexdigest()[:_FINGERPRINT_CHARS]}")


def read_part(stem: str) -> Optional[Part]:
    """Returns the part if it is whole, else None."""
    try:
        with open(stem + ".json", encoding="utf-8") as stream:
            return Part(stem, json.load(stream))
    except (OSError, ValueError):
        return None


def write_part(
    stem: str,
    block: int,
    documents: Sequence[Sequence[str]],
    encode: Callable[[str], List[int]],
    table: MaskingTable,
    options: InstanceOptions,
) -> Part:
    """Makes the records of a block and writes its part.

    Raises:
        OSError: the working directory cannot be written.
    """
    tokenized = build_tokenized_documents(documents, encode)
    counts = {
        "documents": tokenized.n_documents,
        "sentences": len(tokenized.sentence_starts) - 1,
        "tokens": len(tokenized.tokens),
        "instances": 0,
        "random_next": 0,
        "masked_tokens": 0,
    }
    keys: List[np.ndarray] = []
    ends: List[np.ndarray] = []
    n_bytes = 0
    with open(stem + ".records", "wb") as stream:
        for batch in iterate_block_batches(tokenized, table, options, block):
            records = encode_framed_examples(batch.features)
            stream.write(records.data)
            keys.append(batch.keys)
            ends.append(records.ends + n_bytes)
            n_bytes += len(records.data)
            count_instances(counts, batch.features)
    index = np.zeros([2, counts["instances"]], np.uint64)
    if keys:
        index[0] = np.concatenate(keys)
        index[1] = np.concatenate(ends)
    np.save(stem + ".index.npy", index)
    with atomic_file(stem + ".json", "w", encoding="utf-8") as marker:
        json.dump(counts, marker)
    return Part(stem, counts)


def count_instances(counts: Dict[str, int], features: Dict[str, np.ndarray]) -> None:
    """Adds a batch to the counts."""
    counts["instances"] += len(features[NEXT_SENTENCE_LABELS])
    counts["random_next"] += int(features[NEXT_SENTENCE_LABELS].sum())
    counts["masked_tokens"] += int(features[MASKED_LM_WEIGHTS].sum())


def merge_parts(
    parts: Sequence[Part], outputs: RecordOutputs, merge_bytes: int = MERGE_BYTES
) -> None:
    """Deals the records of all parts, in the order of their keys.

    The range of keys is gone through in slices; as keys are random, each slice is about
    `merge_bytes` of records, whatever the corpus.

    Args:
        parts: of all blocks.
        outputs: where to.
        merge_bytes: size of a slice.
    """
    indices = [np.load(part.stem + ".index.npy", mmap_mode="r") for part in parts]
    total_bytes = sum(int(index[1, -1]) for index in indices if index.shape[1])
    n_slices = max(1, math.ceil(total_bytes / merge_bytes))
    first = [0] * len(parts)
    for s in range(n_slices):
        stop_key = None if s == n_slices - 1 else ((s + 1) << 64) // n_slices
        keys: List[np.ndarray] = []
        pieces: List[bytes] = []
        for p, (part, index) in enumerate(zip(parts, indices)):
            n = index.shape[1]
            last = n if stop_key is None else int(np.searchsorted(index[0], np.uint64(stop_key)))
            if last > first[p]:
                keys.append(np.array(index[0, first[p] : last]))
                start = int(index[1, first[p] - 1]) if first[p] else 0
                ends = [int(end) - start for end in index[1, first[p] : last]]
                data = _read_range(part.stem + ".records", start, ends[-1])
                pieces.extend(data[a:b] for a, b in zip([0] + ends, ends))
            first[p] = last
        if pieces:
            order = np.argsort(np.concatenate(keys), kind="stable").tolist()
            pieces = [pieces[i] for i in order]
            ends_in_order = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
            outputs.write(FramedRecords(b"".join(pieces), ends_in_order))


def sum_counts(parts: Sequence[Part]) -> Dict[str, int]:
    """Adds up the counts of parts."""
    total: Dict[str, Any] = {}
    for part in parts:
        for name, count in part.counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _read_range(path: str, start: int, n_bytes: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(start)
        return stream.read(n_bytes)
