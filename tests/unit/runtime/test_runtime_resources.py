"""Resources both ways: what the host lends to guests, and what guests hand to us."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import trio
from runtime_wat import inline_guests, load

from golemp2p.errors import GuestTrapped, LimitExceeded, ValueMismatch
from golemp2p.ports import GuestLimits
from golemp2p.runtime.host.context import Resources
from golemp2p.runtime.host.declare import HostContext, HostInterface
from golemp2p.testing.hosts import MemoryWorkerHost

HOST_RESOURCES = r"""(component
  (import "demo:files/types@0.2.1" (instance $types (export "file" (type $file (sub resource)))))
  (alias export $types "file" (type $file))
  (import "demo:files/open@0.2.1" (instance $open
    (alias outer 1 $file (type $outer))
    (export "file" (type $f (eq $outer)))
    (export "open" (func (param "n" u32) (result (own $f))))
    (export "open-two" (func (result (tuple (own $f) (option (own $f))))))
    (export "read" (func (param "f" (borrow $f)) (result u32)))
    (export "read-two" (func (param "f" (borrow $f)) (param "g" (borrow $f)) (result u32)))
    (export "close" (func (param "f" (own $f)) (result u32)))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $open (canon lower (func $open "open")))
  (core func $open-two (canon lower (func $open "open-two") (memory (core memory $libc "memory"))))
  (core func $read (canon lower (func $open "read")))
  (core func $read-two (canon lower (func $open "read-two")))
  (core func $close (canon lower (func $open "close")))
  (core func $drop (canon resource.drop $file))
  (core module $m
    (import "l" "memory" (memory 1))
    (import "h" "open" (func $open (param i32) (result i32)))
    (import "h" "open-two" (func $open-two (param i32)))
    (import "h" "read" (func $read (param i32) (result i32)))
    (import "h" "read-two" (func $read-two (param i32 i32) (result i32)))
    (import "h" "close" (func $close (param i32) (result i32)))
    (import "h" "drop" (func $drop (param i32)))
    (func (export "cycle") (param $n i32) (result i32) (local $sum i32) (local $f i32)
      (loop $l
        (local.set $f (call $open (local.get $n)))
        (local.set $sum (i32.add (local.get $sum) (call $read (local.get $f))))
        (call $drop (local.get $f))
        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "open-close") (param i32) (result i32) (call $close (call $open (local.get 0))))
    (func (export "two") (result i32)
      (call $open-two (i32.const 0))
      (i32.add (call $read (i32.load (i32.const 0))) (call $read (i32.load (i32.const 8)))))
    (func (export "keep") (param i32) (result i32) (call $open (local.get 0)))
    (func (export "take") (param i32) (result i32) (call $close (local.get 0)))
    (func (export "peek") (param $f i32) (result i32) (local $n i32)
      (local.set $n (call $read (local.get $f))) (call $drop (local.get $f)) (local.get $n))
    (func (export "lend-two") (result i32)
      (call $open-two (i32.const 0))
      (call $read-two (i32.load (i32.const 0)) (i32.load (i32.const 8))))
    (func (export "spin-drop") (param $f i32) (param $n i64) (result i32)
      (loop $l (br_if $l (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
      (call $drop (local.get $f))
      (call $read (call $open (i32.const 9)))))
  (core instance $m (instantiate $m (with "l" (instance $libc)) (with "h" (instance
    (export "open" (func $open)) (export "open-two" (func $open-two)) (export "read" (func $read))
    (export "read-two" (func $read-two)) (export "close" (func $close)) (export "drop" (func $drop))))))
  (func (export "take") (param "f" (own $file)) (result u32) (canon lift (core func $m "take")))
  (func (export "peek") (param "f" (borrow $file)) (result u32) (canon lift (core func $m "peek")))
  (func (export "lend-two") (result u32) (canon lift (core func $m "lend-two")))
  (func (export "cycle") (param "n" u32) (result u32) (canon lift (core func $m "cycle")))
  (func (export "open-close") (param "n" u32) (result u32) (canon lift (core func $m "open-close")))
  (func (export "two") (result u32) (canon lift (core func $m "two")))
  (func (export "keep") (param "n" u32) (result u32) (canon lift (core func $m "keep")))
  (func (export "spin-drop") (param "f" u32) (param "n" u64) (result u32) (canon lift (core func $m "spin-drop")))
)"""


class File:
    def __init__(self, number: int) -> None:
        self.number = number


class Files:
    def __init__(self) -> None:
        self.dropped: list[int] = []
        self.reps: list[int] = []
        self.types, self.functions = HostInterface("demo:files/types"), HostInterface("demo:files/open")
        self.interfaces = (self.types, self.functions)
        self.types.resource("file", self._drop)
        self.functions.function("open")(self._open)
        self.functions.function("open-two")(self._open_two)
        self.functions.function("read")(self._read)
        self.functions.function("read-two")(self._read_two)
        self.functions.function("close")(self._close)

    def _drop(self, file: File) -> None:
        self.dropped.append(file.number)

    def _open(self, ctx: HostContext, number: int) -> int:
        rep = ctx.resources.push(File(number))
        self.reps.append(rep)
        return rep

    def _open_two(self, ctx: HostContext) -> tuple[int, int]:
        return self._open(ctx, 30), self._open(ctx, 12)

    def _read(self, ctx: HostContext, file: int) -> int:
        return ctx.resources.get(file, File).number

    def _read_two(self, ctx: HostContext, left: int, right: int) -> int:
        return self._read(ctx, left) * 100 + self._read(ctx, right)

    def _close(self, ctx: HostContext, file: int) -> int:
        return ctx.resources.take(file, File).number


async def test_host_resources_live_as_long_as_the_guest_holds_them(tmp_path: Path) -> None:
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        assert await instance.call("", "cycle", [3]) == 6
        assert files.dropped == [3, 2, 1]
        assert await instance.call("", "open-close", [5]) == 5
        assert files.dropped == [3, 2, 1], "given to the host, not dropped"
        assert await instance.call("", "two", []) == 42
        await instance.call("", "keep", [7])
        assert files.dropped == [3, 2, 1]
        instance.close()
        assert files.dropped == [3, 2, 1, 7, 12, 30], "what the guest left is given back with the instance, newest first"


async def test_two_handles_lent_in_one_host_call(tmp_path: Path) -> None:
    """As ``poll`` does; wasmtime's support for component-model async breaks on it (see ``engine.Engines``)."""
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        assert await instance.call("", "lend-two", []) == 3012
        instance.close()


async def test_host_resources_as_arguments_of_exports(tmp_path: Path) -> None:
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        resources = instance._fiber.context.resources  # type: ignore[attr-defined]
        for number in range(100):
            rep = resources.push(File(number))
            assert await instance.call("", "peek", [rep]) == number
            assert await instance.call("", "peek", [rep]) == number
            assert await instance.call("", "take", [rep]) == number
            with pytest.raises(ValueMismatch):
                await instance.call("", "peek", [rep])
        assert files.dropped == []
        instance.close()


async def test_numbers_of_host_resources_are_deterministic_and_reused(tmp_path: Path) -> None:
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        runs = []
        for _ in range(2):
            files.reps.clear()
            instance = await component.instantiate(MemoryWorkerHost())
            await instance.call("", "keep", [1])
            await instance.call("", "cycle", [3])
            await instance.call("", "two", [])
            instance.close()
            runs.append([*files.reps])
        assert runs[0] == runs[1] == [1, 2, 2, 2, 2, 3]


async def test_a_resource_dropped_by_a_guest_in_the_pool(tmp_path: Path) -> None:
    """The destructor's host part runs on the event loop, before the next host call."""
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces, threads=2) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        handle = await instance.call("", "keep", [4])
        assert await instance.call("", "spin-drop", [handle, 60_000_000]) == 9
        assert guests.statistics()["slices_pooled"] >= 1
        assert files.dropped == [4]
        assert files.reps == [1, 1], "its number was free when the next call asked for one"
        instance.close()


async def test_the_limit_of_host_resources(tmp_path: Path) -> None:
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost(limits=GuestLimits(resources_max=2)))
        await instance.call("", "two", [])
        with pytest.raises(LimitExceeded) as caught:
            await instance.call("", "keep", [1])
        assert caught.value.limit == "resources_max"
        instance.close()


async def test_a_hundred_thousand_host_handles_leave_nothing_behind(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    files = Files()
    async with inline_guests(tmp_path, *files.interfaces) as guests:
        component = await load(guests, tmp_path, HOST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call("", "cycle", [20_000])
        files.dropped.clear()
        files.reps.clear()
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(4):
            await instance.call("", "cycle", [20_000])
            files.dropped.clear()
            files.reps.clear()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3_000
        instance.close()


def test_resources_give_traps_for_wrong_kinds_and_numbers() -> None:
    table = Resources(10)
    rep = table.push(File(1))
    for kind, number in ((dict, rep), (File, rep + 1), (File, -1)):
        with pytest.raises(GuestTrapped):
            table.get(number, kind)
    assert table.take(rep, File).number == 1
    with pytest.raises(GuestTrapped):
        table.take(rep, File)


# ------------------------------------------------------------------------------------------------------- guest resources

# Counts the living tallies; the destructor may also call the host. ``add`` and ``merge`` as usual; ``sum`` takes borrows.
GUEST_RESOURCES = r"""(component
  (import "h" (func $h (param "x" u32)))
  (core func $h (canon lower (func $h)))
  (core module $table (table (export "t") 1 funcref) (type $t (func (param i32)))
    (func (export "dtor") (param i32) (call_indirect (type $t) (local.get 0) (i32.const 0))))
  (core instance $table (instantiate $table))
  (type $tally (resource (rep i32) (dtor (core func $table "dtor"))))
  (type $other (resource (rep i32)))
  (core func $new (canon resource.new $tally))
  (core func $drop (canon resource.drop $tally))
  (core func $rep (canon resource.rep $tally))
  (core func $new-other (canon resource.new $other))
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core module $m
    (import "l" "memory" (memory 1))
    (import "h" "h" (func $h (param i32)))
    (import "h" "new" (func $new (param i32) (result i32)))
    (import "h" "drop" (func $drop (param i32)))
    (import "h" "rep" (func $rep (param i32) (result i32)))
    (import "h" "new-other" (func $new-other (param i32) (result i32)))
    (global $alive (mut i32) (i32.const 0))
    (func (export "new") (param i32) (result i32)
      (global.set $alive (i32.add (global.get $alive) (i32.const 1))) (call $new (local.get 0)))
    (func (export "get") (param i32) (result i32) (local.get 0))
    (func (export "merge") (param i32 i32) (result i32) (local $sum i32)
      (local.set $sum (i32.add (call $rep (local.get 0)) (call $rep (local.get 1))))
      (call $drop (local.get 0)) (call $drop (local.get 1))
      (global.set $alive (i32.add (global.get $alive) (i32.const 1)))
      (call $new (local.get $sum)))
    (func (export "pair") (result i32)
      (global.set $alive (i32.add (global.get $alive) (i32.const 2)))
      (i32.store (i32.const 0) (call $new (i32.const 1)))
      (i32.store (i32.const 4) (call $new (i32.const 2)))
      (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 2)) (i32.const 16))
    (func (export "sum") (param $at i32) (param $n i32) (result i32) (local $sum i32)
      (block $done (loop $l
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br $l)))
      (local.get $sum))
    (func (export "alive") (result i32) (global.get $alive))
    (func (export "other") (result i32) (call $new-other (i32.const 5)))
    (func (export "dtor") (param i32)
      (if (i32.eq (local.get 0) (i32.const 666)) (then unreachable))
      (call $h (local.get 0)) (global.set $alive (i32.sub (global.get $alive) (i32.const 1)))))
  (core instance $m (instantiate $m (with "l" (instance $libc)) (with "h" (instance
    (export "h" (func $h)) (export "new" (func $new))
    (export "drop" (func $drop)) (export "rep" (func $rep)) (export "new-other" (func $new-other))))))
  (core module $fix (import "" "t" (table 1 funcref)) (import "" "dtor" (func $d (param i32))) (elem (i32.const 0) func $d))
  (alias core export $table "t" (core table $t))
  (core instance (instantiate $fix (with "" (instance (export "t" (table $t)) (export "dtor" (func $m "dtor"))))))
  (func $ctor (param "x" u32) (result (own $tally)) (canon lift (core func $m "new")))
  (func $get (param "self" (borrow $tally)) (result u32) (canon lift (core func $m "get")))
  (func $merge (param "a" (own $tally)) (param "b" (own $tally)) (result (own $tally)) (canon lift (core func $m "merge")))
  (func $pair (result (list (own $tally))) (canon lift (core func $m "pair") (memory (core memory $libc "memory"))))
  (func $sum (param "all" (list (borrow $tally))) (result u32)
    (canon lift (core func $m "sum") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (func $other (result (own $other)) (canon lift (core func $m "other")))
  (component $api
    (import "tally" (type $tally (sub resource)))
    (import "ctor" (func $ctor (param "x" u32) (result (own $tally))))
    (import "get" (func $get (param "self" (borrow $tally)) (result u32)))
    (import "merge" (func $merge (param "a" (own $tally)) (param "b" (own $tally)) (result (own $tally))))
    (import "pair" (func $pair (result (list (own $tally)))))
    (import "sum" (func $sum (param "all" (list (borrow $tally))) (result u32)))
    (export $out "tally" (type $tally))
    (export "[constructor]tally" (func $ctor) (func (param "x" u32) (result (own $out))))
    (export "[method]tally.get" (func $get) (func (param "self" (borrow $out)) (result u32)))
    (export "[static]tally.merge" (func $merge) (func (param "a" (own $out)) (param "b" (own $out)) (result (own $out))))
    (export "pair" (func $pair) (func (result (list (own $out)))))
    (export "sum" (func $sum) (func (param "all" (list (borrow $out))) (result u32))))
  (instance $api (instantiate $api (with "tally" (type $tally)) (with "ctor" (func $ctor)) (with "get" (func $get))
    (with "merge" (func $merge)) (with "pair" (func $pair)) (with "sum" (func $sum))))
  (export "demo:tally/api@1.0.0" (instance $api))
  (export $other-out "other" (type $other))
  (func (export "make-other") (result (own $other-out)) (canon lift (core func $m "other")))
  (func (export "alive") (result u32) (canon lift (core func $m "alive")))
)"""
API, TALLY = "demo:tally/api@1.0.0", "demo:tally/api@1.0.0#tally"


def dropped_recorder() -> tuple[HostInterface, list[int]]:
    world, calls = HostInterface(""), []

    @world.function("h")
    async def h(ctx: HostContext, x: int) -> None:
        await trio.lowlevel.checkpoint()  # the destructor parks its guest
        calls.append(x)

    return world, calls


async def test_guest_resources_from_constructor_to_destructor(tmp_path: Path) -> None:
    world, destroyed = dropped_recorder()
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, GUEST_RESOURCES)
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        assert [await instance.call(API, "[constructor]tally", [x]) for x in (10, 20, 30)] == [0, 1, 2]
        assert host.resources == {0: TALLY, 1: TALLY, 2: TALLY}
        assert await instance.call(API, "[method]tally.get", [1]) == 20
        assert await instance.call(API, "sum", [[0, 2, 0]]) == 50
        assert await instance.call(API, "[static]tally.merge", [0, 2]) == 3
        assert destroyed == [10, 30]
        assert host.resources == {1: TALLY, 3: TALLY}
        assert await instance.call(API, "[method]tally.get", [3]) == 40
        assert await instance.call(API, "pair", []) == [4, 5]
        assert await instance.call("", "alive", []) == 4
        for resource in (1, 4, 5):
            await instance.drop_resource(resource)
        assert destroyed == [10, 30, 20, 1, 2]
        assert host.resources == {3: TALLY}
        assert await instance.call("", "alive", []) == 1
        instance.close()


@pytest.mark.parametrize("args", [[7], [-1], [True], ["0"], [None], [1.0]])
async def test_unknown_resources_are_refused_before_the_guest_runs(tmp_path: Path, args: list[Any]) -> None:
    world, _ = dropped_recorder()
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, GUEST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call(API, "[constructor]tally", [10])
        with pytest.raises(ValueMismatch):
            await instance.call(API, "[method]tally.get", args)
        with pytest.raises(ValueMismatch):
            await instance.drop_resource(7)
        assert await instance.call(API, "[method]tally.get", [0]) == 10
        instance.close()


async def test_a_handle_of_another_type_and_one_given_twice(tmp_path: Path) -> None:
    world, _ = dropped_recorder()
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, GUEST_RESOURCES)
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        tally, other = await instance.call(API, "[constructor]tally", [10]), await instance.call("", "make-other", [])
        assert host.resources == {0: TALLY, 1: "#other"}
        with pytest.raises(ValueMismatch, match="#other"):
            await instance.call(API, "[method]tally.get", [other])
        with pytest.raises(ValueMismatch, match="given away"):
            await instance.call(API, "[static]tally.merge", [tally, tally])
        assert await instance.call(API, "[method]tally.get", [tally]) == 10, "the refused call gave nothing away"
        await instance.drop_resource(other)
        with pytest.raises(ValueMismatch):
            await instance.drop_resource(other)
        instance.close()


async def test_a_destructor_that_traps_kills_the_instance(tmp_path: Path) -> None:
    world, _ = dropped_recorder()
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, GUEST_RESOURCES)
        instance = await component.instantiate(MemoryWorkerHost())
        await instance.call(API, "[constructor]tally", [666])
        with pytest.raises(GuestTrapped, match="unreachable"):
            await instance.drop_resource(0)
        instance.close()


async def test_many_guest_resources_leave_nothing_behind(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    world, destroyed = dropped_recorder()
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, GUEST_RESOURCES)
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)

        async def cycle(count: int) -> None:
            for _ in range(count):
                a, b = [await instance.call(API, "[constructor]tally", [x]) for x in (1, 2)]
                await instance.drop_resource(await instance.call(API, "[static]tally.merge", [a, b]))

        await cycle(500)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await cycle(2000)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000
        assert await instance.call("", "alive", []) == 0
        assert host.resources == {}
        assert len(destroyed) == 7500
        instance.close()
