"""A node from the client's side, over scripted guests: durability, idempotency, failures, timers, promises."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel

from golemp2p.drivers.settings import ServiceSettings
from golemp2p.errors import (
    Draining,
    FunctionNotFound,
    GuestTrapped,
    Overloaded,
    PreviousInvocationFailed,
    PromiseNotFound,
    StorageFull,
    WorkerAlreadyExists,
    WorkerInterrupted,
    WorkerNotFound,
    WrongArity,
)
from golemp2p.model import entries as e
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import WorkerStatus
from golemp2p.testing.guests import STRING, U64


async def add(guest, n):
    guest.memory["n"] = guest.memory.get("n", 0) + n
    return guest.memory["n"]


async def get(guest):
    return guest.memory.get("n", 0)


async def stamp(guest):
    guest.memory.setdefault("stamps", []).append(guest.now())
    return guest.memory["stamps"][-1]


async def stamps(guest):
    return ",".join(str(stamp) for stamp in guest.memory.get("stamps", []))


async def nap(guest, seconds):
    guest.say(f"sleeping {seconds}")
    await guest.sleep(seconds)
    guest.say("awake")
    return await add(guest, 1)


async def send(guest, what):
    await guest.effect(what)
    return await add(guest, 1)


async def send_then_trap(guest, what):
    await guest.effect(what)
    guest.trap("boom")


async def ask(guest):
    return (await guest.promise()).decode()


N = (("n", U64),)
COUNTER = {
    "add": (N, U64, add),
    "get": ((), U64, get),
    "stamp": ((), U64, stamp),
    "stamps": ((), STRING, stamps),
    "nap": ((("seconds", U64),), U64, nap),
    "send": ((("what", STRING),), U64, send),
    "send-then-trap": ((("what", STRING),), None, send_then_trap),
    "ask": ((), STRING, ask),
}


@pytest.fixture
def counter(machine):
    return machine(counter=COUNTER)


async def added(client, machine, **options):
    info = await client.add_component("counter", machine.guests.wasm("counter"), **options)
    return info.component


async def invoke(client, component, worker, function, *params, key=None):
    return (await client.invoke(component, worker, function, list(params), idempotency_key=key)).value


async def test_a_worker_counts_and_keeps_its_state_over_a_clean_restart(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        assert await invoke(client, component, "w", "add", 2) == 2
        assert await invoke(client, component, "w", "add", 3) == 5
    async with counter.node() as client:
        assert await invoke(client, component, "w", "get") == 5


async def test_everything_acknowledged_is_there_after_a_crash_and_nothing_twice(counter, autojump_clock):
    async with counter.node_that_crashes() as client:
        component = await added(client, counter)
        for n in range(5):
            assert await invoke(client, component, "w", "add", 1, key=f"k{n}") == n + 1
    async with counter.node_that_crashes() as client:
        assert await invoke(client, component, "w", "add", 1, key="k4") == 5
        assert await invoke(client, component, "w", "add", 1, key="k5") == 6
    async with counter.node() as client:
        assert await invoke(client, component, "w", "get") == 6


async def test_replay_gives_the_recorded_readings(counter, autojump_clock):
    async with counter.node_that_crashes() as client:
        component = await added(client, counter)
        first = await invoke(client, component, "w", "stamp")
        await trio.sleep(1000)
        second = await invoke(client, component, "w", "stamp")
        assert second > first
    await trio.sleep(1000)
    async with counter.node() as client:
        assert await invoke(client, component, "w", "stamps") == f"{first},{second}"


async def test_an_invocation_under_way_at_the_crash_is_finished_by_itself(counter, autojump_clock):
    async with counter.node_that_crashes() as client:
        component = await added(client, counter)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(invoke, client, component, "w", "nap", 5)
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
    async with counter.node() as client:
        await trio.sleep(4)
        assert (await client.worker(WorkerId(component, "w"))).status is WorkerStatus.IDLE
        assert await invoke(client, component, "w", "get") == 1
        page = await client.oplog(WorkerId(component, "w"))
        lines = [entry.message for _, entry in page.entries if isinstance(entry, e.Log)]
        assert lines == ["sleeping 5", "awake"]


async def test_a_long_sleep_leaves_memory_and_fires_late_rather_than_never(counter, autojump_clock):
    async with counter.node_that_crashes() as client:
        component = await added(client, counter)
        await client.enqueue(component, "w", "nap", [3600])
        await trio.sleep(1)
        assert (await client.worker(WorkerId(component, "w"))).status is WorkerStatus.SUSPENDED
        assert counter.guests.alive == 0
        assert client.statistics()["workers_loaded"] == 0
    await trio.sleep(10_000)
    async with counter.node() as client:
        await trio.sleep(1)
        assert await invoke(client, component, "w", "get") == 1


async def test_a_long_sleep_wakes_in_time_while_the_node_runs(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        begun = trio.current_time()
        assert await invoke(client, component, "w", "nap", 3600) == 1
        assert 3600 <= trio.current_time() - begun < 3602


async def test_a_promise_is_completed_from_outside_over_a_crash(counter, autojump_clock):
    async with counter.node_that_crashes() as client:
        component = await added(client, counter)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "ask", [], idempotency_key="asked")
        await trio.sleep(60)
        assert (await client.worker(worker)).status is WorkerStatus.SUSPENDED
        assert client.statistics()["workers_loaded"] == 0
        index = next(i for i, entry in (await client.oplog(worker)).entries if isinstance(entry, e.NoOp))
    async with counter.node() as client:
        with pytest.raises(PromiseNotFound):
            await client.complete_promise(worker, 1, b"no")
        assert await client.complete_promise(worker, index, b"yes")
        assert not await client.complete_promise(worker, index, b"again")
        assert await invoke(client, component, "w", "ask", key="asked") == "yes"


async def test_a_promise_completed_just_before_a_crash_still_wakes(counter, autojump_clock):
    async with counter.node_that_crashes() as client:
        component = await added(client, counter)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "ask", [], idempotency_key="asked")
        await trio.sleep(60)
        index = next(i for i, entry in (await client.oplog(worker)).entries if isinstance(entry, e.NoOp))
        await client.complete_promise(worker, index, b"yes")
    async with counter.node() as client:
        await trio.sleep(1)
        assert (await client.worker(worker)).status is WorkerStatus.IDLE


async def test_the_same_key_runs_once_also_concurrently(counter, autojump_clock):
    results = []

    async with counter.node() as client:
        component = await added(client, counter)

        async def one():
            results.append(await invoke(client, component, "w", "send", "mail", key="k"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
    assert results == [1] * 10
    assert counter.guests.effects == [("w", "mail")]


async def test_a_traps_worker_retries_then_fails_for_good_with_everything_pending(machine, autojump_clock):
    node = machine(ServiceSettings(shards_count=16, retry_policy=RetryPolicy(2, 0.1, 1.0, 3.0, None)), counter=COUNTER)
    async with node.node() as client:
        component = await added(client, node)
        with pytest.raises(GuestTrapped, match="boom"):
            await invoke(client, component, "w", "send-then-trap", "mail", key="bad")
        assert node.guests.effects == [("w", "mail")]  # journalled once, replayed in both retries
        metadata = await client.worker(WorkerId(component, "w"))
        assert (metadata.status, metadata.retry_count, metadata.last_error) == (WorkerStatus.FAILED, 3, "boom")
        with pytest.raises(PreviousInvocationFailed):
            await invoke(client, component, "w", "get")
        with pytest.raises(GuestTrapped, match="boom"):
            await invoke(client, component, "w", "send-then-trap", "mail", key="bad")
    async with node.node() as client:
        with pytest.raises(GuestTrapped, match="boom"):
            await invoke(client, component, "w", "send-then-trap", "mail", key="bad")


async def test_bad_requests_create_nothing(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        with pytest.raises(FunctionNotFound):
            await invoke(client, component, "w", "fly")
        with pytest.raises(WrongArity):
            await invoke(client, component, "w", "add")
        with pytest.raises(WorkerNotFound):
            await client.worker(WorkerId(component, "w"))


async def test_interrupt_and_resume(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        worker = WorkerId(component, "w")
        await invoke(client, component, "w", "add", 1)
        async with trio.open_nursery() as nursery:

            async def napper():
                with pytest.raises(WorkerInterrupted, match="Interrupted via the Golem API"):
                    await invoke(client, component, "w", "nap", 5, key="nap")

            nursery.start_soon(napper)
            await trio.sleep(1)
            await client.interrupt_worker(worker)
        assert (await client.worker(worker)).status is WorkerStatus.INTERRUPTED
        await trio.sleep(100)
        assert (await client.worker(worker)).status is WorkerStatus.INTERRUPTED
        await client.resume_worker(worker)
        assert await invoke(client, component, "w", "nap", 5, key="nap") == 2


async def test_a_simulated_crash_is_not_noticed_by_those_who_wait(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        async with trio.open_nursery() as nursery:

            async def napper():
                assert await invoke(client, component, "w", "nap", 5) == 1

            nursery.start_soon(napper)
            await trio.sleep(2)
            await client.interrupt_worker(WorkerId(component, "w"), recover_immediately=True)
        assert counter.guests.instantiated == 2


async def test_delete_and_start_anew(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        worker = WorkerId(component, "w")
        await invoke(client, component, "w", "add", 7)
        await client.delete_worker(worker)
        with pytest.raises(WorkerNotFound):
            await client.worker(worker)
        assert await invoke(client, component, "w", "get") == 0


async def test_create_with_environment_and_arguments(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter, env={"A": "component", "B": "component"})
        worker = WorkerId(component, "w")
        metadata = await client.create_worker(worker, args=["x"], env={"A": "worker"})
        assert metadata.args == ("x",)
        assert metadata.env == (("A", "worker"), ("B", "component"))
        with pytest.raises(WorkerAlreadyExists):
            await client.create_worker(worker)


async def test_pending_invocations_run_in_order_and_can_be_canceled(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        worker = WorkerId(component, "w")
        await client.enqueue(component, "w", "nap", [5])
        for n in range(4):
            await client.enqueue(component, "w", "send", [str(n)], idempotency_key=f"k{n}")
        assert (await client.worker(worker)).pending_invocations == 4
        assert await client.cancel_invocation(worker, "k2")
        await trio.sleep(10)
        assert counter.guests.effects == [("w", "0"), ("w", "1"), ("w", "3")]
        assert not await client.cancel_invocation(worker, "k2")


async def test_a_full_queue_refuses_with_a_hint(machine, autojump_clock):
    node = machine(ServiceSettings(shards_count=16, queue_max=1), counter=COUNTER)
    async with node.node() as client:
        component = await added(client, node)
        await client.enqueue(component, "w", "nap", [5])
        await trio.sleep(1)
        await client.enqueue(component, "w", "get", [])
        with pytest.raises(Overloaded) as caught:
            await client.enqueue(component, "w", "get", [])
        assert caught.value.retry_after_s is not None


async def test_a_full_disk_is_told_and_costs_nothing_that_was_acknowledged(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        assert await invoke(client, component, "w", "add", 1) == 1
        counter.storage.faults.fail_next(StorageFull("no space left"))
        with pytest.raises(StorageFull):
            await invoke(client, component, "w", "add", 1, key="refused")
        with pytest.raises(StorageFull):  # the shard waits for the disk
            await invoke(client, component, "w", "get")
        await trio.sleep(2)
        assert (
            await invoke(client, component, "w", "add", 1, key="refused") == 2
        )  # what was refused was kept, and written again
        assert await invoke(client, component, "w", "add", 1) == 3


async def test_ephemeral_workers_keep_nothing(machine, autojump_clock):
    node = machine(counter=COUNTER)
    async with node.node() as client:
        component = await added(client, node, ephemeral=True)
        assert await invoke(client, component, "w", "add", 2) == 2
        assert await invoke(client, component, "w", "add", 2) == 2
        assert await invoke(client, component, None, "add", 3) == 3


async def test_a_failure_of_an_ephemeral_worker_is_one_invocations_own(machine, autojump_clock):
    node = machine(counter=COUNTER)
    async with node.node() as client:
        component = await added(client, node, ephemeral=True)
        failed = []

        async def fail(key):
            with pytest.raises(GuestTrapped, match="boom"):
                await invoke(client, component, "w", "send-then-trap", "mail", key=key)
            failed.append(key)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "one")
            nursery.start_soon(fail, "two")
            assert await invoke(client, component, "w", "add", 2) == 2  # it waited behind them, or before
        assert sorted(failed) == ["one", "two"]
        assert node.guests.effects == [("w", "mail")] * 2  # no retry: nothing is journalled that could be replayed
        await fail("one")  # recorded
        assert node.guests.effects == [("w", "mail")] * 2
        assert (await client.worker(WorkerId(component, "w"))).status is WorkerStatus.IDLE


async def test_an_idle_worker_leaves_memory_after_its_time_and_comes_back(machine, autojump_clock):
    node = machine(ServiceSettings(shards_count=16, idle_ttl_s=30), counter=COUNTER)
    async with node.node() as client:
        component = await added(client, node)
        await invoke(client, component, "w", "add", 1)
        await trio.sleep(60)
        assert node.guests.alive == 0
        assert await invoke(client, component, "w", "add", 1) == 2


async def test_events_are_shown_once(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        worker = WorkerId(component, "w")
        with pytest.raises(WorkerNotFound):
            async with client.connect(worker):
                pass
        await client.create_worker(worker)
        seen = []
        async with client.connect(worker) as events:
            await invoke(client, component, "w", "nap", 1, key="k")
            async for event in events:
                seen.append((event.kind, event.message or event.idempotency_key))
                if event.kind == "invocation-finished":
                    break
        assert seen == [
            ("invocation-start", "k"),
            ("stdout", "sleeping 1"),
            ("stdout", "awake"),
            ("invocation-finished", "k"),
        ]


async def test_a_listener_that_comes_later_sees_what_was(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        await invoke(client, component, "w", "add", 1, key="k")
        async with client.connect(WorkerId(component, "w")) as events:
            assert [(await anext(events)).kind for _ in range(2)] == ["invocation-start", "invocation-finished"]


async def test_listing_pages_over_workers_in_memory_and_on_disk(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        for n in range(5):
            await invoke(client, component, f"w{n}", "add", n)
    async with counter.node() as client:
        await invoke(client, component, "w3", "add", 1)
        first = await client.workers(component, count=3)
        assert [w.worker.name for w in first.workers] == ["w0", "w1", "w2"]
        rest = await client.workers(component, count=3, cursor=first.cursor)
        assert [w.worker.name for w in rest.workers] == ["w3", "w4"]
        assert rest.cursor is None


async def test_draining_waits_for_work_and_sends_listeners_home(counter, autojump_clock):
    async with counter.node() as client:
        component = await added(client, counter)
        seen = []
        async with trio.open_nursery() as nursery:

            async def listen():
                async with client.connect(WorkerId(component, "w")) as events:
                    seen.extend([event.kind async for event in events])

            await client.create_worker(WorkerId(component, "w"))
            nursery.start_soon(listen)
            await trio.lowlevel.checkpoint()
            await client.enqueue(component, "w", "nap", [3], idempotency_key="nap")
            begun = trio.current_time()
            await client.drain(10)
            assert trio.current_time() - begun == pytest.approx(3, abs=0.1)
        assert seen[-1] == "invocation-finished"
        with pytest.raises(Draining):
            await invoke(client, component, "w", "get")


async def test_a_mesh_may_be_born_with_more_shards_than_most_need(machine, autojump_clock):
    node = machine(ServiceSettings(shards_count=1 << 12), counter=COUNTER)
    async with node.node() as client:
        component = await added(client, node)
        assert await invoke(client, component, "w", "add", 2) == 2
    async with node.node() as client:
        assert await invoke(client, component, "w", "get") == 2
