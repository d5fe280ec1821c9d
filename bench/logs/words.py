"""Reads text at many places of a block at once, eight bytes to a machine word.

A log is read fast by doing each small thing to all lines of a block in one array operation. A word
holds eight characters, the first in its lowest byte. Tests on all eight at once use that adding a
constant to a byte below 0x80 carries into its highest bit exactly when the sum reaches 0x80.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, NamedTuple, Tuple

import numpy as np

LOW = 0x7F7F7F7F7F7F7F7F
HIGH = 0x8080808080808080
ZEROS = 0x3030303030303030
# Room behind a block, so that no look ahead leaves it.
PAD_BYTES = 1024
MAX_CHARS = 15
NO_DOT, MANY_DOTS = 16, 255
# Powers of ten up to this one are exact as floats, so one rounding gives the nearest float.
MAX_EXPONENT = 22


class Numbers(NamedTuple):
    """Decimal numbers that start at given places.

    Attributes:
        good: whether it is a number of at most 15 characters: digits and at most one dot, not the
            first character.
        length: its characters.
        dot: position of the dot, ``NO_DOT`` without one.
        digits: all 16 characters as a number, the dot and what follows the number being 0.
    """

    good: np.ndarray
    length: np.ndarray
    dot: np.ndarray
    digits: np.ndarray

    def compute_fractions(self) -> Tuple[np.ndarray, np.ndarray]:
        """The numbers as quotients: an integer below 2**53 and the power of ten to divide it by."""
        # Without the dot's place the digits before it weigh a tenth.
        units, tens = build_units()
        unit = units[self.dot]
        whole = self.digits // (unit * 10)
        counter = self.digits - whole * unit * 9
        bare = np.flatnonzero(self.dot == NO_DOT)
        if len(bare):
            counter[bare] = self.digits[bare] // build_scales()[self.length[bare]]
        return counter, tens[self.dot]

    def compute_values(self) -> np.ndarray:
        """The nearest float64, as ``float`` gives it: one rounding of an exact quotient."""
        counter, tens = self.compute_fractions()
        return counter / build_float_powers()[tens]

    def compute_integers(self) -> np.ndarray:
        """The numbers without a dot, int64 [N]."""
        return self.digits // build_scales()[self.length]


class Block:
    """Bytes with room behind them, as an array of words at each byte.

    Args:
        data: bytes; at least ``PAD_BYTES`` at their end belong to no line.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, dtype=np.uint8)
        self._views: Dict[int, np.ndarray] = {}

    def words(self, places: np.ndarray, offset: int = 0) -> np.ndarray:
        """The eight bytes from each place on, uint64 [N]; ``offset`` is added to all places."""
        view = self._views.get(offset)
        if view is None:
            view = self._views[offset] = np.ndarray(
                shape=(len(self.data) - offset - 7,),
                dtype="<u8",
                buffer=self.data,
                offset=offset,
                strides=(1,),
            )
        return view[places]

    def has_literal(self, places: np.ndarray, literal: bytes) -> np.ndarray:
        """Whether the literal stands at each place, bool [N]."""
        good = np.ones(len(places), dtype=bool)
        for offset in range(0, len(literal), 8):
            part = literal[offset : offset + 8]
            words = self.words(places, offset)
            if len(part) < 8:
                words = words & ((1 << 8 * len(part)) - 1)
            good &= words == int.from_bytes(part, "little")
        return good

    def same_texts(self, one: np.ndarray, other: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Whether the texts of the given lengths at two places are the same, bool [N]."""
        same = np.ones(len(one), dtype=bool)
        kept = build_tables()[3]
        for offset in range(0, int(lengths.max()) if len(lengths) else 0, 8):
            differ = self.words(one, offset) ^ self.words(other, offset)
            same &= differ & kept[np.clip(lengths - offset, 0, 8)] == 0
        return same

    def read_numbers(self, places: np.ndarray) -> Numbers:
        """Reads the decimal number that starts at each place."""
        first, second = self.words(places), self.words(places, 8)
        digits0, digits1 = first ^ ZEROS, second ^ ZEROS
        others = get_bits(find_non_digits(digits0)) | get_bits(find_non_digits(digits1)) << 8
        # Dots are 0x2E, 0x1E after the exclusive or with 0x30.
        dots = get_bits(find_byte(digits0, 0x1E)) | get_bits(find_byte(digits1, 0x1E)) << 8
        first_bit, only_bit, inside, kept0, kept1 = build_tables()
        length = first_bit[others & ~dots]
        dot = only_bit[dots & inside[length]]
        good = (length >= 1) & (length <= MAX_CHARS) & (dot != 0) & (dot != MANY_DOTS)
        left = parse_digits(drop_dots(digits0 & kept0[length]))
        right = parse_digits(drop_dots(digits1 & kept1[length]))
        return Numbers(good, length, dot, (left * 100_000_000 + right).astype(np.int64))

    def read_small_exponents(self, places: np.ndarray) -> np.ndarray:
        """Reads ``e-05`` as 5, int64 [N]; 99 where there is anything else."""
        words = self.words(places)
        digits = (words & 0xFFFF0000) << 32 ^ 0x3030000000000000
        good = (words & 0xFFFF == 0x2D65) & (find_non_digits(digits) == 0)
        # A third digit belongs to the exponent, too.
        good &= find_non_digits((words >> 32 & 0xFF) ^ 0x30) != 0
        return np.where(good, parse_digits(digits).astype(np.int64), 99)

    def count_spaces(self, places: np.ndarray) -> np.ndarray:
        """How many spaces stand at each place, int64 [N], at most 16."""
        spaces = get_bits(find_byte(self.words(places), 0x20))
        spaces |= get_bits(find_byte(self.words(places, 8), 0x20)) << 8
        return build_tables()[0][~spaces & 0xFFFF].astype(np.int64)

    def measure_names(self, places: np.ndarray, stop: int) -> np.ndarray:
        """Characters before the byte ``stop``, int64 [N]; 16 if it is not among the first 16.

        Where a character is no visible ASCII, the length is 0.
        """
        first_bit, _, inside, _, _ = build_tables()
        ends = np.zeros(len(places), dtype=np.uint64)
        odd = np.zeros(len(places), dtype=np.uint64)
        for offset in (0, 8):
            words = self.words(places, offset)
            visible = ((words & LOW) + 0x5F5F5F5F5F5F5F5F) & ~words & HIGH
            odd |= (get_bits(visible) ^ 0xFF) << offset
            ends |= get_bits(find_byte(words, stop)) << offset
        length = first_bit[ends]
        return np.where(odd & inside[length], 0, length.astype(np.int64))


def find_non_digits(words: np.ndarray) -> np.ndarray:
    """Sets the highest bit of each byte that is no digit; digits are given as 0 to 9."""
    return (((words & LOW) + 0x7676767676767676) | words) & HIGH


def find_byte(words: np.ndarray, byte: int) -> np.ndarray:
    """Sets the highest bit of each byte that equals ``byte``."""
    differ = words ^ (byte * 0x0101010101010101)
    return ~(((differ & LOW) + LOW) | differ) & HIGH


def get_bits(marks: np.ndarray) -> np.ndarray:
    """Gathers the highest bits of the eight bytes: bit i is that of byte i."""
    return ((marks >> 7) * 0x0102040810204080) >> 56


def drop_dots(words: np.ndarray) -> np.ndarray:
    """Turns bytes of 0x1E into 0; the others are 0 to 9."""
    return words & ~(((words >> 4) & 0x0101010101010101) * 0x1F)


def parse_digits(words: np.ndarray) -> np.ndarray:
    """Value of eight digits, given as bytes 0 to 9, the first the most significant."""
    pairs = (words * 2561 >> 8) & 0x00FF00FF00FF00FF
    fours = (pairs * 6553601 >> 16) & 0x0000FFFF0000FFFF
    return fours * 42949672960001 >> 32


def parse_pairs(words: np.ndarray) -> np.ndarray:
    """Values of four pairs of digits, given as bytes 0 to 9, each in 16 bits."""
    return (words * 2561 >> 8) & 0x00FF00FF00FF00FF


@lru_cache(maxsize=1)
def build_units() -> Tuple[np.ndarray, np.ndarray]:
    """By the position of the dot: the weight of the digit before it among 15, and its power of ten.

    Without a dot both are those of a whole number, 1 and 0.
    """
    tens = np.array([max(15 - dot, 0) for dot in range(256)], dtype=np.int64)
    return np.array([10**power for power in tens.tolist()], dtype=np.int64), tens


@lru_cache(maxsize=1)
def build_float_powers() -> np.ndarray:
    """Powers of ten that are exact as float64."""
    return np.array([float(10**n) for n in range(MAX_EXPONENT + 1)])


@lru_cache(maxsize=1)
def build_scales() -> np.ndarray:
    """By the length of a number: the weight of its last digit among 16, int64 [17]."""
    return np.array([10 ** (16 - length) for length in range(17)], dtype=np.int64)


@lru_cache(maxsize=1)
def build_tables() -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tables for 16 characters.

    Returns:
        By 16 bits: the lowest one set (16 if none is), and the only one set (``NO_DOT`` if none,
        ``MANY_DOTS`` if several are). By length: so many low bits, and the masks that keep so many
        characters in the first and in the second word.
    """
    numbers = np.arange(1 << 16)
    first = np.full(1 << 16, 16, dtype=np.uint8)
    count = np.zeros(1 << 16, dtype=np.uint8)
    for bit in range(15, -1, -1):
        is_set = (numbers >> bit & 1).astype(bool)
        first[is_set] = bit
        count += is_set
    only = np.where(count > 1, MANY_DOTS, first).astype(np.uint8)
    bits = np.array([(1 << n) - 1 for n in range(17)], dtype=np.uint64)
    kept0 = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], dtype=np.uint64)
    kept1 = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(17)], dtype=np.uint64)
    return first, only, bits, kept0, kept1
