"""A worker's events, followed from any node over moves and crashes."""

from __future__ import annotations

import pytest
import trio
from routing_world import World, open_world

from golemp2p.drivers.routing import watching
from golemp2p.drivers.routing.watching import Seen
from golemp2p.errors import Draining, RequestFailed, WorkerNotFound, WorldError
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import WorkerEvent
from golemp2p.wire.call_kinds import EVENTS


def said(text: str, time_ns: int) -> WorkerEvent:
    return WorkerEvent("stdout", time_ns, message=text)


async def watched(world: World, number: int = 1) -> WorkerId:
    """A worker that member ``number`` runs."""
    worker = world.worker_at(await world.adder(), number)
    await world.shared.state.create_worker(worker)
    return worker


async def texts(events, count: int) -> list[str]:
    return [(await anext(events)).message for _ in range(count)]


@pytest.mark.parametrize("asking", [0, 1])
async def test_events_come_from_the_node_that_runs_the_worker(asking, autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        world.nodes[1].publish(worker, said("before", 1))
        async with world.clients[asking].connect(worker) as events:
            world.nodes[1].publish(worker, said("é" * 5000, 2))
            assert await texts(events, 2) == ["before", "é" * 5000]
            await trio.sleep(3600)  # nothing happens for long
            world.nodes[1].publish(worker, said("after", 3))
            assert await texts(events, 1) == ["after"]
            assert world.clients[asking].statistics()["workers_watched"] == 1
        assert world.clients[asking].statistics()["workers_watched"] == 0
        await trio.testing.wait_all_tasks_blocked()
        assert not world.nodes[1].streams[worker].has_listeners, "who leaves is forgotten"


@pytest.mark.parametrize("asking", [0, 1])
async def test_a_worker_that_is_not_there_is_told_on_entering(asking, autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        with pytest.raises(WorkerNotFound):
            async with world.clients[asking].connect(worker):
                pass


@pytest.mark.parametrize("to", [0, 2])
@pytest.mark.parametrize("asking", [0, 1])
async def test_a_worker_that_moves_is_followed(asking, to, autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[asking].connect(worker) as events:
            world.nodes[1].publish(worker, said("one", 1))
            assert await texts(events, 1) == ["one"]
            world.move(worker, to=to)
            world.nodes[to].publish(worker, said("two", 2))
            await trio.sleep(5)
            world.nodes[to].publish(worker, said("three", 3))
            assert await texts(events, 2) == ["two", "three"]


async def test_a_primary_that_dies_is_replaced(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[0].connect(worker) as events:
            world.nodes[1].publish(worker, said("one", 1))
            assert await texts(events, 1) == ["one"]
            world.town.stop(1)
            world.town.move(world.shard(worker.key), to=None)
            await trio.sleep(20)
            world.town.move(world.shard(worker.key), to=2)
            world.nodes[2].publish(worker, said("two", 2))
            assert await texts(events, 1) == ["two"]


async def test_a_primary_that_says_nothing_is_replaced(autojump_clock):
    """As one that is stopped in its tracks: the connection stands, and nothing comes."""
    async with open_world() as world:
        worker = await watched(world)

        async def mute(asked) -> bytes:
            await asked.send(bytes(4))
            await trio.sleep_forever()
            return b""

        serve = world.town.members[1].calls
        world.town.members[1].calls = {**serve, EVENTS: mute}
        async with world.clients[0].connect(worker) as events:
            await trio.sleep(1)
            world.town.members[1].calls = serve
            world.nodes[1].publish(worker, said("at last", 1))
            started = trio.current_time()
            assert await texts(events, 1) == ["at last"]
            assert trio.current_time() - started < watching.SILENCE_S + 1


async def test_what_comes_again_is_shown_once(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        moment = [said(text, 5) for text in ("a", "b", "b", "c")]
        async with world.clients[0].connect(worker) as events:
            for event in [said("early", 1), *moment[:3]]:
                world.nodes[1].publish(worker, event)
            assert await texts(events, 4) == ["early", "a", "b", "b"]
            world.move(worker, to=2)
            for event in [said("early", 1), *moment, said("late", 6), said("late", 6)]:
                world.nodes[2].publish(worker, event)
            assert await texts(events, 3) == ["c", "late", "late"]


@pytest.mark.parametrize("asking", [0, 1])
async def test_the_end_of_the_worker_is_the_end_of_its_events(asking, autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[asking].connect(worker) as events:
            world.nodes[1].publish(worker, said("last words", 1))
            await world.clients[2].delete_worker(worker)
            assert [event.message async for event in events] == ["last words"]


async def test_a_worker_deleted_while_it_moves_just_ends(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[0].connect(worker) as events:
            await trio.sleep(1)
            del world.shared.state.metadata[worker]
            world.move(worker, to=2)
            assert [event async for event in events] == []


async def test_a_node_that_stops_sends_its_listeners_on(autojump_clock):
    """It ends all streams, and hands its shards over a moment later."""
    async with open_world() as world:
        worker = await watched(world)

        async def stop() -> None:
            world.nodes[1].streams[worker].close()
            await trio.sleep(3)
            world.move(worker, to=2)
            world.nodes[2].publish(worker, said("still here", 2))

        async with trio.open_nursery() as nursery, world.clients[0].connect(worker) as events:
            world.nodes[1].publish(worker, said("one", 1))
            assert await texts(events, 1) == ["one"]
            nursery.start_soon(stop)
            assert await texts(events, 1) == ["still here"]


async def test_a_stream_that_ends_while_nothing_moves_has_ended(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[0].connect(worker) as events:
            world.nodes[1].streams[worker].close()
            assert [event async for event in events] == []
            assert trio.current_time() < watching.MOVES_S + 2


async def test_listeners_at_a_node_that_stops_are_sent_home(autojump_clock):
    async with open_world() as world:
        here, there = await watched(world, 0), world.worker_at(await world.adder(), 1, prefix="x")
        await world.shared.state.create_worker(there)
        client = world.clients[0]
        async with client.connect(here) as own, client.connect(there) as others:
            client.close_streams()
            assert [event async for event in own] == [event async for event in others] == []
            with pytest.raises(Draining):
                async with client.connect(there):
                    pass


async def test_who_connects_while_nobody_leads_waits_a_little_and_is_told(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        world.town.move(world.shard(worker.key), to=None)
        with pytest.raises(WorldError):
            async with world.clients[0].connect(worker):
                pass
        assert trio.current_time() < 2 * watching.FIND_S + 5

        async def elect() -> None:
            await trio.sleep(3)
            world.town.move(world.shard(worker.key), to=2)
            world.nodes[2].publish(worker, said("here", 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(elect)
            async with world.clients[0].connect(worker) as events:
                assert await texts(events, 1) == ["here"]


async def test_who_is_connected_waits_longer_and_is_told(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[0].connect(worker) as events:
            world.nodes[1].publish(worker, said("one", 1))
            assert await texts(events, 1) == ["one"]
            world.town.stop(1)
            started = trio.current_time()
            with pytest.raises(WorldError):
                await anext(events)
            assert watching.LOST_S <= trio.current_time() - started < watching.LOST_S + 2 * watching.FIND_S


async def test_a_slow_listener_holds_up_nobody_but_itself(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[0].connect(worker) as events:
            await trio.sleep(1)
            for number in range(5000):
                world.nodes[1].publish(worker, said(str(number), number))
            await trio.sleep(10)
            assert not world.nodes[1].streams[worker].has_listeners
            came = [event.message async for event in events]
            assert came == [str(number) for number in range(len(came))]
            assert 1000 < len(came) < 5000


async def test_nonsense_for_events_ends_in_an_error(autojump_clock):
    async with open_world() as world:
        worker = await watched(world)

        async def nonsense(asked) -> bytes:
            await asked.send(b"\0\0\0\1\xff")
            return b""

        world.town.members[1].calls = {EVENTS: nonsense}
        with pytest.raises(RequestFailed):
            async with world.clients[0].connect(worker) as events:
                await anext(events)


async def test_one_node_watches_so_many_workers_of_another(autojump_clock, monkeypatch):
    monkeypatch.setattr(watching, "STREAMS_PER_PEER_MAX", 2)
    async with open_world() as world:
        worker = await watched(world)
        async with world.clients[0].connect(worker), world.clients[0].connect(worker), world.clients[2].connect(worker):
            with pytest.raises(WorldError) as raised:
                async with world.clients[0].connect(worker):
                    pass
            assert raised.value.code == "overloaded"
        async with world.clients[0].connect(worker):
            pass


def test_events_of_a_stream_that_begins_anew():
    seen = Seen()
    seen.begin()
    first = [said("a", 1), said("a", 1), said("b", 2)]
    assert [seen.is_new(event) for event in first] == [True, True, True]
    seen.begin()
    again = [said("a", 1), said("b", 2), said("b", 2), said("a", 1)]
    assert [seen.is_new(event) for event in again] == [False, False, True, True], "after the first new one, all are"
