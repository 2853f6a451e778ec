"""Blobs that a group must have before a log names them: how many are enough, who may offer, and what happens when too few are there."""

from __future__ import annotations

import hashlib

import pytest
import trio
from blob_nodes import Call, Nodes

from golemp2p.errors import MalformedRequest, Moved, Overloaded, PayloadTooLarge, Unreachable
from golemp2p.wire.blob_calls import BlobOffer, encode_offer
from golemp2p.wire.call_kinds import BLOB_OFFER

DATA = bytes(range(256)) * 1_000
SHA = hashlib.sha256(DATA).digest()


@pytest.fixture
def nodes(nursery):
    return Nodes(nursery)


def offer(shard=1, extra=0):
    return encode_offer(BlobOffer(SHA, len(DATA) + extra, shard))


async def test_a_single_voter_has_nobody_to_ask(nodes):
    a, b = nodes.add("a"), nodes.add("b")
    nodes.group(1, a)
    assert await a.blobs.put(DATA, shard=1) == SHA
    assert a.disk.has(DATA)
    assert not b.disk.has(DATA)


async def test_a_majority_has_it_on_return_and_the_rest_soon_after(nodes, autojump_clock):
    a, b, c, d = (nodes.add(name) for name in "abcd")
    nodes.group(1, a, b, c)
    late = trio.Event()

    async def slow(asked):
        await late.wait()
        return await c.blobs.serve_offer(asked)

    c.calls[BLOB_OFFER] = slow
    await a.blobs.put(DATA, shard=1)
    assert b.disk.has(DATA)
    assert not c.disk.has(DATA)
    late.set()
    await trio.testing.wait_all_tasks_blocked()
    assert c.disk.has(DATA)
    assert not d.disk.has(DATA)


async def test_who_is_unreachable_is_not_waited_for_while_a_majority_is_there(nodes, autojump_clock):
    a, b, c = (nodes.add(name) for name in "abc")
    nodes.group(1, a, b, c)
    nodes.down.add(b.own)
    await a.blobs.put(DATA, shard=1)
    assert trio.current_time() == 0
    assert c.disk.has(DATA)


async def test_two_voters_are_both_needed(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")
    nodes.group(1, a, b)
    nodes.down.add(b.own)
    with pytest.raises(Unreachable, match="only 1 replicas"):
        await a.blobs.put(DATA, shard=1)
    assert a.disk.has(DATA)


async def test_without_a_majority_it_fails_after_a_while_or_goes_on_when_one_comes_back(nodes, autojump_clock):
    a, b, c = (nodes.add(name) for name in "abc")
    nodes.group(1, a, b, c)
    nodes.down |= {b.own, c.own}
    with pytest.raises(Unreachable, match="no majority"):
        await a.blobs.put(DATA, shard=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: a.blobs.put(DATA, shard=1))
        await trio.sleep(5)
        nodes.down.discard(c.own)
    assert c.disk.has(DATA)


async def test_busy_voters_are_told_of_as_such(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")
    nodes.group(1, a, b)

    async def busy(asked):
        raise Overloaded("not now")

    b.calls[BLOB_OFFER] = busy
    with pytest.raises(Overloaded, match="no majority"):
        await a.blobs.put(DATA, shard=1)


async def test_only_who_leads_the_shard_can_and_only_as_long_as_it_does(nodes, autojump_clock):
    a, b, c = (nodes.add(name) for name in "abc")
    nodes.group(1, a, b, c)
    with pytest.raises(Moved):
        await b.blobs.put(DATA, shard=1)
    nodes.down |= {b.own, c.own}
    moved = []

    async def put():
        with pytest.raises(Moved):
            await a.blobs.put(DATA, shard=1)
        moved.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        await trio.sleep(3)
        nodes.primaries[1] = b.own
    assert moved[0] < 4


async def test_those_count_who_are_voters_in_the_end(nodes, autojump_clock):
    a, b, c, d, e = (nodes.add(name) for name in "abcde")
    nodes.group(1, a, b, c)
    nodes.down |= {b.own, c.own}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: a.blobs.put(DATA, shard=1))
        await trio.sleep(3)
        nodes.group(1, a, d, e)
        nodes.down.add(e.own)
    assert d.disk.has(DATA)


async def test_offers_of_strangers_and_of_too_much_are_refused(nodes):
    a, b, c = nodes.add("a"), nodes.add("b", bytes_max=len(DATA)), nodes.add("c")
    nodes.group(1, a, b)
    nodes.group(2, a, c)
    await c.disk.put_blob(DATA)
    for peer, payload, error in [
        (c, offer(), Moved),  # who offers is not of the group
        (a, offer(shard=2), Moved),  # who is offered is not of the group
        (a, offer(shard=3), Moved),
        (a, offer(shard=4), MalformedRequest),
        (a, offer(extra=1), PayloadTooLarge),
        (a, b"nonsense", MalformedRequest),
    ]:
        with pytest.raises(error):
            await b.blobs.serve_offer(Call(peer.own, payload))
    assert not b.disk.has(DATA)


async def test_a_voter_whose_disk_is_full_has_it_not(nodes, autojump_clock):
    a, b, c = (nodes.add(name) for name in "abc")
    nodes.group(1, a, b, c)
    b.disk.is_full = c.disk.is_full = True
    with pytest.raises(Unreachable, match="storage-full"):
        await a.blobs.put(DATA, shard=1)
