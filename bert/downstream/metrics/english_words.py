"""English words by the conventions of the Penn Treebank, as the scorer of CMRC 2018 cuts them.

That script calls `nltk.word_tokenize` for what is not Chinese: text is cut into sentences, and then
by the rules of R. MacIntyre's Treebank tokenizer with NLTK's additions. The rules here are written
for what can reach them, lower-case text without the punctuation that the scorer has removed, and
the tests compare them with NLTK's own. Sentences are what differs: NLTK finds their ends by a model
trained on a corpus, here a short list of abbreviations does; it only matters for a full stop after
a word and before a space within a run of text without Chinese characters.
"""

from __future__ import annotations

import re
from typing import List, Pattern, Tuple

# Words that keep their full stop within a sentence; so do single letters and words like "u.s.".
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st rev gen col capt lt sgt gov sen rep inc corp co ltd jr sr vs dept univ "
    "jan feb mar apr aug sept oct nov dec".split()
)
_WORD_WITH_STOP = re.compile(r"(\S+?)\.(?=\s)")

_CLOSERS = r"\]\)}>\"'»"
_RULES: Tuple[Tuple[Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Quotes that open.
        (r"([«‘„])", r" \1 "),
        (r'^"', " `` "),
        (r"([ (\[{<])(?:\"|'')", r"\1 `` "),
        (r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        # The full stop that ends the text, and closing marks behind it.
        (rf"([^.])\.([{_CLOSERS} ]*)\s*$", r"\1 . \2 "),
        # A comma, but not that of 1,000.
        (r",(\D)", r" , \1"),
        (r",$", " , "),
        # Marks that always stand alone.
        (r"(\.{2,}|[;@#$%&\u2012-\u2015?!])", r" \1 "),
        (r"([^'])' ", r"\1 ' "),
        (r"([\]\[(){}<>])", r" \1 "),
        (r"\A|\Z", " "),
        # Quotes that close.
        (r"»", " » "),
        (r"''|\"", " '' "),
        (r"\s+", " "),
        # Clitics, and words that are two.
        (r"([^' ])('[smd]?) ", r"\1 \2 "),
        (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
        (r"\b(can)(not)\b", r" \1 \2 "),
        (r"\b(d)('ye)\b", r" \1 \2 "),
        (r"\b(gim|lem)(me)\b", r" \1 \2 "),
        (r"\b(gon)(na)\b", r" \1 \2 "),
        (r"\b(got)(ta)\b", r" \1 \2 "),
        (r"\b(more)('n)\b", r" \1 \2 "),
        (r"\b(wan)(na)(?=\s)", r" \1 \2 "),
        (r" ('t)(is|was)\b", r" \1 \2 "),
    )
)


def split_english_words(text: str) -> List[str]:
    """Cuts lower-case text without Chinese characters into words and marks."""
    return [word for sentence in split_sentences(text) for word in split_sentence_words(sentence)]


def split_sentences(text: str) -> List[str]:
    """Cuts text behind every full stop that ends a word, except those of abbreviations."""
    sentences: List[str] = []
    start = 0
    for match in _WORD_WITH_STOP.finditer(text):
        word = match.group(1).lstrip("([{<\"'‘«„")
        if len(word) > 1 and "." not in word and word not in _ABBREVIATIONS:
            sentences.append(text[start : match.end()])
            start = match.end()
    return [*sentences, text[start:]]


def split_sentence_words(sentence: str) -> List[str]:
    """Cuts one sentence into words and marks."""
    for pattern, replacement in _RULES:
        sentence = pattern.sub(replacement, sentence)
    return sentence.split()
