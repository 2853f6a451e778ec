"""Compiling in a child process, the cache on disk, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
import trio
import trio.testing
import wasmtime
from runtime_wat import HABITS, child_guests, inline_guests, load

from golemp2p.errors import DataDamaged, Draining, InvalidComponent, StorageFailed, StorageFull
from golemp2p.runtime.compile import description_path
from golemp2p.runtime.engine import WASMTIME_VERSION, code_fingerprint
from golemp2p.runtime.guests import WasmtimeGuests
from golemp2p.testing.hosts import MemoryWorkerHost

SMALL = '(component (core module $m (func (export "f") (result i32) (i32.const 5))) (core instance $m (instantiate $m)) ' \
        '(func (export "f") (result u32) (canon lift (core func $m "f"))))'  # fmt: skip


def code_file(folder: Path) -> Path:
    (found,) = (folder / "cache").glob("*.cwasm")
    return found


async def call_f(guests: WasmtimeGuests, folder: Path) -> int:
    component = await load(guests, folder, SMALL)
    instance = await component.instantiate(MemoryWorkerHost())
    result: int = await instance.call("", "f", [])
    instance.close()
    return result


async def test_a_child_compiles_and_the_next_node_finds_the_code(tmp_path: Path) -> None:
    data = bytes(wasmtime.wat2wasm(SMALL))
    digest = hashlib.sha256(data).digest()
    async with child_guests(tmp_path) as guests:
        assert guests.compilation(digest) is None
        assert await call_f(guests, tmp_path) == 5
        state = guests.compilation(digest)
        assert state is not None
        assert (state.phase, state.size_bytes, state.error) == ("ready", len(data), None)
        assert state.elapsed_s > 0
        assert guests.statistics()["compilations_total"] == 1
    code = code_file(tmp_path)
    assert code.name == f"{digest.hex()}-{WASMTIME_VERSION}-{code_fingerprint()}.cwasm"
    assert stat.S_IMODE(code.stat().st_mode) == stat.S_IMODE(description_path(code).stat().st_mode) == 0o600
    assert not list((tmp_path / "cache").glob(".*")), "no temporary file is left"
    async with child_guests(tmp_path) as guests:
        assert await call_f(guests, tmp_path) == 5
        assert guests.statistics()["compilations_total"] == 0


async def test_concurrent_loads_share_one_compilation(tmp_path: Path) -> None:
    async with inline_guests(tmp_path) as guests:
        found = set()

        async def one() -> None:
            found.add(await load(guests, tmp_path, SMALL))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
        assert len(found) == 1
        assert guests.statistics()["compilations_total"] == 1


async def test_a_load_goes_on_when_who_asked_first_is_cancelled(tmp_path: Path) -> None:
    async with child_guests(tmp_path) as guests:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load, guests, tmp_path, SMALL)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await call_f(guests, tmp_path) == 5
        assert guests.statistics()["compilations_total"] == 1


async def test_compilations_queue(tmp_path: Path) -> None:
    data = bytes(wasmtime.wat2wasm(SMALL))
    async with inline_guests(tmp_path) as guests, guests._compiler._one, trio.open_nursery() as nursery:
        nursery.start_soon(load, guests, tmp_path, SMALL)
        with trio.fail_after(10):
            while guests.compilation(hashlib.sha256(data).digest()) is None:
                await trio.lowlevel.checkpoint()
        state = guests.compilation(hashlib.sha256(data).digest())
        assert state is not None
        assert state.phase == "queued"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("damage", ["flip", "truncate", "description", "nonsense description", "remove"])
async def test_damaged_code_is_never_used(tmp_path: Path, damage: str) -> None:
    async with inline_guests(tmp_path) as guests:
        await call_f(guests, tmp_path)
    code = code_file(tmp_path)
    description = description_path(code)
    if damage == "flip":
        data = bytearray(code.read_bytes())
        data[len(data) // 2] ^= 1
        code.write_bytes(data)
    elif damage == "truncate":
        code.write_bytes(code.read_bytes()[:-1])
    elif damage == "description":
        description.write_text(json.dumps({"size": code.stat().st_size}))
    elif damage == "nonsense description":
        description.write_bytes(b"\xff[")
    else:
        code.unlink()
    async with inline_guests(tmp_path) as guests:
        assert await call_f(guests, tmp_path) == 5
        assert guests.statistics()["compilations_total"] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(wasmtime.wat2wasm("(module)")), "wasm-tools component new"),
        (b"", "not WebAssembly"),
        (b"MZ\x90\0 something else", "not WebAssembly"),
        (SMALL.encode(), "not WebAssembly"),
        (b"\0asm\x0e\0\x01\0", "unknown kind or version"),
        (b"\0asm\x0d\0\x01\0\x01", "does not compile"),
        (b"\0asm\x0d\0\x01\0\x07\x02\x01\xee", "does not compile"),
    ],
)
@pytest.mark.parametrize("child", [False, True])
async def test_what_is_no_component_is_refused_in_words(tmp_path: Path, data: bytes, message: str, child: bool) -> None:
    async with child_guests(tmp_path, compile_in_process=not child) as guests:
        with pytest.raises(InvalidComponent, match=message):
            await load(guests, tmp_path, data)
        assert await call_f(guests, tmp_path) == 5


async def test_a_failed_compilation_is_told_and_may_be_tried_again(tmp_path: Path) -> None:
    data = b"\0asm\x0d\0\x01\0\x01"
    async with inline_guests(tmp_path) as guests:
        for _ in range(2):
            with pytest.raises(InvalidComponent):
                await load(guests, tmp_path, data)
        state = guests.compilation(hashlib.sha256(data).digest())
        assert state is not None
        assert state.phase == "failed"
        assert "does not compile" in (state.error or "")
        assert guests.statistics()["compilations_total"] == 2


async def test_too_big(tmp_path: Path) -> None:
    async with inline_guests(tmp_path, component_bytes_max=50) as guests:
        with pytest.raises(InvalidComponent, match="at most 50"):
            await load(guests, tmp_path, SMALL)


@pytest.mark.parametrize("child", [False, True])
async def test_bytes_that_do_not_match_their_hash(tmp_path: Path, child: bool) -> None:
    path = tmp_path / "c.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(SMALL)))
    async with child_guests(tmp_path, compile_in_process=not child) as guests:
        with pytest.raises(DataDamaged):
            await guests.load(bytes(32), path)
        with pytest.raises(DataDamaged):
            await guests.load(bytes(32), tmp_path / "absent.wasm")


@pytest.mark.parametrize("child", [False, True])
async def test_a_disk_that_refuses_the_code_says_nothing_of_the_component(tmp_path: Path, child: bool) -> None:
    async with (child_guests if child else inline_guests)(tmp_path) as guests:
        digest = hashlib.sha256(bytes(wasmtime.wat2wasm(SMALL))).hexdigest()
        in_the_way = tmp_path / "cache" / f"{digest}-{WASMTIME_VERSION}-{code_fingerprint()}.cwasm"
        in_the_way.mkdir(parents=True)
        with pytest.raises(StorageFailed, match="cannot be written"):
            await load(guests, tmp_path, SMALL)
        in_the_way.rmdir()
        assert await call_f(guests, tmp_path) == 5


async def test_a_full_disk_while_compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with inline_guests(tmp_path) as guests:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(StorageFull):
                await load(guests, tmp_path, SMALL)
        assert await call_f(guests, tmp_path) == 5


async def test_nothing_after_closing(tmp_path: Path) -> None:
    async with inline_guests(tmp_path) as guests:
        component = await load(guests, tmp_path, HABITS)
        await guests.aclose()
        with pytest.raises(Draining):
            await load(guests, tmp_path, SMALL)
        with pytest.raises(Draining):
            await component.instantiate(MemoryWorkerHost())
