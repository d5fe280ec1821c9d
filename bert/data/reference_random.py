"""The draws of `random.Random`, made in bulk, for the exact mode of data preparation."""

from __future__ import annotations

from random import Random
from typing import List

import numpy as np

from bert.data.masking import MASK_SHARE

_WORDS_AT_ONCE = 1 << 16
_HALF_WORD = 1 << 31
_RANDOM_STEPS = 9007199254740992.0  # 2^53
_BYTE_BITS = 8
# What becomes of a masked token, other than a random one.
MASKED, KEPT = -1, -2


class ReferenceRandom:
    """The draws of CPython's `random.Random` (3.2 and later), from 32-bit words made in bulk.

    A draw of a number below n takes the upper bits of a word, as many as n has, and takes another
    word if the number is too large. For small n these bits are kept as bytes of the whole supply,
    which Python goes through faster than through words.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        *key, position = Random(seed).getstate()[1]
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {"key": np.array(key, np.uint32), "pos": position},
        }
        self._supply = np.zeros([0], np.uint32)
        self._at = 0
        self._refill()

    def random(self) -> float:
        """As Random.random: 53 bits of two words."""
        high = self._draw_word() >> 5
        return ((high << 26) + (self._draw_word() >> 6)) / _RANDOM_STEPS

    def below_half(self) -> bool:
        """As `Random.random() < 0.5`, which the first word decides."""
        if self._at + 2 > self._end:
            self._refill()
        self._at += 2
        return bool(self._is_kept[self._at - 2])

    def randint(self, low: int, high: int) -> int:
        """As Random.randint; both ends are included, and fewer than 2^32 numbers lie between."""
        n = high - low + 1
        shift = 32 - n.bit_length()
        value = self._draw_word() >> shift
        while value >= n:
            value = self._draw_word() >> shift
        return low + value

    def shuffle(self, items: List) -> None:
        """As Random.shuffle: from the end, each with a place up to its own."""
        self.shuffle_head(items, len(items))

    def shuffle_head(self, items: List, n_head: int) -> None:
        """As shuffle, but only the first `n_head` items are right afterwards.

        A place that has had its turn is not read again, so beyond the head one of the two
        assignments of a swap can be left out.
        """
        i = len(items) - 1
        while i > 0:
            # All places from here down to a power of two take their draws from as many bits.
            n_bits = (i + 1).bit_length()
            if n_bits > _BYTE_BITS:
                j = self.randint(0, i)
                items[i], items[j] = items[j], items[i]
                i -= 1
                continue
            lowest = (1 << (n_bits - 1)) - 1 or 1
            first, n_rejected = i, 0
            drawn = self._upper[n_bits][self._at : self._at + 2 * (i - lowest) + 20]
            if lowest >= n_head:
                for j in drawn:
                    if j > i:
                        n_rejected += 1
                    else:
                        items[j] = items[i]
                        i -= 1
                        if i < lowest:
                            break
            else:
                for j in drawn:
                    if j > i:
                        n_rejected += 1
                    else:
                        items[i], items[j] = items[j], items[i]
                        i -= 1
                        if i < lowest:
                            break
            self._at += first - i + n_rejected
            if self._at == self._end:
                self._refill()

    def draw_replacements(self, n: int, n_random: int, replacements: List[int]) -> None:
        """Draws what becomes of `n` masked tokens, and appends it.

        Per token: `random() < 0.8` (becomes [MASK]), else `random() < 0.5` (is kept), else
        `randint(0, n_random - 1)` (becomes that token of the vocabulary).

        Args:
            n: number of tokens.
            n_random: size of the vocabulary.
            replacements: takes MASKED, KEPT or a number below `n_random` per token.
        """
        if self._end - self._at < 8 * n:
            self._refill()
        is_mask, is_kept = self._is_mask, self._is_kept
        at = self._at
        for _ in range(n):
            if is_mask[at]:
                replacements.append(MASKED)
                at += 2
            elif is_kept[at + 2]:
                replacements.append(KEPT)
                at += 4
            else:
                self._at = at + 4
                replacements.append(self.randint(0, n_random - 1))
                # Rejections are rare, but any number of them may come.
                if self._end - self._at < 8 * n:
                    self._refill()
                    is_mask, is_kept = self._is_mask, self._is_kept
                at = self._at
        self._at = at

    def _draw_word(self) -> int:
        if self._at == self._end:
            self._refill()
        self._at += 1
        return self._words[self._at - 1]

    def _refill(self) -> None:
        more = self._bits.random_raw(_WORDS_AT_ONCE).astype(np.uint32)
        self._supply = np.concatenate([self._supply[self._at :], more])
        self._at = 0
        self._words = memoryview(self._supply)
        self._end = len(self._supply)
        self._upper = [
            (self._supply >> np.uint32(32 - n_bits)).astype(np.uint8).tobytes() if n_bits else b""
            for n_bits in range(_BYTE_BITS + 1)
        ]
        self._is_kept = (self._supply < _HALF_WORD).tobytes()
        # random() of the words at and after each place; the last place has no second word.
        high = (self._supply >> np.uint32(5)).astype(np.float64)
        low = np.append((self._supply[1:] >> np.uint32(6)).astype(np.float64), 0.0)
        self._is_mask = ((high * (1 << 26) + low) / _RANDOM_STEPS < MASK_SHARE).tobytes()
