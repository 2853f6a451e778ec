"""A log's writer and readers, where they meet a storage that goes on meanwhile or refuses; payloads that are too large for a log."""

from __future__ import annotations

import hashlib

import pytest
import trio
from blob_nodes import Node
from component_nodes import Mesh

from golemp2p.drivers.oplog import INLINE_BYTES_MAX, all_heads, read_log, read_range
from golemp2p.errors import DataDamaged, Moved, StorageFailed, StorageFull, Unreachable, UsageError
from golemp2p.model import entries as e
from golemp2p.model.ids import Key

KEY = Key.of("test", "log")
LARGE = bytes(INLINE_BYTES_MAX + 1)


def call(response):
    return e.ImportedFunctionInvoked(1, "f", "read-remote", bytes(16), response)


@pytest.fixture
def mesh(nursery, tmp_path):
    return Mesh(nursery, tmp_path)


async def test_what_became_durable_after_the_head_was_read_is_not_damage(mesh):
    a, _ = mesh.add("a")
    mesh.lead(a)
    writer = mesh.writer(a, "log")
    writer.append(e.NoOp(1))
    await writer.commit()
    head = await a.disk.head(KEY)
    writer.append(e.NoOp(2))
    await writer.commit()
    assert await read_log(a.disk, head) == [e.NoOp(1)]
    assert await all_heads(a.disk, "test", range(a.shards_count)) == [await a.disk.head(KEY)]


async def test_a_writer_whose_segment_is_refused_at_the_door_is_broken_and_tells_everybody(mesh, monkeypatch):
    a, _ = mesh.add("a")
    mesh.lead(a)
    writer, told = mesh.writer(a, "log"), []
    writer.on_broken = told.append

    def refuse(*_):
        raise UsageError("no such thing can be stored")

    monkeypatch.setattr(mesh.shards[a.own], "append", refuse)
    writer.append(e.NoOp(1))
    with pytest.raises(StorageFailed, match="no such thing"), trio.fail_after(1):
        await writer.commit()
    assert told == [writer.broken]
    with pytest.raises(StorageFailed, match="no such thing"):
        writer.append(e.NoOp(2))


async def test_a_large_payload_is_with_a_majority_before_the_segment_that_names_it(mesh, monkeypatch, autojump_clock):
    nodes = [mesh.add(name)[0] for name in "abc"]
    a, b, c = nodes
    mesh.lead(a, b, c)
    mesh.nodes.down.add(c.own)
    shards = mesh.shards[a.own]
    had, append = [], shards.append

    def note(*arguments):
        had.append([node.disk.has(LARGE) for node in nodes])
        return append(*arguments)

    monkeypatch.setattr(shards, "append", note)
    writer = mesh.writer(a, "log")
    writer.append(e.NoOp(1))
    writer.append(call(LARGE))
    await writer.commit()
    assert had == [[True, True, False]]
    ref = e.BlobRef(hashlib.sha256(LARGE).digest(), len(LARGE))
    head = await a.disk.head(KEY)
    assert await read_log(a.disk, head) == [e.NoOp(1), call(ref)]
    assert await read_range(a.disk, a.blobs, head, 1, 2) == [e.NoOp(1), call(LARGE)]


async def test_without_a_majority_for_the_payload_nothing_is_appended(mesh, autojump_clock):
    (a, _), (b, _) = mesh.add("a"), mesh.add("b")
    mesh.lead(a, b)
    mesh.nodes.down.add(b.own)
    writer = mesh.writer(a, "log")
    writer.append(call(LARGE))
    with pytest.raises(Unreachable):
        await writer.commit()
    assert mesh.shards[a.own].appended == []
    a.disk.is_full = True
    full = mesh.writer(a, "log")
    full.append(call(LARGE))
    with pytest.raises(StorageFull):
        await full.commit()


async def test_a_shard_that_is_lost_meanwhile_breaks_the_writer(mesh, autojump_clock):
    (a, _), (b, _) = mesh.add("a"), mesh.add("b")
    mesh.lead(a, b)
    mesh.nodes.down.add(b.own)
    writer = mesh.writer(a, "log")
    writer.append(call(LARGE))
    writer.flush_nowait()
    await trio.sleep(1)
    mesh.lead(b, a)
    with pytest.raises(Moved):
        await writer.commit()


async def test_what_arrives_while_a_payload_is_given_away_is_written_after_it(mesh):
    (a, _), (b, _) = mesh.add("a"), mesh.add("b")
    mesh.lead(a, b)
    writer = mesh.writer(a, "log")
    writer.append(call(LARGE))
    writer.flush_nowait()
    second = bytes([1]) + LARGE
    writer.append(call(second))
    writer.append(e.NoOp(3))
    await writer.commit()
    assert b.disk.has(LARGE)
    assert b.disk.has(second)
    head = await b.disk.head(KEY)
    assert await read_range(b.disk, b.blobs, head, 1, 3) == [call(LARGE), call(second), e.NoOp(3)]


async def test_a_payload_that_this_node_lacks_is_read_from_the_group(mesh, monkeypatch):
    monkeypatch.setattr(Node, "members", lambda self: [])
    (a, _), (b, _) = mesh.add("a"), mesh.add("b")
    mesh.lead(a, b)
    writer = mesh.writer(a, "log")
    writer.append(call(LARGE))
    await writer.commit()
    b.disk.blobs.clear()
    head = await b.disk.head(KEY)
    assert await read_range(b.disk, b.blobs, head, 1, 1) == [call(LARGE)]
    assert b.disk.has(LARGE)
    a.disk.blobs.clear()
    b.disk.blobs.clear()
    with pytest.raises(DataDamaged, match="missing, here and with every node"):
        await read_range(b.disk, b.blobs, head, 1, 1)
