"""How guests fail: traps, limits, and what they look like to us."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from runtime_wat import HABITS, inline_guests, load
from trio.testing import wait_all_tasks_blocked

from golemp2p.errors import FunctionNotFound, GuestTrapped, LimitExceeded, OutOfMemory, Overloaded, StackOverflowed
from golemp2p.ports import GuestLimits
from golemp2p.runtime.ffi import ErrorText
from golemp2p.runtime.guests import MAPS_PER_INSTANCE, instances_max_default
from golemp2p.runtime.host.declare import PURE, HostContext, HostInterface
from golemp2p.runtime.traps import guest_error
from golemp2p.testing.hosts import MemoryWorkerHost


@pytest.mark.parametrize(
    ("function", "args", "kind", "message"),
    [
        ("boom", [], GuestTrapped, "unreachable"),
        ("divide", [0], GuestTrapped, "integer divide by zero"),
        ("dive", [], StackOverflowed, "call stack exhausted"),
    ],
)
async def test_traps_are_told_apart(tmp_path: Path, function: str, args: list[int], kind: type, message: str) -> None:
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost())
        with pytest.raises(GuestTrapped, match=message) as caught:
            await instance.call("", function, args)
        assert type(caught.value) is kind
        assert "m!" in caught.value.backtrace
        assert "backtrace" not in str(caught.value)
        instance.close()


async def test_a_trap_while_instantiating(tmp_path: Path) -> None:
    text = "(component (core module $m (func $s (unreachable)) (start $s)) (core instance (instantiate $m)))"
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, text)
        with pytest.raises(GuestTrapped, match="unreachable"):
            await component.instantiate(MemoryWorkerHost())
        assert guests.statistics()["instances"] == 0
        assert guests.fibers == {}


async def test_memory_cannot_grow_past_its_limit(tmp_path: Path) -> None:
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, HABITS)
        assert component.memory_initial == 65536
        instance = await component.instantiate(MemoryWorkerHost(limits=GuestLimits(memory_bytes_max=10 * 65536)))
        assert await instance.call("", "grow", [9]) == 1
        assert await instance.call("", "grow", [1]) == -1
        instance.close()


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (GuestLimits(memory_bytes_max=65536), "memory_bytes_max"),
        (GuestLimits(table_elements_max=10), "table_elements_max"),
        (GuestLimits(instances_max=1), "instances_max"),
    ],
)
async def test_limits_while_instantiating(tmp_path: Path, limits: GuestLimits, limit: str) -> None:
    text = """(component (core module $m (memory 2) (table 100 funcref)) (core instance (instantiate $m))
      (core instance (instantiate $m)))"""
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, text)
        with pytest.raises(LimitExceeded) as caught:
            await component.instantiate(MemoryWorkerHost(limits=limits))
        assert caught.value.limit == limit


async def test_functions_that_are_not_there(tmp_path: Path) -> None:
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, HABITS)
        instance = await component.instantiate(MemoryWorkerHost())
        for interface, function in (("", "nothing"), ("demo:habits/api@1.0.0", "add"), ("demo:other/api", "inc")):
            with pytest.raises(FunctionNotFound, match=function):
                await instance.call(interface, function, [])
        assert await instance.call("demo:habits/api@1.0.0", "inc", [1]) == 2, "nothing was disturbed"
        instance.close()


async def test_admission(tmp_path: Path) -> None:
    async with inline_guests(tmp_path, instances_max=2) as guests:
        component = await load(guests, tmp_path, HABITS)
        instances = [await component.instantiate(MemoryWorkerHost()) for _ in range(2)]
        with pytest.raises(Overloaded):
            await component.instantiate(MemoryWorkerHost())
        instances.pop().close()
        instances.append(await component.instantiate(MemoryWorkerHost()))
        for instance in instances:
            instance.close()


def test_the_kernel_decides_how_many_instances_there_may_be() -> None:
    assert 16 <= instances_max_default() < 2**31 // 6


WAITS = r"""(component
  (import "demo:clock/now@1.0.0" (instance $i (export "wait" (func))))
  (core func $wait (canon lower (func $i "wait")))
  (core module $m
    (import "h" "wait" (func $wait))
    (memory 17)
    (data (i32.const 1048576) "what a linker puts behind the stack")
    (func (export "park") (i32.store (i32.const 1048580) (i32.const 1)) (call $wait)))
  (core instance $m (instantiate $m (with "h" (instance (export "wait" (func $wait))))))
  (func (export "park") (canon lift (core func $m "park"))))"""


async def test_an_instance_has_no_more_mappings_than_admission_counts(tmp_path: Path) -> None:
    """Beyond the kernel's limit of mappings, workers would fail for want of memory instead of being refused."""
    parked, release = 0, trio.Event()
    interface = HostInterface("demo:clock/now")

    @interface.function("wait", PURE)
    async def wait(ctx: HostContext) -> None:
        nonlocal parked
        parked += 1
        await release.wait()

    async with inline_guests(tmp_path, interface) as guests:
        component = await load(guests, tmp_path, WAITS)

        async def one() -> None:
            instance = await component.instantiate(MemoryWorkerHost())
            await instance.call("", "park", [])
            instance.close()

        count, before = 100, _mappings()
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
            await wait_all_tasks_blocked()
            assert parked == count
            each = (_mappings() - before) / count
            release.set()
        # Neighbouring mappings merge where the process has room for that, and a thread of the loop may add a few.
        assert MAPS_PER_INSTANCE - 3 < each < MAPS_PER_INSTANCE + 0.2


def _mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_guests_that_give_up_for_want_of_memory() -> None:
    text = ErrorText("wasm trap: wasm `unreachable` instruction executed", "0: 0x1 - m!rust_oom\n1: 0x2 - m!__rust_alloc")
    assert type(guest_error(text)) is OutOfMemory
    assert type(guest_error(ErrorText("wasm trap: out of bounds memory access", "0: m!f"))) is GuestTrapped
