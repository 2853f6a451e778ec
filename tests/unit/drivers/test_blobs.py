"""Blobs that nodes fetch from each other: broken transfers, liars, full disks, and many who want the same."""

from __future__ import annotations

import hashlib

import pytest
import trio
from blob_nodes import CHUNK_BYTES, Call, Nodes

from golemp2p.drivers.blobs.blob_fetches import MEMORY_BYTES_MAX, PACE_BYTES, PACE_S, PROGRESS_S
from golemp2p.drivers.blobs.blobs import SERVED_PEER_MAX
from golemp2p.errors import DataDamaged, MalformedRequest, Overloaded, PayloadTooLarge, StorageFull, Unreachable
from golemp2p.model.entries import BlobRef
from golemp2p.wire.blob_calls import BlobAsk, decode_ask, decode_held, encode_ask, encode_held
from golemp2p.wire.call_kinds import BLOB

SMALL = bytes(range(256)) * 1_000
LARGE = bytes(range(256)) * 12_000  # three times what passes through memory


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def ref(data: bytes) -> BlobRef:
    return BlobRef(sha(data), len(data))


def get(node, data, *holders):
    return node.blobs.get(sha(data), size=len(data), holders=[holder.own for holder in holders])


def count(node, name):
    return node.blobs.statistics()[f"blobs_{name}_total"]


@pytest.fixture
def nodes(nursery):
    return Nodes(nursery)


def liar(content, *, held=True, endless=False):
    """A node that sends ``content``, whatever it was asked for."""

    async def serve(asked):
        await asked.send(content[decode_ask(asked.payload).offset :])
        while endless:
            await asked.send(bytes(CHUNK_BYTES))
        return encode_held(held=held)

    return serve


async def test_what_is_here_is_not_asked_for(nodes):
    a, b = nodes.add("a"), nodes.add("b")
    await a.disk.put_blob(SMALL)
    assert await get(a, SMALL, b) == SMALL
    assert a.asked == []


async def test_a_blob_comes_from_who_should_have_it_and_stays(nodes):
    a, b, c = nodes.add("a"), nodes.add("b"), nodes.add("c")
    await c.disk.put_blob(SMALL)
    assert await get(a, SMALL, c) == SMALL
    assert a.asked == [c.own]
    assert a.disk.has(SMALL)
    assert not b.disk.has(SMALL)


async def test_it_comes_from_the_group_or_from_any_member(nodes):
    a, b, c, d = (nodes.add(name) for name in "abcd")
    nodes.group(1, b, c)
    await d.disk.put_blob(SMALL)
    assert await a.blobs.get(sha(SMALL), size=len(SMALL), shard=1) == SMALL
    assert a.asked == [b.own, c.own, d.own]


async def test_who_wants_the_same_blob_shares_one_transfer(nodes):
    a, b = nodes.add("a"), nodes.add("b")
    await b.disk.put_blob(SMALL)
    got = []

    async def want():
        got.append(await get(a, SMALL, b))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(want)
    assert got == [SMALL] * 20
    assert a.asked == [b.own]


async def test_a_transfer_outlives_who_asked_first_and_not_the_last(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")
    goes_on = trio.Event()
    left = []

    async def slow(asked):
        try:
            await goes_on.wait()
        except trio.Cancelled:
            left.append(asked.peer)
            raise
        await asked.send(SMALL)
        return encode_held(held=True)

    b.calls[BLOB] = slow
    got = []

    async def want():
        got.append(await get(a, SMALL, b))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            nursery.start_soon(want)
            await get(a, SMALL, b)
        goes_on.set()
    assert got == [SMALL]
    with trio.move_on_after(1):
        goes_on = trio.Event()
        a.disk.blobs.clear()
        await get(a, SMALL, b)
    await trio.testing.wait_all_tasks_blocked()
    assert a.blobs.statistics()["blobs_fetching"] == 0
    assert left == [a.own]
    goes_on.set()
    assert await get(a, SMALL, b) == SMALL


@pytest.mark.parametrize("data", [SMALL, LARGE])
async def test_a_broken_transfer_goes_on_with_another_peer(nodes, data, tmp_path):
    a, b, c = nodes.add("a", tmp_path), nodes.add("b"), nodes.add("c")
    offsets = []
    for node in (b, c):
        await node.disk.put_blob(data)
        serve = node.calls[BLOB]

        async def note(asked, serve=serve):
            offsets.append(decode_ask(asked.payload).offset)
            return await serve(asked)

        node.calls[BLOB] = note
    nodes.breaks[a.own, b.own] = [len(data) - 1_000]
    path = await a.blobs.ensure(sha(data), len(data), [b.own, c.own])
    assert path is not None
    assert path.read_bytes() == data
    assert offsets == [0, len(data) - 1_000]
    assert a.disk.files() == [sha(data).hex()]
    assert (count(a, "resumed"), count(a, "broken"), count(c, "served_bytes")) == (1, 1, 1_000)


@pytest.mark.parametrize("data", [SMALL, LARGE])
async def test_who_gave_wrong_bytes_is_named_and_not_asked_again(nodes, data, tmp_path, caplog):
    a, b, c = nodes.add("a", tmp_path), nodes.add("b"), nodes.add("c")
    await c.disk.put_blob(data)
    b.calls[BLOB] = liar(bytes(len(data)))
    assert await get(a, data, b, c) == data
    assert count(a, "peers_wrong") == 1
    (record,) = [record for record in caplog.records if record.message == "blob_peer_wrong"]
    assert "do not match" in record.reason
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()
    assert await get(a, data, b, c) == data
    assert a.asked == [b.own, c.own, c.own]


async def test_a_liar_that_hides_among_honest_peers_is_found(nodes):
    a, b, c, d = (nodes.add(name) for name in "abcd")
    await b.disk.put_blob(SMALL)
    await d.disk.put_blob(SMALL)
    c.calls[BLOB] = liar(bytes(len(SMALL)))
    nodes.breaks = {(a.own, b.own): [100_000], (a.own, c.own): [100_000]}
    assert await get(a, SMALL, b, c, d) == SMALL
    assert count(a, "peers_wrong") == 0  # its second transfer was not needed


@pytest.mark.parametrize("large", [False, True])
async def test_an_endless_answer_is_cut_off(nodes, tmp_path, large):
    data = LARGE if large else SMALL
    a, b, c = nodes.add("a", tmp_path), nodes.add("b"), nodes.add("c")
    await c.disk.put_blob(data)
    b.calls[BLOB] = liar(data, endless=True)
    assert await get(a, data, b, c) == data
    assert count(a, "peers_wrong") == 1
    assert a.disk.files() == [sha(data).hex()]


@pytest.mark.parametrize("answer", [encode_held(held=True), b"", b"\xff" * 100, encode_held(held=True) + b"\0"])
async def test_an_answer_that_is_too_short_or_nonsense(nodes, answer):
    a, b, c = nodes.add("a"), nodes.add("b"), nodes.add("c")
    await c.disk.put_blob(SMALL)

    async def serve(asked):
        await asked.send(SMALL[:1_000])
        return answer

    b.calls[BLOB] = serve
    assert await get(a, SMALL, b, c) == SMALL
    assert count(a, "peers_wrong") == 1


async def test_a_peer_that_gives_a_byte_now_and_then_does_not_hold_anybody_up(nodes, autojump_clock):
    a, b, c = nodes.add("a"), nodes.add("b"), nodes.add("c")
    await c.disk.put_blob(SMALL)

    async def serve(asked):
        for at in range(len(SMALL)):
            await trio.sleep(1)
            await asked.send(SMALL[at : at + 1])
        return encode_held(held=True)

    b.calls[BLOB] = serve
    begin = trio.current_time()
    assert await get(a, SMALL, b, c) == SMALL
    assert trio.current_time() - begin < PACE_S + 1


async def test_a_slow_peer_that_goes_on_is_waited_for(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")

    async def serve(asked):
        for at in range(0, len(LARGE), PACE_BYTES):
            await trio.sleep(PROGRESS_S - 1)
            await asked.send(LARGE[at : at + PACE_BYTES])
        return encode_held(held=True)

    b.calls[BLOB] = serve
    assert await get(a, LARGE, b) == LARGE
    assert trio.current_time() > 3 * PACE_S


async def test_nobody_has_it(nodes, nursery, autojump_clock):
    a, b, c = nodes.add("a"), nodes.add("b"), nodes.add("c")
    with pytest.raises(DataDamaged, match="missing, here and with every node"):
        await get(a, SMALL, b, c)
    assert trio.current_time() == 0
    nodes.down.add(c.own)
    with pytest.raises(Unreachable, match="1 nodes that may have it"):
        await get(a, SMALL, b, c)
    with pytest.raises(DataDamaged, match="missing"):
        await get(Nodes(nursery).add("alone"), SMALL)


async def test_a_peer_that_was_busy_or_away_is_asked_again(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")
    await b.disk.put_blob(SMALL)
    refusals = [Overloaded("busy", 0.5), Overloaded("busy", 0.5)]

    async def serve(asked):
        if refusals:
            raise refusals.pop()
        return await b.blobs.serve_blob(asked)

    b.calls[BLOB] = serve
    assert await get(a, SMALL, b) == SMALL


async def test_the_size_is_checked_before_anything_else(nodes):
    a, b = nodes.add("a", bytes_max=len(SMALL)), nodes.add("b")
    for wanted in (a.blobs.get(sha(LARGE), size=len(LARGE)), a.blobs.ensure(sha(LARGE), 1 << 60, [b.own])):
        with pytest.raises(PayloadTooLarge):
            await wanted
    with pytest.raises(DataDamaged):
        await a.blobs.get(sha(b""), size=0)
    assert a.asked == []


async def test_a_wrong_size_is_another_blob(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")
    await a.disk.put_blob(SMALL)
    with pytest.raises(DataDamaged, match="were recorded"):
        await a.blobs.get(sha(SMALL), size=len(SMALL) + 1)
    with pytest.raises(DataDamaged, match="missing"):
        await b.blobs.get(sha(SMALL), size=len(SMALL) + 1)


async def test_a_full_disk_refuses_to_keep_what_can_be_read_all_the_same(nodes, tmp_path):
    a, b = nodes.add("a"), nodes.add("b")
    await b.disk.put_blob(SMALL)
    a.disk.is_full = True
    assert await get(a, SMALL, b) == SMALL
    with pytest.raises(StorageFull):
        await a.blobs.ensure(sha(SMALL), len(SMALL), [b.own])


async def test_a_damaged_file_is_fetched_anew_and_never_given_away(nodes, tmp_path):
    a, b = nodes.add("a", tmp_path / "a"), nodes.add("b", tmp_path / "b")
    for data in (SMALL, LARGE):
        for node in (a, b):
            await node.disk.put_blob(data)
        path = a.disk.blob_path(sha(data))
        assert path is not None
        path.write_bytes(bytes(len(data)))
        assert not decode_held(await a.blobs.serve_blob(Call(b.own, encode_ask(BlobAsk(sha(data), len(data), 0)))))
        assert await a.blobs.ensure(sha(data), len(data)) == path
        assert path.read_bytes() == data


async def test_a_failed_fetch_leaves_no_file_behind(tmp_path):
    begun = trio.Event()

    async def stuck(asked):
        await asked.send(LARGE[: MEMORY_BYTES_MAX + 1])
        begun.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as inner:
        nodes = Nodes(inner)
        a, b = nodes.add("a", tmp_path), nodes.add("b")
        b.calls[BLOB] = liar(bytes(len(LARGE)))
        with pytest.raises(DataDamaged, match="1 nodes gave wrong bytes"):
            await a.blobs.ensure(sha(LARGE), len(LARGE), [b.own])
        assert a.disk.files() == []
        nodes.add("c").calls[BLOB] = stuck
        inner.start_soon(a.blobs.ensure, sha(LARGE), len(LARGE))
        await begun.wait()
        inner.cancel_scope.cancel()
    assert a.disk.files() == []


async def test_requests_that_make_no_sense_are_refused(nodes):
    a = nodes.add("a")
    await a.disk.put_blob(SMALL)
    for payload in (b"", b"\xff", encode_ask(BlobAsk(b"short", 1, 0)), encode_ask(BlobAsk(sha(SMALL), 5, 6))):
        with pytest.raises(MalformedRequest):
            await a.blobs.serve_blob(Call(b"b" * 32, payload))
    other_size = encode_ask(BlobAsk(sha(SMALL), 5, 0))
    assert not decode_held(await a.blobs.serve_blob(Call(b"b" * 32, other_size)))


async def test_one_peer_cannot_take_all_transfers(nodes, nursery):
    a, b = nodes.add("a"), nodes.add("b")
    await a.disk.put_blob(SMALL)
    payload = encode_ask(BlobAsk(sha(SMALL), len(SMALL), 0))
    for _ in range(SERVED_PEER_MAX):
        nursery.start_soon(a.blobs.serve_blob, Call(b.own, payload, trio.open_memory_channel[bytes](0)[0]))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overloaded):
        await a.blobs.serve_blob(Call(b.own, payload, trio.open_memory_channel[bytes](0)[0]))
    assert await get(nodes.add("c"), SMALL, a) == SMALL
    nursery.cancel_scope.cancel()


async def test_keep_fetches_what_is_missing_and_says_what_cannot_be_had(nodes, autojump_clock):
    a, b = nodes.add("a"), nodes.add("b")
    nodes.group(1, b, a)
    blobs = [bytes([number]) * 70_000 for number in range(10)]
    for data in blobs[:9]:
        await b.disk.put_blob(data)
    assert await a.blobs.keep([ref(data) for data in blobs], shard=1) == [ref(blobs[9])]
    assert all(a.disk.has(data) for data in blobs[:9])
