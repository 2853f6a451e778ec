"""What is appended to components, and the reading of index spaces it stands on."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from runtime_wat import HABITS, echo_component, inline_guests, load
from test_runtime_resources import API, GUEST_RESOURCES, dropped_recorder

from golemp2p.errors import InvalidComponent
from golemp2p.model import wit
from golemp2p.runtime import additions, compile
from golemp2p.runtime.additions import append
from golemp2p.runtime.engine import new_engines
from golemp2p.runtime.indexes import Sort, count
from golemp2p.runtime.wasm import initial_memory_bytes
from golemp2p.testing.hosts import MemoryWorkerHost

DROPPER_TEXT = """(component (import "r" (type $r (sub resource))) (core func $d (canon resource.drop $r))
  (func $f (param "x" (own $r)) (canon lift (core func $d))) (export "drop" (func $f)))"""
SIZER_TEXT = '(module (import "" "m" (memory 0)) (func (export "s") (result i32) memory.size))'


@pytest.mark.parametrize(("text", "data"), [(DROPPER_TEXT, additions._DROPPER), (SIZER_TEXT, additions._SIZER)])
def test_the_bytes_are_what_their_text_says(text: str, data: bytes) -> None:
    assembled = bytes(wasmtime.wat2wasm(text))
    assert assembled.startswith(data)
    assert assembled[len(data) : len(data) + 1] in {b"", b"\0"}, "only a custom section with names may follow"


def test_index_spaces_are_counted() -> None:
    text = """(component
      (import "a" (func)) (import "i" (instance $i (export "f" (func)) (export "r" (type (sub resource)))))
      (alias export $i "f" (func $f)) (alias export $i "r" (type $r)) (type (list u8)) (type $t (tuple u8 $r2))
      (component $c) (instance (instantiate $c)) (core module $m (memory (export "x") 1) (memory (export "y") 1))
      (core instance $m (instantiate $m)) (core instance $n (instantiate $m))
      (alias core export $m "x" (core memory $x)) (alias core export $m "x" (core memory $x2))
      (alias core export $m "y" (core memory $y)) (alias core export $n "x" (core memory $z))
      (core func (canon lower (func $f))) (core func (canon resource.drop $r)) (core module $e (func (export "f")))
      (core instance $e (instantiate $e)) (func (export "g") (canon lift (core func $e "f"))))"""
    text = text.replace(" (type $t (tuple u8 $r2))", "")
    indexes = count(bytes(wasmtime.wat2wasm(text)))
    counts = {sort.name: number for sort, number in indexes.counts.items()}
    assert counts["FUNC"] == 4  # import, alias, lift, export
    assert counts["INSTANCE"] == 2
    assert counts["COMPONENT"] == 1
    assert counts["CORE_MODULE"] == 2
    assert counts["CORE_INSTANCE"] == 3
    assert counts["CORE_FUNC"] == 3  # lower, drop, alias
    assert counts["CORE_MEMORY"] == 4
    assert indexes.memories == [0, 2, 3], "the same memory named twice counts once"
    assert indexes.exported == {b"g": 3}


_ALL = [wit.Primitive("string"), wit.ListOf(wit.Primitive("u8")), wit.OptionOf(wit.Enum(("a", "b")))]


@pytest.mark.parametrize("text", [HABITS, GUEST_RESOURCES, echo_component(_ALL)])
def test_appending_keeps_components_valid(text: str) -> None:
    data = bytes(wasmtime.wat2wasm(text))
    appended = append(data, [(API, "tally"), ("", "other")] if text is GUEST_RESOURCES else [])
    assert appended.startswith(data)
    assert len(appended) > len(data)
    wasmtime.component.Component(new_engines().plain, appended)
    assert count(appended).counts[Sort.CORE_MEMORY] == count(data).counts[Sort.CORE_MEMORY]


async def test_memory_is_measured_after_each_call(tmp_path: Path) -> None:
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, HABITS)
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        assert (instance.memory_bytes, host.grown) == (65536, 0)
        await instance.call("", "grow", [9])
        assert (instance.memory_bytes, host.grown) == (10 * 65536, 9 * 65536)
        await instance.call("", "grow", [0])
        assert (instance.memory_bytes, host.grown) == (10 * 65536, 9 * 65536)
        instance.close()


async def test_without_additions_a_component_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: bytes, resources: object, *, sizers: bool) -> bytes:
        raise InvalidComponent("unknown form")

    monkeypatch.setattr(compile, "append", refuse)
    world, destroyed = dropped_recorder()
    async with inline_guests(tmp_path, world) as guests:
        component = await load(guests, tmp_path, GUEST_RESOURCES)
        host = MemoryWorkerHost()
        instance = await component.instantiate(host)
        await instance.call(API, "[constructor]tally", [5])
        await instance.drop_resource(0)
        assert host.resources == {}
        assert destroyed == [], "forgotten, not destroyed"
        assert instance.memory_bytes == component.memory_initial
        instance.close()


_WHOLE = bytes(wasmtime.wat2wasm(GUEST_RESOURCES))


@given(st.integers(8, len(_WHOLE) - 1), st.integers(0, 255))
def test_hostile_bytes_are_refused_or_read(position: int, byte: int) -> None:
    """Whatever is in the file: an answer or ``InvalidComponent``, nothing else, and never endless."""
    data = _WHOLE[:position] + bytes([byte]) + _WHOLE[position + 1 :]
    for read in (count, initial_memory_bytes):
        for hostile in (data, _WHOLE[:position]):
            try:
                read(hostile)
            except InvalidComponent:
                continue


def test_memory_of_nested_modules() -> None:
    text = """(component (core module (memory 2)) (component (core module (memory 3 5) (memory i64 1))) (core module))"""
    assert initial_memory_bytes(bytes(wasmtime.wat2wasm(text))) == 6 * 65536
