"""Pieces of a text together with the characters of the original text that they stand for.

Tokenizing changes a text: letters become lower case, accents and control characters go away, and
white space is lost. Here every piece knows its span of the original, so that whatever a model
finds can be given back character by character as it stood there.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Tuple

from bert.data.tokenization import (
    Tokenizer,
    TokenizerOptions,
    clean_text,
    is_cjk,
    is_punctuation,
    split_word,
    strip_accents,
    tokenize_basic,
)
from bert.data.vocabulary import UNKNOWN


class PieceSpan(NamedTuple):
    """A piece of the vocabulary and its characters `text[start_char:end_char]`."""

    token: str
    start_char: int
    end_char: int


def tokenize_with_spans(text: str, tokenizer: Tokenizer) -> List[PieceSpan]:
    """Returns the pieces of `tokenizer.tokenize(text)`, each with its span.

    Spans are in order and never empty. They do not overlap, but for two cases: pieces of one
    character that lower-casing or decomposing made several of have that character both; and where
    it changes a run of letters beyond its single characters, all pieces have the span of the run.
    A combining mark belongs to the letter before it.
    """
    spans: List[PieceSpan] = []
    for start, end in _iterate_runs(text, tokenizer.options):
        spans.extend(_tokenize_run(text, start, end, tokenizer))
    return spans


def find_covering_pieces(spans: List[PieceSpan], start_char: int, end_char: int) -> Tuple[int, int]:
    """Returns the first and the last piece that have characters of text[start_char:end_char].

    The first is beyond the last if no piece has any.
    """
    low, high = 0, len(spans)
    while low < high:  # the first piece that ends behind the start
        middle = (low + high) // 2
        if spans[middle].end_char > start_char:
            high = middle
        else:
            low = middle + 1
    last = low - 1
    while last + 1 < len(spans) and spans[last + 1].start_char < end_char:
        last += 1
    return low, last


def _iterate_runs(text: str, options: TokenizerOptions) -> Iterator[Tuple[int, int]]:
    """Yields spans that together hold all words; no word goes beyond one."""
    start = 0
    for place, char in enumerate(text):
        if char.isascii() and char.isalnum():
            continue
        if _is_space(char, options):
            if start < place:
                yield start, place
            start = place + 1
        elif is_cjk(char) or is_punctuation(char):
            if start < place:
                yield start, place
            yield place, place + 1
            start = place + 1
    if start < len(text):
        yield start, len(text)


def _is_space(char: str, options: TokenizerOptions) -> bool:
    return clean_text(char, options.control_characters).isspace()


def _tokenize_run(text: str, start: int, end: int, tokenizer: Tokenizer) -> Iterator[PieceSpan]:
    options = tokenizer.options
    run = text[start:end]
    words = tokenize_basic(run, options)
    normal, places = _normalize(run, options)
    is_aligned = "".join(words) == normal
    places.append(len(run))
    at = 0
    for word in words:
        pieces = split_word(word, tokenizer.vocabulary, options.max_word_chars)
        for index, piece in enumerate(pieces):
            if not is_aligned:
                yield PieceSpan(piece, start, end)
                continue
            n_chars = len(word) if piece == UNKNOWN else len(piece) - 2 * (index > 0)
            first = places[at]
            at += n_chars
            # Where one character became several, two pieces may have to share it.
            yield PieceSpan(piece, start + first, start + max(places[at], first + 1))


def _normalize(run: str, options: TokenizerOptions) -> Tuple[str, List[int]]:
    """Returns the run as the tokenizer sees it, and for each character its place in the run."""
    parts: List[str] = []
    places: List[int] = []
    for place, char in enumerate(run):
        cleaned = clean_text(char, options.control_characters)
        if options.do_lower_case:
            cleaned = strip_accents(cleaned.lower())
        parts.append(cleaned)
        places.extend([place] * len(cleaned))
    return "".join(parts), places
