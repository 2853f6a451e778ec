"""Nodes in one process that keep blobs: real ``Blobs`` over fake storages, joined by a fake mesh that breaks where a test wants it to.

Where the mesh is not like the real one: nothing takes time, a chunk is handed over when it is taken, requests are not repeated, and who
leads or votes is what the test says. Hostile nodes are functions in the place of ``serve_blob``.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio

from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.errors import ConnectionLost, DataDamaged, DeadlineExceeded, Golemp2pError, StorageFull, Unreachable
from golemp2p.model.ids import Key
from golemp2p.ports import Asked, LogHead, StoredSegment
from golemp2p.wire.call_kinds import BLOB, BLOB_OFFER

CHUNK_BYTES = 48 << 10
SHARDS = 4


class Disk:
    """``ports.Storage`` as far as blobs and reading logs go; with ``folder``, blobs are files. ``is_full``: takes no blob."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.blobs: dict[bytes, bytes] = {}
        self.segments: dict[Key, list[StoredSegment]] = {}
        self.log_heads: dict[Key, LogHead] = {}
        self.is_full = False

    async def put_blob(self, data: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.is_full:
            raise StorageFull("no space left")
        sha256 = hashlib.sha256(data).digest()
        path = self.blob_path(sha256)
        if path is None:
            self.blobs[sha256] = bytes(data)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return sha256

    async def get_blob(self, sha256: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        path = self.blob_path(sha256)
        data = self.blobs.get(sha256) if path is None else path.read_bytes() if path.exists() else None
        if data is None or hashlib.sha256(data).digest() != sha256:
            raise DataDamaged(f"blob:{sha256.hex()}", "missing or wrong")
        return data

    def blob_path(self, sha256: bytes) -> Path | None:
        return None if self.folder is None else self.folder / sha256.hex()[:2] / sha256.hex()

    def has(self, data: bytes) -> bool:
        sha256 = hashlib.sha256(data).digest()
        path = self.blob_path(sha256)
        return sha256 in self.blobs if path is None else path.exists() and path.read_bytes() == data

    def files(self) -> list[str]:
        return [] if self.folder is None else sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    # -- logs

    async def head(self, log: Key) -> LogHead | None:
        await trio.lowlevel.checkpoint()
        return self.log_heads.get(log)

    async def heads(
        self, kind: str, *, shards: Collection[int], prefix: str = "", after: str = "", count: int = 100
    ) -> list[LogHead]:
        await trio.lowlevel.checkpoint()
        found = [head for head in self.log_heads.values() if head.kind == kind and head.shard in shards]
        found = [head for head in found if head.identity > after and head.identity.startswith(prefix)]
        return sorted(found, key=lambda head: head.identity)[:count]

    async def read_segments(self, log: Key, first: int = 1, count: int | None = None) -> list[StoredSegment]:
        await trio.lowlevel.checkpoint()
        return [each for each in self.segments.get(log, ()) if each.first + each.count > first][:count]


class Call:
    """``ports.Asked``."""

    def __init__(self, peer: bytes, payload: bytes, chunks: trio.MemorySendChannel[bytes] | None = None) -> None:
        self.peer = peer
        self.payload = payload
        self._chunks = chunks

    async def send(self, chunk: bytes) -> None:
        assert self._chunks is not None, "the asker wants no chunks"
        for start in range(0, len(chunk), CHUNK_BYTES):
            await self._chunks.send(chunk[start : start + CHUNK_BYTES])


Serve = Callable[[Asked], Awaitable[bytes]]
ServeForward = Callable[[int, str, bytes], Awaitable[bytes]]


class Nodes:
    """All of them. ``voters[shard]`` are keys, ``primaries[shard]`` one; ``down`` cannot be reached; ``breaks[asker, peer]``: after so
    many bytes the next transfers break."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.spawn = nursery.start_soon
        self.nodes: dict[bytes, Node] = {}
        self.voters: dict[int, list[bytes]] = {}
        self.primaries: dict[int, bytes] = {}
        self.down: set[bytes] = set()
        self.breaks: dict[tuple[bytes, bytes], list[int]] = {}

    def add(self, name: str, folder: Path | None = None, **options: Any) -> Node:
        node = Node(name.encode() * 32, self, folder, **options)
        self.nodes[node.own] = node
        return node

    def group(self, shard: int, *nodes: Node) -> None:
        """``nodes`` are the voters, the first of them leads."""
        self.voters[shard] = [node.own for node in nodes]
        self.primaries[shard] = nodes[0].own

    def reach(self, asker: bytes, peer: bytes) -> Node:
        if peer in self.down or asker in self.down or peer not in self.nodes:
            raise Unreachable("no connection", 0.1)
        return self.nodes[peer]


class Node:
    """``asked``: the transfers that this node began, as (peer, kind). It is its own ``ports.Mesh``."""

    def __init__(self, own: bytes, nodes: Nodes, folder: Path | None, **options: Any) -> None:
        self.own = own
        self.nodes = nodes
        self.disk = Disk(folder)
        self.asked: list[bytes] = []
        self.blobs = Blobs(self.disk, self, spawn=nodes.spawn, **options)  # type: ignore[arg-type]
        self.calls: dict[int, Serve] = {BLOB: self.blobs.serve_blob, BLOB_OFFER: self.blobs.serve_offer}
        self.serve_forward: ServeForward | None = None
        self.asks_count = 0

    # -- ports.Mesh

    shards_count = SHARDS

    def is_ready(self, shard: int) -> bool:
        return self.nodes.primaries.get(shard) == self.own

    def ready_shards(self) -> Sequence[int]:
        return [shard for shard in range(SHARDS) if self.is_ready(shard)]

    def primary(self, shard: int) -> bytes | None:
        return self.nodes.primaries.get(shard)

    def holders(self, shard: int) -> Sequence[bytes]:
        return self.nodes.voters.get(shard, [])

    def members(self) -> Sequence[Any]:
        others = [key for key in self.nodes.nodes if key != self.own]
        return [SimpleNamespace(public_key=key) for key in (self.own, *others)]

    async def ask(self, shard: int, key: str, payload: bytes, *, deadline_s: float) -> bytes:
        self.asks_count += 1
        await trio.lowlevel.checkpoint()
        leader = self.nodes.primaries.get(shard)
        if leader is None or leader in self.nodes.down:
            raise DeadlineExceeded("nobody leads the shard")
        serve = self.nodes.nodes[leader].serve_forward
        assert serve is not None
        return await serve(shard, key, payload)

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        await trio.lowlevel.checkpoint()
        node = self.nodes.reach(self.own, peer)
        with trio.move_on_after(deadline_s):
            return await node.calls[kind](Call(self.own, payload))
        raise DeadlineExceeded("no answer")

    @asynccontextmanager
    async def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AsyncIterator[Transfer]:
        self.asked.append(peer)
        await trio.lowlevel.checkpoint()
        node = self.nodes.reach(self.own, peer)
        breaks = self.nodes.breaks.get((self.own, peer))
        transfer = Transfer(progress_s, breaks.pop(0) if breaks else None)
        self.nodes.spawn(transfer.serve, node.calls[kind], self.own, payload)
        try:
            yield transfer
        finally:
            transfer.scope.cancel()


class Transfer:
    """``ports.Bulk``. ``breaks_at``: bytes after which the connection is lost."""

    def __init__(self, progress_s: float, breaks_at: int | None) -> None:
        self.scope = trio.CancelScope()
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._progress_s = progress_s
        self._left = breaks_at
        self._answer: bytes | None = None
        self._error: Golemp2pError | None = None

    async def serve(self, serve: Serve, peer: bytes, payload: bytes) -> None:
        with self.scope:
            async with self._send:
                try:
                    self._answer = await serve(Call(peer, payload, self._send))
                except Golemp2pError as error:
                    self._error = error
                except trio.BrokenResourceError:
                    pass

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            chunk = await self._next()
            if chunk is None:
                return
            if self._left is not None:
                cut, self._left = chunk[: self._left], self._left - len(chunk)
                if self._left < 0:
                    if cut:
                        yield cut
                    raise ConnectionLost("reset")
            yield chunk

    async def _next(self) -> bytes | None:
        with trio.move_on_after(self._progress_s) as scope:
            try:
                return await self._receive.receive()
            except trio.EndOfChannel:
                if self._error is not None:
                    raise self._error from None
                return None
        assert scope.cancelled_caught
        raise DeadlineExceeded("the next chunk did not come")

    @property
    def final(self) -> bytes:
        assert self._answer is not None
        return self._answer
