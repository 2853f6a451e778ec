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

The signature covers the payload through its hash, so signing costs the same for any size.

Every read, from storage or from a peer, passes ``verify_chain``. A storage engine may lose the end, skip the middle, or flip
bits, all silently; each fails a check: a lost end by ``tail`` and ``head_hash``, gaps by indexes and hashes, flipped bits by
hashes and signatures.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

from golemp2p.errors import DataDamaged, PayloadTooLarge
from golemp2p.model.ids import KEY_BYTES, Key
from golemp2p.wire.entry import ENTRY_BYTES_MAX
from golemp2p.wire.identity import SIGNATURE_BYTES, Signer, is_signed

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
START_BYTES = HEADER_BYTES + SIGNATURE_BYTES
"""Header and signature: the payload begins after them."""

SEGMENT_BYTES_MAX = START_BYTES + PAYLOAD_BYTES_MAX
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
    signer: Signer, *, key: Key, term: int, first: int, count: int, previous_hash: bytes, payload: bytes
) -> tuple[bytes, bytes]:
    """``(segment bytes, segment hash)`` of ``count`` entries of log ``key``, encoded in ``payload``.

    Raises ``PayloadTooLarge``.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(f"a segment holds {PAYLOAD_BYTES_MAX} bytes, got {len(payload)}")
    assert first >= 1, "entries count from 1"
    assert 1 <= count <= len(payload) // ENTRY_BYTES_MIN, "as many entries as the payload holds"
    assert len(previous_hash) == HASH_BYTES, "a whole hash"
    digest = blake2b(payload, digest_size=HASH_BYTES).digest()
    header = _HEADER.pack(MAGIC, key.digest, term, first, count, previous_hash, digest, len(payload), signer.public_key)
    signed = header + signer.sign(header)
    return signed + payload, hash_of_start(signed)


def open_segment(data: bytes, *, what: str = "segment") -> Segment:
    """The parts of a segment, with its length, limits and payload hash checked, but not its signature.

    ``what`` names it in errors. Raises ``DataDamaged`` with the reason. Nothing is allocated by what the header claims.
    """
    if len(data) < START_BYTES:
        raise DataDamaged(what, f"truncated: {len(data)} bytes are less than a header")
    magic, log, term, first, count, previous_hash, digest, length, author = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise DataDamaged(what, "not a segment, or of a format this version does not know")
    if length > PAYLOAD_BYTES_MAX or len(data) != START_BYTES + length:
        raise DataDamaged(what, f"the header says {length} bytes of payload, there are {len(data) - START_BYTES}")
    if not 1 <= count <= length // ENTRY_BYTES_MIN or not 1 <= first <= NUMBER_MAX - count or term > NUMBER_MAX:
        raise DataDamaged(what, f"impossible numbers: term {term}, first index {first}, {count} entries")
    payload = data[START_BYTES:]
    if blake2b(payload, digest_size=HASH_BYTES).digest() != digest:
        raise DataDamaged(what, "the payload does not match its hash")
    segment_hash = hash_of_start(data[:START_BYTES])
    header, signature = data[:HEADER_BYTES], data[HEADER_BYTES:START_BYTES]
    return Segment(Key(log), term, first, count, previous_hash, author, segment_hash, payload, header, signature)


def open_start(start: bytes, *, what: str = "segment") -> Segment:
    """The same from the first ``START_BYTES`` of a segment: without the payload (it is empty), and without having checked it."""
    if len(start) < START_BYTES:
        raise DataDamaged(what, f"truncated: {len(start)} bytes are less than a header")
    magic, log, term, first, count, previous_hash, _, _, author = _HEADER.unpack_from(start)
    if magic != MAGIC or not 1 <= first <= NUMBER_MAX - count or count < 1 or term > NUMBER_MAX:
        raise DataDamaged(what, "not the start of a segment")
    header, signature = start[:HEADER_BYTES], start[HEADER_BYTES:START_BYTES]
    own_hash = hash_of_start(start[:START_BYTES])
    return Segment(Key(log), term, first, count, previous_hash, author, own_hash, b"", header, signature)


def hash_of_start(start: bytes) -> bytes:
    """The hash of the segment that begins with these ``START_BYTES``."""
    return blake2b(start, digest_size=HASH_BYTES).digest()


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


def verify_chain(
    segments: Iterable[bytes],
    *,
    log: Key,
    tail: int | None = None,
    head_hash: bytes | None = None,
    check_every_signature: bool = False,
    first: int | None = 1,
    previous_hash: bytes | None = NO_HASH,
    author_of_term: Callable[[int], bytes | None] | None = None,
) -> list[Segment]:
    """The parsed segments, if they are one unbroken chain of ``log``; else ``DataDamaged`` saying where and why.

    * ``tail``: index after the last entry; ``head_hash``: hash of the last segment (``NO_HASH`` for an empty log). With
      ``None`` the end is taken as it is.
    * ``first``, ``previous_hash``: where the stretch starts. ``None``: anywhere (for a stretch read from the middle; then
      only ``head_hash`` or the signatures tie it to the log).
    * ``author_of_term``: public key of the primary that the shard's certificates name for a term, ``None`` for unknown.
    * ``check_every_signature`` False checks the newest signature of each run of segments of one author and term. That is
      sound: the author signed a header that holds the hash of the previous header and signature, which holds the one
      before, and so on; hence that one signature commits the author to every byte of its run. To forge an earlier
      segment is to find a BLAKE2b collision, or to own the key. What the shortcut does not notice is a signature that
      was invalid from the start under the author's own later signature: harm only to the author, who vouches for it.

    Terms never fall along a log, and a term has one author.
    """
    chain: list[Segment] = []
    authors: dict[int, bytes] = {}
    for data in segments:
        try:
            segment = open_segment(data)
        except DataDamaged as error:
            place = f"the segment after index {chain[-1].next_index - 1}" if chain else "the first segment"
            raise DataDamaged(str(log), f"{place}: {error.reason}") from None
        expected = (chain[-1].next_index, chain[-1].hash) if chain else (first, previous_hash)
        _check_link(segment, log, *expected)
        if chain and segment.term < chain[-1].term:
            raise _damaged(segment, f"term {segment.term} after term {chain[-1].term}")
        if authors.setdefault(segment.term, segment.author) != segment.author:
            raise _damaged(segment, f"a second author in term {segment.term}")
        chain.append(segment)
    end, end_hash = (chain[-1].next_index, chain[-1].hash) if chain else (first, previous_hash)
    if tail is not None and end is not None and end != tail:
        raise DataDamaged(str(log), f"ends before index {end}, but it should end before index {tail}")
    if head_hash is not None and end_hash is not None and end_hash != head_hash:
        raise DataDamaged(str(log), f"the newest segment is not the one the log's head names (before index {end})")
    _check_authors(authors, log, author_of_term)
    _check_signatures(chain, check_every_signature)
    return chain


def _damaged(segment: Segment, reason: str) -> DataDamaged:
    return DataDamaged(str(segment.log), f"segment at index {segment.first}: {reason}")


def _check_link(segment: Segment, log: Key, first: int | None, previous_hash: bytes | None) -> None:
    if segment.log != log:
        raise DataDamaged(str(log), f"segment at index {segment.first} belongs to {segment.log}")
    if first is not None and segment.first != first:
        raise _damaged(segment, f"a gap: index {first} should come next")
    if previous_hash is not None and segment.previous_hash != previous_hash:
        raise _damaged(segment, "the hash of the previous segment differs")


def _check_authors(authors: dict[int, bytes], log: Key, author_of_term: Callable[[int], bytes | None] | None) -> None:
    if author_of_term is None:
        return
    for term, author in authors.items():
        elected = author_of_term(term)
        if elected is not None and elected != author:
            raise DataDamaged(str(log), f"written in term {term} by {author.hex()}, elected was {elected.hex()}")


def _check_signatures(chain: list[Segment], every: bool) -> None:
    last = len(chain) - 1
    for place, segment in enumerate(chain):
        following = chain[place + 1] if place < last else None
        ends_run = following is None or (following.author, following.term) != (segment.author, segment.term)
        if (every or ends_run) and not is_signed(segment.header, segment.signature, segment.author):
            raise _damaged(segment, "the signature is not its author's")
