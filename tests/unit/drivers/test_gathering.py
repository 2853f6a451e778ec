"""Listings of the whole mesh: complete, in order, each once, or a clear error."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_world import WASM, World, open_world

from golemp2p.drivers.routing import gathering
from golemp2p.drivers.routing.mesh_client import MeshClient
from golemp2p.errors import ComponentNotFound, MalformedRequest, StorageFailed, UsageError, WorldError
from golemp2p.model import listings as m
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import FieldFilter
from golemp2p.wire.call_kinds import LISTING
from golemp2p.wire.listings import encode_workers


async def with_workers(world: World, names: list[str]) -> ComponentId:
    component = await world.adder()
    for name in names:
        await world.shared.state.create_worker(WorkerId(component, name))
    return component


async def listed(client: MeshClient, component: ComponentId, *, count: int, filter=None) -> list[str]:
    """All names, page by page."""
    names: list[str] = []
    cursor = None
    for _ in range(1000):
        page = await client.workers(component, filter=filter, cursor=cursor, count=count)
        assert len(page.workers) <= count
        names += [found.worker.name for found in page.workers]
        cursor = page.cursor
        if cursor is None:
            return names
    raise AssertionError("a listing without an end")


NAMES = [f"w{number:03}" for number in range(60)] + ["é", "z", "Z", "0"]


@pytest.mark.parametrize("count", [1, 7, 50, 1000])
async def test_every_node_lists_all_workers_in_order(count, autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        other = await world.shared.state.add_component("other", WASM)
        await world.shared.state.create_worker(WorkerId(other.component, "stranger"))
        for client in world.clients:
            assert await listed(client, component, count=count) == sorted(NAMES)


@settings(max_examples=30, deadline=None)
@given(
    names=st.sets(st.from_regex("[a-c]{1,4}", fullmatch=True), max_size=30), count=st.integers(1, 8), members=st.integers(1, 4)
)
def test_whatever_there_is_is_listed_once_and_in_order(names: set[str], count: int, members: int):
    async def run() -> None:
        async with open_world(members) as world:
            component = await with_workers(world, sorted(names))
            assert await listed(world.clients[0], component, count=count) == sorted(names)
            half = FieldFilter("name", "like", "a")
            expected = [name for name in sorted(names) if "a" in name]
            assert await listed(world.clients[-1], component, count=count, filter=half) == expected

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_an_unknown_component_and_a_wrong_filter_are_told_at_once(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        with pytest.raises(ComponentNotFound):
            await world.clients[0].workers(ComponentId.of(bytes(32), "unheard-of"))
        with pytest.raises(MalformedRequest):
            await world.clients[0].workers(component, filter=FieldFilter("nonsense", "eq", "x"))
        assert trio.current_time() < 1


async def test_a_cursor_is_good_on_every_node_and_in_no_other_mesh(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        page = await world.clients[0].workers(component, count=10)
        assert page.cursor is not None
        assert page.cursor.endswith(page.workers[-1].worker.name)
        assert len(page.cursor) <= len("w000") + 7
        following = await world.clients[2].workers(component, cursor=page.cursor, count=10)
        assert following.workers[0].worker.name > page.workers[-1].worker.name
        for cursor in ("w009", "abcdef.w009", "." + page.cursor, ""):
            with pytest.raises(UsageError):
                await world.clients[0].workers(component, cursor=cursor)


async def test_a_takeover_is_waited_for(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        world.town.stop(1)

        async def take_over() -> None:
            await trio.sleep(3)
            world.crash(1, successor=2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_over)
            assert await listed(world.clients[0], component, count=1000) == sorted(NAMES)
        assert trio.current_time() < gathering.GATHER_S


async def test_a_listing_that_would_not_be_complete_is_none(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        world.town.move(3, to=None)
        world.town.move(5, to=None)
        with pytest.raises(WorldError) as raised:
            await world.clients[0].workers(component)
        assert str(raised.value).startswith("2 of 8 shards have no primary")
        assert raised.value.retry_after_s == 1
        assert trio.current_time() < gathering.GATHER_S + 1
        with pytest.raises(WorldError):
            await world.clients[0].components()


async def test_the_reason_is_told(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        world.nodes[1].refuses = StorageFailed("the disk is gone")
        with pytest.raises(WorldError, match="the disk is gone"):
            await world.clients[0].workers(component)


async def test_who_does_not_answer_holds_up_nobody_once_all_is_there(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        for shard in range(8):
            world.town.move(shard, to=0)

        async def mute(asked) -> bytes:
            await trio.sleep_forever()
            return b""

        world.town.members[1].calls = {LISTING: mute}
        world.town.stop(2)
        assert await listed(world.clients[0], component, count=1000) == sorted(NAMES)
        assert trio.current_time() < 1


async def test_a_shard_that_is_lost_while_it_is_listed_does_not_count(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        node = world.nodes[1]
        workers = node.workers

        async def lose_it_first(*args, **options):
            for shard, leader in list(world.town.leaders.items()):
                if leader == 1:
                    world.town.move(shard, to=2)
            return await workers(*args, **options)

        node.workers = lose_it_first
        assert await listed(world.clients[0], component, count=1000) == sorted(NAMES)


async def test_who_tells_of_what_it_does_not_lead_is_not_listened_to(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        mine = world.worker_at(component, 0, prefix="mine")
        stranger = await world.shared.state.create_worker(mine)
        del world.shared.state.metadata[mine]
        serve = world.town.members[1].calls[LISTING]

        async def boasting(asked) -> bytes:
            from golemp2p.wire.listings import decode_workers

            held = decode_workers(await serve(asked))
            return encode_workers(m.WorkersHeld(held.shards, (*held.rows, stranger), held.end, held.http))

        world.town.members[1].calls = {**world.town.members[1].calls, LISTING: boasting}
        assert await listed(world.clients[2], component, count=1000) == sorted(NAMES)


async def test_a_page_that_leads_nowhere_is_none(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)

        async def stuck(asked) -> bytes:
            return encode_workers(m.WorkersHeld(frozenset(range(8)), (), "", ""))

        for number in (1, 2):
            world.town.members[number].calls = {LISTING: stuck}
        with pytest.raises(WorldError):
            await world.clients[0].workers(component)


async def test_components_of_all_nodes_are_listed_by_name_and_version(autojump_clock):
    async with open_world() as world:
        names = [f"c{number:02}" for number in range(20)]
        for name in reversed(names):
            info = await world.shared.state.add_component(name, WASM)
            if name in ("c03", "c04"):
                await world.shared.state.update_component(info.component, WASM)
        expected = [*sorted((name, 0) for name in names), ("c03", 1), ("c04", 1)]
        for client in world.clients:
            assert [(info.name, info.version) for info in await client.components()] == sorted(expected)


async def test_many_components_come_in_pages(autojump_clock, monkeypatch):
    monkeypatch.setattr("golemp2p.drivers.routing.mesh_components.PAGE", 3)
    async with open_world() as world:
        names = [f"c{number:02}" for number in range(20)]
        for name in names:
            await world.shared.state.add_component(name, WASM)
        assert [info.name for info in await world.clients[1].components()] == names


async def test_a_component_that_nobody_can_describe_is_an_error(autojump_clock):
    async with open_world() as world:
        for name in ("a", "b", "c"):
            await world.shared.state.add_component(name, WASM)
        world.nodes[0].unknown.add(ComponentId.of(bytes(32), "b"))
        with pytest.raises(WorldError):
            await world.clients[0].components()


async def test_listings_tell_where_nodes_serve_http(autojump_clock):
    async with open_world() as world:
        component = await with_workers(world, NAMES)
        worker = world.worker_at(component, 1)
        assert world.clients[0].primary(worker) is None
        await world.clients[0].workers(component)
        assert world.clients[0].primary(worker) == "http://node1:9881"
