"""Components and large payloads in a mesh of whole nodes: known everywhere, and there when who had them first is not."""

from __future__ import annotations

import pytest

from golemp2p.drivers.oplog import INLINE_BYTES_MAX
from golemp2p.errors import ComponentAlreadyExists, ComponentNotFound, Moved
from golemp2p.model import entries as e
from golemp2p.model.ids import WorkerId
from golemp2p.testing.guests import STRING, ScriptedGuests

LENGTH = 2 * INLINE_BYTES_MAX


async def say(guest, text):
    guest.memory["said"] = guest.memory.get("said", "") + text[:1]
    return guest.memory["said"] + text


ECHO = {"say": ((("text", STRING),), STRING, say)}
WASM = ScriptedGuests.wasm("echo")


async def grown(machines):
    """Three nodes that answer each other's questions for versions. No fixture: there the virtual clock does not jump."""
    mesh = machines(3, echo=ECHO)
    await mesh.start_all()
    for number in range(3):
        answer_questions(mesh, number)
    return mesh


def components(mesh, number):
    return mesh.services[number].local._components


def answer_questions(mesh, number):
    async def serve(shard, key, payload):
        return await components(mesh, number).answer(shard, payload)

    mesh.services[number].peers.asks.serve = serve


def leader_of(mesh, name):
    any_node = next(iter(mesh.clients))
    return mesh.leader(components(mesh, any_node).shard_of(components(mesh, any_node).id_of(name)))


async def add(mesh, name, **options):
    return await components(mesh, leader_of(mesh, name)).add(name, WASM, ephemeral=False, env={}, **options)


async def test_all_nodes_know_and_run_what_one_added(machines, autojump_clock):
    mesh = await grown(machines)
    info = await add(mesh, "echo")
    for number in range(3):
        assert await components(mesh, number).latest(info.component) == info
        assert (await components(mesh, number).loaded(info.component, 0)).info == info
        assert await components(mesh, number).by_name("nobody") == []
        with pytest.raises(ComponentNotFound):
            await components(mesh, number).latest(components(mesh, number).id_of("nobody"))
    leader = leader_of(mesh, "echo")
    for number in {0, 1, 2} - {leader}:
        with pytest.raises(Moved):
            await components(mesh, number).add("echo", WASM, ephemeral=False, env={})
    owned = [await components(mesh, number).owned() for number in range(3)]
    assert sorted(owned, key=len) == [[], [], [info]]


async def test_a_component_outlives_the_node_that_added_it(machines, autojump_clock):
    mesh = await grown(machines)
    info = await add(mesh, "echo", request_key="k")
    dead = leader_of(mesh, "echo")
    await mesh.crash(dead)
    await mesh.until(lambda: leader_of(mesh, "echo") not in (None, dead))
    assert await add(mesh, "echo", request_key="k") == info
    with pytest.raises(ComponentAlreadyExists):
        await add(mesh, "echo", request_key="other")
    leader = leader_of(mesh, "echo")
    second = await components(mesh, leader).update(info.component, WASM, ephemeral=True, env=None)
    for number in mesh.clients:
        assert await components(mesh, number).versions(info.component) == [info, second]
    await mesh.start(dead)
    answer_questions(mesh, dead)
    assert await components(mesh, dead).versions(info.component) == [info, second]


async def test_a_worker_with_large_payloads_goes_on_where_its_node_has_died(machines, autojump_clock):
    mesh = await grown(machines)
    info = await add(mesh, "echo")
    worker = WorkerId(info.component, "w")
    shard = worker.key.shard(mesh.services[0].peers.shards_count)
    first = mesh.leader(shard)
    said = await mesh.services[first].local.invoke(info.component, "w", "say", ["a" * LENGTH])
    assert said.value == "a" + "a" * LENGTH
    await mesh.crash(first)
    await mesh.until(lambda: mesh.leader(shard) not in (None, first))
    client = mesh.services[mesh.leader(shard)].local
    said = await client.invoke(info.component, "w", "say", ["b" * LENGTH])
    assert said.value == "ab" + "b" * LENGTH  # it remembers what it was told: the payload was read in the replay
    page = await client.oplog(worker)
    assert sum(1 for _, entry in page.entries if isinstance(entry, e.ExportedFunctionInvoked)) == 2


async def test_a_node_that_was_away_gets_the_payloads_it_missed(machines, autojump_clock):
    mesh = await grown(machines)
    info = await add(mesh, "echo")
    shard = WorkerId(info.component, "w").key.shard(mesh.services[0].peers.shards_count)
    leader = mesh.leader(shard)
    away = min({0, 1, 2} - {leader})
    await mesh.crash(away)
    said = await mesh.services[leader].local.invoke(info.component, "w", "say", ["a" * LENGTH])
    assert len(said.value) == LENGTH + 1
    await mesh.start(away)

    def has_all():
        def blobs(number):
            return mesh[number].storage._durable.blobs.keys()

        return blobs(away) >= blobs(leader)

    await mesh.until(has_all)
