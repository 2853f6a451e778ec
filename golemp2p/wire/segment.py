"""A segment: what one commit of one log ships. Signed, and linked to the segment before it (ARCHITECTURE 3).

    header (148 bytes)   magic "g2p-seg" and format 1      8      big-endian, fixed layout: nothing to parse, nothing
                         key of the log                   20      to encode in two ways
                         term                              8
                         index of the first entry          8
                         number of entries                 4
                         hash of the previous segment     32      zero bytes for the first
                         BLAKE2b-256 of the payload       32
                         length of the payload             4
                         public key of the author         32
    signature (64 bytes) Ed25519 by the author over the header
    payload              CBOR sequence of the entries (``wire.entry``)

    segment hash = BLAKE2b-256(header + signature)         what the next segment's header, and the log's head, hold

The signature covers the payload through its hash, so signing costs the same for any size. Chains are checked in ``wire.chain``.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import NamedTuple

from golemp2p.errors import DataDamaged, PayloadTooLarge
from golemp2p.model.ids import KEY_BYTES, Key
from golemp2p.wire.entry import ENTRY_BYTES_MAX
from golemp2p.wire.identity import SIGNATURE_BYTES, SigningKey, is_signed

MAGIC = b"g2p-seg\x01"
HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)
"""Stands for "no previous segment"."""

PAYLOAD_BYTES_TARGET = 1 << 20
"""Writers close a segment when its payload reaches this."""

PAYLOAD_BYTES_MAX = PAYLOAD_BYTES_TARGET + ENTRY_BYTES_MAX
"""The hard limit, on both sides: the entry that passes the target still fits, so that writers need not look ahead."""

ENTRY_BYTES_MIN = 3
"""The smallest entry, ``[5, 0]``. Bounds the number of entries a payload can claim."""

_HEADER = struct.Struct(f">8s{KEY_BYTES}sQQI{HASH_BYTES}s{HASH_BYTES}sI32s")
HEADER_BYTES = _HEADER.size
_PAYLOAD_AT = HEADER_BYTES + SIGNATURE_BYTES
SEGMENT_BYTES_MAX = _PAYLOAD_AT + PAYLOAD_BYTES_MAX
NUMBER_MAX = (1 << 63) - 1
"""Terms and indexes stay below what SQLite's integers hold."""


class Segment(NamedTuple):
    """A parsed segment. ``first`` is the index of its first entry, ``count`` >= 1 how many it has; ``hash`` its own hash."""

    log: Key
    term: int
    first: int
    count: int  # type: ignore[assignment]  # tuple.count is not used
    previous_hash: bytes
    author: bytes
    hash: bytes
    payload: bytes
    header: bytes
    signature: bytes

    @property
    def next_index(self) -> int:
        """Index of the entry after its last."""
        return self.first + self.count


def seal(
    signing_key: SigningKey, *, log: Key, term: int, first: int, count: int, previous_hash: bytes, payload: bytes
) -> tuple[bytes, bytes]:
    """``(segment bytes, segment hash)`` of ``count`` entries encoded in ``payload``. Raises ``PayloadTooLarge``."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(f"a segment holds {PAYLOAD_BYTES_MAX} bytes, got {len(payload)}")
    assert first >= 1, "entries count from 1"
    assert 1 <= count <= len(payload) // ENTRY_BYTES_MIN, "as many entries as the payload holds"
    assert len(previous_hash) == HASH_BYTES, "a whole hash"
    digest = blake2b(payload, digest_size=HASH_BYTES).digest()
    header = _HEADER.pack(MAGIC, log.digest, term, first, count, previous_hash, digest, len(payload), signing_key.public_key)
    signed = header + signing_key.sign(header)
    return signed + payload, blake2b(signed, digest_size=HASH_BYTES).digest()


def parse_segment(data: bytes, *, what: str = "segment") -> Segment:
    """The parts of a segment, with its length, limits and payload hash checked, but not its signature.

    ``what`` names it in errors. Raises ``DataDamaged`` with the reason. Nothing is allocated by what the header claims.
    """
    if len(data) < _PAYLOAD_AT:
        raise DataDamaged(what, f"truncated: {len(data)} bytes are less than a header")
    magic, log, term, first, count, previous_hash, digest, length, author = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise DataDamaged(what, "not a segment, or of a format this version does not know")
    if length > PAYLOAD_BYTES_MAX or len(data) != _PAYLOAD_AT + length:
        raise DataDamaged(what, f"the header says {length} bytes of payload, there are {len(data) - _PAYLOAD_AT}")
    if not 1 <= count <= length // ENTRY_BYTES_MIN or not 1 <= first <= NUMBER_MAX - count or term > NUMBER_MAX:
        raise DataDamaged(what, f"impossible numbers: term {term}, first index {first}, {count} entries")
    payload = data[_PAYLOAD_AT:]
    if blake2b(payload, digest_size=HASH_BYTES).digest() != digest:
        raise DataDamaged(what, "the payload does not match its hash")
    segment_hash = blake2b(data[:_PAYLOAD_AT], digest_size=HASH_BYTES).digest()
    header, signature = data[:HEADER_BYTES], data[HEADER_BYTES:_PAYLOAD_AT]
    return Segment(Key(log), term, first, count, previous_hash, author, segment_hash, payload, header, signature)


def verify_segment(
    segment: Segment, *, log: Key | None = None, author: bytes | None = None, previous_hash: bytes | None = None
) -> None:
    """Checks the signature, and log, author (public key) and previous hash where given. Raises ``DataDamaged``."""
    what = f"{segment.log} segment {segment.first}"
    if log is not None and segment.log != log:
        raise DataDamaged(what, f"belongs to another log than {log}")
    if author is not None and segment.author != author:
        raise DataDamaged(what, f"written by {segment.author.hex()}, not by {author.hex()}")
    if previous_hash is not None and segment.previous_hash != previous_hash:
        raise DataDamaged(what, "does not follow the segment before it: the previous hash differs")
    if not is_signed(segment.header, segment.signature, segment.author):
        raise DataDamaged(what, "the signature is not its author's")
