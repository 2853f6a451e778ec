"""Whole nodes in memory, over scripted guests: whatever is asked for, at any node, is done by whoever leads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from golemp2p.drivers.routing.mesh_client import MeshClient
from golemp2p.errors import (
    ComponentAlreadyExists,
    FunctionNotFound,
    GuestTrapped,
    ValueMismatch,
    WorkerAlreadyExists,
    WorkerNotFound,
)
from golemp2p.model import entries as e
from golemp2p.model.ids import ComponentId, WorkerId
from golemp2p.model.worker import FieldFilter
from golemp2p.testing.guests import STRING, U64


async def add(guest, n):
    guest.memory["n"] = guest.memory.get("n", 0) + n
    return guest.memory["n"]


async def echo(guest, text):
    return text + text


async def trap(guest):
    guest.trap("boom")


async def work(guest, seconds):
    guest.say("begun")
    await guest.effect("begun")
    await guest.sleep(seconds)
    await guest.effect("done")
    guest.say("done")
    return "done"


async def ask(guest):
    return (await guest.promise()).decode("latin-1")


COUNTER = {
    "add": ((("n", U64),), U64, add),
    "echo": ((("text", STRING),), STRING, echo),
    "trap": ((), None, trap),
    "work": ((("seconds", U64),), STRING, work),
    "ask": ((), STRING, ask),
}


class Mesh:
    """Three nodes and a component that was uploaded at the first."""

    def __init__(self, machines: Any, component: ComponentId) -> None:
        self.machines = machines
        self.component = component

    def client(self, number: int) -> MeshClient:
        client: MeshClient = self.machines.services[number].client
        return client

    def leader(self, worker: WorkerId) -> int | None:
        leader: int | None = self.machines.leader(worker.key.shard(16))
        return leader

    def worker_at(self, number: int, prefix: str = "w") -> WorkerId:
        """A worker in a shard that the node leads."""
        names = (WorkerId(self.component, f"{prefix}{counter}") for counter in range(1000))
        return next(worker for worker in names if self.leader(worker) == number)


@pytest.fixture
def grown(machines: Callable[..., Any]) -> Callable[[], Any]:
    @asynccontextmanager
    async def open_mesh() -> AsyncIterator[Mesh]:
        mesh = machines(3, counter=COUNTER)
        await mesh.start_all()
        for number, service in mesh.services.items():
            service.http = f"http://node{number}:9881"
        info = await mesh.services[0].client.add_component("counter", mesh[0].guests.wasm("counter"), env={"A": "1"})
        yield Mesh(mesh, info.component)

    return open_mesh


async def test_a_component_of_one_node_runs_on_all(grown, autojump_clock):
    async with grown() as mesh:
        for number in range(3):
            client = mesh.client(number)
            (info,) = await client.components("counter")
            assert info.component == mesh.component
            assert await client.components() == [info]
            assert (await client.component_file(mesh.component)).read_bytes() == mesh.machines[0].guests.wasm("counter")
            with pytest.raises(ComponentAlreadyExists):
                await client.add_component("counter", mesh.machines[0].guests.wasm("counter"))
            for leader in range(3):
                worker = mesh.worker_at(leader)
                result = await client.invoke(mesh.component, worker.name, "add", [{"value": 1}])
                assert (result.value, result.worker) == (number + 1, worker)
                assert client.primary(worker) == f"http://node{leader}:9881"


async def test_errors_come_as_they_are(grown, autojump_clock):
    async with grown() as mesh:
        worker = mesh.worker_at(1)
        for number in (0, 1):
            client = mesh.client(number)
            with pytest.raises(ValueMismatch) as mismatch:
                await client.invoke(mesh.component, worker.name, "add", ["text"])
            assert (mismatch.value.path, mismatch.value.expected) == ("params[0]", "u64")
            with pytest.raises(FunctionNotFound):
                await client.invoke(mesh.component, worker.name, "nothing", [])
            with pytest.raises(WorkerNotFound):
                await client.worker(WorkerId(mesh.component, "unheard-of"))
        trapping = mesh.worker_at(2, prefix="trapping")
        with pytest.raises(GuestTrapped, match="boom"):
            await mesh.client(0).invoke(mesh.component, trapping.name, "trap", [])


async def test_workers_are_listed_from_everywhere(grown, autojump_clock):
    async with grown() as mesh:
        names = sorted(f"w{number:02}" for number in range(40))
        for place, name in enumerate(names):
            await mesh.client(place % 3).create_worker(WorkerId(mesh.component, name), env={"N": name})
        with pytest.raises(WorkerAlreadyExists):
            await mesh.client(2).create_worker(WorkerId(mesh.component, "w00"))
        for number in range(3):
            client = mesh.client(number)
            listed: list[str] = []
            cursor = None
            while True:
                page = await client.workers(mesh.component, cursor=cursor, count=7)
                listed += [found.worker.name for found in page.workers]
                cursor = page.cursor
                if cursor is None:
                    break
            assert listed == names
            few = await client.workers(mesh.component, filter=FieldFilter("env.N", "startswith", "w1"), count=100)
            assert [found.worker.name for found in few.workers] == names[10:20]
        await mesh.client(0).delete_worker(WorkerId(mesh.component, "w05"))
        page = await mesh.client(1).workers(mesh.component, count=100)
        assert "w05" not in [found.worker.name for found in page.workers]


async def test_what_is_large_travels_too(grown, autojump_clock):
    async with grown() as mesh:
        worker = mesh.worker_at(2)
        text = "é" * 400_000
        result = await mesh.client(0).invoke(mesh.component, worker.name, "echo", [text], idempotency_key="k")
        assert result.value == text + text
        again = await mesh.client(1).invoke(mesh.component, worker.name, "echo", [text], idempotency_key="k")
        assert again.value == text + text
        page = await mesh.client(1).oplog(worker)
        (completed,) = [entry for _, entry in page.entries if isinstance(entry, e.ExportedFunctionCompleted)]
        assert len(completed.response) > 1_600_000
        assert page.info.name == "counter"


async def test_promises_are_completed_from_anywhere(grown, autojump_clock):
    async with grown() as mesh:
        worker = mesh.worker_at(1)
        results: list[Any] = []

        async def call() -> None:
            results.append(await mesh.client(0).invoke(mesh.component, worker.name, "ask", [], idempotency_key="k"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.sleep(5)
            page = await mesh.client(2).oplog(worker)
            (promise,) = [entry for _, entry in page.entries if isinstance(entry, e.PromiseCreated)]
            data = b"x" * 700_000
            assert await mesh.client(2).complete_promise(worker, promise.promise_index, data) is True
            assert await mesh.client(0).complete_promise(worker, promise.promise_index, b"other") is False
        assert results[0].value == data.decode()


@pytest.mark.parametrize("asking", [0, 2])
async def test_a_worker_whose_node_dies_in_the_middle_goes_on_elsewhere(grown, asking, autojump_clock):
    """The caller, at another node, gets its answer, and the world saw everything once."""
    async with grown() as mesh:
        worker = mesh.worker_at(1)
        effects = mesh.machines[0].guests.effects
        said: list[str] = []
        results: list[Any] = []

        async def call() -> None:
            results.append(await mesh.client(asking).invoke(mesh.component, worker.name, "work", [8], idempotency_key="k"))

        async def listen() -> None:
            async with mesh.client(asking).connect(worker) as events:
                async for event in events:
                    if event.kind == "stdout":
                        said.append(event.message)

        await mesh.client(asking).create_worker(worker)
        async with trio.open_nursery() as listening:
            listening.start_soon(listen)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await trio.sleep(3)
                assert effects == [(worker.name, "begun")]
                await mesh.machines.crash(1)
            await trio.sleep(5)
            listening.cancel_scope.cancel()
        assert results[0].value == "done"
        assert effects == [(worker.name, "begun"), (worker.name, "done")]
        assert said == ["begun", "done"]
        assert mesh.leader(worker) in (0, 2)
        again = await mesh.client(2 - asking).invoke(mesh.component, worker.name, "work", [8], idempotency_key="k")
        assert again.value == "done"
        assert len(effects) == 2


async def test_a_listing_while_a_node_dies_is_complete_or_says_so(grown, autojump_clock):
    async with grown() as mesh:
        names = sorted(f"w{number:02}" for number in range(30))
        for name in names:
            await mesh.client(0).create_worker(WorkerId(mesh.component, name))
        await mesh.machines.crash(1)
        page = await mesh.client(0).workers(mesh.component, count=100)
        assert [found.worker.name for found in page.workers] == names
