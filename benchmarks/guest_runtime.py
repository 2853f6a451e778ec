"""What a guest costs: calls, host calls live and replayed, parking, and the event loop beside guests that compute.

    python benchmarks/guest_runtime.py [--guests 10000]

CPU time of this process per operation, best of three rounds (the machine may be busy), with a journal in memory: the figures
are those of the runtime alone. The control is an empty coroutine call in the same run.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import wasmtime

from golemp2p.runtime.component import LoadedComponent
from golemp2p.runtime.guests import open_guests
from golemp2p.runtime.host.declare import PURE, READ_LOCAL, READ_REMOTE, HostContext, HostInterface
from golemp2p.testing.hosts import MemoryJournal, MemoryWorkerHost

GUEST = r"""(component
  (import "bench:host/api@0.2.0" (instance $i
    (export "pure" (func (result u64)))
    (export "now" (func (result u64)))
    (export "ask" (func (param "x" u64) (result u64)))
    (export "park" (func (param "x" u64) (result u64)))))
  (core func $pure (canon lower (func $i "pure")))
  (core func $now (canon lower (func $i "now")))
  (core func $ask (canon lower (func $i "ask")))
  (core func $park (canon lower (func $i "park")))
  (core module $m
    (import "h" "pure" (func $pure (result i64)))
    (import "h" "now" (func $now (result i64)))
    (import "h" "ask" (func $ask (param i64) (result i64)))
    (import "h" "park" (func $park (param i64) (result i64)))
    (memory 1)
    (func (export "inc") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
    (func (export "pure") (param $n i32) (result i64)
      (loop $l (drop (call $pure)) (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (i64.const 0))
    (func (export "now") (param $n i32) (result i64)
      (loop $l (drop (call $now)) (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (i64.const 0))
    (func (export "ask") (param $n i32) (result i64)
      (loop $l (drop (call $ask (i64.const 1))) (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (i64.const 0))
    (func (export "park") (param i64) (result i64) (call $park (local.get 0)))
    (func (export "spin") (param i64) (result i64) (local $a i64) (local.set $a (i64.const 1))
      (loop $l
        (local.set $a (i64.mul (i64.add (local.get $a) (local.get 0)) (i64.const 6364136223846793005)))
        (br_if $l (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
      (local.get $a)))
  (core instance $m (instantiate $m (with "h" (instance
    (export "pure" (func $pure)) (export "now" (func $now)) (export "ask" (func $ask)) (export "park" (func $park))))))
  (func (export "inc") (param "x" u64) (result u64) (canon lift (core func $m "inc")))
  (func (export "pure") (param "n" u32) (result u64) (canon lift (core func $m "pure")))
  (func (export "now") (param "n" u32) (result u64) (canon lift (core func $m "now")))
  (func (export "ask") (param "n" u32) (result u64) (canon lift (core func $m "ask")))
  (func (export "park") (param "x" u64) (result u64) (canon lift (core func $m "park")))
  (func (export "spin") (param "n" u64) (result u64) (canon lift (core func $m "spin"))))"""

CALLS = 20_000
ROUNDS = 3


class Host:
    def __init__(self) -> None:
        self.interface = HostInterface("bench:host/api")
        self.to_park = 0
        self.all_parked = trio.Event()
        self.release = trio.Event()
        self.interface.function("pure", PURE)(lambda ctx: 7)
        self.interface.function("now", READ_LOCAL)(lambda ctx: time.time_ns())
        self.interface.function("ask", READ_REMOTE)(self._ask)
        self.interface.function("park", PURE)(self._park)

    async def _ask(self, ctx: HostContext, x: int) -> int:
        await trio.lowlevel.checkpoint()
        return x

    async def _park(self, ctx: HostContext, x: int) -> int:
        self.to_park -= 1
        if not self.to_park:
            self.all_parked.set()
        await self.release.wait()
        return x


def report(name: str, value: float, unit: str, aim: str = "") -> None:
    print(f"{name:46} {value:10.1f} {unit:6} {aim}", flush=True)


async def per_call(operation: Callable[[], Awaitable[object]], calls: int) -> float:
    """Microseconds of CPU per call."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        await operation()
        best = min(best, (time.process_time() - begin) / calls * 1e6)
    return best


async def calls(component: LoadedComponent) -> None:
    instance = await component.instantiate(MemoryWorkerHost())

    async def nothing() -> None:
        pass

    async def control() -> None:
        for _ in range(CALLS):
            await nothing()

    async def exports() -> None:
        for x in range(CALLS):
            await instance.call("", "inc", [x])

    report("control: empty coroutine", await per_call(control, CALLS), "us")
    report("export u64 -> u64", await per_call(exports, CALLS), "us", "aim 15")
    report("host call, pure", await per_call(lambda: instance.call("", "pure", [CALLS]), CALLS), "us")
    report("host call, async with one checkpoint", await per_call(lambda: instance.call("", "ask", [CALLS]), CALLS), "us")
    instance.close()


async def durable_reads(component: LoadedComponent) -> None:
    hosts: list[MemoryWorkerHost] = []

    async def live() -> None:
        host = MemoryWorkerHost()
        hosts.append(host)
        instance = await component.instantiate(host)
        await instance.call("", "now", [CALLS])
        instance.close()

    report("durable clock read, live", await per_call(live, CALLS), "us", "aim 20")

    async def replay() -> None:
        host = MemoryWorkerHost(journal=MemoryJournal(hosts[0].journal.calls))
        instance = await component.instantiate(host)
        await instance.call("", "now", [CALLS])
        instance.close()

    report("durable clock read, replayed", await per_call(replay, CALLS), "us", "aim 12")


async def instances(component: LoadedComponent) -> None:
    async def cycle() -> None:
        for _ in range(1000):
            (await component.instantiate(MemoryWorkerHost())).close()

    report("instantiate and close", await per_call(cycle, 1000), "us")


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


async def parked(component: LoadedComponent, host: Host, count: int) -> None:
    async def one(x: int) -> None:
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call("", "park", [x])
        instance.close()

    gc.collect()
    host.to_park = count
    memory, begin = resident_bytes(), time.perf_counter()
    async with trio.open_nursery() as nursery:
        for x in range(count):
            nursery.start_soon(one, x)
        await host.all_parked.wait()
        elapsed = time.perf_counter() - begin
        report(f"{count} guests parked: started in", elapsed, "s")
        report("  memory of each, with its task and host", (resident_bytes() - memory) / count / 1024, "KiB", "aim 32")
        begin = time.perf_counter()
        host.release.set()
    report("  all resumed, finished and closed in", time.perf_counter() - begin, "s")


async def lateness(component: LoadedComponent, count: int) -> None:
    late: list[float] = []

    async def beat() -> None:
        while True:
            due = trio.current_time() + 0.001
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)

    async def spin() -> None:
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call("", "spin", [600_000_000])
        instance.close()

    async with trio.open_nursery() as outer:
        outer.start_soon(beat)
        async with trio.open_nursery() as nursery:
            if not count:
                await trio.sleep(1)
            for _ in range(count):
                nursery.start_soon(spin)
        outer.cancel_scope.cancel()
    late.sort()
    for name, quantile in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        value = late[min(len(late) - 1, int(len(late) * quantile))]
        report(f"loop lateness, {count} guests computing, {name}", value * 1e3, "ms", "aim 10" if name == "p99" else "")


async def main(guests_count: int) -> None:
    host = Host()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = bytes(wasmtime.wat2wasm(GUEST))
        (folder / "guest.wasm").write_bytes(data)
        # more than a node admits by default: this guest has no initial data and takes six mappings instead of seven
        most = guests_count + 16
        async with open_guests(folder / "cache", interfaces=[host.interface], instances_max=most) as guests:
            component = await guests.load(hashlib.sha256(data).digest(), folder / "guest.wasm")
            await calls(component)
            await durable_reads(component)
            await instances(component)
            await parked(component, host, guests_count)
            for count in (0, 4):
                await lateness(component, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guests", type=int, default=10_000, help="how many guests to park at once")
    trio.run(main, parser.parse_args().guests)
