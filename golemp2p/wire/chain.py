"""Checking a whole log, or a stretch of one: every read from storage and from peers passes through here.

    previous <-- segment <-- segment <-- segment == head      each header holds the hash of the segment before it

A storage engine may lose the end, skip the middle, or flip bits, all silently; each of that fails a check here: lost end by
``tail`` and ``head_hash``, gaps by indexes and hashes, flipped bits by hashes and signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import Key
from golemp2p.wire.identity import is_signed
from golemp2p.wire.segment import NO_HASH, Segment, parse_segment


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
            segment = parse_segment(data)
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
