"""What interleaves badly: interrupts, failing disks, deletions and cancelled callers, each at its worst moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from golemp2p.drivers import execution, journal, promises, summary
from golemp2p.drivers.settings import ServiceSettings
from golemp2p.errors import (
    GuestTrapped,
    LimitExceeded,
    MalformedRequest,
    PayloadTooLarge,
    PreviousInvocationFailed,
    StorageFailed,
    StorageFull,
    UsageError,
    WorkerFailure,
    WorkerInterrupted,
    WorkerNotFound,
)
from golemp2p.model import entries as e
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.ids import WorkerId
from golemp2p.model.replication import LogSegment
from golemp2p.model.worker import WorkerStatus
from golemp2p.testing.guests import STRING, U64
from golemp2p.values.cbor import dumps, loads


async def add(guest, n):
    guest.memory["n"] = guest.memory.get("n", 0) + n
    return guest.memory["n"]


async def nap(guest, seconds):
    await guest.sleep(seconds)
    return await add(guest, 1)


async def ask(guest):
    return (await guest.promise()).decode()


async def watch(guest, other, index):
    """The value of another worker's promise."""
    journal = guest.host.journal
    if journal.replaying:
        return loads(journal.take("test:promise::watch", bytes(16)))
    worker = WorkerId(guest.host.worker.component, other)
    try:
        value = (await guest.host.promises.wait(worker, index)).decode()
    except UsageError as error:
        raise GuestTrapped(str(error)) from error
    journal.record("test:promise::watch", "read-remote", bytes(16), dumps(value))
    return value


async def compute(guest):
    """On a thread of the pool, as it were: it neither calls the host nor parks on it."""
    await trio.sleep(30)
    return await add(guest, 1)


N = (("n", U64),)
SCRIPT = {
    "add": (N, U64, add),
    "nap": ((("seconds", U64),), U64, nap),
    "ask": ((), STRING, ask),
    "watch": ((("other", STRING), ("index", U64)), STRING, watch),
    "compute": ((), U64, compute),
}


@pytest.fixture
def node(machine):
    return machine(script=SCRIPT)


async def added(client, machine, env=None):
    return (await client.add_component("script", machine.guests.wasm("script"), env=env)).component


async def invoke(client, component, worker, function, *params, key=None):
    return (await client.invoke(component, worker, function, list(params), idempotency_key=key)).value


async def test_an_interrupted_sleeper_stays_interrupted_when_its_time_comes(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "nap", [3600])
        await trio.sleep(60)
        await client.interrupt_worker(worker)
        await trio.sleep(10_000)
        assert (await client.worker(worker)).status is WorkerStatus.INTERRUPTED
        await client.resume_worker(worker)
        await trio.sleep(1)
        assert await invoke(client, component, "w", "add", 1) == 2


async def test_an_interrupt_that_comes_before_the_task_has_begun_is_not_lost(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await invoke(client, component, "w", "add", 1)
        found = client._workers.in_memory(worker)
        waiter = found.submit("k", "test:guest/api.{add}", b"\x81\x01")
        await client.interrupt_worker(worker)
        with pytest.raises(WorkerInterrupted):
            await waiter.wait()
        await trio.sleep(10)
        assert "k" not in found.state.results
        assert (await client.worker(worker)).status is WorkerStatus.INTERRUPTED
        await client.resume_worker(worker)
        assert await invoke(client, component, "w", "add", 5, key="k") == 2


async def test_an_interrupt_right_after_a_simulated_crash_holds(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "nap", [5])
        await trio.sleep(1)
        await client.interrupt_worker(worker, recover_immediately=True)
        await client.interrupt_worker(worker)
        await trio.sleep(100)
        assert (await client.worker(worker)).status is WorkerStatus.INTERRUPTED
        entries = (await client.oplog(worker)).entries
        assert not any(isinstance(entry, e.ExportedFunctionCompleted) for _, entry in entries)
        await client.resume_worker(worker)
        assert await invoke(client, component, "w", "add", 1) == 2


async def promise_of(client, worker):
    return next(i for i, entry in (await client.oplog(worker)).entries if isinstance(entry, e.NoOp))


async def test_a_promise_wakes_its_worker_also_when_whoever_completed_it_has_gone(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "ask", [], idempotency_key="asked")
        await trio.sleep(60)
        index = await promise_of(client, worker)
        async with trio.open_nursery() as nursery:
            node.storage.faults.hold()
            nursery.start_soon(client.complete_promise, worker, index, b"yes")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        node.storage.faults.release()
        await trio.sleep(60)
        assert (await client.worker(worker)).status is WorkerStatus.IDLE
        assert await invoke(client, component, "w", "ask", key="asked") == "yes"


async def test_a_deletion_goes_on_when_whoever_asked_has_gone(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await invoke(client, component, "w", "add", 1)
        async with trio.open_nursery() as nursery:
            node.storage.faults.hold()
            nursery.start_soon(client.enqueue, component, "w", "add", [1])
            await wait_all_tasks_blocked()
            nursery.start_soon(client.delete_worker, worker)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        node.storage.faults.release()
        await trio.sleep(1)
        with pytest.raises(WorkerNotFound):
            await client.worker(worker)
        assert await invoke(client, component, "w", "add", 7) == 7


async def test_an_invocation_during_a_deletion_is_answered(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await invoke(client, component, "w", "add", 1)
        node.storage.faults.hold()
        answers = []

        async def call():
            answers.append(await invoke(client, component, "w", "add", 5))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.enqueue, component, "w", "add", [1])
                await wait_all_tasks_blocked()
                nursery.start_soon(client.delete_worker, worker)
                await wait_all_tasks_blocked()
                nursery.start_soon(call)
                await wait_all_tasks_blocked()
                node.storage.faults.release()
        assert answers == [5]


async def test_a_suspension_that_cannot_be_written_is_told_and_made_up_for(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        await client.enqueue(component, "w", "nap", [1])
        await trio.sleep(2)
        node.storage.faults.fail_next(StorageFull("no space left"))
        with pytest.raises(StorageFull), trio.fail_after(60):
            await invoke(client, component, "w", "nap", 3600)
        await trio.sleep(2)
        assert await invoke(client, component, "w", "add", 1) == 3


async def test_accepted_work_goes_on_by_itself_after_the_disk_had_a_bad_moment(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "nap", [5])
        await trio.sleep(1)
        node.storage.faults.fail_next(StorageFailed("the disk hiccups"), count=3)
        await trio.sleep(600)
        assert (await client.worker(worker)).status is WorkerStatus.IDLE
        assert await invoke(client, component, "w", "add", 1) == 2
        assert node.guests.alive == 1


async def test_a_full_table_delays_sleepers_but_forgets_none(machine, autojump_clock):
    node = machine(ServiceSettings(shards_count=16, workers_active_max=2), script=SCRIPT)
    async with node.node() as client:
        component = await added(client, node)
        for name in ("a", "b", "c"):
            await client.enqueue(component, name, "nap", [20])
            await trio.sleep(1)
        await trio.sleep(14)
        for name in ("x", "y"):
            await client.enqueue(component, name, "compute", [])  # for 30 s: they fill the table when the others are due
        await trio.sleep(100)
        for name in ("a", "b", "c", "x", "y"):
            assert (await client.worker(WorkerId(component, name))).status is WorkerStatus.IDLE, name


async def test_a_full_table_delays_resumption_but_forgets_nobody(node, autojump_clock):
    async with node.node_that_crashes() as client:
        component = await added(client, node)
        for name in "abcdef":
            await client.enqueue(component, name, "nap", [9])
        await trio.sleep(1)
    node.settings = ServiceSettings(shards_count=16, workers_active_max=2)
    async with node.node() as client:
        await trio.sleep(200)
        for name in "abcdef":
            assert (await client.worker(WorkerId(component, name))).status is WorkerStatus.IDLE, name


def damage(storage, log):
    """Cut the last byte of the newest segment of ``log``."""
    replica = storage._durable.replicas[storage._durable.places[log]]
    at = max(
        at for at, entry in enumerate(replica.entries) if isinstance(entry.content, LogSegment) and entry.content.log == log
    )
    content = replica.entries[at].content
    replica.entries[at] = replace(replica.entries[at], content=replace(content, data=content.data[:-1]))


async def test_one_damaged_sleeper_does_not_make_the_others_late(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        await client.enqueue(component, "bad", "nap", [15])
        await trio.sleep(1)
        damage(node.storage, WorkerId(component, "bad").key)
        await trio.sleep(20)
        begun = trio.current_time()
        assert await invoke(client, component, "good", "nap", 20) == 1
        assert trio.current_time() - begun < 21


async def test_who_waits_for_anothers_promise_outlives_that_workers_broken_log(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "ask", [])
        await trio.sleep(1)
        index = await promise_of(client, worker)
        answers = []

        async def watcher():
            answers.append(await invoke(client, component, "watcher", "watch", "w", index))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher)
            await trio.sleep(1.5)  # the sweeper has made its beginning durable
            node.storage.faults.fail_next(StorageFull("no space left"))
            with pytest.raises(StorageFull):
                await client.enqueue(component, "w", "add", [1])
            await trio.sleep(2)
            assert await client.complete_promise(worker, index, b"yes")
            nursery.cancel_scope.deadline = trio.current_time() + 60
        assert answers == ["yes"]


async def test_anothers_promise_is_seen_only_once_it_is_durable(node, autojump_clock):
    async with node.node_that_crashes() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "ask", [])
        await trio.sleep(1)
        index = await promise_of(client, worker)
        answers = []

        async def watcher():
            answers.append(await invoke(client, component, "watcher", "watch", "w", index))

        async with trio.open_nursery() as nursery:
            node.storage.faults.hold()
            nursery.start_soon(client.complete_promise, worker, index, b"yes")
            await wait_all_tasks_blocked()
            watching = await client._workers.create(WorkerId(component, "watcher"), 0)
            nursery.start_soon(watcher)
            await trio.sleep(5)
            kinds = {type(entry) for entry in watching.state.results.values()}
            assert not answers
            assert not kinds
            nursery.cancel_scope.cancel()


async def test_who_waits_for_a_deleted_workers_promise_is_told(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "ask", [])
        await trio.sleep(1)
        index = await promise_of(client, worker)
        async with trio.open_nursery() as nursery:

            async def watcher():
                with pytest.raises(GuestTrapped, match="has no worker"), trio.fail_after(60):
                    await invoke(client, component, "watcher", "watch", "w", index)

            nursery.start_soon(watcher)
            await trio.sleep(1)
            await client.delete_worker(worker)


async def test_what_a_computing_guest_has_done_is_durable_within_a_moment(node, autojump_clock):
    async with node.node_that_crashes() as client:
        component = await added(client, node)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(invoke, client, component, "w", "compute")
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
    async with node.node() as client:
        await trio.sleep(100)
        assert (await client.worker(WorkerId(component, "w"))).status is WorkerStatus.IDLE
        assert await invoke(client, component, "w", "add", 1) == 2


async def test_an_environment_is_bounded_and_is_text(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node)
        worker = WorkerId(component, "w")
        with pytest.raises(PayloadTooLarge, match="131072"):
            await client.create_worker(worker, env={"A": "x" * (128 * 1024)})
        with pytest.raises(PayloadTooLarge):
            await client.create_worker(worker, args=["x"] * (128 * 1024 + 1))
        with pytest.raises(MalformedRequest):
            await client.create_worker(worker, env={"A": "\ud800"})
        with pytest.raises(PayloadTooLarge):
            await client.add_component("other", node.guests.wasm("script"), env={"A": "x" * (128 * 1024)})
        assert (await client.create_worker(worker, env={"A": "x"})).env == (("A", "x"),)


async def test_what_a_component_and_a_worker_ask_for_is_bounded_together(node, autojump_clock):
    async with node.node() as client:
        component = await added(client, node, env={"A": "x" * 100_000})
        worker = WorkerId(component, "w")
        with pytest.raises(PayloadTooLarge, match="the component's included"):
            await client.create_worker(worker, env={"B": "x" * 100_000})
        with pytest.raises(PayloadTooLarge):
            await client.create_worker(worker, args=[""] * 70_000)
        assert (await client.create_worker(worker, env={"A": "x" * 100_000})).env == (("A", "x" * 100_000),)


async def test_a_guest_that_never_drops_what_it_creates_goes_on(machine, autojump_clock):
    async def leak(guest, count):
        for number in range(count):
            guest.host.resource_created(number, "demo:shop/api@1.0.0.{cart}")
        return await add(guest, 1)

    node = machine(script=SCRIPT | {"leak": ((("count", U64),), U64, leak)})
    async with node.node() as client:
        component = await added(client, node)
        assert await invoke(client, component, "w", "leak", 10_000) == 1
        assert await invoke(client, component, "w", "leak", 10_000) == 2
        shown = (await client.worker(WorkerId(component, "w"))).resources
        assert [number for number, _ in shown] == list(range(256))
        assert [found.resources for found in (await client.workers(component)).workers] == [shown]
    async with node.node() as client:
        assert await invoke(client, component, "w", "add", 1) == 3


async def test_a_description_that_no_other_node_takes_breaks_its_worker_alone(machine, autojump_clock, monkeypatch):
    monkeypatch.setattr(summary, "RESOURCES_MAX", 1 << 20)
    monkeypatch.setattr(summary, "RESOURCES_BYTES_MAX", 1 << 30)

    async def leak(guest):
        for number in range(10_000):
            guest.host.resource_created(number, "demo:shop/api@1.0.0.{cart}")
        return await add(guest, 1)

    node = machine(ServiceSettings(shards_count=1), script=SCRIPT | {"leak": ((), U64, leak)})
    async with node.node() as client:
        component = await added(client, node)
        with pytest.raises(StorageFailed, match="cannot be written: the description of"):
            await invoke(client, component, "w", "leak")
        assert await invoke(client, component, "other", "add", 1) == 1


async def test_a_result_that_nobody_could_read_is_a_failure(machine, autojump_clock, monkeypatch):
    async def long(guest, count):
        return "x" * count

    monkeypatch.setattr(execution, "VALUE_BYTES_MAX", 1_000)
    node = machine(script=SCRIPT | {"long": ((("count", U64),), STRING, long)})
    async with node.node() as client:
        component = await added(client, node)
        assert len(await invoke(client, component, "w", "long", 900)) == 900
        for _ in range(2):
            with pytest.raises(WorkerFailure, match="the result has 1003 bytes; 1000 is the most") as caught:
                await invoke(client, component, "w", "long", 1_000, key="the same")
            assert caught.value.code == LimitExceeded.code
        assert await invoke(client, component, "other", "add", 1) == 1


async def test_what_no_replay_could_read_is_not_recorded(machine, autojump_clock, monkeypatch):
    async def listen(guest, count):
        guest.host.journal.record("test:world::listen", "read-remote", bytes(16), dumps("x" * count))
        return await add(guest, 1)

    monkeypatch.setattr(journal, "VALUE_BYTES_MAX", 1_000)
    monkeypatch.setattr(promises, "DATA_BYTES_MAX", 500)
    node = machine(script=SCRIPT | {"listen": ((("count", U64),), U64, listen)})
    async with node.node() as client:
        component = await added(client, node)
        assert await invoke(client, component, "w", "listen", 900) == 1
        with pytest.raises(LimitExceeded, match="test:world::listen answered 1003 bytes; 1000 is the most"):
            await invoke(client, component, "w", "listen", 1_000)
        worker = WorkerId(component, "other")
        await client.enqueue(component, "other", "ask", [], idempotency_key="asked")
        await trio.sleep(1)
        index = next(i for i, entry in (await client.oplog(worker)).entries if isinstance(entry, e.PromiseCreated | e.NoOp))
        with pytest.raises(PayloadTooLarge, match="500 bytes at most, not 501"):
            await client.complete_promise(worker, index, bytes(501))
        assert await client.complete_promise(worker, index, bytes(500))


async def test_a_refusal_for_an_earlier_failure_waits_until_that_is_durable(machine, autojump_clock):
    async def fail(guest):
        guest.trap("boom")

    settings = ServiceSettings(shards_count=16, retry_policy=RetryPolicy(0, 0.1, 1.0, 3.0, None))
    node = machine(settings, script={**SCRIPT, "fail": ((), None, fail)})
    async with node.node_that_crashes() as client:
        component = await added(client, node)
        await invoke(client, component, "w", "add", 1)
        told = []

        async def call(function, *params):
            try:
                await invoke(client, component, "w", function, *params)
            except (GuestTrapped, PreviousInvocationFailed) as error:
                told.append(type(error))

        async with trio.open_nursery() as nursery:
            node.storage.faults.hold()
            nursery.start_soon(call, "fail")
            await wait_all_tasks_blocked()
            nursery.start_soon(call, "add", 1)
            await wait_all_tasks_blocked()
            assert told == []
            node.storage.faults.release()
        assert sorted(error.__name__ for error in told) == ["GuestTrapped", "PreviousInvocationFailed"]  # in either order
