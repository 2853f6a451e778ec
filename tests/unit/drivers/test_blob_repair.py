"""Replicas that lack blobs which their logs name get them, sooner or later, and want no others."""

from __future__ import annotations

import hashlib

import pytest
import trio
from component_nodes import Mesh

from golemp2p.drivers.blobs.blob_repair import WANTED_MAX, BlobRepair, named_in
from golemp2p.drivers.oplog import INLINE_BYTES_MAX
from golemp2p.model import entries as e
from golemp2p.testing.guests import ScriptedGuests

WASM = ScriptedGuests.wasm("one")


def large(number: int) -> bytes:
    return bytes([number]) * (INLINE_BYTES_MAX + 1)


def ref(data: bytes) -> e.BlobRef:
    return e.BlobRef(hashlib.sha256(data).digest(), len(data))


def call(response):
    return e.ImportedFunctionInvoked(1, "f", "read-remote", bytes(16), response)


@pytest.fixture
def mesh(nursery, tmp_path):
    return Mesh(nursery, tmp_path, one={})


async def written(mesh, leader, name, *entries):
    """Written by ``leader``; the head and the segments."""
    writer = mesh.writer(leader, name)
    for entry in entries:
        writer.append(entry)
    await writer.commit()
    (head,) = [head for head in leader.disk.log_heads.values() if head.identity == name]
    return head, [segment.data for segment in leader.disk.segments[head.key]]


async def test_what_segments_name(mesh, autojump_clock):
    a, components = mesh.add("a")
    mesh.lead(a)
    _, segments = await written(mesh, a, "log", e.NoOp(1), call(large(1)), call(b"small"), call(large(2)))
    assert [each for data in segments for each in named_in(data)] == [ref(large(1)), ref(large(2))]
    await components.add("c", WASM, ephemeral=False, env={})
    (data,) = [s.data for key, held in a.disk.segments.items() for s in held if a.disk.log_heads[key].kind == "component"]
    assert list(named_in(data)) == [ref(WASM)]
    assert list(named_in(data[:-1])) == []


async def test_a_replica_that_was_away_gets_what_it_missed(mesh, nursery, autojump_clock):
    (a, _), (b, _), (c, _) = (mesh.add(name) for name in "abc")
    mesh.lead(a, b, c)
    mesh.nodes.down.add(c.own)
    head, segments = await written(mesh, a, "log", call(large(1)), call(large(2)))
    await trio.sleep(60)
    assert not c.disk.has(large(1))
    repair = BlobRepair(c.blobs, c.disk)
    nursery.start_soon(repair.run)
    repair.want_segments(head.shard, segments)
    await trio.sleep(30)  # nobody can be reached yet
    assert repair.statistics()["blobs_wanted"] == 2
    mesh.nodes.down.clear()
    await trio.sleep(60)
    assert c.disk.has(large(1))
    assert c.disk.has(large(2))
    assert repair.statistics() == {"blobs_wanted": 0, "blobs_kept_total": 2, "blobs_not_wanted_total": 0}
    repair.want(head.shard, [ref(large(1))])
    await trio.sleep(0.1)
    assert repair.statistics()["blobs_wanted"] == 0
    nursery.cancel_scope.cancel()


async def test_a_shard_that_came_as_a_whole_is_scanned(mesh, nursery, autojump_clock):
    (a, _), (b, _) = mesh.add("a"), mesh.add("b")
    mesh.lead(a)
    heads = []
    for number in range(5):
        writer = mesh.writer(a, str(number))
        for turn in range(20):  # more segments than one page
            writer.append(call(large(number)) if turn == 19 else e.NoOp(turn))
            await writer.commit()
        heads += [head for head in a.disk.log_heads.values() if head.identity == str(number)]
    mesh.lead(a, b)
    b.disk.segments, b.disk.log_heads = dict(a.disk.segments), dict(a.disk.log_heads)
    repair = BlobRepair(b.blobs, b.disk, kinds=("test",))
    nursery.start_soon(repair.run)
    here = heads[0].shard
    await repair.scan(here)
    await trio.sleep(1)
    assert [b.disk.has(large(int(head.identity))) for head in heads] == [head.shard == here for head in heads]
    nursery.cancel_scope.cancel()


async def test_what_is_wanted_is_bounded_and_forgotten_with_its_shard(mesh):
    a, _ = mesh.add("a")
    repair = BlobRepair(a.blobs, a.disk)
    refs = [e.BlobRef(number.to_bytes(32, "big"), 1) for number in range(WANTED_MAX + 5)]
    repair.want(1, refs[:10])
    repair.want(1, refs[:10])
    repair.want(2, refs[10:])
    assert repair.statistics()["blobs_wanted"] == WANTED_MAX
    assert repair.statistics()["blobs_not_wanted_total"] == 5
    repair.forget(2)
    repair.forget(3)
    assert repair.statistics()["blobs_wanted"] == 10


async def test_a_blob_that_nobody_has_does_not_keep_others_waiting(mesh, nursery, autojump_clock):
    (a, _), (b, _) = mesh.add("a"), mesh.add("b")
    mesh.lead(a, b)
    await a.disk.put_blob(large(2))
    repair = BlobRepair(b.blobs, b.disk)
    nursery.start_soon(repair.run)
    repair.want(1, [ref(large(1)), ref(large(2))])
    await trio.sleep(5)
    assert b.disk.has(large(2))
    asked = len(b.asked)
    await trio.sleep(600)
    assert len(b.asked) - asked < 20
    await a.disk.put_blob(large(1))
    await trio.sleep(61)
    assert b.disk.has(large(1))
    nursery.cancel_scope.cancel()
