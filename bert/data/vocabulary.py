"""WordPiece vocabularies: reading, writing, learning one from a corpus.

python -m bert.data.vocabulary --input_file TEXT --output_file vocab.txt --vocab_size 30522
"""

from __future__ import annotations

import sys
from typing import Dict, Iterable, List, NamedTuple, Sequence

from bert.errors import DataError

PADDING, UNKNOWN, CLASSIFY, SEPARATE, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PADDING, UNKNOWN, CLASSIFY, SEPARATE, MASK)


class Vocabulary(NamedTuple):
    """Tokens and their ids.

    Attributes:
        ids: token → id, in order of first appearance in the file. A token that stands on several
            lines keeps its first place in the order but has its last line as id, as in the public
            BERT.
        size: number of lines, the smallest `vocab_size` a model can have.
        longest_token_chars: of the longest token.
        path: where it was read from, for messages.
    """

    ids: Dict[str, int]
    size: int
    longest_token_chars: int
    path: str

    def encode(self, tokens: Iterable[str]) -> List[int]:
        """Returns the ids of tokens.

        Raises:
            DataError: a token is not in the vocabulary (in practice [UNK], that of unknown words).
        """
        try:
            return [self.ids[token] for token in tokens]
        except KeyError as error:
            raise DataError(
                f"the vocabulary {self.path} has no {error.args[0]}; add it, or use another one"
            ) from None


def build_vocabulary(tokens: Sequence[str], path: str = "(built)") -> Vocabulary:
    """Builds a vocabulary from tokens in the order of their ids."""
    ids: Dict[str, int] = {}
    for token_id, token in enumerate(tokens):
        ids[token] = token_id
    return Vocabulary(ids, len(tokens), max(map(len, tokens), default=0), path)


def read_vocabulary(path: str) -> Vocabulary:
    """Reads a vocabulary: one token per line, UTF-8, its id being the line's index.

    Raises:
        DataError: the file is unreadable, not UTF-8, or empty.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as stream:
            lines = stream.read().split("\n")
    except OSError as error:
        raise DataError(f"cannot read vocabulary {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"vocabulary {path} is not UTF-8 at byte {error.start}") from error
    if lines[-1] == "":
        lines.pop()
    if not any(lines):
        raise DataError(f"vocabulary {path} is empty; one token per line is wanted")
    return build_vocabulary([line.strip() for line in lines], path)


def check_special_tokens(vocabulary: Vocabulary, needed: Sequence[str] = SPECIAL_TOKENS) -> None:
    """Raises DataError unless the vocabulary holds the tokens that pre-training data need."""
    missing = [token for token in needed if token not in vocabulary.ids]
    if missing:
        raise DataError(
            f"the vocabulary {vocabulary.path} has no {' '.join(missing)}; add a line for each, "
            "or make one with python -m bert.data.vocabulary"
        )


def main(arguments: List[str]) -> int:
    """Learns a vocabulary from text files and writes it."""
    # Learning needs the tokenizer, which needs this module's Vocabulary.
    from bert.data.learn_vocabulary import run_vocabulary_command

    print(run_vocabulary_command(arguments))
    return 0


if __name__ == "__main__":
    from bert.data.commands import run_command

    sys.exit(run_command(main))
