"""Learns a WordPiece vocabulary: pieces merged pair by pair, the most frequent pair first.

The merging rule is byte-pair encoding's (Sennrich et al. 2016) on WordPiece's pieces; the result is
used with the greedy longest-match tokenizer. Equal counts are settled by code points, so that
the same text gives the same vocabulary on every machine and every Python.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence, Set, Tuple

from bert.data.atomic import atomic_file
from bert.data.commands import ArgumentParser
from bert.data.record_outputs import check_output_paths
from bert.data.text_files import TextReader, find_text_files
from bert.data.tokenization import (
    TokenizerOptions,
    check_tokenizer_options,
    cut_text,
    tokenize_basic,
)
from bert.data.vocabulary import SPECIAL_TOKENS
from bert.errors import DataError, UsageError

Pair = Tuple[str, str]
# Different words counted at most; beyond it the rarest are forgotten, as rare words do not make
# pieces and random strings must not fill the memory.
MAX_COUNTED_WORDS = 2_000_000


class VocabularyOptions(NamedTuple):
    """What to learn.

    Attributes:
        size: tokens wanted, special ones included; fewer come out when no pair is left.
        min_frequency: a pair seen less often is not merged.
        max_alphabet: different characters kept, the most frequent ones.
        special_tokens: first tokens of the vocabulary.
    """

    size: int = 30522
    min_frequency: int = 2
    max_alphabet: int = 8000
    special_tokens: Tuple[str, ...] = SPECIAL_TOKENS


def count_words(lines: Iterable[str], options: TokenizerOptions) -> Dict[str, int]:
    """Counts the words of a text, as the basic tokenizer splits it."""
    raw: Counter[str] = Counter()
    for line in lines:
        raw.update(cut_text(line))
        if len(raw) > MAX_COUNTED_WORDS:
            raw = Counter(dict(raw.most_common(MAX_COUNTED_WORDS // 2)))
    words: Dict[str, int] = defaultdict(int)
    for text, count in raw.items():
        for word in tokenize_basic(text, options):
            if len(word) <= options.max_word_chars:
                words[word] += count
    return dict(words)


def learn_pieces(word_counts: Mapping[str, int], options: VocabularyOptions) -> List[str]:
    """Learns the tokens of a vocabulary, in the order of their ids.

    Args:
        word_counts: word → number of occurrences.
        options: see VocabularyOptions.

    Returns:
        Special tokens, characters (word-initial, then continuing), merged pieces in the order of
        their merging.

    Raises:
        UsageError: the size leaves no room for the characters.
    """
    alphabet = _choose_alphabet(word_counts, options.max_alphabet)
    words = sorted(word for word in word_counts if set(word) <= alphabet)
    splits = [[word[0]] + ["##" + char for char in word[1:]] for word in words]
    counts = [word_counts[word] for word in words]
    initial = {piece for split in splits for piece in split}
    pieces = sorted(initial, key=lambda piece: (piece.startswith("##"), piece))
    tokens = list(options.special_tokens) + pieces
    if len(tokens) > options.size:
        raise UsageError(
            f"vocab_size {options.size} is too small: the text has {len(pieces)} different "
            f"characters in their two roles; ask for more than {len(tokens)} or lower max_alphabet"
        )
    known = set(tokens)
    for piece in _merge_pairs(splits, counts, options.min_frequency):
        if len(tokens) >= options.size:
            break
        if piece not in known:  # two pairs may spell the same piece
            known.add(piece)
            tokens.append(piece)
    return tokens


def _choose_alphabet(word_counts: Mapping[str, int], at_most: int) -> Set[str]:
    frequency: Dict[str, int] = defaultdict(int)
    for word, count in word_counts.items():
        for char in word:
            frequency[char] += count
    return set(sorted(frequency, key=lambda char: (-frequency[char], char))[:at_most])


def _merge_pairs(splits: List[List[str]], counts: List[int], min_frequency: int) -> Iterable[str]:
    """Yields merged pieces; `splits` is changed as it goes."""
    frequency: Dict[Pair, int] = defaultdict(int)
    where: Dict[Pair, Set[int]] = defaultdict(set)
    for i, split in enumerate(splits):
        for pair in zip(split, split[1:]):
            frequency[pair] += counts[i]
            where[pair].add(i)
    heap = [(-count, pair) for pair, count in frequency.items()]
    heapq.heapify(heap)
    while heap:
        negative, pair = heapq.heappop(heap)
        count = frequency.get(pair, 0)
        if count != -negative:
            # An entry of the past: counts only fall between the pushes of a pair.
            if count >= min_frequency and -negative > count:
                heapq.heappush(heap, (-count, pair))
            continue
        if count < min_frequency:
            return
        merged = pair[0] + pair[1][2:]
        yield merged
        changed: Set[Pair] = set()
        for i in where.pop(pair):
            for old in zip(splits[i], splits[i][1:]):
                frequency[old] -= counts[i]
                where[old].discard(i)
            splits[i] = _merge(splits[i], pair, merged)
            for new in zip(splits[i], splits[i][1:]):
                frequency[new] += counts[i]
                where[new].add(i)
                changed.add(new)
        frequency.pop(pair, None)
        for new in changed:
            if frequency[new] >= min_frequency:
                heapq.heappush(heap, (-frequency[new], new))


def _merge(split: List[str], pair: Pair, merged: str) -> List[str]:
    result = []
    at = 0
    while at < len(split):
        if at + 1 < len(split) and (split[at], split[at + 1]) == pair:
            result.append(merged)
            at += 2
        else:
            result.append(split[at])
            at += 1
    return result


def write_vocabulary(path: str, tokens: Sequence[str]) -> None:
    """Writes a vocabulary file, one token per line.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_file(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(tokens) + "\n")


def run_vocabulary_command(arguments: List[str]) -> str:
    """Does what `python -m bert.data.vocabulary` does; returns what there is to say."""
    flags = _build_parser().parse_args(arguments)
    inputs = find_text_files([p.strip() for p in flags.input_file.split(",") if p.strip()])
    check_output_paths([flags.output_file], inputs)
    tokenizer = TokenizerOptions(flags.do_lower_case, flags.control_characters)
    check_tokenizer_options(tokenizer)
    counts = count_words(TextReader(inputs).iterate_lines(), tokenizer)
    if not counts:
        raise DataError(f"{flags.input_file}: no words to learn a vocabulary from")
    options = VocabularyOptions(
        size=flags.vocab_size,
        min_frequency=flags.min_frequency,
        max_alphabet=flags.max_alphabet,
        special_tokens=(*SPECIAL_TOKENS, *(f"[unused{i}]" for i in range(flags.num_unused))),
    )
    tokens = learn_pieces(counts, options)
    write_vocabulary(flags.output_file, tokens)
    return f"{len(tokens)} tokens learned from {len(counts)} different words: {flags.output_file}"


def _build_parser() -> ArgumentParser:
    defaults, tokenizer = VocabularyOptions(), TokenizerOptions()
    parser = ArgumentParser(
        prog="python -m bert.data.vocabulary",
        description="Learns a WordPiece vocabulary; the same text gives the same vocabulary.",
    )
    add = parser.add_argument
    add("--input_file", required=True, help="text files, glob patterns, directories; by comma")
    add("--output_file", required=True, help="vocabulary to write")
    add("--vocab_size", type=int, default=defaults.size, help="tokens, at most")
    add("--min_frequency", type=int, default=defaults.min_frequency, help="of a pair to merge")
    add("--max_alphabet", type=int, default=defaults.max_alphabet, help="characters, at most")
    add("--num_unused", type=int, default=0, help="[unusedN] tokens to leave room with")
    add(
        "--control_characters",
        default=tokenizer.control_characters,
        help="dropped: format (Cc, Cf; as the public BERT) or all (every C*)",
    )
    parser.add_boolean("do_lower_case", tokenizer.do_lower_case, "lower-case, strip accents")
    return parser
