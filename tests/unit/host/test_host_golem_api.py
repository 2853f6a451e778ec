"""golem:api/host: promises, oplog, metadata, retry policy."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from host_fakes import ID, Instance, Worker, listed

from golemp2p.errors import GuestTrapped
from golemp2p.model.entries import RetryPolicy
from golemp2p.ports import Suspended

API = "golem:api/host."
WORKER = (((0x0011223344556677, 0x8899AABBCCDDEEFF),), "w")


async def test_a_promise_from_creation_to_deletion_and_its_replay(autojump_clock: object) -> None:
    worker = Worker()

    async def story(instance: Instance) -> list[Any]:
        await instance.call("wasi:clocks/wall-clock.now")
        promise = await instance.call(API + "create-promise")
        return [
            promise,
            await instance.call(API + "poll-promise", promise),
            await instance.call(API + "complete-promise", promise, b"yes"),
            await instance.call(API + "complete-promise", promise, b"no"),
            await instance.call(API + "await-promise", promise),
            await instance.call(API + "poll-promise", promise),
            await instance.call(API + "delete-promise", promise),
        ]

    lived = await story(worker.start())
    assert lived == [(WORKER, 2), None, True, False, b"yes", b"yes", None]
    assert worker.promises == {}
    assert await story(worker.start()) == lived  # the promise is gone, and nobody was asked


async def test_completing_commits_before_and_after(autojump_clock: object) -> None:
    worker = Worker()
    instance = worker.start()
    promise = await instance.call(API + "create-promise")
    await instance.call(API + "complete-promise", promise, b"")
    assert worker.commits == [1, 2]


async def test_awaiting_suspends_and_is_asked_again_after_the_restart(autojump_clock: object) -> None:
    worker = Worker()

    async def story(instance: Instance) -> bytes:
        data: bytes = await instance.call(API + "await-promise", await instance.call(API + "create-promise"))
        return data

    with pytest.raises(Suspended) as caught:
        await story(worker.start())
    assert caught.value.wake_ns is None
    worker.promises[ID, 1] = bytes(100_000)
    assert await story(worker.start()) == bytes(100_000)


@pytest.mark.parametrize("function", ["await-promise", "poll-promise", "complete-promise", "delete-promise"])
@pytest.mark.parametrize(
    "promise",
    [
        (WORKER, 99),
        (((WORKER[0][0],), "somebody-else"), 1),
        ((((2**64 - 1, 2**64 - 1),), "a/b"), 1),
        ((((0, 0),), ""), 1),
    ],
)
async def test_promises_that_cannot_be_trap_and_name_the_call(autojump_clock: object, function: str, promise: object) -> None:
    arguments = (promise, b"") if function == "complete-promise" else (promise,)
    with pytest.raises(GuestTrapped, match=function):
        await Worker().start().call(API + function, *arguments)


async def test_the_oplog_index_is_that_of_a_marker(autojump_clock: object) -> None:
    worker = Worker()

    async def story(instance: Instance) -> list[int]:
        first = await instance.call(API + "get-oplog-index")
        await instance.call("wasi:clocks/wall-clock.now")
        return [first, await instance.call(API + "get-oplog-index")]

    assert await story(worker.start()) == [1, 3]
    assert worker.entries[0] == ("noop",)
    assert await story(worker.start()) == [1, 3]


async def test_oplog_commit_waits_for_durability_once(autojump_clock: object) -> None:
    worker = Worker()
    for _ in range(2):
        instance = worker.start()
        await instance.call(API + "get-oplog-index")
        if not worker.commits:
            await instance.call(API + "oplog-commit", 3)
        await instance.call("wasi:clocks/wall-clock.now")
    assert worker.commits == [1]
    replaying = worker.start()
    await replaying.call(API + "oplog-commit", 255)
    assert worker.commits == [1]


async def test_idempotency_keys_are_uuids_durable_before_they_are_seen(autojump_clock: object) -> None:
    worker = Worker()

    async def story(instance: Instance) -> list[Any]:
        return [listed(await instance.call(API + "generate-idempotency-key")) for _ in range(2)]

    lived = await story(worker.start())
    assert lived[0] != lived[1]
    for high, low in lived:
        assert uuid.UUID(int=high << 64 | low).version == 4
    assert worker.commits == [0, 1, 1, 2]
    assert await story(worker.start()) == lived


async def test_metadata(autojump_clock: object) -> None:
    worker_id, args, env, status, version, retries = await Worker().start().call(API + "get-self-metadata")
    assert worker_id == WORKER
    assert args == ["-v", "ü"]
    assert env[0] == ("B", "2")
    assert (status, version, retries) == ("running", 3, 1)


async def test_the_retry_policy_set_is_the_policy_got_also_after_replay(autojump_clock: object) -> None:
    worker = Worker()
    policy = (7, 250_000_001, 3_000_000_000, 1.5, None)

    async def story(instance: Instance) -> list[Any]:
        before = await instance.call(API + "get-retry-policy")
        await instance.call(API + "set-retry-policy", policy)
        return listed([before, await instance.call(API + "get-retry-policy")])

    for _ in range(2):
        instance = worker.start()
        assert await story(instance) == [[3, 100_000_000, 1_000_000_000, 3.0, 0.15], list(policy)]
        assert instance.host.retry_policy == RetryPolicy(7, 0.250000001, 3.0, 1.5, None)


@pytest.mark.parametrize("multiplier", [float("nan"), float("inf"), -1.0])
async def test_a_retry_policy_that_makes_no_sense_traps(autojump_clock: object, multiplier: float) -> None:
    worker = Worker()
    with pytest.raises(GuestTrapped, match="multiplier"):
        await worker.start().call(API + "set-retry-policy", (1, 1, 1, multiplier, None))
    with pytest.raises(GuestTrapped, match="max-jitter-factor"):
        await worker.start().call(API + "set-retry-policy", (1, 1, 1, 1.0, multiplier))
    assert worker.entries == []


async def test_extreme_retry_policies_survive(autojump_clock: object) -> None:
    instance = Worker().start()
    await instance.call(API + "set-retry-policy", (2**32 - 1, 0, 2**64 - 1, 0.0, 0.0))
    assert (await instance.call(API + "get-retry-policy"))[2] <= 2**64 - 1
