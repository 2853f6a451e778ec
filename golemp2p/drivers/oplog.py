"""Reading and writing one log.

Writing: ``append`` encodes an entry into a buffer and is free of I/O; a flush seals the buffer into one segment and hands it
to the shard. One flush is under way per log; what is appended meanwhile rides in the next. Whoever needs an entry durable waits with
``commit`` or leaves a callback with ``when_durable``.

    append append append | flush ........ durable: wake waiters, run callbacks | flush (what came meanwhile) ...

A writer whose flush failed is *broken*: its buffer is gone, every waiter gets the error, and its owner, who is told by
``on_broken``, must read the log anew.

Payloads over ``INLINE_BYTES_MAX`` are blobs: a majority of the log's group has them before the segment that refers to them is
appended.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import trio

from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.waiters import Waiter
from golemp2p.errors import DataDamaged, Golemp2pError, StorageFailed, WorldError
from golemp2p.model import entries as e
from golemp2p.model.ids import Key
from golemp2p.ports import LogHead, Storage
from golemp2p.wire.entry import decode_payload, encode_entry
from golemp2p.wire.segment import verify_chain

INLINE_BYTES_MAX = 64 * 1024
"""Larger payloads are blobs, as in Golem (ARCHITECTURE 12)."""

SEGMENT_BYTES_MAX = 1 << 20
"""Payload bytes per segment (ARCHITECTURE 12); one entry is always smaller, since its payloads are."""

AUTOFLUSH_BYTES = 256 * 1024
"""Buffered bytes that start a flush by themselves: bounds what a crash of the node re-executes, and memory."""

HEADS_PER_PAGE = 1000
"""Heads read at once: storage bounds what one listing may return."""

NO_HASH = bytes(32)


class Payload(NamedTuple):
    """Entries ``first`` .. ``first + count - 1`` of a log, encoded one after another."""

    first: int
    count: int  # type: ignore[assignment]  # tuple.count is not used
    data: bytes


class Appending(Protocol):
    """What logs need of ``drivers.shards.Shards``, which says what the methods promise."""

    shards_count: int

    async def level(self, shard: int) -> None:
        """Returns when all that was appended to ``shard`` so far is committed, and in storage."""
        ...

    async def level_all(self) -> None:
        """The same of every shard that this node leads."""
        ...

    def append(
        self,
        log: Key,
        payloads: Sequence[Payload],
        previous_hash: bytes,
        head: LogHead,
        done: Callable[[Exception | None], None],
    ) -> bytes: ...


_PAYLOAD_FIELDS: dict[type, str] = {
    e.ExportedFunctionInvoked: "request",
    e.ExportedFunctionCompleted: "response",
    e.ImportedFunctionInvoked: "response",
    e.PendingInvocation: "request",
    e.PromiseCompleted: "data",
    e.ComponentVersionAdded: "type",
}


class LogWriter:
    """Appends to one log of this node's shards. ``describe(tail)`` makes the log's head (its ``head_hash`` is filled in by the
    shard)."""

    __slots__ = (
        "_blobs",
        "_buffer",
        "_buffered_bytes",
        "_callbacks",
        "_describe",
        "_first",
        "_hash",
        "_in_flight",
        "_key",
        "_large",
        "_shards",
        "_spawn",
        "_sync_wanted",
        "broken",
        "durable",
        "on_broken",
        "tail",
    )

    def __init__(
        self,
        key: Key,
        shards: Appending,
        blobs: Blobs,
        spawn: Callable[..., None],
        describe: Callable[[int], LogHead],
        *,
        tail: int = 1,
        head_hash: bytes = NO_HASH,
    ) -> None:
        self._key = key
        self._shards = shards
        self._blobs = blobs
        self._spawn = spawn
        self._describe = describe
        self._hash = head_hash
        self.tail = tail
        self.durable = tail
        """Entries before this index are durable."""
        self.broken: Exception | None = None
        self.on_broken: Callable[[Exception], None] = lambda error: None
        """Called once, with the error, before those who wait for entries get it."""
        self._first = tail
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._large: list[bytes] = []
        self._in_flight = False
        self._sync_wanted = tail
        self._callbacks: deque[tuple[int, Callable[[Exception | None], None]]] = deque()

    def append(self, entry: e.Entry) -> int:
        """Add ``entry`` to the buffer; returns its index. Raises the error of a broken writer."""
        if self.broken is not None:
            raise self.broken
        name = _PAYLOAD_FIELDS.get(type(entry))
        if name is not None:
            payload = getattr(entry, name)
            if len(payload) > INLINE_BYTES_MAX and type(payload) is not e.BlobRef:
                self._large.append(payload)
                entry = entry._replace(**{name: e.BlobRef(hashlib.sha256(payload).digest(), len(payload))})
        data = encode_entry(entry)
        self._buffer.append(data)
        self._buffered_bytes += len(data)
        index = self.tail
        self.tail = index + 1
        if self._buffered_bytes >= AUTOFLUSH_BYTES:
            self.flush_nowait()
        return index

    def flush_nowait(self) -> None:
        """Start making everything appended so far durable."""
        self._sync_wanted = self.tail
        if not self._in_flight and self._buffer:
            self._flush()

    def when_durable(self, callback: Callable[[Exception | None], None], *, flush: bool = True) -> None:
        """Call ``callback(None)`` once everything appended so far is durable, or ``callback(error)``. Without ``flush`` it
        waits for somebody else's."""
        if self.broken is not None:
            callback(self.broken)
        elif self.durable >= self.tail:
            callback(None)
        else:
            self._callbacks.append((self.tail, callback))
            if flush:
                self.flush_nowait()

    async def commit(self) -> None:
        """Returns when everything appended so far is durable. Raises the storage's error if it cannot be."""
        if self.broken is None and self.durable >= self.tail:
            return
        waiter = Waiter()
        self.when_durable(lambda error: waiter.settle(None, error))
        await waiter.wait()

    # -- flushing -------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._in_flight = True
        if self._large:
            large, self._large = self._large, []
            self._spawn(self._flush_after_blobs, large)
        else:
            self._flush_buffer()

    async def _flush_after_blobs(self, large: list[bytes]) -> None:
        shard = self._key.shard(self._shards.shards_count)
        try:
            for payload in large:
                await self._blobs.put(payload, shard=shard)
        except Golemp2pError as error:
            self._flushed(0, error)
        else:
            self._flush_buffer()

    def _flush_buffer(self) -> None:
        if self.broken is not None:  # abandoned while its blobs were written
            return
        if self._large:  # entries that arrived while blobs were written refer to blobs of their own
            large, self._large = self._large, []
            self._spawn(self._flush_after_blobs, large)
            return
        tail = self.tail
        payloads = _cut(self._first, self._buffer)
        self._buffer = []
        self._buffered_bytes = 0
        self._first = tail
        try:
            self._hash = self._shards.append(
                self._key, payloads, self._hash, self._describe(tail), lambda error: self._flushed(tail, error)
            )
        except Golemp2pError as error:  # the storage takes nothing any more, or never such a thing: nothing was queued
            self._flushed(tail, error)

    def abandon(self, error: Exception) -> None:
        """Write nothing any more: what is appended and not yet under way is dropped, and all who wait get ``error``."""
        if self.broken is not None:
            return
        if not isinstance(error, WorldError | DataDamaged):
            told, error = error, StorageFailed(f"{self._key}: cannot be written: {error}")
            error.__cause__ = told
        self.broken = error
        self._buffer = []
        self._large = []
        self.on_broken(error)
        callbacks, self._callbacks = self._callbacks, deque()
        for _, callback in callbacks:
            callback(error)

    def _flushed(self, tail: int, error: Exception | None) -> None:
        self._in_flight = False
        if error is not None:
            self.abandon(error)
        if self.broken is not None:
            return
        self.durable = tail
        if self._buffer and self._sync_wanted > tail:
            self._flush()
        callbacks = self._callbacks
        while callbacks and callbacks[0][0] <= self.durable:
            callbacks.popleft()[1](None)


def _cut(first: int, encoded: list[bytes]) -> list[Payload]:
    """Pack encoded entries, the first of which has index ``first``, into payloads of at most ``SEGMENT_BYTES_MAX``."""
    payloads: list[Payload] = []
    start, size = 0, 0
    for position, data in enumerate(encoded):
        if size + len(data) > SEGMENT_BYTES_MAX and position > start:
            payloads.append(Payload(first + start, position - start, b"".join(encoded[start:position])))
            start, size = position, 0
        size += len(data)
    payloads.append(Payload(first + start, len(encoded) - start, b"".join(encoded[start:])))
    return payloads


async def all_heads(storage: Storage, kind: str, shards: Collection[int]) -> list[LogHead]:
    """Every head of a kind in these shards, read page by page."""
    found: list[LogHead] = []
    while page := await storage.heads(kind, shards=shards, after=found[-1].identity if found else "", count=HEADS_PER_PAGE):
        found += page
    return found


async def read_log(storage: Storage, head: LogHead) -> list[e.Entry]:
    """All entries of a log up to ``head``, checked: hash chain, newest signature, indexes, expected length. Blobs stay
    references. What became durable after the head was read is left out: its head would be a newer one.

    Raises ``DataDamaged``.
    """
    stored = await storage.read_segments(head.key)
    with _named(head):
        segments = verify_chain(
            [segment.data for segment in stored if segment.first < head.tail],
            log=head.key,
            tail=head.tail,
            head_hash=head.head_hash,
        )
    entries: list[e.Entry] = []
    for number, segment in enumerate(segments):
        with _named(head):
            entries += decode_payload(segment.payload, count=segment.count)
        if number % 512 == 511:
            await trio.lowlevel.checkpoint()
    return entries


async def read_range(storage: Storage, blobs: Blobs, head: LogHead, first: int, count: int) -> list[e.Entry]:
    """Entries ``first`` to ``first + count - 1`` of a log, as far as it has them, checked among themselves. Blobs are read in.

    Raises ``DataDamaged``, and ``Unreachable`` for a blob that cannot be had now.
    """
    last = min(first + count, head.tail) - 1
    if last < first:
        return []
    stored = await storage.read_segments(head.key, first, count)
    entries: list[e.Entry] = []
    with _named(head):
        segments = verify_chain([segment.data for segment in stored], log=head.key, first=None, previous_hash=None)
        for segment in segments:
            entries += decode_payload(segment.payload, count=segment.count)
    begin = segments[0].first if segments else last + 1
    wanted = entries[first - begin : last + 1 - begin] if begin <= first else []
    if len(wanted) != last + 1 - first:
        raise DataDamaged(f"{head.kind} {head.identity}", f"entries {first} to {last} are not all there")
    return [await inline_payload(blobs, head.shard, entry) for entry in wanted]


@contextmanager
def _named(head: LogHead) -> Iterator[None]:
    """Damage found inside is told of the log by its name: nobody knows a worker by its key."""
    try:
        yield
    except DataDamaged as error:
        raise DataDamaged(f"{head.kind} {head.identity}", error.reason) from error


def payload_field(entry: e.Entry) -> str | None:
    """The field of ``entry`` that holds its payload, if it has one: bytes, or a ``BlobRef`` to a blob."""
    return _PAYLOAD_FIELDS.get(type(entry))


async def inline_payload(blobs: Blobs, shard: int, entry: e.Entry) -> e.Entry:
    """``entry``, of a log in ``shard``, with its blob, if it has one, read in: from here, or else from the shard's group. Raises
    ``DataDamaged``, and ``Unreachable`` when it cannot be had now."""
    name = _PAYLOAD_FIELDS.get(type(entry))
    if name is None:
        return entry
    payload: Any = getattr(entry, name)
    if type(payload) is not e.BlobRef:
        return entry
    data = await blobs.get(payload.sha256, size=payload.size_bytes, shard=shard)
    return entry._replace(**{name: data})
