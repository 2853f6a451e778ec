"""One log, checked segment by segment: hash, link, signature, the row's columns, entries decoded, the author against whom the shard
elected, where it ended at the base, and where it ends now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from golemp2p.errors import DataDamaged
from golemp2p.model.entries import BlobRef, Entry
from golemp2p.model.ids import Key
from golemp2p.model.replication import EMPTY_LOG, Head
from golemp2p.ports import StoredSegment
from golemp2p.storage.verify_shard import Shard
from golemp2p.wire.entry import decode_payload
from golemp2p.wire.segment import NO_HASH, verify_chain


class Mention(NamedTuple):
    """Where a blob is named. ``is_shared``: in a shard that has other members, who may hold it while this node does not."""

    place: str
    is_shared: bool


class Log:
    """The chain of one life of a log. ``name``: for people; ``named``: the blobs that entries name, and where; filled here.
    Methods raise ``DataDamaged``."""

    def __init__(self, key: Key, name: str, shard: Shard, named: dict[bytes, Mention]) -> None:
        self.next_index = 1
        self._key = key
        self._name = name
        self._shard = shard
        self._named = named
        self._hash = NO_HASH
        self._term = 0
        self._authors: dict[int, bytes] = {}

    @property
    def head(self) -> Head:
        return Head(self.next_index, self._hash)

    def extend(self, stored: StoredSegment) -> int:
        """Check the next segment; returns the number of its entries."""
        (segment,) = verify_chain(
            [stored.data],
            log=stored.log,
            check_every_signature=True,
            first=self.next_index,
            previous_hash=self._hash,
            author_of_term=self._author_of,
        )
        if (segment.first, segment.count, segment.term) != (stored.first, stored.count, stored.term):
            raise self._damaged("first, count or term of its row are not the segment's")
        if segment.term < self._term:
            raise self._damaged(f"term {segment.term} after term {self._term}")
        self._check_shard(stored)
        entries = decode_payload(segment.payload, segment.count, what=f"segment at index {segment.first}")
        for place, entry in enumerate(entries):
            for reference in blobs_of(entry):
                self._name_blob(reference.sha256, segment.first + place)
        self._authors[segment.term] = segment.author
        self._term, self._hash, self.next_index = segment.term, segment.hash, segment.next_index
        return segment.count

    def end(self, expected: Head, whose: str = "its head") -> None:
        if self.next_index != expected.tail:
            raise self._damaged(f"ends before index {self.next_index}, {whose} says before {expected.tail}")
        if self._hash != expected.hash:
            raise self._damaged(f"the newest segment is not the one {whose} names")

    def end_at_base(self) -> None:
        """What was up to the base is all there now."""
        self.end(self._shard.heads.get(self._key, EMPTY_LOG), "the base of its shard")

    def _name_blob(self, sha256: bytes, index: int) -> None:
        known = self._named.get(sha256)
        if known is None or (known.is_shared and not self._shard.is_shared):
            self._named[sha256] = Mention(f"{self._name} at index {index}", self._shard.is_shared)

    def _author_of(self, term: int) -> bytes | None:
        return self._shard.authors.get(term) or self._authors.get(term)

    def _check_shard(self, stored: StoredSegment) -> None:
        """What is written of a shard is durable before, or with, what is written under it (S1)."""
        record, last = self._shard.record, self._shard.last_position
        if stored.term > record.term or stored.position > last:
            raise self._damaged(
                f"term {stored.term}, position {stored.position} are beyond its shard's (term {record.term}, position {last})"
            )

    def _damaged(self, reason: str) -> DataDamaged:
        return DataDamaged(str(self._key), reason)


def blobs_of(entry: Entry) -> Iterator[BlobRef]:
    """The blobs an entry names: fields are flat, so its own fields are all there is."""
    return (value for value in entry if isinstance(value, BlobRef))
