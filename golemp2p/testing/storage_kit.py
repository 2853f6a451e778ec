"""What tests of storage write with: a shard's log as its primary makes it, and the other end of ``submit``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import (
    EMPTY_LOG,
    NO_HASH,
    Base,
    Branch,
    Content,
    Deletion,
    Election,
    Entry,
    Head,
    LogSegment,
    Member,
    base_at_birth,
)
from golemp2p.ports import Batch, LogHead, Storage, StoredSegment
from golemp2p.wire.certificate import MESH_ID_BYTES
from golemp2p.wire.description import Description, encode_description
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.notary import ShardNotary
from golemp2p.wire.segment import seal

IDENTITIES = ["", "a", "a/", "a/b", "a/b\x00c", "a/é", "aé", "b", "é", "ﬀ", "\ue000", "\U0001f41d", "\U0010ffff", "\U0010ffffz"]
NODE = SigningKey(bytes(range(32)))
MEMBER = Member(NODE.public_key, bytes(range(16)))
SHARD = 7
EMPTY_ENTRY = b"\x82\x05\x00"  # [5, 0], a NoOp at time 0


def key_of(identity: str, kind: str = "worker") -> Key:
    return Key.of(kind, identity)


class Group:
    """A shard's log as its only voter writes it: entries that follow each other, segments that are sealed and follow theirs.

    ``heads``: where each log ends now. Nothing is stored by this: it makes the writes.
    """

    def __init__(
        self, shard: int = SHARD, *, signer: SigningKey = NODE, term: int = 1, mesh_id: bytes = bytes(MESH_ID_BYTES)
    ) -> None:
        self.shard, self.term, self.signer = shard, term, signer
        self.notary = ShardNotary(signer, mesh_id=mesh_id, shard=shard)
        self.base = base_at_birth(MEMBER)
        self.position, self.hash = 0, NO_HASH
        self.heads: dict[Key, Head] = {}
        self.commit = 0

    def segment(
        self, identity: str, count: int = 1, *, kind: str = "worker", payload: bytes = b"", padding: bytes = b"",
        described: bool = True, open_work: bool = False, wake_ns: int | None = None, summary: bytes = b"",
    ) -> LogSegment:  # fmt: skip
        """The next one of a log: of ``payload``, or of empty entries with some ``padding`` that nobody can read."""
        log = Key.of(kind, identity)
        head = self.heads.get(log, EMPTY_LOG)
        said = encode_description(Description(kind, identity, open_work, wake_ns, summary)) if described else b""
        data, own_hash = seal(
            self.signer, key=log, term=self.term, first=head.tail, count=count, previous_hash=head.hash,
            payload=payload or EMPTY_ENTRY * count + padding,
        )  # fmt: skip
        self.heads[log] = Head(head.tail + count, own_hash)
        return LogSegment(log, self.term, head.tail, count, head.hash, self.signer.public_key, own_hash, data, said)

    def election(self) -> Election:
        """Of this term."""
        configuration = self.base.configuration
        vote = self.notary.cast_vote(self.term, self.signer.public_key)
        return Election(Member(self.signer.public_key, MEMBER.store_id), configuration, ((MEMBER, vote),))

    def entry(self, content: Content) -> Entry:
        self.position += 1
        before, author = self.hash, self.signer.public_key
        self.hash = self.notary.entry_hash(self.position, self.term, before, author, content)
        if isinstance(content, Deletion):
            del self.heads[content.log]
        signature = b"" if isinstance(content, LogSegment | Election | Branch) else self.notary.sign_entry(self.hash)
        return Entry(self.position, self.term, before, author, content, signature, self.hash)

    def record(self) -> ReplicaRecord:
        return ReplicaRecord(self.term, MEMBER, self.commit, (self.term, self.position), True)

    def write(self, *contents: Content) -> ReplicaWrite:
        entries = tuple(self.entry(content) for content in contents)
        return ReplicaWrite(self.shard, self.record(), entries=entries)

    def append(self, identity: str, count: int = 1, **said: object) -> ReplicaWrite:
        return self.write(self.segment(identity, count, **said))  # type: ignore[arg-type]

    def birth(self) -> ReplicaWrite:
        return ReplicaWrite(self.shard, self.record(), base=self.base)

    def compacted(self, *logs: Key, base: Base | None = None) -> ReplicaWrite:
        """Everything so far is committed and compacted. ``logs``: those that changed since the last time."""
        self.commit = self.position
        author = self.signer.public_key
        self.base = base or replace(self.base, position=self.position, term=self.term, hash=self.hash, author=author)
        return ReplicaWrite(self.shard, self.record(), base=self.base, heads=tuple((log, self.heads.get(log)) for log in logs))


def stored(write: ReplicaWrite) -> list[StoredSegment]:
    """The segments among the entries of ``write``, as they are read back."""
    return [
        StoredSegment(s.log, s.first, s.count, s.term, entry.position, s.data)
        for entry in write.entries
        if isinstance(s := entry.content, LogSegment)
    ]


def head_of(
    segment: LogSegment, identity: str, *, kind: str = "worker", shard: int = SHARD, open_work: bool = False,
    wake_ns: int | None = None, summary: bytes = b"",
) -> LogHead:  # fmt: skip
    """The head of a log whose newest segment is ``segment``."""
    tail = segment.first + segment.count
    return LogHead(segment.log, kind, identity, shard, tail, segment.hash, open_work, wake_ns, summary)


def undescribed(log: Key, head: Head, shard: int = SHARD) -> LogHead:
    return LogHead(log, "", "", shard, head.tail, head.hash, False, None, b"")


class Writing:
    """Submits, and remembers the outcomes in the order they came."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.outcomes: list[tuple[int, Exception | None]] = []
        self._submitted = 0
        self._progress = trio.Event()

    def submit(self, batch: Batch | ReplicaWrite) -> int:
        number = self._submitted

        def done(error: Exception | None) -> None:
            self.outcomes.append((number, error))
            self._progress.set()

        self.storage.submit(batch if isinstance(batch, Batch) else Batch([batch]), done)
        self._submitted += 1
        return number

    async def finish(self) -> list[Exception | None]:
        """Waits for all; their errors in the order of submission."""
        while len(self.outcomes) < self._submitted:
            await self._progress.wait()
            self._progress = trio.Event()
        return [error for _, error in sorted(self.outcomes, key=lambda outcome: outcome[0])]


async def commit(storage: Storage, *batches: Batch | ReplicaWrite) -> None:
    """Raises what the first ``done`` with an error was given."""
    writing = Writing(storage)
    for batch in batches:
        writing.submit(batch)
    for error in await writing.finish():
        if error is not None:
            raise error


def plain(write: ReplicaWrite) -> list[LogSegment]:
    """The segments among the entries of ``write``, as another node gets them."""
    return [replace(s, description=b"") for entry in write.entries if isinstance(s := entry.content, LogSegment)]


def without_bytes(segment: LogSegment) -> LogSegment:
    return replace(segment, data=b"", description=b"")


async def pieces(
    storage: Storage, log: Key, *, shard: int = SHARD, first: int = 1, tail: int = 1 << 62, position: int = 0,
    count_max: int = 1 << 20, bytes_max: int = 1 << 30,
) -> list[LogSegment]:  # fmt: skip
    return await storage.replica_segments(
        shard, log, first=first, tail=tail, position=position, count_max=count_max, bytes_max=bytes_max
    )


class OpenStorage:
    """Of every suite: says how to open a storage."""

    async def open(self, folder: Path) -> Storage:
        raise NotImplementedError

    @pytest.fixture
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        storage = await self.open(tmp_path)
        yield storage
        await storage.aclose()
