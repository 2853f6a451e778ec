"""Blobs in the storages that nodes really have: a fetched file is a blob like any other, and what a crash leaves is cleared away."""

from __future__ import annotations

import hashlib

import pytest
import trio
from blob_nodes import Nodes

from golemp2p.drivers.blobs.blob_files import PIECE_BYTES
from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.storage.memory import MemoryStorage
from golemp2p.storage.sqlite import SqliteStorage
from golemp2p.wire.call_kinds import BLOB

SMALL, LARGE = bytes(range(256)) * 1_000, bytes(range(256)) * 12_000


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.fixture
def peer(nursery):
    return Nodes(nursery).add("b")


def over(storage, peer, nursery):
    asker = peer.nodes.add("a")
    return Blobs(storage, asker, spawn=nursery.start_soon)


@pytest.mark.parametrize("data", [SMALL, LARGE])
@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_what_was_fetched_is_a_blob_of_this_storage(peer, nursery, tmp_path, kind, data):
    storage = await SqliteStorage.open(tmp_path) if kind == "sqlite" else MemoryStorage()
    blobs = over(storage, peer, nursery)
    await peer.disk.put_blob(data)
    path = await blobs.ensure(sha(data), len(data), [peer.own])
    assert path == storage.blob_path(sha(data))
    assert await storage.has_blob(sha(data))
    assert await storage.get_blob(sha(data)) == data
    peer.disk.blobs.clear()
    assert await blobs.get(sha(data), size=len(data)) == data
    await storage.aclose()


async def test_what_a_crash_leaves_of_a_fetch_is_removed_at_the_next_start(peer, tmp_path):
    begun = trio.Event()

    async def stuck(asked):
        await asked.send(LARGE[: 4 * PIECE_BYTES])
        await asked.send(b"more")
        begun.set()
        await trio.sleep_forever()

    peer.calls[BLOB] = stuck
    storage = await SqliteStorage.open(tmp_path)
    async with trio.open_nursery() as inner:
        inner.start_soon(over(storage, peer, inner).ensure, sha(LARGE), len(LARGE), [peer.own])
        await begun.wait()
        left = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert [path.suffix for path in left] == [".partial"]
        copy = left[0].read_bytes()
        inner.cancel_scope.cancel()
    assert not left[0].exists()
    await storage.aclose()
    left[0].write_bytes(copy)
    storage = await SqliteStorage.open(tmp_path)
    assert not left[0].exists()
    await storage.aclose()


async def test_what_a_sqlite_storage_gives_away_is_what_it_has(peer, nursery, tmp_path):
    storage = await SqliteStorage.open(tmp_path)
    blobs = over(storage, peer, nursery)
    for data in (SMALL, LARGE):
        await storage.put_blob(data)
    asker = peer.nodes.nodes[b"a" * 32]
    asker.calls[BLOB] = blobs.serve_blob
    for data in (SMALL, LARGE):
        assert await peer.blobs.get(sha(data), size=len(data), holders=[asker.own]) == data
    assert peer.asked == [asker.own] * 2
    await storage.aclose()
