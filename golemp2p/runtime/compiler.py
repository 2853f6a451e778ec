"""Compiled code on disk: found, checked, or made by a child process; one compilation at a time, shared by all who ask.

    <cache>/<sha256>-<wasmtime version>-<fingerprint>.cwasm          machine code, mapped into memory when loaded
    <cache>/<sha256>-<wasmtime version>-<fingerprint>.cwasm.json     its size, BLAKE2b and what else is known

Code is executed, so it is checked before it is loaded: files whose hash does not match are compiled anew, never used.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import trio
import wasmtime
from wasmtime import component as wc

from golemp2p.errors import DataDamaged, InvalidComponent, StorageFailed, StorageFull, WorldError
from golemp2p.ports import CompilationState
from golemp2p.runtime.compile import (
    EXIT_DAMAGED,
    EXIT_FULL,
    EXIT_INVALID,
    EXIT_REFUSED,
    description_path,
    refused_by_disk,
    write_compiled,
)
from golemp2p.runtime.engine import WASMTIME_VERSION, Engines, code_fingerprint
from golemp2p.runtime.wasm import check_preamble

COMPONENT_BYTES_MAX = 256 * 1024 * 1024
_ERROR_TEXT_MAX = 4000


class CompiledCode(NamedTuple):
    """``engine`` is the one the code was compiled for."""

    engine: wasmtime.Engine
    component: wc.Component
    memory_initial: int


@dataclass(slots=True)
class _Compilation:
    size_bytes: int
    phase: str = "queued"
    error: str | None = None
    begin_s: float = field(default_factory=time.monotonic)
    end_s: float | None = None

    def state(self) -> CompilationState:
        end = time.monotonic() if self.end_s is None else self.end_s
        return CompilationState(self.phase, end - self.begin_s, self.size_bytes, self.error)


class Compiler:
    """``in_process`` compiles in a thread instead of a child: for tests and simulations, with components that are trusted."""

    def __init__(self, cache_dir: Path, engines: Engines, *, in_process: bool, bytes_max: int) -> None:
        self._cache_dir, self._engines, self._in_process, self._bytes_max = cache_dir, engines, in_process, bytes_max
        self._one = trio.CapacityLimiter(1)
        self._compilations: dict[bytes, _Compilation] = {}
        self.compilations_count = 0

    def state(self, sha256: bytes) -> CompilationState | None:
        compilation = self._compilations.get(sha256)
        return None if compilation is None else compilation.state()

    async def obtain(self, sha256: bytes, source: Path) -> CompiledCode:
        """Code for the component in file ``source``. Raises ``InvalidComponent``, ``DataDamaged`` (the source does not match
        its hash), ``WorldError``."""
        compilation = _Compilation(await trio.to_thread.run_sync(self._check_source, source))
        self._compilations[sha256] = compilation
        try:
            code = await self._load_or_compile(compilation, sha256, source)
        except BaseException as error:
            compilation.phase, compilation.error = "failed", str(error) or type(error).__name__
            raise
        else:
            compilation.phase = "ready"
            return code
        finally:
            compilation.end_s = time.monotonic()

    def _check_source(self, source: Path) -> int:
        """Size of the component. Refuses here, without a child, what is plainly no component."""
        try:
            size = source.stat().st_size
            with source.open("rb") as file:
                head = file.read(8)
        except OSError as error:
            raise DataDamaged(source.name, f"the component's file cannot be read: {error.strerror}") from error
        if size > self._bytes_max:
            raise InvalidComponent(f"the component has {size} bytes; this node compiles at most {self._bytes_max}")
        check_preamble(head)
        return size

    async def _load_or_compile(self, compilation: _Compilation, sha256: bytes, source: Path) -> CompiledCode:
        target = self._cache_dir / code_name(sha256)
        code = await trio.to_thread.run_sync(self._load, target)
        if code is not None:
            return code
        async with self._one:
            compilation.phase = "compiling"
            self.compilations_count += 1
            await self._compile(source, target, sha256)
        code = await trio.to_thread.run_sync(self._load, target)
        if code is None:
            raise WorldError("compiled code could not be read back: is the cache's disk full or damaged?")
        return code

    def _load(self, target: Path) -> CompiledCode | None:
        """``None`` when there is nothing, or nothing that can be trusted."""
        try:
            description = json.loads(description_path(target).read_bytes())
            size, digest, memory = description["size"], description["blake2b"], description["memory_initial"]
            if target.stat().st_size != size or _hash_file(target) != digest or not isinstance(memory, int):
                return None
            engine = self._engines.concurrent if description["concurrent"] else self._engines.plain
            return CompiledCode(engine, wc.Component.deserialize_file(engine, str(target)), memory)
        except (OSError, ValueError, KeyError, TypeError, wasmtime.WasmtimeError):
            return None  # wasmtime refuses code made for another processor, too

    async def _compile(self, source: Path, target: Path, sha256: bytes) -> None:
        try:
            self._cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise refused_by_disk(self._cache_dir, error) from error
        if self._in_process:
            await trio.to_thread.run_sync(write_compiled, source, target, sha256, self._engines)
            return
        command = [sys.executable, "-m", "golemp2p.runtime.compile", str(source), str(target), sha256.hex()]
        done = await trio.run_process(command, check=False, stdin=subprocess.DEVNULL, capture_stderr=True)
        if done.returncode == 0:
            return
        text = done.stderr.decode("utf-8", "replace").strip()[-_ERROR_TEXT_MAX:]
        if done.returncode == EXIT_INVALID:
            raise InvalidComponent(text)
        if done.returncode == EXIT_DAMAGED:
            raise DataDamaged(source.name, text)
        if done.returncode == EXIT_FULL:
            raise StorageFull(text)
        if done.returncode == EXIT_REFUSED:
            raise StorageFailed(text)
        if done.returncode == -9:
            raise WorldError("the compiler was killed, probably for lack of memory", retry_after_s=60.0)
        raise InvalidComponent(f"the compiler broke on this component (exit status {done.returncode}): {text}")


def code_name(sha256: bytes) -> str:
    """Of the file in the cache that has the code of a component; one with another name is never looked at."""
    return f"{sha256.hex()}-{WASMTIME_VERSION}-{code_fingerprint()}.cwasm"


def _hash_file(path: Path) -> str:
    hasher = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
