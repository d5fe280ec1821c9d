"""Walks along many lines at once: literals, numbers and names, dropping lines that do not fit."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Union

import numpy as np

from bench.logs.words import (
    MAX_EXPONENT,
    NO_DOT,
    Block,
    build_float_powers,
    find_non_digits,
    parse_digits,
)

# Characters of an exponent like e-05.
EXPONENT_CHARS = 4
# Different names that are looked for in a block; lines with more are read one by one.
MAX_NAMES = 64


class Cursor:
    """A place in each of some lines of a block, and what was read before it.

    Every method returns a cursor over the lines that fit; the one it is called on stays as it is.

    Attributes:
        block: the bytes.
        columns: arrays of one length. ``line`` is the number of the line in the block, ``place``
            where to read on, ``end`` the end of the line; the others are what was read.
    """

    def __init__(self, block: Block, columns: Dict[str, np.ndarray]) -> None:
        self.block = block
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["line"])

    def select(self, good: np.ndarray) -> Cursor:
        """Keeps some of the lines."""
        if good.all():
            return self
        chosen = np.flatnonzero(good)
        return Cursor(self.block, {name: part[chosen] for name, part in self.columns.items()})

    def extend(self, **columns: object) -> Cursor:
        """Sets columns; a single value is set for all lines."""
        full = {
            name: value if isinstance(value, np.ndarray) else np.full(len(self), value)
            for name, value in columns.items()
        }
        return Cursor(self.block, {**self.columns, **full})

    def has(self, literal: bytes) -> np.ndarray:
        """Whether the literal comes next."""
        return self.block.has_literal(self.columns["place"], literal)

    def skip(self, literal: bytes) -> Cursor:
        """Steps over a literal."""
        return self.select(self.has(literal)).advance(len(literal))

    def advance(self, count: Union[int, np.ndarray]) -> Cursor:
        """Steps over so many bytes."""
        return self.extend(place=self.columns["place"] + count)

    def mark(self, name: str) -> Cursor:
        """Keeps the present place in a column."""
        return self.extend(**{name: self.columns["place"]})

    def read_decimal(self, name: str, decimals: Optional[int] = None) -> Cursor:
        """Reads a number of at most 15 characters before an exponent, if it has one.

        Args:
            name: column for the values, float64.
            decimals: so many digits stand behind the dot, and no exponent.
        """
        numbers = self.block.read_numbers(self.columns["place"])
        good = numbers.good
        length = numbers.length.astype(np.int64)
        counter, tens = numbers.compute_fractions()
        if decimals is not None:
            good = good & (numbers.dot == length - 1 - decimals)
        else:
            places = self.columns["place"] + length
            small = np.flatnonzero(good & (self.block.bytes[places] == ord("e")))
            if len(small):
                exponents = self.block.read_small_exponents(places[small])
                tens[small] += exponents
                length[small] += EXPONENT_CHARS
                good = good & (tens <= MAX_EXPONENT)
                tens = np.minimum(tens, MAX_EXPONENT)
        values = counter / build_float_powers()[tens]
        return self.extend(**{name: values}).advance(length).select(good)

    def read_integer(self, name: str, max_digits: int = 15) -> Cursor:
        """Reads an integer."""
        numbers = self.block.read_numbers(self.columns["place"])
        good = numbers.good & (numbers.dot == NO_DOT) & (numbers.length <= max_digits)
        values = numbers.compute_integers()
        return self.extend(**{name: values}).advance(numbers.length.astype(np.int64)).select(good)

    def read_scientific(self, name: str) -> Cursor:
        """Reads a number of the form ``1.2345e-05``."""
        places = self.columns["place"]
        words, tail = self.block.words(places), self.block.words(places, 8)
        sign = words >> 56
        digits = ((words & 0xFF) << 24 | (words & 0x0000FFFFFFFF0000) << 16) ^ 0x3030303030000000
        power = (tail << 48) ^ 0x3030000000000000
        exponents = parse_digits(power).astype(np.int64)
        exponents = np.where(sign == ord("-"), -exponents, exponents) - 4
        good = (words & 0x00FF00000000FF00 == 0x0065000000002E00) & (
            (find_non_digits(digits) | find_non_digits(power)) == 0
        )
        good &= ((sign == ord("-")) | (sign == ord("+"))) & (np.abs(exponents) <= MAX_EXPONENT)
        scale = build_float_powers()[np.minimum(np.abs(exponents), MAX_EXPONENT)]
        value = parse_digits(digits).astype(np.float64)
        values = np.where(exponents < 0, value / scale, value * scale)
        return self.extend(**{name: values}).advance(10).select(good)

    def skip_spaces(self, least: int, most: int) -> Cursor:
        """Steps over spaces."""
        spaces = self.block.count_spaces(self.columns["place"])
        return self.advance(spaces).select((spaces >= least) & (spaces <= most))

    def read_name(self, name: str, stop: bytes, encode: Callable[[str], int]) -> Cursor:
        """Reads a name of at most 15 visible ASCII characters up to ``stop``, as a number."""
        places = self.columns["place"]
        length = self.block.measure_names(places, stop[0])
        rows = self.select((length > 0) & (length < 16))
        length = length[(length > 0) & (length < 16)]
        codes = np.full(len(rows), -1, dtype=np.int64)
        left = np.arange(len(rows))
        for _ in range(MAX_NAMES):
            if not len(left):
                break
            begin, size = int(rows.columns["place"][left[0]]), int(length[left[0]])
            text = self.block.data[begin : begin + size]
            same = self.block.has_literal(rows.columns["place"][left], text + stop)
            codes[left[same]] = encode(text.decode("ascii"))
            left = left[~same]
        return rows.extend(**{name: codes}).advance(length).select(codes >= 0)

    def finish(self) -> Cursor:
        """Keeps the lines that end here."""
        return self.select(self.columns["place"] == self.columns["end"])
