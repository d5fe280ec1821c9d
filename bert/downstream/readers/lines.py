"""Lines of a data file with their numbers, as every reader of a line format takes them."""

from __future__ import annotations

import os
from typing import Iterator, Tuple

from bert.data.text_files import TextReader
from bert.errors import DataError

# The longest line of any published data set has some thousand characters; a line beyond this is
# a file that has no line feeds, or is no text.
MAX_LINE_CHARS = 1 << 18
BYTE_ORDER_MARK = "\ufeff"


def iterate_numbered_lines(path: str) -> Iterator[Tuple[int, str]]:
    """Yields the lines of a UTF-8 file, from number 1, without line ends and byte-order mark.

    Only a line feed ends a line, carriage returns are dropped; no other character that Unicode
    takes for a line break ends one.

    Raises:
        DataError: the file is unreadable, not UTF-8, or has a line longer than MAX_LINE_CHARS.
    """
    for number, line in enumerate(TextReader([path]).iterate_lines(), 1):
        if number == 1 and line.startswith(BYTE_ORDER_MARK):
            line = line[1:]
        if len(line) > MAX_LINE_CHARS:
            raise DataError(
                f"{path}:{number}: the line has {len(line)} characters, more than "
                f"{MAX_LINE_CHARS}; one example per line is wanted"
            )
        yield number, line


def get_file_stem(path: str) -> str:
    """Returns the name of a file without its directory and its last ending, for guids."""
    return os.path.splitext(os.path.basename(path))[0]
