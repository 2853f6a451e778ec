"""The records a node keeps for others: newest wins, everything expires, nobody takes all the room.

    put --genuine? newer or the same? room?--> kept until lifetime is over ---> get

A full store refuses newcomers rather than dropping what it has: who floods it harms nobody who was there before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from golemp2p.model.dht import DhtRecord, ProviderRecord, record_author, record_key, record_sequence, record_slot

S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RecordLimits:
    records_max: int = 65_536
    """80 MB at the most, 20 in practice."""
    per_author_max: int = 1_024
    """A node may provide many blobs; other records of one author are a handful."""
    providers_max: int = 20
    """Providers of one blob: more than anybody asks."""
    lifetime_s_max: int = 24 * 3600


@dataclass(frozen=True, slots=True)
class _Kept:
    record: DhtRecord
    expires_ns: int


class DhtRecords:
    """Records must have been found genuine by the caller. ``now_ns``: monotonic; lifetimes count from arrival."""

    def __init__(self, limits: RecordLimits | None = None) -> None:
        self._limits = limits or RecordLimits()
        self._keys: dict[bytes, dict[bytes, _Kept]] = {}
        self._authors: Counter[bytes] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, record: DhtRecord, lifetime_s: int, now_ns: int) -> bool:
        """Keep ``record``; whether it is kept. An older one than the one we have is refused; the same one lives on."""
        key, slot = record_slot(record)
        here = self._keys.get(key, {})
        known = here.get(slot)
        expires_ns = now_ns + min(lifetime_s, self._limits.lifetime_s_max) * S
        if known is not None and known.expires_ns > now_ns:
            if record_sequence(record) < record_sequence(known.record):
                return False
            if record_sequence(record) == record_sequence(known.record) and record != known.record:
                return False
        if known is not None:
            self._drop(key, slot)
        if not self._has_room(record, now_ns):
            return False
        self._keys.setdefault(key, {})[slot] = _Kept(record, expires_ns)
        self._authors[record_author(record)] += 1
        self._count += 1
        return True

    def get(self, key: bytes, now_ns: int) -> list[DhtRecord]:
        """All records under ``key`` (20 bytes) that have not expired."""
        for slot in [slot for slot, kept in self._keys.get(key, {}).items() if kept.expires_ns <= now_ns]:
            self._drop(key, slot)
        return [kept.record for kept in self._keys.get(key, {}).values()]

    def expire(self, now_ns: int) -> None:
        """Drop all that has expired. Costs a look at everything; happens by itself when the store is full."""
        for key in list(self._keys):
            self.get(key, now_ns)

    def _has_room(self, record: DhtRecord, now_ns: int) -> bool:
        author = record_author(record)
        if self._count >= self._limits.records_max or self._authors[author] >= self._limits.per_author_max:
            self.expire(now_ns)
        if isinstance(record, ProviderRecord) and len(self.get(record_key(record), now_ns)) >= self._limits.providers_max:
            return False
        return self._count < self._limits.records_max and self._authors[author] < self._limits.per_author_max

    def _drop(self, key: bytes, slot: bytes) -> None:
        kept = self._keys[key].pop(slot)
        if not self._keys[key]:
            del self._keys[key]
        author = record_author(kept.record)
        self._authors[author] -= 1
        if not self._authors[author]:
            del self._authors[author]
        self._count -= 1


def newest(records: list[DhtRecord], into: dict[tuple[bytes, bytes], DhtRecord]) -> None:
    """Add ``records`` to those found so far: of each slot the newest."""
    for record in records:
        slot = record_slot(record)
        if slot not in into or record_sequence(into[slot]) < record_sequence(record):
            into[slot] = record
