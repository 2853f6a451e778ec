"""Weighted rendezvous hashing in exact integers (Thaler & Ravishankar 1998; weights: Schindelhauer & Schomaker 2005).

    u     = draw(shard, peer) / 2^64                   in (0, 1], from BLAKE2b over the peer's key and the shard's number
    score = -weight / ln(u)                            the peer with the highest score is the first choice
    cost  = floor(-log2(u) * 2^64 / weight)            the same order upside down: what we compare, ties by public key

**Where it differs:** the score is never a float. Logarithms of one number differ in the last bit between C libraries, and two
machines must not rank two peers differently. ``log2`` is read from a table, filled by exact integer arithmetic, with linear
interpolation in integers: monotone, wrong by less than 2^-22, and equal everywhere. Costs of one peer never depend on other peers, so
when a peer comes or goes only what it wins or held can move.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

ROWS_MAX = 2_048
"""Peers whose costs are remembered: when members come and go, those of all others stay as they are."""
DRAW_BITS = 64
_FRACTION_BITS = 40
_TABLE_BITS = 10
_SCALE_BITS = 24
DRAWS_PER_BLOCK = 8
"""A BLAKE2b digest of 64 bytes gives the draws of eight shards."""


def _log2_of_mantissa(mantissa: int) -> int:
    """log2(mantissa / 2^62) in ``_FRACTION_BITS`` fractional bits, for 2^62 <= mantissa < 2^63: bit by bit, by squaring."""
    result = 0
    for _ in range(_FRACTION_BITS):
        mantissa = mantissa * mantissa >> 62
        result <<= 1
        if mantissa >> 63:
            result |= 1
            mantissa >>= 1
    return result


_LOG2 = (
    *(_log2_of_mantissa((1 << 62) + (step << 62 - _TABLE_BITS)) for step in range(1 << _TABLE_BITS)),
    1 << _FRACTION_BITS,
)


def log2(number: int) -> int:
    """log2(number) for ``number`` >= 1, times 2^40, rounded down a little."""
    exponent = number.bit_length() - 1
    mantissa = number << 64 >> exponent  # 2^64 <= mantissa < 2^65
    step = mantissa >> 64 - _TABLE_BITS & (1 << _TABLE_BITS) - 1
    rest = mantissa & (1 << 64 - _TABLE_BITS) - 1
    low = _LOG2[step]
    return (exponent << _FRACTION_BITS) + low + ((_LOG2[step + 1] - low) * rest >> 64 - _TABLE_BITS)


_HIGHEST = DRAW_BITS << _FRACTION_BITS


@lru_cache(maxsize=ROWS_MAX)
def costs(public_key: bytes, weight: int, shards_count: int) -> tuple[int, ...]:
    """What it costs to place each shard, 0 to ``shards_count`` - 1, on the peer: the lower, the better it is placed there."""
    row: list[int] = []
    for block in range(0, shards_count, DRAWS_PER_BLOCK):
        digest = blake2b(block.to_bytes(4, "big"), key=public_key, digest_size=64).digest()
        for place in range(0, DRAWS_PER_BLOCK * 8, 8):
            draw = int.from_bytes(digest[place : place + 8], "big") + 1
            row.append((_HIGHEST - log2(draw) << _SCALE_BITS) // weight)
    return tuple(row[:shards_count])


def cost(shard: int, public_key: bytes, weight: int) -> int:
    """The cost of one shard on one peer; equals ``costs(...)[shard]``."""
    block, place = shard - shard % DRAWS_PER_BLOCK, shard % DRAWS_PER_BLOCK * 8
    digest = blake2b(block.to_bytes(4, "big"), key=public_key, digest_size=64).digest()
    draw = int.from_bytes(digest[place : place + 8], "big") + 1
    return (_HIGHEST - log2(draw) << _SCALE_BITS) // weight
