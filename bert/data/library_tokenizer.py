"""The Hugging Face `tokenizers` library as a tokenizer, where it is proven equal to ours.

The library follows the Unicode version that it was built with, not that of the running Python, and
lacks a part of one CJK block; on such characters it differs from the public BERT. So it gets only
lines made of the characters below, for each of which equality is tested
(tests/unit/data/test_library_tokenizer.py); every other line goes to `Tokenizer`.

It is not the default: on English text `Tokenizer`, which remembers words, is the faster of the two
(tests/perf/data_preparation measures both). It pays on texts whose words hardly repeat.
"""

from __future__ import annotations

import re
from typing import Any, Callable, List, Pattern

from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import UNKNOWN, Vocabulary, check_special_tokens
from bert.errors import UsageError

# First and last of each range: ASCII; Latin; Greek and Cyrillic but for the capital sigma, whose
# small letter depends on its place; Vietnamese; punctuation; currency; Chinese punctuation, kana,
# ideographs; Hangul; full-width forms.
PROVEN_RANGES = (
    (0x20, 0x7E),
    (0xA1, 0xAC),
    (0xAE, 0x24F),
    (0x370, 0x3A2),
    (0x3A4, 0x482),
    (0x48A, 0x52F),
    (0x1E00, 0x1EFF),
    (0x2010, 0x2027),
    (0x2030, 0x205E),
    (0x20A0, 0x20BF),
    (0x3001, 0x3029),
    (0x3030, 0x303F),
    (0x3041, 0x3096),
    (0x309B, 0x30FF),
    (0x3400, 0x4DB5),
    (0x4E00, 0x9FEF),
    (0xAC00, 0xD7A3),
    (0xFF01, 0xFFEF),
)


class LibraryTokenizer:
    """Text to ids, as `Tokenizer` gives them.

    Attributes:
        n_lines_by_library: lines that the library tokenized.
        n_lines_by_us: lines with a character outside of the proven ranges.

    Raises:
        UsageError: the library is not installed.
        DataError: the vocabulary has no [UNK], which the library demands.
    """

    def __init__(self, vocabulary: Vocabulary, options: TokenizerOptions) -> None:
        check_special_tokens(vocabulary, (UNKNOWN,))
        self._ours = Tokenizer(vocabulary, options)
        self._library = _build_library_tokenizer(vocabulary, options)
        self._unproven = _compile_unproven()
        self.n_lines_by_library = 0
        self.n_lines_by_us = 0

    def encode(self, text: str) -> List[int]:
        """Returns the ids of a text."""
        # Unassigned characters lie within the ranges too; they are not printable.
        if text.isprintable() and self._unproven.search(text) is None:
            self.n_lines_by_library += 1
            return self._library.encode(text, add_special_tokens=False).ids
        self.n_lines_by_us += 1
        return self._ours.encode(text)


def build_encoder(
    vocabulary: Vocabulary, options: TokenizerOptions, use_library: bool
) -> Callable[[str], List[int]]:
    """Returns the function from text to ids, by the library where that is asked for and equal."""
    chosen = LibraryTokenizer if use_library else Tokenizer
    return chosen(vocabulary, options).encode


def _compile_unproven() -> Pattern[str]:
    ranges = "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in PROVEN_RANGES)
    return re.compile(f"[^{ranges}]")


def _build_library_tokenizer(vocabulary: Vocabulary, options: TokenizerOptions) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UsageError(
            "--tokenizer=library needs the package tokenizers; install it, or leave the flag out"
        ) from None
    model = tokenizers.models.WordPiece(
        dict(vocabulary.ids),
        unk_token=UNKNOWN,
        max_input_chars_per_word=options.max_word_chars,
    )
    library = tokenizers.Tokenizer(model)
    library.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, lowercase=options.do_lower_case
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return library
