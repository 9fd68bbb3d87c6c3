"""Filters that say which texts a block of messages cannot contain: Bloom filters with one hash function.

The grams of a text are its sequences of four bytes of UTF-8. A text contains another one only if it has all its grams.
A filter has a bit for each gram, as a number modulo N_BITS.
"""

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final

GRAM_BYTES: Final = 4
# A prime number. The texts of 128 short messages set about half of the bits. More bits would exclude hardly more
# blocks: often, the parts of a search are in a block, but not together.
N_BITS: Final = 7_993
N_TESTED: Final = 16  # grams of a search, of which the first that is missing excludes a block
PIECE: Final = 1 << 13  # grams read at once: some tenths of a millisecond, in which no other thread can run
N_BYTES: Final = -(-N_BITS // 8)

# The bytes in which a bit is set, by the bit's place from the left: SQL tests a bit as `instr(HAVING[place], byte)`.
HAVING: Final = tuple(bytes(byte for byte in range(256) if byte >> (7 - place) & 1) for place in range(8))


def make_filter(text: bytes, rest: Callable[[], object] = lambda: None) -> bytes:
    """Return the filter of a text. `rest` is called between pieces of the work."""
    is_set = bytearray(8 * N_BYTES)
    for numbers in _grams(text):
        for number in numbers:
            is_set[number % N_BITS] = 1
        rest()
    places = (int.from_bytes(is_set[place::8], "big") << (7 - place) for place in range(8))
    return sum(places).to_bytes(N_BYTES, "big")


def bits_of(search: bytes) -> list[tuple[int, int]]:
    """Return N_TESTED bits, maybe repeated, that a filter has if its text contains a search.

    They are numbers of bytes, counted from 1, and places in them. A search that is shorter than a gram has no bits.
    """
    found = sorted({number % N_BITS for numbers in _grams(search) for number in numbers})
    n_different = min(len(found), N_TESTED)
    chosen = [found[n % n_different * len(found) // n_different] for n in range(N_TESTED)] if found else []
    return [(position // 8 + 1, position % 8) for position in chosen]


def _grams(text: bytes) -> Iterator[Sequence[int]]:
    """Iterate over pieces of the grams of a text, as numbers of which the first byte is the lowest."""
    for offset in range(GRAM_BYTES):
        for start in range(offset, len(text) - GRAM_BYTES + 1, GRAM_BYTES * PIECE):
            n_grams = min(PIECE, (len(text) - start) // GRAM_BYTES)
            numbers = array("I", text[start : start + n_grams * GRAM_BYTES])
            if sys.byteorder == "big":
                numbers.byteswap()
            yield numbers
