"""Drives the shards of this node: seals segments, gives them their place, makes them durable.

    LogWriter --append--> Shards --Persist--> storage.submit --done--> committed(position) --> LogWriter

One ``storage.submit`` per log and flush; storage makes one commit of all that are queued. A shard is looked up on first use,
and elects itself anew in every process before its first append (S7). Each election is an entry in a log of the shard's own (kind
``shard``), durable together with the first append under its term: only together are segments and elections evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from golemp2p.core.shard import Record, Shard
from golemp2p.errors import Golemp2pError
from golemp2p.model.entries import Elected
from golemp2p.model.ids import Key
from golemp2p.ports import Batch, Clock, LogHead, ShardRecord, Storage, StoredSegment
from golemp2p.wire.entry import encode_entry
from golemp2p.wire.identity import Signer
from golemp2p.wire.segment import NO_HASH, seal

SHARD = "shard"


class Payload(NamedTuple):
    """Entries ``first`` .. ``first + count - 1`` of a log, encoded one after another."""

    first: int
    count: int  # type: ignore[assignment]  # tuple.count is not used
    data: bytes


class Shards:
    """``certify(shard, term)`` makes this node's election certificate. ``records`` and ``elections`` (heads of the shards' own
    logs) are what storage holds at the start."""

    def __init__(
        self,
        storage: Storage,
        signer: Signer,
        certify: Callable[[int, int], bytes],
        *,
        clock: Clock,
        shards_count: int,
        records: Sequence[ShardRecord],
        elections: Sequence[LogHead],
    ) -> None:
        self._storage = storage
        self._signer = signer
        self._certify = certify
        self.shards_count = shards_count
        self._clock = clock
        self._records = {record.shard: record for record in records}
        self._elections = {head.shard: head for head in elections}
        self._shards: dict[int, Shard] = {}
        self._electing: dict[int, list[tuple[Batch, Callable[[Exception | None], None]]]] = {}
        self.segments_total = 0

    def append(
        self,
        log: Key,
        payloads: Sequence[Payload],
        previous_hash: bytes,
        head: LogHead,
        done: Callable[[Exception | None], None],
    ) -> bytes:
        """Append ``payloads`` to ``log`` in one durable step together with ``head`` (whose ``head_hash`` is filled in here).

        ``done`` is called on the event loop when they are committed, or with the error that kept all of them out. Returns the
        hash of the last segment, which is the ``previous_hash`` of the next append.
        """
        before = self._elections.get(head.shard)
        shard, elected = self._shard(head.shard)
        persist = shard.append(len(payloads) + len(elected))
        position = persist.first_position
        batch = Batch(shards=[_stored(head.shard, persist.record)])
        for payload in elected:
            self._add(batch, self._elections[head.shard], [payload], shard.term, position)
            position += 1
        self._add(batch, head._replace(head_hash=previous_hash), payloads, shard.term, position)
        last_position = position + len(payloads) - 1

        def durable(error: Exception | None) -> None:
            if error is None:
                shard.persisted(last_position)
            elif elected:
                self._undo_election(head.shard, before, persist.record)
            if elected:
                self._after_election(head.shard, error)
            done(error)

        waiting = self._electing.get(head.shard)
        if waiting is not None:  # the election is not durable yet: without it, what is written in its term proves nothing
            waiting.append((batch, durable))
            return batch.heads[-1].head_hash
        if elected:
            self._electing[head.shard] = []
        try:
            self._storage.submit(batch, durable)
        except Golemp2pError as error:
            if elected:
                self._undo_election(head.shard, before, persist.record)
                self._after_election(head.shard, error)
            raise
        return batch.heads[-1].head_hash

    def _after_election(self, number: int, error: Exception | None) -> None:
        """Let go of the appends that waited for the election, or, with ``error``, tell them that it failed."""
        for batch, durable in self._electing.pop(number):
            if error is not None:
                durable(error)
                continue
            try:
                self._storage.submit(batch, durable)
            except Golemp2pError as refusal:
                durable(refusal)

    def _undo_election(self, number: int, before: LogHead | None, record: Record) -> None:
        """The election was not recorded: the next append elects anew, in a term that was not used yet, and after all positions
        that were given out meanwhile."""
        shard = self._shards.pop(number)
        self._records[number] = _stored(number, replace(record, next_position=shard.next_position))
        if before is None:
            self._elections.pop(number, None)
        else:
            self._elections[number] = before

    def _add(self, batch: Batch, head: LogHead, payloads: Sequence[Payload], term: int, position: int) -> None:
        """Seal ``payloads`` after what ``head`` names, into ``batch`` with the head that follows."""
        for payload in payloads:
            sealed, sealed_hash = seal(
                self._signer,
                key=head.key,
                term=term,
                first=payload.first,
                count=payload.count,
                previous_hash=head.head_hash,
                payload=payload.data,
            )
            batch.segments.append(StoredSegment(head.key, payload.first, payload.count, term, position, sealed))
            head = head._replace(head_hash=sealed_hash)
            position += 1
        batch.heads.append(head)
        if head.kind == SHARD:
            self._elections[head.shard] = head
        self.segments_total += len(payloads)

    def delete(self, log: Key, done: Callable[[Exception | None], None]) -> None:
        """Remove a log with all its segments."""
        self._storage.submit(Batch(deleted_logs=[log]), done)

    @property
    def active_count(self) -> int:
        """Shards this process has been elected in."""
        return len(self._shards)

    def _shard(self, number: int) -> tuple[Shard, list[Payload]]:
        """The shard, elected; with the entry that tells of its election if that is new."""
        shard = self._shards.get(number)
        if shard is not None:
            return shard, []
        stored = self._records.get(number)
        durable = None
        if stored is not None:
            durable = Record(stored.term, stored.voted_for or b"", stored.next_position, stored.certificate)
        shard = Shard(self._signer.public_key, lambda term: self._certify(number, term), durable)
        self._shards[number] = shard
        term = shard.elect()
        entry = encode_entry(Elected(self._clock.wall_ns(), term, shard.certificate))
        key = Key.of(SHARD, str(number))
        head = self._elections.get(number) or LogHead(key, SHARD, str(number), number, 1, NO_HASH, False, None, b"")
        self._elections[number] = head._replace(tail=head.tail + 1)
        return shard, [Payload(head.tail, 1, entry)]


def _stored(number: int, record: Record) -> ShardRecord:
    return ShardRecord(number, record.term, record.voted_for, record.next_position, record.certificate)
