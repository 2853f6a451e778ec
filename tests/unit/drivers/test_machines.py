"""Several nodes of one mesh in one process: they share the work, and survive each other's deaths."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import PeerProfile
from golemp2p.drivers.peers import hand_overs
from golemp2p.drivers.peers import peer as peer_driver
from golemp2p.drivers.peers.mesh_state import GENESIS
from golemp2p.drivers.peers.removals import Removals
from golemp2p.errors import InvalidState, StorageFull, Unreachable
from golemp2p.model import entries as e
from golemp2p.model.dht import ShardHint
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.testing.guests import STRING, U64
from golemp2p.wire.certificate import load_genesis
from golemp2p.wire.invite import Contact, Invite
from golemp2p.wire.messages_dht import is_hint_genuine


async def add(guest, n):
    guest.memory["total"] = guest.memory.get("total", 0) + n
    return guest.memory["total"]


async def nap(guest, seconds):
    await guest.effect(f"began {seconds}")
    await guest.sleep(seconds)
    return await add(guest, 1)


async def ask(guest):
    return (await guest.promise()).decode()


async def watch(guest, name, index):
    worker = WorkerId(guest.host.worker.component, name)
    return (await guest.host.promises.wait(worker, index)).decode()


N = (("n", U64),)
SCRIPT = {
    "add": (N, U64, add),
    "nap": ((("seconds", U64),), U64, nap),
    "ask": ((), STRING, ask),
    "watch": ((("name", STRING), ("index", U64)), STRING, watch),
}


@pytest.fixture
async def mesh(machines):
    """Three nodes; the component ``script`` was added through the first."""
    made = machines(3, script=SCRIPT)
    await made.start_all()
    made.component = (await made.clients[0].add_component("script", made[0].guests.wasm("script"))).component
    return made


def led_by(mesh, number: int, prefix: str = "w") -> str:
    """Name of a worker that machine ``number`` leads."""
    names = (f"{prefix}{count}" for count in range(1000))
    return next(name for name in names if mesh.leader(WorkerId(mesh.component, name).key.shard(16)) == number)


async def invoke(client, component: ComponentId, worker: str, function: str, *params, key=None):
    return (await client.invoke(component, worker, function, list(params), idempotency_key=key)).value


async def test_any_node_answers_for_any_worker(mesh, autojump_clock):
    for number in range(3):
        worker = led_by(mesh, number)
        for count, client in enumerate(mesh.clients.values(), 1):
            assert await invoke(client, mesh.component, worker, "add", 1) == count
    for client in mesh.clients.values():
        assert len((await client.workers(mesh.component)).workers) == 3
        assert [info.name for info in await client.components()] == ["script"]


async def test_who_waits_gets_the_answer_of_another_node_once(mesh, autojump_clock):
    """The node that runs the worker dies in the middle of an invocation."""
    worker, answers = led_by(mesh, 0), []

    async def caller():
        answers.append(await invoke(mesh.clients[2], mesh.component, worker, "nap", 5, key="k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await trio.sleep(2)
        begun = trio.current_time()
        await mesh.crash(0)
    assert answers == [1]
    assert trio.current_time() - begun < 6
    assert await invoke(mesh.clients[1], mesh.component, worker, "nap", 5, key="k") == 1
    assert await invoke(mesh.clients[1], mesh.component, worker, "add", 1) == 2


async def test_a_sleeper_whose_node_died_wakes_elsewhere(mesh, autojump_clock):
    worker = led_by(mesh, 0)
    await mesh.clients[1].enqueue(mesh.component, worker, "nap", [100], idempotency_key="k")
    await trio.sleep(1)
    await mesh.crash(0)
    begun = trio.current_time()
    assert await invoke(mesh.clients[2], mesh.component, worker, "nap", 100, key="k") == 1
    assert 95 < trio.current_time() - begun < 101


async def test_a_promise_of_a_worker_elsewhere(mesh, autojump_clock):
    """Asked for at one node, awaited by a worker of another, whose node dies, and completed through a third."""
    asking, watching = led_by(mesh, 1), led_by(mesh, 0, "v")
    owner, answers = WorkerId(mesh.component, asking), []
    await mesh.clients[2].enqueue(mesh.component, asking, "ask", [])
    await trio.sleep(1)
    page = await mesh.clients[2].oplog(owner)
    index = next(index for index, entry in page.entries if isinstance(entry, e.NoOp))

    async def watcher():
        answers.append(await invoke(mesh.clients[2], mesh.component, watching, "watch", asking, index))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher)
        await trio.sleep(1)
        await mesh.crash(0)
        await trio.sleep(3)
        assert await mesh.clients[2].complete_promise(owner, index, b"yes")
    assert answers == ["yes"]


async def test_three_nodes_share_the_shards(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    leaders = [mesh.leader(shard) for shard in range(16)]
    assert set(leaders) == {0, 1, 2}


async def test_the_shards_of_a_dead_node_are_led_by_others(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    await mesh.crash(0)
    await mesh.until(lambda: all(mesh.leader(shard) in (1, 2) for shard in range(16)), 5.0)


async def test_the_founder_may_die_and_come_back(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    await mesh.crash(0)
    await mesh.until(lambda: all(mesh.leader(shard) in (1, 2) for shard in range(16)), 5.0)
    await mesh.start(0)
    await mesh.until(lambda: {mesh.leader(shard) for shard in range(16)} == {0, 1, 2})


async def test_a_mesh_finds_itself_again_after_all_nodes_stopped(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    for number in range(3):
        await mesh.crash(number)
    for number in (2, 1):  # without the one that the invite names
        await mesh.start(number)
    await mesh.until(lambda: all(mesh.leader(shard) in (1, 2) for shard in range(16)))


async def test_newcomers_that_let_each_other_in_find_the_mesh_that_invited_them(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start(0)
    genesis = load_genesis(await mesh[0].storage.get_meta(GENESIS) or b"")
    await mesh.stop(0)
    contacts = tuple(
        Contact(machine.key.public_key, (f"machine{machine.number}:1",)) for machine in (mesh[0], mesh[1], mesh[2])
    )
    for number in (1, 2):
        mesh[number].mesh_settings = replace(mesh[number].mesh_settings, join=Invite(genesis, contacts))
        await mesh.start(number)
    await mesh.until(lambda: not any(mesh.services[number].peers.peer.membership.is_joining for number in (1, 2)))
    assert not mesh.services[1].peers.ready_shards()
    await mesh.start(0)
    await mesh.until(mesh.is_grown)


async def test_a_node_hears_nothing_before_it_knows_what_it_holds(machines, autojump_clock, monkeypatch):
    """It would take itself for a stranger to its own shards, and promise again what it had promised."""
    mesh = machines(3)
    await mesh.start_all()
    await mesh.stop(2)
    heard, load, start, receive = [], Removals.load, Peer.start, Peer.receive

    async def slow_load(removals):
        await trio.sleep(3)
        return await load(removals)

    def noted_start(peer, *args, **options):
        heard.append("start")
        return start(peer, *args, **options)

    def noted_receive(peer, *args):
        if peer.own == mesh[2].key.public_key:
            heard.append("message")
        return receive(peer, *args)

    monkeypatch.setattr(Removals, "load", slow_load)
    monkeypatch.setattr(Peer, "start", noted_start)
    monkeypatch.setattr(Peer, "receive", noted_receive)
    await mesh.start(2)
    await mesh.until(lambda: "message" in heard)
    assert heard[0] == "start"


async def test_a_node_that_nobody_lets_in_says_so_soon(machines, autojump_clock):
    mesh = machines(2, script=SCRIPT)
    await mesh.start(0)
    component = (await mesh.clients[0].add_component("script", mesh[0].guests.wasm("script"))).component
    mesh[1].mesh_settings = replace(
        mesh[1].mesh_settings,
        join=Invite(
            load_genesis(await mesh[0].storage.get_meta(GENESIS) or b""), (Contact(mesh[0].key.public_key, ("machine0:1",)),)
        ),
    )
    await mesh.stop(0)
    await mesh.start(1)
    with trio.fail_after(10), pytest.raises(Unreachable, match="has not joined its mesh yet"):
        await invoke(mesh.clients[1], component, "worker", "add", 1)
    with pytest.raises(InvalidState, match="nobody could join through it"):
        mesh.services[1].admin.invite()
    await mesh.start(0)
    assert await invoke(mesh.clients[1], component, "worker", "add", 1) == 1
    assert len(mesh.services[1].admin.invite().nodes) == 2


async def test_a_long_log_is_fetched_in_answers_that_their_reader_takes(machines, autojump_clock, monkeypatch):
    monkeypatch.setattr(peer_driver, "SEGMENTS_MAX", 3)
    mesh = machines(3, script=SCRIPT)
    for number in range(3):
        mesh[number].profile = PeerProfile(entries_max=32)
    await mesh.start(0)
    component = (await mesh.clients[0].add_component("script", mesh[0].guests.wasm("script"))).component
    for _ in range(50):
        await invoke(mesh.clients[0], component, "worker", "add", 1)
    answers = []
    read = mesh[0].storage.replica_segments

    async def replica_segments(*args, **options):
        answers.append(await read(*args, **options))
        return answers[-1]

    monkeypatch.setattr(mesh[0].storage, "replica_segments", replica_segments)
    for number in (1, 2):
        await mesh.start(number)
    await mesh.until(mesh.is_grown)
    assert max(map(len, answers)) == 3
    assert await invoke(mesh.clients[2], component, "worker", "add", 1) == 51


async def test_a_node_that_stops_hands_its_shards_over_first(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    led = mesh.services[0].peers.ready_shards()
    await mesh.services[0].peers.hand_overs.run(5.0)
    assert not mesh.services[0].peers.ready_shards()
    await mesh.until(lambda: all(mesh.leader(shard) in (1, 2) for shard in led), 0.5)


async def test_a_few_shards_are_away_at_once_while_a_node_stops(machines, autojump_clock, monkeypatch):
    monkeypatch.setattr(hand_overs, "AT_ONCE", 2)
    mesh = machines(3)
    await mesh.start_all()
    stopping = mesh.services[0].peers
    led = stopping.ready_shards()
    leaving = []

    async def look(task_status=trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while stopping.ready_shards():
            leaving.append(len(stopping.hand_overs.leaving))
            await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        await nursery.start(look)
        await stopping.hand_overs.run(5.0)
    assert len(led) > 4
    assert max(leaving) == 2
    assert not stopping.hand_overs.leaving


async def test_nodes_that_all_stop_do_not_wait_for_each_other(mesh, autojump_clock):
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(mesh.services[number].local.drain, 60.0)
    assert trio.current_time() - begun < 10.0


async def test_what_is_busy_for_long_is_handed_over_last_and_begins_nothing_new(mesh, autojump_clock):
    worker, other = led_by(mesh, 0), led_by(mesh, 0, "other")
    stopping = mesh.services[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(invoke, mesh.clients[0], mesh.component, worker, "nap", 3)
        await mesh.until(lambda: any(loaded.is_running for loaded in stopping.local._workers.loaded_workers()))
        nursery.start_soon(stopping.local.drain, 10.0)
        await trio.sleep(0.5)
        assert mesh.leader(WorkerId(mesh.component, worker).key.shard(16)) == 0
        await mesh.until(lambda: mesh.leader(WorkerId(mesh.component, other).key.shard(16)) != 0, 1.5)
        assert await invoke(mesh.clients[1], mesh.component, worker, "add", 5) == 6
    assert not stopping.peers.ready_shards()


@pytest.mark.parametrize("refusals", [0, 1000])
async def test_the_disk_may_answer_after_a_node_has_ended(machines, autojump_clock, refusals):
    """A storage is closed after the service, and closing it writes what is queued: whoever is told then must start nothing."""
    mesh = machines(3)
    await mesh.start_all()
    disk = mesh[1].storage
    disk.faults.hold()
    await mesh.crash(0)  # what follows elections waits on the disk
    await mesh.until(lambda: bool(disk._queue), 5.0)
    await mesh.stop(1)
    disk.faults.fail_next(StorageFull("full"), refusals)
    disk.faults.release()
    await disk.aclose()
    await wait_all_tasks_blocked()
    assert not disk._queue


async def test_figures_of_single_shards_and_peers(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    figures = {(figure.name, figure.of): figure.value for figure in mesh.services[0].admin.figures()}
    assert sum(value for (name, _), value in figures.items() if name == "shard_serving") == len(
        mesh.services[0].peers.ready_shards()
    )
    assert {value for (name, _), value in figures.items() if name == "shard_voters"} == {3}
    assert [value for (name, _), value in figures.items() if name == "peer_connected"] == [1, 1]
    assert all(value > 0 for (name, _), value in figures.items() if name == "peer_bytes_sent_total")


async def test_an_answer_is_given_again_although_the_disk_of_its_node_lags(mesh, autojump_clock):
    """A majority has it without the primary's own disk."""
    worker, disk = led_by(mesh, 0), mesh[0].storage
    disk.faults.hold()
    assert await invoke(mesh.clients[1], mesh.component, worker, "add", 7, key="k") == 7
    answers = []

    async def again():
        answers.append(await invoke(mesh.clients[2], mesh.component, worker, "add", 7, key="k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(again)
        await trio.sleep(1)
        disk.faults.release()
    assert answers == [7]


async def test_a_worker_is_replayed_to_where_it_stood_although_the_disk_of_its_node_lags(mesh, autojump_clock):
    worker, disk = led_by(mesh, 0), mesh[0].storage
    assert await invoke(mesh.clients[0], mesh.component, worker, "add", 1) == 1
    disk.faults.hold()
    assert await invoke(mesh.clients[0], mesh.component, worker, "add", 1) == 2
    await mesh.clients[0].interrupt_worker(WorkerId(mesh.component, worker), recover_immediately=True)
    answers = []

    async def more():
        answers.append(await invoke(mesh.clients[0], mesh.component, worker, "add", 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(more)
        await trio.sleep(1)
        disk.faults.release()
    assert answers == [3]
    assert [info.worker.name for info in (await mesh.clients[1].workers(mesh.component)).workers] == [worker]


async def test_whoever_leads_a_shard_can_prove_it_to_strangers(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    genesis = load_genesis(await mesh[0].storage.get_meta(GENESIS))
    for service in mesh.services.values():
        for shard in service.peers.ready_shards():
            term = service.peers.peer.shards[shard].term
            hint = ShardHint(shard, term, service.peers.own, service.peers.peer._certify(shard))
            assert is_hint_genuine(hint, genesis)


async def test_a_worker_is_revived_with_all_that_a_majority_has(mesh, autojump_clock):
    """Its node's disk hangs: the others commit what it has not written yet, and what is read there is not all."""
    worker, answers = led_by(mesh, 0), []
    client, leader = mesh.clients[1], mesh[0].storage.faults
    assert await invoke(client, mesh.component, worker, "add", 1) == 1
    leader.hold()
    assert await invoke(client, mesh.component, worker, "add", 2, key="k") == 3
    await client.interrupt_worker(WorkerId(mesh.component, worker), recover_immediately=True)

    async def caller():
        answers.append(await invoke(client, mesh.component, worker, "add", 4))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await trio.sleep(0.2)
        assert answers == []
        leader.release()
    assert answers == [7]
    assert await invoke(client, mesh.component, worker, "add", 2, key="k") == 3


class Tripwire(list):
    """Calls ``tripped`` with the first effect that begins with ``what``."""

    def __init__(self, what, tripped):
        super().__init__()
        self.what, self.tripped = what, tripped

    def append(self, effect):
        super().append(effect)
        if effect[1].startswith(self.what):
            self.tripped()


async def test_a_timer_is_not_overlooked_by_a_node_whose_disk_is_slower_than_the_others(mesh, autojump_clock):
    """The others have it that the worker sleeps; its own node finds out when it is time to wake it."""
    worker, answers = led_by(mesh, 0), []
    faults = mesh[0].storage.faults
    mesh[0].guests.effects = Tripwire("began", faults.hold)

    async def caller():
        answers.append(await invoke(mesh.clients[1], mesh.component, worker, "nap", 12))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        begun = trio.current_time()
        await trio.sleep(13)
        faults.release()
    assert answers == [1]
    assert trio.current_time() - begun < 15


async def test_a_worker_that_was_woken_is_not_woken_again_and_again_until_the_disk_says_so(mesh, autojump_clock, monkeypatch):
    worker, storage, looks = led_by(mesh, 0), mesh[0].storage, []
    heads_due = storage.heads_due

    async def counted(*arguments):
        looks.append(trio.current_time())
        if len(looks) > 200:
            await trio.sleep(0.1)
        return await heads_due(*arguments)

    await mesh.clients[1].enqueue(mesh.component, worker, "nap", [12], idempotency_key="k")
    await trio.sleep(11)
    monkeypatch.setattr(storage, "heads_due", counted)
    storage.faults.hold()
    await trio.sleep(3)
    storage.faults.release()
    assert await invoke(mesh.clients[1], mesh.component, worker, "nap", 12, key="k") == 1
    assert len(looks) < 20


async def test_a_component_is_ready_at_every_node_before_any_of_its_workers_comes(mesh, autojump_clock):
    group = mesh.services[0].peers.holders(WorkerId(mesh.component, "any").key.shard(16))
    assert len(group) == 3
    await mesh.until(lambda: all(s.local._components.loaded_nowait(mesh.component, 0) for s in mesh.services.values()), 5.0)


async def test_the_shards_of_a_node_whose_disk_is_full_are_led_by_others(mesh, autojump_clock):
    worker = led_by(mesh, 0)
    shard = WorkerId(mesh.component, worker).key.shard(16)
    assert await invoke(mesh.clients[1], mesh.component, worker, "add", 1) == 1
    mesh[0].storage.faults.fail_next(StorageFull("full"), 1 << 20)
    for count, client in enumerate([*mesh.clients.values()] * 2, 2):
        began = trio.current_time()
        assert await invoke(client, mesh.component, worker, "add", 1) == count
        assert trio.current_time() - began < 2
    assert mesh.leader(shard) in (1, 2)
    for count in range(8, 48):  # nobody tries to give it back to a node that cannot write
        await trio.sleep(0.7)
        began = trio.current_time()
        assert await invoke(mesh.clients[0], mesh.component, worker, "add", 1) == count
        assert trio.current_time() - began < 0.1
    mesh[0].storage.faults.failing.clear()
    await mesh.until(lambda: mesh.leader(shard) == 0)
    assert await invoke(mesh.clients[1], mesh.component, worker, "add", 1) == 48
