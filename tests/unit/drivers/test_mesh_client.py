"""Requests that go to any node and are done where they belong: here or there, over moves, crashes and lost answers."""

from __future__ import annotations

import pytest
import trio
from routing_world import WASM, World, open_world

from golemp2p.errors import (
    ComponentAlreadyExists,
    ComponentNotFound,
    DeadlineExceeded,
    Draining,
    GuestTrapped,
    InvocationNotFound,
    LimitExceeded,
    MalformedRequest,
    Overloaded,
    PayloadTooLarge,
    PromiseNotFound,
    RequestFailed,
    StorageFull,
    Unreachable,
    ValueMismatch,
    WorkerAlreadyExists,
    WorkerNotFound,
    WrongArity,
)
from golemp2p.model import entries as e
from golemp2p.model import operations as o
from golemp2p.model.ids import ComponentId
from golemp2p.model.wit import ListOf, Primitive
from golemp2p.model.worker import WorkerStatus
from golemp2p.wire.call_kinds import BODY
from golemp2p.wire.operations import INLINE_BYTES_MAX, encode_answer, encode_operation

STRING = Primitive("string")
U8 = Primitive("u8")


def scripted(world: World, name: str, function, result=STRING, arity: int = 0) -> None:
    world.shared.state.functions[name] = (arity, result, function)


# -- here and there


async def test_the_node_that_leads_the_shard_does_it_itself(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        result = await world.clients[1].invoke(worker.component, worker.name, "add", [1, 2], idempotency_key="k")
        assert (result.value, result.worker) == (3, worker)
        assert world.town.members[1].asked == []
        assert world.nodes[1].calls == [(worker, "add", [1, 2], "k")]


async def test_any_other_node_has_it_done_there(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        params = [{"typ": {"type": "U64"}, "value": 1}, {"value": 2}]
        result = await world.clients[0].invoke(worker.component, worker.name, "add", params, idempotency_key="k")
        assert (result.type, result.value, result.worker) == (Primitive("u64"), 3, worker)
        assert world.nodes[1].calls == [(worker, "add", params, "k")]
        assert world.nodes[0].calls == []
        assert len(world.town.members[0].asked) == 1
        assert world.clients[0].statistics()["requests_forwarded_total"] == 1
        assert world.clients[1].statistics()["requests_served_for_others_total"] == 1


async def test_what_the_caller_does_not_name_is_named_where_it_asks(autojump_clock):
    async with open_world() as world:
        component = await world.adder()
        world.town.lost_answers = 2
        for client in world.clients:
            await client.invoke(component, None, "add", [1, 2])
        calls = [call for node in world.nodes for call in node.calls]
        assert len(calls) == 3, "a lost answer is no second invocation"
        assert len({(worker, key) for worker, _, _, key in calls}) == 3
        worker = calls[0][0].name
        assert (len(worker), worker[14], worker[19] in "89ab") == (36, "4", True)


async def test_enqueue_tells_the_worker(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 2)
        assert await world.clients[0].enqueue(worker.component, worker.name, "add", [1, 2]) == worker
        fresh = await world.clients[0].enqueue(worker.component, None, "add", [1, 2])
        assert fresh in world.shared.state.metadata


async def test_a_shard_that_moves_while_it_works_here_is_asked_for_where_it_went(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 0)

        async def move_away():
            world.move(worker, to=2)
            return "done"

        scripted(world, "move-away", move_away)
        result = await world.clients[0].invoke(worker.component, worker.name, "move-away", [], idempotency_key="k")
        assert result.value == "done"
        assert [call[3] for call in world.nodes[2].calls] == ["k"], "by the same invocation"


async def test_the_primary_dies_in_the_middle_and_the_caller_gets_its_answer(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        started = trio.Event()

        async def slow():
            started.set()
            await trio.sleep(3)
            return "done"

        scripted(world, "slow", slow)
        async with trio.open_nursery() as nursery:
            results: list[object] = []

            async def call() -> None:
                results.append(await world.clients[0].invoke(worker.component, worker.name, "slow", []))

            nursery.start_soon(call)
            await started.wait()
            world.crash(1, successor=2)
        assert [result.value for result in results] == ["done"]
        assert world.nodes[1].calls == world.nodes[2].calls, "the same invocation, begun on one and done on the other"


async def test_a_retry_of_a_finished_invocation_gets_the_recorded_result(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        world.nodes[1].dies_after = lambda: world.crash(1, successor=2)
        result = await world.clients[0].invoke(worker.component, worker.name, "add", [1, 2], idempotency_key="k")
        assert result.value == 3
        assert world.nodes[2].calls == [], "it was not run again"


async def test_the_same_invocation_has_the_same_key_from_every_node(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        for number in (0, 2):
            await world.clients[number].invoke(worker.component, worker.name, "add", [1, 2], idempotency_key="k")
            await world.clients[number].enqueue(worker.component, worker.name, "add", [1, 2], idempotency_key="k")
        keys = [[key for _, key, _ in world.town.members[number].asked] for number in (0, 2)]
        assert keys[0] == keys[1]
        assert len(set(keys[0])) == 2, "waiting for it and enqueuing it are answered differently"


# -- errors


@pytest.mark.parametrize(
    "error",
    [
        ValueMismatch("params[0]", "u64", "-1"),
        GuestTrapped("unreachable", "frame 0"),
        LimitExceeded("memory_bytes_max", "too much"),
        Overloaded("full", 2.0),
        StorageFull("no space left"),
    ],
    ids=lambda error: error.code,
)
async def test_what_the_primary_raises_is_raised_here(error, autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        world.nodes[1].refuses = error
        with pytest.raises(type(error)) as raised:
            await world.clients[0].invoke(worker.component, worker.name, "add", [1, 2])
        assert (str(raised.value), vars(raised.value)) == (str(error), vars(error))


async def test_a_node_that_drains_is_no_answer_while_there_are_others(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        world.nodes[1].refuses = Draining("shutting down")
        for asking in (0, 1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.clients[asking].invoke, worker.component, worker.name, "add", [1, 2])
                await trio.sleep(1)
                world.move(worker, to=2)
            world.move(worker, to=1)
        assert len(world.nodes[2].calls) == 2


async def test_a_node_that_drains_alone_says_so(autojump_clock):
    async with open_world(1) as world:
        worker = world.worker_at(await world.adder(), 0)
        world.nodes[0].refuses = Draining("shutting down")
        with pytest.raises(Draining):
            await world.clients[0].invoke(worker.component, worker.name, "add", [1, 2])


async def test_a_shard_without_a_primary_is_told_in_the_end(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        world.move(worker, to=None)
        with pytest.raises(DeadlineExceeded):
            await world.clients[0].worker(worker)
        assert trio.current_time() < 120


async def test_an_invocation_may_take_longer_than_one_try(autojump_clock):
    """Who carries requests may give up on one that is not answered for half an hour, though its primary is well."""
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        mesh = world.town.members[0]
        patient = mesh.ask

        async def impatient(shard: int, key: str, payload: bytes, *, deadline_s: float) -> bytes:
            return await patient(shard, key, payload, deadline_s=min(deadline_s, 1800))

        mesh.ask = impatient
        finished: list[str] = []

        async def long() -> str:
            await trio.sleep(2 * 3600)
            finished.append("done")
            return "done"

        scripted(world, "long", long)
        result = await world.clients[0].invoke(worker.component, worker.name, "long", [], idempotency_key="k")
        assert result.value == "done"
        world.move(worker, to=None)
        with pytest.raises(DeadlineExceeded):
            await world.clients[0].invoke(worker.component, worker.name, "long", [], idempotency_key="other")


async def test_an_answer_that_cannot_be_read_is_no_answer(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)

        async def nonsense(shard: int, key: str, payload: bytes) -> bytes:
            return b"\x00"

        async def misfit(shard: int, key: str, payload: bytes) -> bytes:
            outcome = o.Outcome(STRING, b"\x01")
            return encode_answer(o.Invoke, o.Done(world.town.members[1].own, "", outcome))

        for serve in (nonsense, misfit):
            world.town.members[1].serve_forward = serve
            with pytest.raises(RequestFailed) as raised:
                await world.clients[0].invoke(worker.component, worker.name, "add", [1, 2])
            assert raised.value.remote_code == "malformed-answer"


async def test_a_request_that_cannot_be_read_is_refused_with_a_reason(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        shard = world.shard(worker.key)
        for payload, wrong in (
            (b"\xff", shard),
            (encode_operation(o.DescribeWorker(worker)), (shard + 1) % 8),
            (encode_operation(o.AddComponent(worker.component, "other", o.Lent(bytes(32), 1, bytes(32)), False, ())), 0),
        ):
            answer = await world.routed[1].serve_forward(wrong, "key", payload)
            assert b"malformed-request" in answer


async def test_params_that_are_no_json_never_leave(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        for params in ([object()], deep):
            with pytest.raises(MalformedRequest):
                await world.clients[0].invoke(worker.component, worker.name, "add", params)
        assert world.town.members[0].asked == []


async def test_params_that_no_gateway_sends_are_refused(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        for text in (b"[" * 100_000, b"[1", b"\xff", b"[" + b"9" * 10_000 + b"]"):
            payload = encode_operation(o.Invoke(worker, "add", text, "k"))
            answer = await world.routed[1].serve_forward(world.shard(worker.key), "key", payload)
            assert b"malformed-request" in answer


async def test_texts_come_as_they_were_sent(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        scripted(world, "echo", repr, arity=1)
        for value in ('é\ud800\U0001f41d"\\', 1e400, 2**70, -0.0, {"a": [None, True]}):
            result = await world.clients[0].invoke(worker.component, worker.name, "echo", [{"value": value}])
            assert result.value.encode("utf-8", "surrogatepass") == repr(value).encode("utf-8", "surrogatepass")


# -- large ones


async def test_large_arguments_and_results_travel_beside_the_message(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        scripted(world, "double", lambda text: text + text, arity=1)
        text = "x" * (INLINE_BYTES_MAX + 5)
        result = await world.clients[0].invoke(worker.component, worker.name, "double", [text])
        assert result.value == text + text
        assert all(len(payload) < 1000 for _, _, payload in world.town.members[0].asked)
        assert world.clients[0].statistics()["request_bodies_bytes"] == 0, "nothing stays lent"


async def test_a_large_result_is_had_from_another_holder_when_its_primary_dies(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        scripted(world, "large", lambda: b"x" * (2 * INLINE_BYTES_MAX), ListOf(U8))
        fetch = world.town.members[0].fetch

        def fetch_after_the_crash(peer: bytes, *args, **options):
            world.town.stop(1)
            return fetch(peer, *args, **options)

        world.town.members[0].fetch = fetch_after_the_crash
        put_blob = world.storages[1].put_blob

        async def replicated(data: bytes) -> bytes:
            await world.storages[2].put_blob(data)
            return await put_blob(data)

        world.storages[1].put_blob = replicated
        result = await world.clients[0].invoke(worker.component, worker.name, "large", [])
        assert len(result.value) == 2 * INLINE_BYTES_MAX


async def test_arguments_that_cannot_be_fetched_are_asked_for_again(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        scripted(world, "length", lambda text: str(len(text)), arity=1)
        fetch, failures = world.town.members[1].fetch, list(range(7))

        def fetch_in_the_end(*args, **options):
            if failures:
                failures.pop()
                raise Unreachable("not now")
            return fetch(*args, **options)

        world.town.members[1].fetch = fetch_in_the_end
        result = await world.clients[0].invoke(worker.component, worker.name, "length", ["x" * 600_000])
        assert result.value == "600000"


@pytest.mark.parametrize("given", [b"", b"y" * 5, b"y" * (2 * INLINE_BYTES_MAX + 5), b"y" * (2 * INLINE_BYTES_MAX + 6)])
async def test_a_body_that_is_not_what_it_was_called_is_refused(given, autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        scripted(world, "large", lambda: "x" * (2 * INLINE_BYTES_MAX))

        async def other_bytes(asked) -> bytes:
            await asked.send(given)
            return b""

        for member in world.town.members:
            member.calls = {**member.calls, BODY: other_bytes}
        with pytest.raises(RequestFailed, match="came as something else"):
            await world.clients[0].invoke(worker.component, worker.name, "large", [])


async def test_what_is_too_large_for_anybody_is_refused_before_it_is_fetched(autojump_clock):
    async with open_world() as world:
        bodies = world.routed[0].client._bodies
        with pytest.raises(PayloadTooLarge):
            await bodies.take(o.Lent(bytes(32), 11, world.town.members[1].own), bytes_max=10)


async def test_what_is_lent_has_a_limit(autojump_clock, monkeypatch):
    monkeypatch.setattr("golemp2p.drivers.routing.bodies.LENT_BYTES_MAX", 2 * INLINE_BYTES_MAX)
    async with open_world() as world:
        bodies = world.routed[0].client._bodies
        data = bytes(INLINE_BYTES_MAX + 1)
        with bodies.lend(data), pytest.raises(Overloaded), bodies.lend(data + b"x"):
            pass
        assert bodies.lent_bytes == 0
        with bodies.lend(data) as first, bodies.lend(bytes(10)) as small:
            assert isinstance(first, o.Lent)
            assert small == bytes(10)


# -- workers


async def test_workers_are_looked_after_from_any_node(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        client = world.clients[0]
        created = await client.create_worker(worker, args=["a"], env={"B": "é"})
        assert (created.worker, created.args, created.env) == (worker, ("a",), (("B", "é"),))
        assert await client.worker(worker) == created
        with pytest.raises(WorkerAlreadyExists):
            await client.create_worker(worker)
        await client.interrupt_worker(worker)
        assert (await client.worker(worker)).status is WorkerStatus.INTERRUPTED
        await client.resume_worker(worker)
        assert (await client.worker(worker)).status is WorkerStatus.IDLE
        await client.delete_worker(worker)
        with pytest.raises(WorkerNotFound):
            await client.worker(worker)


async def test_promises_and_pending_invocations_from_any_node(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        client = world.clients[0]
        await client.create_worker(worker)
        world.shared.state.promises[worker, 5] = None
        world.shared.state.pending[worker, "k"] = True
        data = bytes(INLINE_BYTES_MAX + 1)
        assert await client.complete_promise(worker, 5, data) is True
        assert await client.complete_promise(worker, 5, b"other") is False
        assert world.shared.state.promises[worker, 5] == data
        assert await client.cancel_invocation(worker, "k") is True
        with pytest.raises(PromiseNotFound):
            await client.complete_promise(worker, 6, b"")
        with pytest.raises(InvocationNotFound):
            await client.cancel_invocation(worker, "other")


@pytest.mark.parametrize("asking", [0, 1])
async def test_making_something_twice_because_of_a_crash_makes_it_once(asking, autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        world.nodes[1].dies_after = lambda: world.move(worker, to=2)
        created = await world.clients[asking].create_worker(worker, args=["x"])
        assert created.args == ("x",)
        with pytest.raises(WorkerAlreadyExists):
            await world.clients[asking].create_worker(worker, args=["x"])


async def test_deleting_or_completing_something_twice_because_of_a_crash_tells_so(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        await world.clients[0].create_worker(worker)
        world.shared.state.promises[worker, 5] = None
        world.nodes[1].dies_after = lambda: world.move(worker, to=2)
        assert await world.clients[0].complete_promise(worker, 5, b"value") is False
        assert world.shared.state.promises[worker, 5] == b"value"
        world.move(worker, to=1)
        world.nodes[1].dies_after = lambda: world.move(worker, to=2)
        with pytest.raises(WorkerNotFound):
            await world.clients[0].delete_worker(worker)
        assert worker not in world.shared.state.metadata


async def test_an_oplog_comes_in_as_many_parts_as_it_takes(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        client = world.clients[0]
        await client.create_worker(worker)
        log = world.shared.state.oplogs[worker]
        log += [e.Log(n, "info", "", "x" * 16_000) for n in range(100)]
        large = bytes(200_000)
        log.append(e.ExportedFunctionCompleted(1, large, 0))
        await world.storages[1].put_blob(large)
        page = await client.oplog(worker, first=1, count=200)
        assert page.entries == tuple(enumerate(log, 1))
        assert (page.next_index, page.first_index, page.last_index) == (None, 1, 102)
        assert page.info.name == "adder"
        asked = len(world.town.members[0].asked)
        page = await client.oplog(worker, first=2, count=3)
        assert page.entries == tuple(enumerate(log, 1))[1:4]
        assert (page.next_index, page.first_index, page.last_index) == (5, 2, 102)
        assert len(world.town.members[0].asked) == asked + 1


# -- components


async def test_a_component_uploaded_at_one_node_is_known_at_all(autojump_clock):
    async with open_world() as world:
        for number, client in enumerate(world.clients):
            info = await client.add_component(f"c{number}", WASM, env={"A": "1"})
            assert info.component == ComponentId.of(bytes(32), f"c{number}")
            for other in world.clients:
                assert await other.component(info.component) == info
                assert await other.components(info.name) == [info]
                with pytest.raises(ComponentAlreadyExists):
                    await other.add_component(f"c{number}", WASM)
            updated = await world.clients[number - 1].update_component(info.component, WASM + b"2", ephemeral=True)
            assert (updated.version, updated.ephemeral, updated.env) == (1, True, (("A", "1"),))
            for other in world.clients:
                assert await other.component_versions(info.component) == [info, updated]
                assert await other.component(info.component) == updated
                assert await other.component(info.component, 0) == info
                assert (await other.component_file(info.component)).read_bytes() == WASM + b"2"
        assert await world.clients[0].components("unheard-of") == []
        with pytest.raises(ComponentNotFound):
            await world.clients[0].component(ComponentId.of(bytes(32), "unheard-of"))


async def test_a_version_added_twice_because_of_a_crash_is_one(autojump_clock):
    async with open_world() as world:
        component = ComponentId.of(bytes(32), "c")
        shard = o.component_log(component).shard(8)
        asking = (world.town.leaders[shard] + 1) % 3
        for attempt in (
            lambda: world.clients[asking].add_component("c", WASM),
            lambda: world.clients[asking].update_component(component, WASM + b"2"),
        ):
            leader = world.town.leaders[shard]
            world.nodes[leader].dies_after = lambda successor=(leader + 1) % 3: world.town.move(shard, to=successor)
            await attempt()
        assert [info.version for info in world.shared.state.versions[component]] == [0, 1]


# -- where they serve HTTP


async def test_it_is_learned_where_the_primary_serves_http(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)
        client = world.clients[0]
        assert client.primary(worker) is None
        with pytest.raises(WrongArity):
            await client.invoke(worker.component, worker.name, "add", [1])
        assert client.primary(worker) == "http://node1:9881", "a refusal tells it as well"
        assert world.clients[1].primary(worker) == "http://node1:9881"
        world.move(worker, to=2)
        await client.invoke(worker.component, worker.name, "add", [1, 2])
        assert client.primary(worker) == "http://node2:9881"


async def test_nobody_tells_where_another_is(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)

        async def lying(shard: int, key: str, payload: bytes) -> bytes:
            return encode_answer(o.ResumeWorker, o.Done(world.town.members[2].own, "http://evil:1", None))

        world.town.members[1].serve_forward = lying
        await world.clients[0].resume_worker(worker)
        assert world.clients[0]._primaries._addresses == {}


async def test_addresses_of_those_who_are_gone_are_forgotten(autojump_clock):
    async with open_world() as world:
        primaries = world.clients[0]._primaries
        for number in range(100):
            primaries.learn(number.to_bytes(32, "big"), f"http://n{number}")
        primaries.learn(world.town.members[1].own, "http://node1")
        assert len(primaries._addresses) < 25
        assert primaries._addresses[world.town.members[1].own] == "http://node1"
        primaries.learn(world.town.members[1].own, "")
        assert world.town.members[1].own not in primaries._addresses


async def test_who_stops_waiting_stops_asking(autojump_clock):
    async with open_world() as world:
        worker = world.worker_at(await world.adder(), 1)

        async def never() -> str:
            await trio.sleep_forever()
            return ""

        scripted(world, "never", never)
        with trio.move_on_after(10) as scope:
            await world.clients[0].invoke(worker.component, worker.name, "never", [])
        assert scope.cancelled_caught
        assert world.clients[0].statistics()["request_bodies_bytes"] == 0
