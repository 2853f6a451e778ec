"""Every invocation that ends leaves one line in the log, which tells its whole story; one that goes on leaves none."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from golemp2p.drivers.settings import ServiceSettings
from golemp2p.errors import GuestTrapped, InvocationCanceled, WorkerInterrupted
from golemp2p.model.entries import RetryPolicy
from golemp2p.model.ids import WorkerId
from golemp2p.testing.guests import STRING, U64


async def nap(guest, seconds):
    await guest.sleep(seconds)
    return seconds


async def trap(guest):
    guest.trap("boom")


SCRIPT = {"nap": ((("seconds", U64),), U64, nap), "trap": ((), STRING, trap)}
ONCE = ServiceSettings(shards_count=16, retry_policy=RetryPolicy(attempts_max=1))


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    names = ("worker", "function", "key", "duration_s", "outcome")
    found = [record for record in caplog.records if record.getMessage() == "invocation_finished"]
    assert {record.levelno for record in found} <= {logging.INFO}
    return [{name: getattr(record, name) for name in names} for record in found]


async def test_a_finished_invocation_is_told_once(machine, autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    napping = machine(script=SCRIPT)
    async with napping.node() as client:
        info = await client.add_component("script", napping.guests.wasm("script"))
        await client.invoke(info.component, "w", "nap", [3], idempotency_key="k")
        again = await client.invoke(info.component, "w", "nap", [3], idempotency_key="k")
        assert again.value == 3
    (line,) = lines(caplog)
    assert line["worker"] == f"{info.component}/w"
    assert line["function"].endswith("{nap}")
    assert (line["key"], line["outcome"], round(line["duration_s"])) == ("k", "completed", 3)


async def test_a_failure_ends_all_that_waits_behind_it(machine, autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    trapping = machine(ONCE, script=SCRIPT)
    async with trapping.node() as client:
        info = await client.add_component("script", trapping.guests.wasm("script"))
        await client.enqueue(info.component, "w", "nap", [1], idempotency_key="first")
        for key in ("second", "third"):
            await client.enqueue(info.component, "w", "trap", [], idempotency_key=key)
        with pytest.raises(GuestTrapped):
            await client.invoke(info.component, "w", "trap", [], idempotency_key="second")
    assert [(line["key"], line["outcome"]) for line in lines(caplog)] == [
        ("first", "completed"), ("second", "guest-trapped"), ("third", "guest-trapped"),
    ]  # fmt: skip


async def test_what_is_canceled_or_interrupted(machine, autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    napping = machine(script=SCRIPT)
    async with napping.node() as client, trio.open_nursery() as nursery:
        info = await client.add_component("script", napping.guests.wasm("script"))
        worker = WorkerId(info.component, "w")

        async def call(key: str, error: type[Exception]) -> None:
            with pytest.raises(error):
                await client.invoke(info.component, "w", "nap", [5], idempotency_key=key)

        nursery.start_soon(call, "running", WorkerInterrupted)
        await trio.sleep(1)
        nursery.start_soon(call, "waiting", InvocationCanceled)
        await trio.sleep(1)
        assert await client.cancel_invocation(worker, "waiting")
        await client.interrupt_worker(worker)
        assert [(line["key"], line["outcome"]) for line in lines(caplog)] == [("waiting", "invocation-canceled")]
        await client.resume_worker(worker)
        await client.invoke(info.component, "w", "nap", [5], idempotency_key="running")
    told = [(line["key"], line["outcome"]) for line in lines(caplog)]
    assert told == [("waiting", "invocation-canceled"), ("running", "completed")]


async def test_an_ephemeral_worker_tells_as_well(machine, autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    trapping = machine(script=SCRIPT)
    async with trapping.node() as client:
        info = await client.add_component("script", trapping.guests.wasm("script"), ephemeral=True)
        with pytest.raises(GuestTrapped):
            await client.invoke(info.component, "w", "trap", [], idempotency_key="k")
        await client.invoke(info.component, "w", "nap", [1], idempotency_key="l")
    assert [(line["key"], line["outcome"]) for line in lines(caplog)] == [("k", "guest-trapped"), ("l", "completed")]


async def test_nothing_is_put_together_for_nobody(machine, autojump_clock, caplog):
    caplog.set_level(logging.WARNING)
    napping = machine(script=SCRIPT)
    async with napping.node() as client:
        info = await client.add_component("script", napping.guests.wasm("script"))
        await client.invoke(info.component, "w", "nap", [0])
    assert lines(caplog) == []
