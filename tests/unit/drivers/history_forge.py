"""Histories made by hand: by whoever holds the keys, right or wrong in every way.

forge = Forge()                              a mesh of A (its founder), B and C
forge.worker.elect(A, 1, {A}, by A)          milestones and segments of the worker's log; forge.component likewise
forge.worker.write(A, 1, entries...)
forge.file()                                 all of it as a file
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from golemp2p.drivers.histories.history_check import HistoryCheck
from golemp2p.errors import DataDamaged
from golemp2p.model import entries as e
from golemp2p.model.history import HistoryReport
from golemp2p.model.ids import ComponentId, Key, WorkerId
from golemp2p.model.replication import NO_HASH, Configuration, Content, Election, Entry, Member
from golemp2p.wire import history as h
from golemp2p.wire.certificate import found_mesh
from golemp2p.wire.entry import encode_payload
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.notary import ShardNotary
from golemp2p.wire.segment import seal

A, B, C, STRANGER = (SigningKey(bytes([n]) * 32) for n in range(1, 5))
WASM = b"\0asm" + b"component" * 9
BLOB = b"large " * 20_000


def member(key: SigningKey) -> Member:
    return Member(key.public_key, bytes(16))


def of(*keys: SigningKey) -> tuple[Member, ...]:
    return tuple(member(key) for key in keys)


FOUNDER = Configuration(of(A))
JOINT = Configuration(of(A), (), of(A, B, C))
THREE = Configuration(of(A, B, C))


class LogForge:
    """One log of a shard, and the shard's milestones."""

    def __init__(self, mesh_id: bytes, kind: str, identity: str, shard: int) -> None:
        self.mesh_id, self.kind, self.identity, self.shard = mesh_id, kind, identity, shard
        self.milestones: list[Entry] = []
        self.segments: list[bytes] = []
        self.blobs: dict[int, list[bytes]] = {}  # place of a segment -> blobs that come after it
        self.tail, self.hash = 1, NO_HASH
        self._position, self._hash = 0, NO_HASH

    def milestone(self, author: SigningKey, term: int, content: Content, gap: int = 5) -> None:
        """After ``gap`` entries that are none."""
        self._position += 1 + gap
        previous = b"p" * 32 if gap else self._hash
        notary = ShardNotary(author, mesh_id=self.mesh_id, shard=self.shard)
        digest = self._hash = notary.entry_hash(self._position, term, previous, author.public_key, content)
        signature = notary.sign_entry(digest) if isinstance(content, Configuration) else b""
        self.milestones.append(Entry(self._position, term, previous, author.public_key, content, signature, digest))

    def elect(self, primary: SigningKey, term: int, configuration: Configuration, *voters: SigningKey) -> None:
        votes = tuple(
            (member(voter), ShardNotary(voter, mesh_id=self.mesh_id, shard=self.shard).cast_vote(term, primary.public_key))
            for voter in voters
        )
        self.milestone(primary, term, Election(member(primary), configuration, votes))

    def grow(self) -> None:
        """A is elected in term 1 and takes B and C in."""
        self.elect(A, 1, FOUNDER, A)
        self.milestone(A, 1, JOINT)
        self.milestone(A, 1, THREE)

    def write(
        self, author: SigningKey, term: int, *entries: Any, first: int | None = None, previous: bytes | None = None
    ) -> None:
        """A segment."""
        first = self.tail if first is None else first
        data, digest = seal(
            author,
            key=Key.of(self.kind, self.identity),
            term=term,
            first=first,
            count=len(entries),
            previous_hash=self.hash if previous is None else previous,
            payload=encode_payload(entries),
        )
        self.segments.append(data)
        self.tail, self.hash = first + len(entries), digest

    def add_blob(self, data: bytes) -> None:
        """After the newest segment, which names it."""
        self.blobs.setdefault(len(self.segments), []).append(data)

    def frames(self, sealer: SigningKey, **told: Any) -> list[bytes]:
        """``told``: what the seal says, where it is not the truth."""
        sealing = h.Sealing(self.mesh_id)
        parts: list[h.Frame] = [h.LogOpening(self.kind, self.identity, self.shard)]
        parts += [h.Milestone(entry) for entry in self.milestones]
        for place, segment in enumerate(self.segments, 1):
            parts.append(h.SegmentFrame(segment))
            for data in self.blobs.get(place, ()):
                parts += blob_frames(data)
        facts = {"tail": self.tail, "head_hash": self.hash, "position": 99, "time_ns": 1_700_000_000 * 10**9, **told}
        return [*(sealing.add(h.encode_frame(part)) for part in parts), sealing.sealed(sealer, **facts)]


def blob_frames(data: bytes, name: bytes | None = None) -> list[h.Frame]:
    digest = hashlib.sha256(data).digest() if name is None else name
    pieces = [data[at : at + h.PIECE_BYTES_MAX] for at in range(0, len(data), h.PIECE_BYTES_MAX)]
    return [h.BlobOpening(digest, len(data)), *map(h.BlobPiece, pieces)]


class Forge:
    """``worker`` and ``component`` are the two logs, empty at first; ``told`` and ``sealer`` are for the seals."""

    def __init__(self, *, ephemeral: bool = False, name: str = "w") -> None:
        self.genesis = found_mesh(A, mesh_key=b"m" * 32, shards_count=16, created_ns=1)
        mesh_id = self.genesis.mesh_id
        self.id = WorkerId(ComponentId(uuid.UUID(int=7)), name)
        self.worker = self._log(mesh_id, "worker", str(self.id))
        self.component = self._log(mesh_id, "component", str(self.id.component))
        self.sealer = B
        self.told: dict[str, Any] = {}
        self.wasm: bytes | None = WASM
        self.has_component_log = True
        self.create = e.Create(1, str(self.id.component), name, 0, (), (), None, len(WASM), ephemeral, "node", 65536)
        self.version = e.ComponentVersionAdded(
            1, str(self.id.component), "thing", 0, hashlib.sha256(WASM).digest(), len(WASM), ephemeral, (), b"", b""
        )

    def _log(self, mesh_id: bytes, kind: str, identity: str) -> LogForge:
        return LogForge(mesh_id, kind, identity, Key.of(kind, identity).shard(16))

    def usual(self, *entries: Any) -> Forge:
        """A mesh that grew, a component with one version, a worker that A ran in term 1 (it was created), and B in term 2
        (``entries``)."""
        self.worker.grow()
        self.worker.elect(B, 2, THREE, A, B)
        self.component.grow()
        self.component.write(A, 1, self.version)
        self.worker.write(A, 1, self.create)
        if entries:
            self.worker.write(B, 2, *entries)
        return self

    def frames(self) -> list[bytes]:
        """Without the closing one."""
        opening = h.Opening(self.genesis.birth.encoded(), str(self.id.component), self.id.name)
        frames = [h.encode_frame(opening), *self.worker.frames(self.sealer, **self.told)]
        if self.has_component_log:
            frames += self.component.frames(self.sealer)
        if self.wasm is not None:
            frames += [h.encode_frame(frame) for frame in blob_frames(self.wasm)]
        return frames

    def file(self) -> bytes:
        return closed(self.frames())


def closed(frames: Iterable[bytes]) -> bytes:
    """``frames`` as a file with the right digest at its end, whatever they are."""
    digest = hashlib.blake2b(h.MAGIC, digest_size=32)
    data = b"".join(frames)
    digest.update(data)
    return h.MAGIC + data + h.encode_frame(h.Closing(digest.digest()))


def cut(file: bytes) -> list[bytes]:
    """The frames of a sound file, without the closing one."""
    return list(h.FrameSplitter().feed(file))[:-1]


def checked(
    file: bytes, mesh_id: bytes | None = None, fed: Callable[[bytes], Iterable[bytes]] = lambda data: [data]
) -> HistoryReport:
    """What a check of the bytes finds. ``fed``: how they come."""
    return check_of(file, mesh_id, fed).report


def check_of(
    file: bytes, mesh_id: bytes | None = None, fed: Callable[[bytes], Iterable[bytes]] = lambda data: [data]
) -> HistoryCheck:
    check, splitter, at = HistoryCheck(mesh_id), h.FrameSplitter(), len(h.MAGIC)
    try:
        for data in fed(file):
            for frame in splitter.feed(data):
                check.frame(frame, at)
                at += len(frame)
        splitter.end()
    except DataDamaged as error:
        check.break_off(error)
    check.end()
    return check


def wrong(report: HistoryReport) -> str:
    return "; ".join(str(problem) for problem in report.wrong.listed)


def unshown(report: HistoryReport) -> str:
    return "; ".join(str(problem) for problem in report.unshown.listed)
