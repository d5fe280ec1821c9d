"""Sentences with a label per token to sequences for a model, and the model's labels back to them.

A sentence that is too long for one sequence becomes several, cut behind a punctuation mark where
there is one, so that every token is trained on, predicted and scored.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from bert.data.tokenization import Tokenizer, is_punctuation
from bert.data.vocabulary import UNKNOWN
from bert.downstream.examples import TokenLabelExample
from bert.downstream.labels import LabelMap
from bert.downstream.sequences import build_sequence

LABEL_IDS, LABEL_MASK = "label_ids", "label_mask"


class Chunk(NamedTuple):
    """A part of a sentence that fits into one sequence.

    Attributes:
        example_index: which sentence, counted from 0.
        first_token: its first token in the sentence.
        pieces: ids of the pieces of each token, at least one per token.
    """

    example_index: int
    first_token: int
    pieces: List[List[int]]


def get_feature_lengths(max_seq_length: int) -> Dict[str, int]:
    """Returns feature name → values per record, S each; see `build_row`."""
    names = ("input_ids", "input_mask", "segment_ids", LABEL_IDS, LABEL_MASK)
    return dict.fromkeys(names, max_seq_length)


def iterate_chunks(
    examples: Iterable[TokenLabelExample], tokenizer: Tokenizer, max_seq_length: int
) -> Iterator[Chunk]:
    """Yields all tokens of all sentences in order, in parts that fit.

    A token without any piece, such as a space, stands as [UNK], so that it gets a label too.
    """
    n_room = max_seq_length - 2
    unknown = tokenizer.vocabulary.encode([UNKNOWN])
    for index, example in enumerate(examples):
        pieces = [(tokenizer.encode(token) or unknown)[:n_room] for token in example.tokens]
        start = 0
        while start < len(pieces):
            end = _find_end(example.tokens, pieces, start, n_room)
            yield Chunk(index, start, pieces[start:end])
            start = end


def _find_end(tokens: Sequence[str], pieces: List[List[int]], start: int, n_room: int) -> int:
    """Returns the end of the part that starts at a token."""
    end, n_used = start, 0
    while end < len(pieces) and n_used + len(pieces[end]) <= n_room:
        n_used += len(pieces[end])
        end += 1
    if end == len(pieces):
        return end
    for cut in range(end, start + (end - start) // 2, -1):
        if all(map(is_punctuation, tokens[cut - 1])):
            return cut
    return end


def build_row(
    chunk: Chunk,
    labels: Optional[Sequence[str]],
    label_map: LabelMap,
    source: str,
    tokenizer: Tokenizer,
    max_seq_length: int,
) -> Dict[str, List[int]]:
    """Returns the features of a part.

    Beside the sequence there are `label_mask`, 1 at the first piece of each token, and
    `label_ids`, the token's label there; all other pieces have no part in loss and result.

    Args:
        chunk: the part.
        labels: of the whole sentence; None if it has none.
        label_map: label → id.
        source: of the sentence, for a message.
        tokenizer: for [CLS] and [SEP].
        max_seq_length: S.

    Raises:
        DataError: a label is not in the map.
    """
    row = build_sequence(
        [piece for pieces in chunk.pieces for piece in pieces], None, tokenizer, max_seq_length
    )
    ids, mask = [0], [0]
    for place, pieces in enumerate(chunk.pieces, chunk.first_token):
        label = 0 if labels is None else label_map.get_id(labels[place], source)
        ids += [label] + [0] * (len(pieces) - 1)
        mask += [1] + [0] * (len(pieces) - 1)
    return {**row, LABEL_IDS: ids, LABEL_MASK: mask}


def join_labels(
    chunks: Sequence[Chunk], predicted_ids: np.ndarray, n_tokens: Sequence[int], labels: LabelMap
) -> List[List[str]]:
    """Returns the predicted label of every token of every sentence.

    Args:
        chunks: of all sentences.
        predicted_ids: [number of chunks, S], the label id at every position.
        n_tokens: length of each sentence.
        labels: id → label.
    """
    result: List[List[str]] = [[] for _ in n_tokens]
    for chunk, row in zip(chunks, predicted_ids):
        at = 1  # behind [CLS]
        for pieces in chunk.pieces:
            result[chunk.example_index].append(labels.labels[int(row[at])])
            at += len(pieces)
    assert [len(sentence) for sentence in result] == list(n_tokens)
    return result
