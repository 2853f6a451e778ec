"""Components of several nodes: one leads, all know and run what was added, whoever dies; nobody is told what may not become true."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import trio
from component_nodes import MESH_KEY, Mesh

from golemp2p.errors import (
    ComponentAlreadyExists,
    ComponentNotFound,
    DataDamaged,
    DeadlineExceeded,
    InvalidComponent,
    InvalidName,
    Moved,
    PayloadTooLarge,
    RequestFailed,
    StorageFailed,
)
from golemp2p.model.entries import BlobRef
from golemp2p.model.ids import ComponentId, Key
from golemp2p.testing.guests import STRING, U64, ScriptedGuests
from golemp2p.wire.component_info import (
    VersionsQuestion,
    decode_answer,
    encode_answer,
    encode_failure,
    encode_question,
    is_question,
)

WASM = ScriptedGuests.wasm


async def nothing(guest, *args):
    return None


def functions(count):
    """A script whose type takes some 40 bytes per function."""
    return {f"function-with-a-rather-long-name-{n}": ((("a", U64),), STRING, nothing) for n in range(count)}


SCRIPTS = {"one": functions(1), "two": functions(2), "wide": functions(3_000), "huge": functions(9_000)}


@pytest.fixture
def mesh(nursery, tmp_path):
    return Mesh(nursery, tmp_path, **SCRIPTS)


@pytest.fixture
async def three(mesh):
    """Three voters, of which the first leads everything: (node, components) of each."""
    nodes = [mesh.add(name) for name in "abc"]
    mesh.lead(*[node for node, _ in nodes])
    return nodes


def add(components, name="counter", wasm=None, **options):
    return components.add(name, WASM("one") if wasm is None else wasm, **{"ephemeral": False, "env": {}, **options})


def update(components, component, script="two", **options):
    return components.update(component, WASM(script), **{"ephemeral": None, "env": None, **options})


async def test_an_id_leads_to_the_log_and_the_log_is_replicated(mesh, three):
    (_, components), (b, _), _ = three
    info = await add(components, env={"A": "1"})
    assert info.component == ComponentId.of(MESH_KEY, "counter") == components.id_of("counter")
    key = Key.of("component", str(info.component))
    head = await b.disk.head(key)
    assert (head.kind, head.identity, head.tail) == ("component", str(info.component), 2)
    assert head.shard == components.shard_of(info.component)
    assert b.disk.has(WASM("one"))


async def test_every_node_knows_and_runs_it(mesh, three):
    (a, leader), (b, follower), _ = three
    d, stranger = mesh.add("d")
    info = await add(leader)
    for node, components in ((a, leader), (b, follower), (d, stranger)):
        assert await components.latest(info.component) == info
        assert await components.by_name("counter") == [info]
        assert (await components.loaded(info.component, 0)).info == info
        assert components.loaded_nowait(info.component, 0) is not None
        assert node.disk.has(WASM("one"))
    assert a.asks_count == 0
    assert b.asks_count == 2  # one round trip each for the newest and for the name, none for version 0


async def test_the_newest_is_asked_for_and_old_ones_are_known_without_asking(mesh, three):
    (_, leader), (b, follower), _ = three
    first = await add(leader)
    assert follower.known_version(first.component, 0) is None
    assert await follower.latest(first.component) == first
    second = await update(leader, first.component)
    assert follower.known_version(first.component, 0) == first
    assert follower.known_version(first.component, 1) is None
    assert await follower.latest(first.component) == second
    asks = b.asks_count
    await follower.require(first.component)
    assert await follower.version(first.component, 0) == first
    assert await follower.version(first.component, 1) == second
    assert b.asks_count == asks
    assert await follower.version(first.component, None) == second
    with pytest.raises(ComponentNotFound, match="has versions 0 to 1, not 2"):
        await follower.version(first.component, 2)
    with pytest.raises(ComponentNotFound, match="not -1"):
        await follower.version(first.component, -1)


async def test_a_new_version_keeps_what_it_is_not_told_otherwise(three):
    _, components = three[0]
    first = await add(components, env={"A": "1"}, ephemeral=True)
    second = await update(components, first.component)
    third = await update(components, first.component, ephemeral=False, env={})
    assert (second.version, second.ephemeral, second.env, second.name) == (1, True, (("A", "1"),), "counter")
    assert (third.version, third.ephemeral, third.env) == (2, False, ())
    assert [info.version for info in await components.versions(first.component)] == [0, 1, 2]


async def test_what_cannot_be_is_refused_before_anything_is_written(mesh, three):
    (a, leader), (_, follower), _ = three
    info = await add(leader)
    with pytest.raises(ComponentAlreadyExists):
        await add(leader, wasm=b"never looked at")
    unknown = ComponentId.of(MESH_KEY, "unknown")
    with pytest.raises(ComponentNotFound):
        await update(leader, unknown)
    for components in (leader, follower):
        assert await components.by_name("unknown") == []
        with pytest.raises(ComponentNotFound):
            await components.latest(unknown)
        with pytest.raises(ComponentNotFound):
            await components.require(unknown)
    with pytest.raises(InvalidName):
        await add(leader, name="a/b")
    with pytest.raises(InvalidComponent, match="not WebAssembly"):
        await add(leader, name="other", wasm=b"text")
    with pytest.raises(PayloadTooLarge, match="the limit is"):
        await add(leader, name="other", wasm=b"\0asm" + bytes(1 << 20))
    with pytest.raises(PayloadTooLarge):
        await add(leader, name="other", env={"A": "x" * (128 << 10)})
    with pytest.raises(InvalidComponent, match="its types take"):
        await add(leader, name="other", wasm=WASM("huge"))
    assert len(mesh.shards[a.own].appended) == 1
    for refused in (add(follower, name="other"), update(follower, info.component)):
        with pytest.raises(Moved):
            await refused


async def test_one_request_adds_once_whoever_leads(mesh, three):
    (a, leader), (b, follower), (c, _) = three
    info = await add(leader, request_key="k")
    assert await add(leader, request_key="k") == info
    with pytest.raises(ComponentAlreadyExists):
        await add(leader, request_key="other")
    second = await update(leader, info.component, request_key="u")
    mesh.lead(b, a, c)
    assert await add(follower, request_key="k") == info
    assert await update(follower, info.component, request_key="u") == second
    assert await follower.latest(info.component) == second
    assert (await update(follower, info.component)).version == 2


async def test_who_comes_twice_at_once_is_one_and_different_ones_are_in_order(three):
    _, components = three[0]
    infos = []

    async def keep(adding):
        infos.append(await adding)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(keep, add(components, request_key="k"))
    assert infos == infos[:1] * 5
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(keep, update(components, infos[0].component, request_key=f"u{number // 2}"))
    assert sorted(info.version for info in infos[5:]) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [info.version for info in await components.versions(infos[0].component)] == [0, 1, 2, 3, 4, 5]


async def test_nobody_is_told_what_is_not_committed(mesh, three):
    (a, leader), (_, follower), _ = three
    info = await add(leader)
    shards = mesh.shards[a.own]
    shards.is_held = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(update, leader, info.component)
        await shards.wait_appended(2)
        assert await leader.latest(info.component) == info
        assert await follower.latest(info.component) == info
        shards.release()
    assert (await leader.latest(info.component)).version == 1


async def test_a_caller_that_goes_away_takes_nothing_back_and_breaks_nothing(mesh, three):
    (a, leader), _, _ = three
    info = await add(leader)
    shards = mesh.shards[a.own]
    shards.is_held = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(update, leader, info.component)
        await shards.wait_appended(2)
        nursery.cancel_scope.cancel()
    assert await leader.latest(info.component) == info
    shards.release()
    assert (await leader.latest(info.component)).version == 1
    assert (await update(leader, info.component)).version == 2


async def test_a_failed_append_is_forgotten_and_the_log_read_anew(mesh, three):
    (a, leader), _, _ = three
    mesh.shards[a.own].failing = [StorageFailed("no")]
    with pytest.raises(StorageFailed):
        await add(leader)
    assert await leader.by_name("counter") == []
    info = await add(leader)
    mesh.shards[a.own].failing = [StorageFailed("no")]
    with pytest.raises(StorageFailed):
        await update(leader, info.component)
    assert await leader.versions(info.component) == [info]
    assert (await update(leader, info.component)).version == 1


async def test_while_the_disk_refuses_nothing_is_read_that_may_be_old(mesh, three):
    (a, leader), _, _ = three
    info = await add(leader)
    shards = mesh.shards[a.own]
    shards.failing, shards.stalled = [StorageFailed("full")], StorageFailed("full")
    with pytest.raises(StorageFailed):
        await update(leader, info.component)
    with pytest.raises(StorageFailed):
        await leader.latest(info.component)
    shards.stalled = None
    assert await leader.latest(info.component) == info


async def test_a_shard_that_moves_meanwhile(mesh, three):
    (a, leader), (b, follower), (c, _) = three
    info = await add(leader)
    shards = mesh.shards[a.own]
    shards.is_held = True
    failed = []

    async def keep():
        try:
            await update(leader, info.component)
        except Moved as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await shards.wait_appended(2)
        mesh.lead(b, a, c)
        shards.release()
    assert len(failed) == 1
    second = await update(follower, info.component, script="one")
    assert await leader.latest(info.component) == second
    mesh.lead(a, b, c)
    assert await leader.versions(info.component) == [info, second]


async def test_a_shard_that_goes_and_comes_back_while_its_log_is_read(mesh, three, monkeypatch):
    (a, leader), (b, _), (c, _) = three
    info = await add(leader)
    mesh.lead(b, a, c)
    mesh.lead(a, b, c)
    read = a.disk.read_segments

    async def while_it_moves(*arguments):
        segments = await read(*arguments)
        mesh.lead(b, a, c)
        mesh.lead(a, b, c)
        return segments

    monkeypatch.setattr(a.disk, "read_segments", while_it_moves)
    with pytest.raises(Moved):
        await leader.serve(info.component, 0)
    monkeypatch.undo()
    assert await leader.serve(info.component, 0) == [info]


async def test_who_adds_without_knowing_what_was_before_does_not_mix_it_up(mesh, three):
    (a, leader), (b, follower), (c, _) = three
    info = await add(leader)
    mesh.lead(b, a, c)
    second = await update(follower, info.component)
    assert follower.known_version(info.component, 0) in (None, info)
    assert await follower.version(info.component, 1) == second
    assert await follower.version(info.component, 0) == info


async def test_old_versions_are_served_from_memory_while_nobody_leads(mesh, three):
    (a, leader), (_, follower), _ = three
    info = await add(leader)
    await follower.loaded(info.component, 0)
    mesh.nodes.down.add(a.own)
    assert await follower.version(info.component, 0) == info
    assert follower.known_version(info.component, 0) == info
    with pytest.raises(DeadlineExceeded):
        await follower.latest(info.component)


async def test_bytes_can_come_as_a_blob_of_who_asks(mesh, three):
    _, leader = three[0]
    d, _ = mesh.add("d")
    sha256 = await d.blobs.put(WASM("one"))
    blob = BlobRef(sha256, len(WASM("one")))
    info = await add(leader, wasm=blob, holders=[d.own])
    assert (info.sha256, info.size_bytes) == blob
    assert three[1][0].disk.has(WASM("one"))
    missing = BlobRef(hashlib.sha256(b"nowhere").digest(), 7)
    with pytest.raises(DataDamaged, match="missing"):
        await add(leader, name="other", wasm=missing, holders=[d.own])
    with pytest.raises(PayloadTooLarge):
        await add(leader, name="other", wasm=BlobRef(sha256, 1 << 40))


async def test_many_who_need_the_code_at_once_share_the_work(mesh, three):
    _, leader = three[0]
    d, stranger = mesh.add("d")
    info = await add(leader)
    loaded = []

    async def load():
        loaded.append(await stranger.loaded(info.component, 0))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(load)
    assert len({id(each) for each in loaded}) == 1
    assert len(d.asked) == 1


async def test_large_types_are_blobs_and_long_answers_come_in_pieces(mesh, three):
    (_, leader), (b, follower), (c, _) = three
    info = await add(leader, wasm=WASM("wide"))
    for _ in range(7):
        await update(leader, info.component, script="wide")
    d, stranger = mesh.add("d")
    assert len(await stranger.versions(info.component)) == 8
    assert d.asks_count > 1
    assert (await stranger.version(info.component, 7)).type == info.type
    b.disk.blobs.clear()
    mesh.lead(b, c)
    assert await follower.versions(info.component) == await stranger.versions(info.component)


async def test_listings_hold_what_this_node_leads(mesh, three):
    (a, leader), (b, follower), (c, _) = three
    names = [f"component-{number}" for number in range(12)]
    infos = sorted([await add(leader, name=name) for name in names], key=lambda info: str(info.component))
    extra = await update(leader, infos[3].component)
    infos.insert(4, extra)
    assert await leader.owned() == infos
    assert await follower.owned() == []
    assert await leader.owned(after=str(infos[2].component), count=2) == infos[3:6]
    mesh.nodes.group(1, b, a, c)
    leader.shard_lost(1)
    theirs = [info for info in infos if leader.shard_of(info.component) == 1]
    assert await follower.owned() == theirs
    assert await leader.owned() == [info for info in infos if info not in theirs]


async def test_a_damaged_log_is_named_and_hides_nothing_else(mesh, three):
    (a, leader), (b, follower), (c, _) = three
    sound, broken = await add(leader, name="sound"), await add(leader, name="broken")
    key = Key.of("component", str(broken.component))
    (segment,) = b.disk.segments[key]
    b.disk.segments[key] = [segment._replace(data=segment.data[:-1] + b"\0")]
    mesh.lead(b, a, c)
    assert await follower.owned() == [sound]
    with pytest.raises(DataDamaged, match=str(broken.component)):
        await follower.latest(broken.component)
    with pytest.raises(RequestFailed) as caught:
        await leader.latest(broken.component)
    assert caught.value.remote_code == "data-damaged"
    assert follower.statistics()["components_damaged"] == 1
    b.disk.segments[key] = [segment]
    assert await follower.latest(broken.component) == broken
    assert follower.statistics()["components_damaged"] == 0


async def test_a_log_with_entries_of_another_component_is_damaged(mesh, three):
    (a, leader), (b, follower), (c, _) = three
    one, other = await add(leader, name="one"), await add(leader, name="other")
    keys = [Key.of("component", str(info.component)) for info in (one, other)]
    mesh.lead(b, a, c)
    head = b.disk.log_heads[keys[1]]
    b.disk.log_heads[keys[0]] = b.disk.log_heads[keys[0]]._replace(head_hash=head.head_hash)
    b.disk.segments[keys[0]] = b.disk.segments[keys[1]]
    with pytest.raises(DataDamaged):
        await follower.latest(one.component)


@pytest.mark.parametrize("kind", ["another", "gap", "name", "nothing", "bytes", "failure"])
async def test_answers_that_make_no_sense_are_not_believed(mesh, three, kind):
    (a, leader), (_, follower), _ = three
    info = await add(leader)
    other = await add(leader, name="other")
    second = await update(leader, info.component)
    answers = {
        "another": encode_answer(1, [other]),
        "gap": encode_answer(2, [second]),
        "name": encode_answer(1, [_renamed(info)]),
        "nothing": encode_answer(1, []),
        "bytes": b"\xff\xff",
        "failure": encode_failure("storage-failed", "the disk is gone"),
    }

    async def serve(shard, key, payload):
        assert is_question(payload)
        return answers[kind]

    a.serve_forward = serve
    with pytest.raises(RequestFailed) as caught:
        await follower.latest(info.component)
    assert caught.value.remote_code == ("storage-failed" if kind == "failure" else "data-damaged")
    assert follower.known_version(info.component, 0) is None


def _renamed(info):
    return dataclasses.replace(info, name="other")


async def test_questions_that_make_no_sense_are_answered_as_such(three):
    _, leader = three[0]
    info = await add(leader)
    shard = leader.shard_of(info.component)
    question = encode_question(VersionsQuestion(info.component, 0))
    assert decode_answer(await leader.answer(shard, question)).infos == (info,)
    for where, payload in ((shard, question[:-1] + b"\xff"), ((shard + 1) % 4, question), (shard, b"")):
        failure = decode_answer(await leader.answer(where, payload)).failure
        assert failure is not None
        assert failure[0] == "malformed-request"
    with pytest.raises(Moved):
        await three[1][1].answer(shard, question)
