"""Host calls: durability classes live and in replay, waiting, failing, unknown."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from runtime_wat import HABITS, inline_guests, load
from trio.testing import MockClock

from golemp2p.errors import Divergence, GuestExited, InvalidState, UnknownImport
from golemp2p.ports import GuestInstance, Suspended
from golemp2p.runtime.component import LoadedComponent
from golemp2p.runtime.guests import WasmtimeGuests
from golemp2p.runtime.host.declare import (
    PURE,
    READ_LOCAL,
    READ_REMOTE,
    WRITE_LOCAL,
    WRITE_REMOTE,
    HostContext,
    HostInterface,
)
from golemp2p.runtime.host.encoding import EMPTY_REQUEST, request_hash
from golemp2p.testing.hosts import MemoryJournal, MemoryWorkerHost, RecordedCall


class Clock:
    """The interface that ``HABITS`` imports; counts how often each body ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.interface = HostInterface("demo:clock/now")
        self.answer = self._later
        self.interface.function("now", READ_LOCAL)(self._now)
        self.interface.function("ask", READ_REMOTE)(self._ask)
        self.interface.function("send", WRITE_REMOTE)(self._send)
        self.interface.function("local", WRITE_LOCAL)(self._local)

    def _now(self, ctx: HostContext) -> int:
        self.ran.append("now")
        return ctx.host.wall_ns() + len(self.ran)

    async def _ask(self, ctx: HostContext, x: int) -> int:
        self.ran.append("ask")
        return await self.answer(x)

    async def _later(self, x: int) -> int:
        await trio.sleep(5)
        return x + 1

    def _send(self, ctx: HostContext, x: int) -> int:
        self.ran.append(f"send after {ctx.host.journal.commits} commits")  # type: ignore[attr-defined]
        return x * 2

    def _local(self, ctx: HostContext, x: int) -> int:
        self.ran.append("local")
        return x


@asynccontextmanager
async def habits(folder: Path, clock: Clock, **options: object) -> AsyncIterator[tuple[WasmtimeGuests, LoadedComponent]]:
    async with inline_guests(folder, clock.interface, **options) as guests:
        yield guests, await load(guests, folder, HABITS)


async def all_calls(instance: GuestInstance) -> list[int]:
    return [await instance.call("", name, args) for name, args in CALLS]


CALLS: list[tuple[str, list[int]]] = [
    ("now", []),
    ("ask", [10]),
    ("send", [21]),
    ("local", [4]),
    ("sum-now", [5]),
    ("sum-ask", [3]),
]


async def test_a_replay_gives_the_same_answers_without_running_bodies(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (_, component):
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        live = await all_calls(instance)
        instance.close()
        names = [call.function for call in host.journal.calls]
        assert names == ["demo:clock/now::now", "demo:clock/now::ask", "demo:clock/now::send", *["demo:clock/now::now"] * 5,
                         *["demo:clock/now::ask"] * 3]  # fmt: skip
        clock.ran.clear()
        again = MemoryWorkerHost(journal=MemoryJournal(host.journal.calls), wall=1)
        replayed = await component.instantiate(again)
        assert again.journal.replaying
        begin = trio.current_time()
        assert await all_calls(replayed) == live
        assert clock.ran == ["local"], "only what is re-executed by its class runs again"
        assert trio.current_time() == begin, "a replay waits for nothing"
        assert not again.journal.replaying
        assert again.journal.commits == again.journal.flushes == 0
        assert await replayed.call("", "ask", [1]) == 2, "and then it is live"
        assert clock.ran == ["local", "ask"]
        replayed.close()


async def test_what_is_recorded(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (_, component):
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        await all_calls(instance)
        instance.close()
    now, ask, send = host.journal.calls[:3]
    assert now == RecordedCall("demo:clock/now::now", READ_LOCAL, EMPTY_REQUEST, now.response)
    assert (ask.function_type, ask.request_hash) == (READ_REMOTE, request_hash((10,)))
    assert (send.function_type, send.request_hash) == (WRITE_REMOTE, request_hash((21,)))
    assert len(request_hash((10,))) == 16
    assert request_hash((10,)) != request_hash((11,)) != request_hash(("11",))


async def test_a_remote_write_commits_before_and_after(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (_, component):
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        assert await instance.call("", "send", [4]) == 8
        assert clock.ran == ["send after 1 commits"]
        assert host.journal.commits == 2
        instance.close()


async def test_a_guest_that_waits_lets_its_journal_be_flushed(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (guests, component):
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        await instance.call("", "now", [])
        assert host.journal.flushes == 0, "nobody waited"
        await instance.call("", "ask", [1])
        assert host.journal.flushes == 1
        assert guests.statistics()["parks"] == 1
        instance.close()


async def test_an_async_body_that_does_not_wait_never_parks_its_guest(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()

    async def at_once(x: int) -> int:
        return x + 1

    clock.answer = at_once
    async with habits(tmp_path, clock) as (guests, component):
        instance = await component.instantiate(MemoryWorkerHost())
        assert await instance.call("", "sum-ask", [100]) == 100
        assert guests.statistics()["parks"] == 0
        instance.close()


async def test_many_guests_wait_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (_, component):
        begin, results = trio.current_time(), []

        async def one(x: int) -> None:
            instance = await component.instantiate(MemoryWorkerHost())
            results.append(await instance.call("", "sum-ask", [3]))
            instance.close()

        async with trio.open_nursery() as nursery:
            for x in range(200):
                nursery.start_soon(one, x)
        assert results == [3] * 200
        assert trio.current_time() - begin == pytest.approx(15.0), "three waits of five seconds, all together"


async def test_divergence_in_name_and_in_request(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (_, component):
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        await instance.call("", "ask", [10])
        instance.close()
        for function, args, got in (("now", [], "demo:clock/now::now"), ("ask", [11], request_hash((11,)).hex())):
            other = await component.instantiate(MemoryWorkerHost(journal=MemoryJournal(host.journal.calls)))
            with pytest.raises(Divergence) as caught:
                await other.call("", function, args)
            assert "demo:clock/now::ask" in caught.value.expected
            assert got in caught.value.got
            with pytest.raises(InvalidState):
                await other.call("", "local", [1])
            other.close()


async def test_an_unknown_import_links_and_fails_when_called(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with habits(tmp_path, clock) as (_, component):
        instance = await component.instantiate(MemoryWorkerHost())
        assert await instance.call("", "local", [1]) == 1
        with pytest.raises(UnknownImport, match=r"demo:absent/things@1\.0\.0\.\{missing\}"):
            await instance.call("", "missing", [])
        instance.close()


class _Private(BaseException):
    pass


@pytest.mark.parametrize("error", [GuestExited(3), Suspended(7), ValueError("bug"), _Private(), KeyboardInterrupt()])
@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_host_function_raises_comes_out_unchanged(
    tmp_path: Path, autojump_clock: MockClock, error: BaseException, waits: bool
) -> None:
    clock = Clock()

    async def fail(x: int) -> int:
        if waits:
            await trio.sleep(1)
        raise error

    clock.answer = fail
    async with habits(tmp_path, clock) as (guests, component):
        instance = await component.instantiate(MemoryWorkerHost())
        other = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(type(error)) as caught:
            await instance.call("", "ask", [1])
        assert caught.value is error
        with pytest.raises(InvalidState, match="dead"):
            await instance.call("", "local", [1])
        assert await other.call("", "local", [1]) == 1, "others are untouched"
        instance.close()
        other.close()
        assert guests.statistics()["instances"] == 0


async def test_cancelling_a_parked_guest(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    cancelled = []

    async def forever(x: int) -> int:
        try:
            await trio.sleep(math.inf)
        except trio.Cancelled:
            cancelled.append(x)
            raise
        raise AssertionError

    clock.answer = forever
    async with habits(tmp_path, clock) as (guests, component):
        instance = await component.instantiate(MemoryWorkerHost())
        with trio.move_on_after(3) as scope:
            await instance.call("", "ask", [9])
        assert scope.cancelled_caught
        assert cancelled == [9]
        with pytest.raises(InvalidState):
            await instance.call("", "local", [1])
        instance.close()
        instance.close()
        assert guests.fibers == {}


async def test_cancel_scopes_of_a_body_hold_while_it_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A body starts inside the host call and waits outside of it: its own scopes must not notice."""
    clock = Clock()

    async def impatient(x: int) -> int:
        with trio.move_on_after(2) as scope:
            await trio.sleep(100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
        return x if scope.cancelled_caught else -1

    clock.answer = impatient
    async with habits(tmp_path, clock) as (_, component):
        instance = await component.instantiate(MemoryWorkerHost())
        begin = trio.current_time()
        assert await instance.call("", "ask", [5]) == 5
        assert trio.current_time() - begin == pytest.approx(3.0)
        instance.close()


async def test_one_call_at_a_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with habits(tmp_path, Clock()) as (_, component):
        instance = await component.instantiate(MemoryWorkerHost())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(instance.call, "", "ask", [1])
            await trio.sleep(1)
            with pytest.raises(InvalidState, match="busy"):
                await instance.call("", "local", [1])
            assert instance.computing_since_ns is None, "it waits"
        assert await instance.call("", "local", [2]) == 2, "the refused call changed nothing"
        instance.close()


async def test_closing_under_a_call_waits_for_the_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with habits(tmp_path, Clock()) as (guests, component):
        instance = await component.instantiate(MemoryWorkerHost())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(instance.call, "", "ask", [1])
            await trio.sleep(1)
            instance.close()
            assert guests.statistics()["instances"] == 1
        assert guests.statistics()["instances"] == 0
        with pytest.raises(InvalidState):
            await instance.call("", "local", [1])


async def test_host_calls_while_instantiating_are_journalled(tmp_path: Path, autojump_clock: MockClock) -> None:
    text = r"""(component
      (import "demo:clock/now@0.2.0" (instance $i (export "ask" (func (param "x" u64) (result u64)))))
      (core func $ask (canon lower (func $i "ask")))
      (core module $m (import "h" "ask" (func $ask (param i64) (result i64))) (global $g (mut i64) (i64.const 0))
        (func $start (global.set $g (call $ask (i64.const 41)))) (start $start)
        (func (export "get") (result i64) (global.get $g)))
      (core instance $m (instantiate $m (with "h" (instance (export "ask" (func $ask))))))
      (func (export "get") (result u64) (canon lift (core func $m "get"))))"""
    clock = Clock()
    async with inline_guests(tmp_path, clock.interface) as guests:
        component = await load(guests, tmp_path, text)
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        assert await instance.call("", "get", []) == 42
        instance.close()
        replayed = await component.instantiate(MemoryWorkerHost(journal=MemoryJournal(host.journal.calls)))
        assert await replayed.call("", "get", []) == 42
        assert clock.ran == ["ask"]
        replayed.close()
        diverging = [RecordedCall("demo:clock/now::now", READ_LOCAL, EMPTY_REQUEST, b"\x01")]
        with pytest.raises(Divergence):
            await component.instantiate(MemoryWorkerHost(journal=MemoryJournal(diverging)))
        assert guests.statistics()["instances"] == 0


async def test_journalled_and_state_of_the_context(tmp_path: Path, autojump_clock: MockClock) -> None:
    interface = HostInterface("demo:clock/now")
    lived: list[int] = []

    class Counter:
        def __init__(self) -> None:
            self.value = 0

    @interface.function("local", PURE)
    def local(ctx: HostContext, x: int) -> int:
        counter = ctx.state(Counter)
        counter.value += x

        def live() -> int:
            lived.append(x)
            return x * 100

        return ctx.journalled("test::inner", READ_LOCAL, (x,), live) + counter.value

    async with inline_guests(tmp_path, interface) as guests:
        component = await load(guests, tmp_path, HABITS)
        host = MemoryWorkerHost()
        instance, other = await component.instantiate(host), await component.instantiate(MemoryWorkerHost())
        assert [await instance.call("", "local", [x]) for x in (1, 2)] == [101, 203]
        assert await other.call("", "local", [5]) == 505, "state belongs to one instance"
        lived.clear()
        replayed = await component.instantiate(MemoryWorkerHost(journal=MemoryJournal(host.journal.calls)))
        assert [await replayed.call("", "local", [x]) for x in (1, 2)] == [101, 203]
        assert lived == []
        for each in (instance, other, replayed):
            each.close()
