"""Guests that compute: slices, the pool of threads, limits, cancellation; and everything inline for simulations."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio
from runtime_wat import HABITS, inline_guests, load

from golemp2p.errors import InvalidState, LimitExceeded
from golemp2p.ports import GuestLimits
from golemp2p.runtime.host.declare import READ_LOCAL, READ_REMOTE, HostContext, HostInterface
from golemp2p.runtime.scheduler import PASS_BUDGET_NS
from golemp2p.testing.hosts import MemoryWorkerHost

LONG = 60_000_000  # iterations of ``spin``: some tens of milliseconds, many slices
ENDLESS = 2**63


def clock_interface(threads: set[int] | None = None) -> HostInterface:
    interface = HostInterface("demo:clock/now")

    @interface.function("now", READ_LOCAL)
    def now(ctx: HostContext) -> int:
        if threads is not None:
            threads.add(threading.get_ident())
        return ctx.host.wall_ns()

    @interface.function("ask", READ_REMOTE)
    async def ask(ctx: HostContext, x: int) -> int:
        if threads is not None:
            threads.add(threading.get_ident())
        await trio.lowlevel.checkpoint()
        return x + 1

    return interface


async def test_the_loop_goes_on_while_guests_compute(tmp_path: Path) -> None:
    async with inline_guests(tmp_path, clock_interface(), threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        turns, results = 0, []

        async def spin() -> None:
            instance = await component.instantiate(MemoryWorkerHost())
            results.append(await instance.call("", "spin", [LONG]))
            instance.close()

        async def count() -> None:
            nonlocal turns
            while len(results) < 4:
                turns += 1
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(4):
                nursery.start_soon(spin)
        assert len(set(results)) == 1
        assert turns > 4, "the event loop was not held until the guests had finished"
        assert guests.statistics()["slices_pooled"] >= 4


async def test_guests_that_compute_take_turns(tmp_path: Path) -> None:
    """More endless guests than threads, and still a finite one gets through."""
    async with inline_guests(tmp_path, clock_interface(), threads=1) as guests:
        component = await load(guests, tmp_path, HABITS)

        async def endless() -> None:
            instance = await component.instantiate(MemoryWorkerHost())
            try:
                await instance.call("", "spin", [ENDLESS])
            finally:
                instance.close()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(endless)
            instance = await component.instantiate(MemoryWorkerHost())
            await instance.call("", "spin", [LONG])
            instance.close()
            nursery.cancel_scope.cancel()
        assert guests.statistics()["instances"] == 0


async def test_host_functions_run_on_the_loops_thread_only(tmp_path: Path) -> None:
    threads: set[int] = set()
    async with inline_guests(tmp_path, clock_interface(threads), threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost())
        assert await instance.call("", "spin-then-ask", [LONG]) == 8
        assert guests.statistics()["slices_pooled"] >= 1, "the call was made in the pool"
        assert threads == {threading.get_ident()}
        assert await instance.call("", "ask", [1]) == 2
        instance.close()


async def test_a_failing_host_function_called_from_the_pool(tmp_path: Path) -> None:
    interface = HostInterface("demo:clock/now")

    @interface.function("ask", READ_REMOTE)
    def ask(ctx: HostContext, x: int) -> int:
        raise LookupError(threading.get_ident())

    async with inline_guests(tmp_path, interface, threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(LookupError) as caught:
            await instance.call("", "spin-then-ask", [LONG])
        assert caught.value.args == (threading.get_ident(),)
        instance.close()


@pytest.mark.parametrize("threads", [0, 2])
async def test_cancelling_a_guest_that_computes(tmp_path: Path, threads: int) -> None:
    async with inline_guests(tmp_path, clock_interface(), threads=threads) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost())
        with trio.move_on_after(0.05) as scope:
            await instance.call("", "spin", [ENDLESS])
        assert scope.cancelled_caught
        with pytest.raises(InvalidState):
            await instance.call("", "now", [])
        instance.close()
        other = await component.instantiate(MemoryWorkerHost())
        assert await other.call("", "spin", [10]) > 0, "the engine goes on"
        other.close()


@pytest.mark.parametrize("threads", [0, 2])
async def test_the_limit_of_computing_time(tmp_path: Path, threads: int) -> None:
    async with inline_guests(tmp_path, clock_interface(), threads=threads) as guests:
        component = await load(guests, tmp_path, HABITS)
        host = MemoryWorkerHost(limits=GuestLimits(wall_time_s=0.02))
        instance = await component.instantiate(host)
        assert instance.computing_since_ns is None
        with pytest.raises(LimitExceeded, match=r"0\.02 s") as caught:
            await instance.call("", "spin", [ENDLESS])
        assert caught.value.limit == "wall_time_s"
        instance.close()


async def test_host_calls_reset_the_limit_of_computing_time(tmp_path: Path) -> None:
    async with inline_guests(tmp_path, clock_interface(), threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        host = MemoryWorkerHost(limits=GuestLimits(wall_time_s=0.02))
        instance = await component.instantiate(host)
        await instance.call("", "sum-now", [40_000])  # several times the limit, if it were not reset
        assert len(host.journal.calls) == 40_000
        assert guests.statistics()["slices_pooled"] == 0, "a guest that calls the host stays where its calls are answered"
        instance.close()


async def test_a_ticker_that_slept_wakes_up(tmp_path: Path) -> None:
    async with inline_guests(tmp_path, clock_interface(), threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost(limits=GuestLimits(wall_time_s=0.02)))
        ticker = guests.scheduler._ticker
        assert ticker is not None
        with trio.fail_after(10):
            while not ticker.asleep:
                await trio.lowlevel.checkpoint()
        ticks = ticker.count
        with pytest.raises(LimitExceeded):
            await instance.call("", "spin", [ENDLESS])
        assert ticker.count > ticks
        instance.close()


async def test_without_slicing_a_guest_runs_to_its_end_at_once(tmp_path: Path) -> None:
    """What simulations need: no clock, no thread decides anything."""
    async with inline_guests(tmp_path, clock_interface(), slicing=False) as guests:
        component = await load(guests, tmp_path, HABITS)
        before = threading.active_count()
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call("", "spin", [LONG])
        statistics = guests.statistics()
        assert statistics["slices_inline"] <= 4
        assert statistics["slices_pooled"] == 0
        assert threading.active_count() == before
        assert await instance.call("", "sum-ask", [5]) == 5
        instance.close()


class Passes(trio.abc.Instrument):
    """Counts passes of the event loop."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_without_slicing_nobody_waits_because_a_guest_took_long(tmp_path: Path) -> None:
    """Or real time would decide the order of tasks."""
    async with inline_guests(tmp_path, clock_interface(), slicing=False) as guests:
        component = await load(guests, tmp_path, HABITS)
        slow, quick = [await component.instantiate(MemoryWorkerHost()) for _ in range(2)]
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        await slow.call("", "spin", [LONG])
        await quick.call("", "now", [])
        trio.lowlevel.remove_instrument(passes)
        assert passes.count == 0
        slow.close()
        quick.close()


async def test_inline_time_is_shared_between_passes_of_the_loop(tmp_path: Path) -> None:
    """When one guest has spent the time of a pass, the others get the passes that follow, one each."""
    interface, passes = HostInterface("demo:clock/now"), Passes()
    ran_in: list[int] = []

    @interface.function("now")
    def now(ctx: HostContext) -> int:
        ran_in.append(passes.count)
        guests.scheduler._spend(PASS_BUDGET_NS + 1)
        return 0

    async with inline_guests(tmp_path, interface, threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        instances = [await component.instantiate(MemoryWorkerHost()) for _ in range(4)]
        trio.lowlevel.add_instrument(passes)
        async with trio.open_nursery() as nursery:
            for instance in instances:
                nursery.start_soon(instance.call, "", "now", [])
        trio.lowlevel.remove_instrument(passes)
        assert len(set(ran_in)) == 4
        for instance in instances:
            instance.close()


async def test_threads_end_with_the_block(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    async with inline_guests(tmp_path, clock_interface(), threads=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call("", "spin", [LONG])
        instance.close()
        names = {thread.name for thread in threading.enumerate()}
        assert "golemp2p-ticker" in names
        assert "golemp2p-guests-0" in names
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any(name.startswith("golemp2p") for name in left)
