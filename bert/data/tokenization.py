"""BERT's tokenizer: text to words (basic), words to pieces of a vocabulary (WordPiece).

Behaviour is that of the public BERT tokenizer (Devlin et al. 2018); two options give the variants
found in trees derived from it: which control characters are dropped, and how long a word may be.
Results depend on the Unicode version of the running Python for characters newer than Unicode 11.

`Tokenizer` gives for every text exactly what `tokenize_basic` and `split_word` give together. It is
fast because a line that holds only printable characters can be cut at its spaces and around its CJK
characters first, without changing the result, and natural language repeats its words: each
different word is tokenized once and remembered.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import chain
from typing import Dict, List, NamedTuple, Tuple

from bert.data.vocabulary import UNKNOWN, Vocabulary
from bert.errors import UsageError

# Basic Multilingual Plane and supplementary blocks of CJK ideographs. Kana and Hangul are not in
# it: those scripts are treated like any other alphabet.
_CJK_RANGES = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f"
)
_CJK = re.compile(f"([{_CJK_RANGES}])")
_CJK_OR_RUN = re.compile(f"[{_CJK_RANGES}]|[^{_CJK_RANGES} ]+")
_ASCII_WORD = re.compile("[A-Za-z0-9]+|[^A-Za-z0-9 ]")
_REPLACEMENT_CHARACTER = "\ufffd"
# Words remembered at most; natural language has far fewer, random text must not fill the memory.
MAX_REMEMBERED_WORDS = 500_000


class TokenizerOptions(NamedTuple):
    """How text is tokenized.

    Attributes:
        do_lower_case: lower-case and strip accents.
        control_characters: "format" drops the categories Cc and Cf, as the public BERT does;
            "all" drops every category that starts with C (unassigned, private and surrogates too).
        max_word_chars: longer words become [UNK]: 200 in the public BERT, 100 in some trees.
    """

    do_lower_case: bool = True
    control_characters: str = "format"
    max_word_chars: int = 200


def check_tokenizer_options(options: TokenizerOptions) -> None:
    """Raises UsageError if an option has no meaning."""
    if options.control_characters not in ("format", "all"):
        raise UsageError(
            f"control_characters must be format or all, not {options.control_characters}"
        )
    if options.max_word_chars < 1:
        raise UsageError(f"max_word_chars must be at least 1, not {options.max_word_chars}")


def tokenize_basic(text: str, options: TokenizerOptions) -> List[str]:
    """Splits a text into words and punctuation characters.

    Args:
        text: any text.
        options: see TokenizerOptions.

    Returns:
        Non-empty words: cleaned, CJK characters alone, lower-cased if asked, punctuation alone.
    """
    text = _CJK.sub(r" \1 ", clean_text(text, options.control_characters))
    words: List[str] = []
    for word in text.split():
        if options.do_lower_case:
            word = strip_accents(word.lower())
        words.extend(_split_on_punctuation(word))
    # Lower-casing and decomposing may leave nothing of a word, or white space within it.
    return " ".join(words).split()


def clean_text(text: str, control_characters: str) -> str:
    """Drops U+0000, U+FFFD and control characters; makes every white space a space."""
    if text.isprintable():  # neither categories C* nor Z*, but for the space itself
        return text.replace(_REPLACEMENT_CHARACTER, "")
    kept = []
    for char in text:
        if char in " \t\n\r":
            kept.append(" ")
            continue
        category = unicodedata.category(char)
        if category == "Zs":
            kept.append(" ")
        elif char != _REPLACEMENT_CHARACTER and not _is_control(category, control_characters):
            kept.append(char)
    return "".join(kept)


def strip_accents(word: str) -> str:
    """Decomposes (NFD) and drops non-spacing marks (category Mn)."""
    if word.isascii():
        return word
    return "".join(
        char for char in unicodedata.normalize("NFD", word) if unicodedata.category(char) != "Mn"
    )


def is_punctuation(char: str) -> bool:
    """True for category P* and for every ASCII character that is no letter, digit or space."""
    code = ord(char)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return unicodedata.category(char).startswith("P")


def is_cjk(char: str) -> bool:
    """True for an ideograph, which is a word by itself."""
    return _CJK.match(char) is not None


def split_word(word: str, vocabulary: Vocabulary, max_word_chars: int) -> List[str]:
    """Splits one word into pieces of the vocabulary, the longest possible one first.

    Returns:
        Pieces; all but the first carry the prefix ##. [UNK] alone when the word is longer than
        `max_word_chars` or some place of it has no piece.
    """
    if len(word) > max_word_chars:
        return [UNKNOWN]
    ids = vocabulary.ids
    longest = vocabulary.longest_token_chars
    pieces = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(min(len(word), start + longest), start, -1):
            piece = prefix + word[start:end]
            if piece in ids:
                pieces.append(piece)
                start = end
                break
        else:
            return [UNKNOWN]
    return pieces


def cut_text(text: str) -> List[str]:
    """Cuts a text at places where a word ends whatever stands on either side.

    `tokenize_basic` of the parts gives the words of the whole; the parts of natural language are
    few and come again and again.
    """
    if not text.isprintable():
        return text.split(" ")
    return (_ASCII_WORD if text.isascii() else _CJK_OR_RUN).findall(text)


class Tokenizer:
    """Text to ids of a vocabulary; see the module's docstring."""

    def __init__(self, vocabulary: Vocabulary, options: TokenizerOptions) -> None:
        check_tokenizer_options(options)
        self.vocabulary = vocabulary
        self.options = options
        self._remembered = _RememberedWords(self._tokenize_word)

    def tokenize(self, text: str) -> List[str]:
        """Returns the pieces of a text, without remembering anything."""
        pieces: List[str] = []
        for word in tokenize_basic(text, self.options):
            pieces.extend(split_word(word, self.vocabulary, self.options.max_word_chars))
        return pieces

    def encode(self, text: str) -> List[int]:
        """Returns the ids of `tokenize(text)`.

        Raises:
            DataError: the text has an unknown word and the vocabulary has no [UNK].
        """
        if not text.isprintable():
            text = clean_text(text, self.options.control_characters)
            if not text.isprintable():  # separators of lines, unassigned characters
                return self.vocabulary.encode(self.tokenize(text))
        words = cut_text(text)
        if len(self._remembered) > MAX_REMEMBERED_WORDS:
            self._remembered.clear()
        return list(chain.from_iterable(map(self._remembered.__getitem__, words)))

    def _tokenize_word(self, word: str) -> Tuple[int, ...]:
        if not (word.isascii() and word.isalnum()):
            return tuple(self.vocabulary.encode(self.tokenize(word)))
        # Nothing to clean, to split or to strip.
        word = word.lower() if self.options.do_lower_case else word
        pieces = split_word(word, self.vocabulary, self.options.max_word_chars)
        return tuple(self.vocabulary.encode(pieces))


class _RememberedWords(Dict[str, Tuple[int, ...]]):
    """word → ids; a word not seen before is tokenized."""

    def __init__(self, tokenize_word) -> None:
        super().__init__()
        self._tokenize_word = tokenize_word

    def __missing__(self, word: str) -> Tuple[int, ...]:
        self[word] = ids = self._tokenize_word(word)
        return ids


def _is_control(category: str, control_characters: str) -> bool:
    if control_characters == "all":
        return category.startswith("C")
    return category in ("Cc", "Cf")


def _split_on_punctuation(word: str) -> List[str]:
    if word.isalnum():  # no punctuation is alphanumeric
        return [word]
    parts: List[str] = []
    start = 0
    for i, char in enumerate(word):
        if is_punctuation(char):
            parts.extend((word[start:i], char))
            start = i + 1
    parts.append(word[start:])
    return [part for part in parts if part]
