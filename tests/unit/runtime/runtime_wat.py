"""Components in text, for tests of the runtime: an echo of any type through guest memory, and one guest with many habits."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import wasmtime

from golemp2p.model import wit
from golemp2p.runtime.component import LoadedComponent
from golemp2p.runtime.guests import WasmtimeGuests, open_guests
from golemp2p.runtime.host.declare import HostInterface

MEMORY = r"""
  (core module $libc
    (memory (export "memory") 16 1024)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 2))))))
      (local.get $at))
    (func (export "reset") (param i32) (global.set $next (i32.const 4096))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
"""
_OPTIONS = "(memory (core memory $memory)) (realloc (core func $realloc))"


class _Types:
    """WAT text of types. Types that need a name to stand in an export are imported under one."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._names: dict[wit.Type, str] = {}

    def ref(self, type_: wit.Type) -> str:
        match type_:
            case wit.Primitive():
                return type_.name
            case wit.ListOf():
                return f"(list {self.ref(type_.element)})"
            case wit.OptionOf():
                return f"(option {self.ref(type_.payload)})"
            case wit.TupleOf():
                return f"(tuple {' '.join(map(self.ref, type_.elements))})"
            case wit.ResultOf():
                ok = f" {self.ref(type_.ok)}" if type_.ok else ""
                err = f" (error {self.ref(type_.err)})" if type_.err else ""
                return f"(result{ok}{err})"
        if type_ not in self._names:
            body = self._body(type_)
            name = f"t{len(self._names)}"
            self._names[type_] = name
            self.text.append(f'(type ${name}-raw {body}) (import "{name}" (type ${name} (eq ${name}-raw)))')
        return f"${self._names[type_]}"

    def _body(self, type_: wit.Type) -> str:
        match type_:
            case wit.Record():
                return "(record " + " ".join(f'(field "{n}" {self.ref(t)})' for n, t in type_.fields) + ")"
            case wit.Variant():
                return "(variant " + " ".join(f'(case "{n}"{" " + self.ref(t) if t else ""})' for n, t in type_.cases) + ")"
            case wit.Enum():
                return "(enum " + " ".join(f'"{n}"' for n in type_.names) + ")"
            case wit.Flags():
                return "(flags " + " ".join(f'"{n}"' for n in type_.names) + ")"
        raise AssertionError(type_)


_FLAT = {"f32": ["f32"], "f64": ["f64"], "s64": ["i64"], "u64": ["i64"], "string": ["i32", "i32"]}


def flat(type_: wit.Type | None) -> list[str]:
    """Core types of a value (canonical ABI, ``flatten_type``)."""
    match type_:
        case None:
            return []
        case wit.Primitive():
            return _FLAT.get(type_.name, ["i32"])
        case wit.ListOf():
            return ["i32", "i32"]
        case wit.Record():
            return [core for _, each in type_.fields for core in flat(each)]
        case wit.TupleOf():
            return [core for each in type_.elements for core in flat(each)]
        case wit.Variant():
            return _flat_cases([each for _, each in type_.cases])
        case wit.OptionOf():
            return _flat_cases([None, type_.payload])
        case wit.ResultOf():
            return _flat_cases([type_.ok, type_.err])
        case _:
            return ["i32"]


def _flat_cases(payloads: list[wit.Type | None]) -> list[str]:
    joined: list[str] = []
    for payload in payloads:
        for index, core in enumerate(flat(payload)):
            if index == len(joined):
                joined.append(core)
            elif joined[index] != core:
                joined[index] = "i32" if {joined[index], core} == {"i32", "f32"} else "i64"
    return ["i32", *joined]


def echo_component(types: Iterable[wit.Type]) -> str:
    """Imports ``h0``, ``h1``, ... and exports ``e0``, ``e1``, ..., all ``func(x: T) -> T``: ``e`` passes its argument to ``h``
    and returns what that returned."""
    defined, imports, lowers, lifts, core_imports, core_functions, instance = _Types(), [], [], [], [], [], []
    for index, type_ in enumerate(types):
        ref = defined.ref(type_)
        signature = f'(param "x" {ref}) (result {ref})'
        imports.append(f'(import "h{index}" (func $h{index} {signature}))')
        lowers.append(f"(core func $l{index} (canon lower (func $h{index}) {_OPTIONS}))")
        cores = flat(type_)
        params = cores if len(cores) <= 16 else ["i32"]
        arguments = " ".join(f"(local.get {position})" for position in range(len(params)))
        declared = f"(param {' '.join(params)})"
        if len(cores) <= 1:
            shape, body = f"{declared} (result {cores[0]})", f"(call $h{index} {arguments})"
            core_imports.append(f'(import "h" "h{index}" (func $h{index} {shape}))')
        else:
            shape = f"{declared} (result i32)"
            body = f"(call $h{index} {arguments} (i32.const 1024)) (i32.const 1024)"
            core_imports.append(f'(import "h" "h{index}" (func $h{index} (param {" ".join(params)} i32)))')
        core_functions.append(f'(func (export "e{index}") {shape} {body})')
        instance.append(f'(export "h{index}" (func $l{index}))')
        post = '(post-return (core func $libc "reset"))' if len(cores) > 1 else ""
        lifts.append(f'(func (export "e{index}") {signature} (canon lift (core func $m "e{index}") {_OPTIONS} {post}))')
    parts = [*defined.text, *imports, MEMORY, *lowers, "(core module $m", *core_imports, *core_functions, ")"]
    parts += [f'(core instance $m (instantiate $m (with "h" (instance {" ".join(instance)}))))', *lifts]
    return "(component\n" + "\n".join(parts) + "\n)"


HABITS = r"""(component
  (import "demo:clock/now@0.2.3" (instance $i
    (export "now" (func (result u64)))
    (export "ask" (func (param "x" u64) (result u64)))
    (export "send" (func (param "x" u64) (result u64)))
    (export "local" (func (param "x" u64) (result u64)))))
  (import "demo:absent/things@1.0.0" (instance $absent
    (export "thing" (type $thing (sub resource)))
    (export "[constructor]thing" (func (result (own $thing))))
    (export "missing" (func (param "x" string)))))
  (core module $libc (memory (export "memory") 1 10000)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (core func $now (canon lower (func $i "now")))
  (core func $ask (canon lower (func $i "ask")))
  (core func $send (canon lower (func $i "send")))
  (core func $local (canon lower (func $i "local")))
  (core func $missing (canon lower (func $absent "missing") (memory (core memory $libc "memory"))))
  (core module $m
    (import "l" "memory" (memory 1))
    (import "h" "now" (func $now (result i64)))
    (import "h" "ask" (func $ask (param i64) (result i64)))
    (import "h" "send" (func $send (param i64) (result i64)))
    (import "h" "local" (func $local (param i64) (result i64)))
    (import "h" "missing" (func $missing (param i32 i32)))
    (global $sum (mut i64) (i64.const 0))
    (func (export "inc") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
    (func (export "add") (param i64) (result i64)
      (global.set $sum (i64.add (global.get $sum) (local.get 0))) (global.get $sum))
    (func (export "now") (result i64) (call $now))
    (func (export "ask") (param i64) (result i64) (call $ask (local.get 0)))
    (func (export "send") (param i64) (result i64) (call $send (local.get 0)))
    (func (export "local") (param i64) (result i64) (call $local (local.get 0)))
    (func (export "sum-now") (param $n i32) (result i64) (local $a i64)
      (loop $l (local.set $a (i64.add (local.get $a) (call $now)))
        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (local.get $a))
    (func (export "sum-ask") (param $n i32) (result i64) (local $a i64)
      (loop $l (local.set $a (call $ask (local.get $a)))
        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (local.get $a))
    (func (export "spin-then-ask") (param i64) (result i64)
      (drop (call $spin (local.get 0))) (call $ask (i64.const 7)))
    (func (export "missing") (call $missing (i32.const 0) (i32.const 0)))
    (func (export "boom") (unreachable))
    (func (export "divide") (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
    (func $dive (export "dive") (call $dive))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func $spin (export "spin") (param i64) (result i64) (local $a i64) (local.set $a (i64.const 1))
      (loop $l
        (local.set $a (i64.mul (i64.add (local.get $a) (local.get 0)) (i64.const 6364136223846793005)))
        (br_if $l (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
      (local.get $a)))
  (core instance $m (instantiate $m (with "l" (instance $libc)) (with "h" (instance
    (export "now" (func $now)) (export "ask" (func $ask)) (export "send" (func $send)) (export "local" (func $local))
    (export "missing" (func $missing))))))
  (func $inc (param "x" u64) (result u64) (canon lift (core func $m "inc")))
  (component $api (import "inc" (func $inc (param "x" u64) (result u64))) (export "inc" (func $inc)))
  (instance $api (instantiate $api (with "inc" (func $inc))))
  (export "demo:habits/api@1.0.0" (instance $api))
  (func (export "add") (param "x" u64) (result u64) (canon lift (core func $m "add")))
  (func (export "now") (result u64) (canon lift (core func $m "now")))
  (func (export "ask") (param "x" u64) (result u64) (canon lift (core func $m "ask")))
  (func (export "send") (param "x" u64) (result u64) (canon lift (core func $m "send")))
  (func (export "local") (param "x" u64) (result u64) (canon lift (core func $m "local")))
  (func (export "sum-now") (param "n" u32) (result u64) (canon lift (core func $m "sum-now")))
  (func (export "sum-ask") (param "n" u32) (result u64) (canon lift (core func $m "sum-ask")))
  (func (export "spin-then-ask") (param "n" u64) (result u64) (canon lift (core func $m "spin-then-ask")))
  (func (export "missing") (canon lift (core func $m "missing")))
  (func (export "boom") (canon lift (core func $m "boom")))
  (func (export "divide") (param "x" u32) (result u32) (canon lift (core func $m "divide")))
  (func (export "dive") (canon lift (core func $m "dive")))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $m "grow")))
  (func (export "spin") (param "n" u64) (result u64) (canon lift (core func $m "spin")))
)"""
"""Imports a clock in four durability classes, and an interface that nobody provides."""


async def load(guests: WasmtimeGuests, folder: Path, text: str | bytes) -> LoadedComponent:
    """Write the component to a file of ``folder`` and load it. Text is WAT; bytes are taken as they are."""
    data = bytes(wasmtime.wat2wasm(text)) if isinstance(text, str) else text
    digest = hashlib.sha256(data).digest()
    path = folder / f"{digest.hex()[:16]}.wasm"
    if not path.exists():  # an earlier load may be reading it at this moment
        path.write_bytes(data)
    return await guests.load(digest, path)


@asynccontextmanager
async def inline_guests(folder: Path, *interfaces: HostInterface, **options: Any) -> AsyncIterator[WasmtimeGuests]:
    """Guests that compile without a child process."""
    async with child_guests(folder, *interfaces, compile_in_process=True, **options) as guests:
        yield guests


@asynccontextmanager
async def child_guests(folder: Path, *interfaces: HostInterface, **options: Any) -> AsyncIterator[WasmtimeGuests]:
    """Guests as a node has them, with these interfaces only."""
    async with open_guests(folder / "cache", interfaces=interfaces, **options) as guests:
        yield guests
