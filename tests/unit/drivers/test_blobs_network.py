"""Blobs over the real network: sealed records, credit, cancelled transfers, over streams in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from blob_nodes import Disk

from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.errors import Moved, Unreachable
from golemp2p.mesh.network import Network
from golemp2p.mesh.opening import Identity
from golemp2p.ports import Bulk
from golemp2p.testing.streams import MemoryStreams
from golemp2p.wire.blob_calls import encode_held
from golemp2p.wire.call_kinds import BLOB, BLOB_OFFER
from golemp2p.wire.identity import SigningKey

DATA = bytes(range(256)) * 20_000  # ten windows


class Node:
    """A network's owner, and ``ports.Mesh`` over it. All are voters of every shard, and the first leads them."""

    shards_count = 4

    def __init__(self, name: str, streams: MemoryStreams, nursery: trio.Nursery, folder: Any = None) -> None:
        key = SigningKey(name.encode() * 32)
        self.own = key.public_key
        self.address = f"{name}:1"
        self.disk = Disk(folder)
        self.all: list[Node] = []
        self.blobs = Blobs(self.disk, self, spawn=nursery.start_soon)  # type: ignore[arg-type]
        self.calls = {BLOB: self.blobs.serve_blob, BLOB_OFFER: self.blobs.serve_offer}
        identity = Identity(key, b"m" * 32, Random(name).randbytes, self.own[:16], (1, 1))
        self.network = Network(identity, self, streams=streams, dice=Random(name))  # type: ignore[arg-type]

    # -- the network's owner

    def connected(self, peer: bytes) -> None: ...

    def disconnected(self, peer: bytes, reason: Exception) -> None: ...

    def message(self, peer: bytes, message: Any) -> None: ...

    def misbehaved(self, peer: bytes | None, what: Exception) -> None: ...

    def notice(self, notice: Any) -> None: ...

    async def serve(self, call: Any) -> bytes:
        return await self.calls[call.kind](call)

    # -- ports.Mesh

    def is_ready(self, shard: int) -> bool:
        return self.all[0] is self

    def holders(self, shard: int) -> list[bytes]:
        return [node.own for node in self.all]

    def members(self) -> list[Any]:
        return [SimpleNamespace(public_key=node.own) for node in self.all]

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        return await self.network.request(peer, kind, payload, deadline_s=deadline_s)

    def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AbstractAsyncContextManager[Bulk]:
        return self.network.fetch(peer, kind, payload, progress_s=progress_s)


@asynccontextmanager
async def world(*names: str, folder: Any = None) -> AsyncIterator[list[Node]]:
    """Nodes that run and know each other; the first has its blobs in ``folder``."""
    streams = MemoryStreams()
    async with trio.open_nursery() as nursery:
        nodes = [Node(name, streams, nursery, folder if name == names[0] else None) for name in names]
        for node in nodes:
            node.all = nodes
            await nursery.start(node.network.run, [node.address])
            for other in nodes:
                if other is not node:
                    node.network.learn(other.own, [other.address])
        yield nodes
        nursery.cancel_scope.cancel()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def test_a_group_gets_a_payload_and_a_component_comes_as_a_file(tmp_path):
    async with world("a", "b", "c", folder=tmp_path) as (a, b, c):
        sha256 = await a.blobs.put(DATA, shard=1)
        assert b.disk.has(DATA) or c.disk.has(DATA)
        with pytest.raises(Moved):
            await b.blobs.put(DATA, shard=1)
        for path in a.disk.folder.rglob("*"):
            if path.is_file():
                path.unlink()
        path = await a.blobs.ensure(sha256, len(DATA))
        assert path is not None
        assert path.read_bytes() == DATA


async def test_a_connection_that_breaks_midway_is_made_up_for_by_another_peer():
    async with world("a", "b", "c") as (a, b, c):
        for node in (b, c):
            await node.disk.put_blob(DATA)

        async def breaks(call):
            await call.send(DATA[:1_000_000])
            b.network.close()
            await trio.sleep_forever()

        b.calls[BLOB] = breaks
        assert await a.blobs.get(sha(DATA), size=len(DATA), holders=[b.own, c.own]) == DATA
        statistics = a.blobs.statistics()
        assert statistics["blobs_resumed_total"] == 1
        assert c.blobs.statistics()["blobs_served_bytes_total"] < len(DATA)


async def test_an_endless_answer_is_cancelled_and_the_connection_stays():
    async with world("a", "b") as (a, b):
        ended = trio.Event()

        async def endless(call):
            try:
                while True:
                    await call.send(bytes(100_000))
            finally:
                ended.set()

        b.calls[BLOB] = endless
        with pytest.raises(Exception, match="gave wrong bytes"):
            await a.blobs.get(sha(DATA), size=len(DATA), holders=[b.own])
        with trio.fail_after(5):
            await ended.wait()
        b.calls[BLOB] = b.blobs.serve_blob
        other = DATA[1:]
        await b.disk.put_blob(other)
        assert await a.blobs.get(sha(other), size=len(other), holders=[b.own]) == other
        assert b.network.statistics().accepted <= 1


async def test_who_gives_bytes_too_slowly_is_left(autojump_clock):
    async with world("a", "b") as (a, b):

        async def slow(call):
            for at in range(len(DATA)):
                await trio.sleep(1)
                await call.send(DATA[at : at + 1])
            return encode_held(held=True)

        b.calls[BLOB] = slow
        with pytest.raises(Unreachable):
            await a.blobs.get(sha(DATA), size=len(DATA), holders=[b.own])
        assert trio.current_time() < 60
