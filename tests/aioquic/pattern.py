"""The pseudo-random bytes that `peregrine serve` sends for /N: SplitMix64 of seed zero, little endian."""

import struct
from functools import lru_cache

MASK = (1 << 64) - 1


@lru_cache(maxsize=8)
def pattern(length: int) -> bytes:
    """The first `length` bytes."""
    words = -(-length // 8)
    return struct.pack(f"<{words}Q", *map(word, range(words)))[:length]


def word(index: int) -> int:
    z = (index + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31
