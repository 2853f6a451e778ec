"""Several nodes of one mesh in one process: they share the work, and survive each other's deaths."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from golemp2p.errors import StorageFull


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


async def test_a_node_that_stops_hands_its_shards_over_first(machines, autojump_clock):
    mesh = machines(3)
    await mesh.start_all()
    led = mesh.clients[0].peers.ready_shards()
    await mesh.clients[0].peers.step_aside(5.0)
    assert not mesh.clients[0].peers.ready_shards()
    await mesh.until(lambda: all(mesh.leader(shard) in (1, 2) for shard in led), 0.5)


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
