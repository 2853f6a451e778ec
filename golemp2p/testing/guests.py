"""Guests written in Python, for tests and simulations of everything above the engine.

**Infidelities:** a guest's memory is a Python dictionary and its code an ``async def`` of ours; nothing is compiled, sandboxed or
metered; types are declared by hand; a "component" is any bytes that end in the name of a registered script.

A script is a set of functions ``async (guest, *args)``. ``guest`` (``ScriptedGuest``) offers what host functions offer, with the
durability they have: ``now`` and ``effect`` are journalled, ``sleep`` parks or suspends, ``say`` logs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from golemp2p.errors import GuestTrapped, InvalidComponent
from golemp2p.model.wit import ComponentType, Function, Interface, Primitive, Type
from golemp2p.ports import CompilationState, GuestComponent, GuestInstance, Suspended, WorkerHost
from golemp2p.values.cbor import dumps, loads

U64 = Primitive("u64")
STRING = Primitive("string")

Script = dict[str, tuple[tuple[tuple[str, Type], ...], Type | None, Callable[..., Awaitable[Any]]]]
"""Function name -> (parameters, result, body), all in the interface ``test:guest/api``."""

INTERFACE = "test:guest/api"


class ScriptedGuest:
    """What a scripted function sees: its ``memory``, which dies with the instance, and the world."""

    def __init__(self, host: WorkerHost, effects: list[tuple[str, str]]) -> None:
        self.host = host
        self.memory: dict[str, Any] = {}
        self._effects = effects

    def _hash(self, *request: Any) -> bytes:
        return hashlib.blake2b(dumps(request), digest_size=16).digest()

    def now(self) -> int:
        """A journalled clock reading."""
        reading: int = self._journalled("test:clock::now", (), self.host.wall_ns)
        return reading

    def _journalled(self, name: str, request: tuple[Any, ...], live: Callable[[], Any]) -> Any:
        journal = self.host.journal
        if journal.replaying:
            return loads(journal.take(name, self._hash(*request)))
        value = live()
        journal.record(name, "read-local", self._hash(*request), dumps(value))
        return value

    async def effect(self, what: str) -> None:
        """Something the outside world sees; the test finds it in ``ScriptedGuests.effects`` with the worker's name."""
        journal = self.host.journal
        if journal.replaying:
            journal.take("test:world::effect", self._hash(what))
            return
        await journal.commit()
        self._effects.append((self.host.worker.name, what))
        journal.record("test:world::effect", "write-remote", self._hash(what), dumps(None))
        await journal.commit()

    async def sleep(self, seconds: float) -> None:
        """A durable sleep, as ``subscribe-duration`` and ``block`` make it."""
        begun = self._journalled("test:clock::subscribe", (seconds,), self.host.monotonic_ns)
        journal = self.host.journal
        if journal.replaying:
            journal.take("test:poll::block", self._hash(begun))
            return
        left_s = seconds - (self.host.monotonic_ns() - begun) / 1e9
        if left_s >= self.host.suspend_after_s():
            raise Suspended(self.host.wall_ns() + int(left_s * 1e9))
        if left_s > 0:
            journal.flush_nowait()
            await trio.sleep(left_s)
        journal.record("test:poll::block", "read-local", self._hash(begun), dumps(None))

    async def promise(self) -> bytes:
        """Create a promise and wait for it. Its index is in the log."""
        index = self.host.promises.create()
        journal = self.host.journal
        if journal.replaying:
            value: bytes = loads(journal.take("test:promise::await", self._hash(index)))
            return value
        value = await self.host.promises.wait(self.host.worker, index)
        journal.record("test:promise::await", "read-local", self._hash(index), dumps(value))
        return value

    async def poll_promise(self, index: int) -> bytes | None:
        """Value of a promise of this worker, if it has one; journalled."""
        journal, name = self.host.journal, "test:promise::poll"
        if journal.replaying:
            known: bytes | None = loads(journal.take(name, self._hash(index)))
            return known
        value = await self.host.promises.poll(self.host.worker, index)
        journal.record(name, "read-local", self._hash(index), dumps(value))
        return value

    def say(self, text: str) -> None:
        self.host.log("stdout", "", text)

    def trap(self, message: str) -> None:
        raise GuestTrapped(message)


class _Instance:
    def __init__(self, script: Script, guest: ScriptedGuest, closed: Callable[[], None]) -> None:
        self._script = script
        self._guest = guest
        self._closed: Callable[[], None] | None = closed
        self.computing_since_ns: int | None = None

    async def call(self, interface: str, function: str, args: Sequence[Any]) -> Any:
        assert self._closed is not None, "a call of a closed instance"
        return await self._script[function][2](self._guest, *args)

    async def drop_resource(self, resource: int) -> None:
        raise GuestTrapped("scripted guests have no resources")

    @property
    def memory_bytes(self) -> int:
        return 65536

    def close(self) -> None:
        if self._closed is not None:
            self._closed()
            self._closed = None


class _Component:
    memory_initial = 65536

    def __init__(self, script: Script, guests: ScriptedGuests) -> None:
        self._script = script
        self._guests = guests
        functions = tuple(Function(name, params, result) for name, (params, result, _) in script.items())
        self.type = ComponentType(imports=(), exports=(Interface(INTERFACE, functions),))

    async def instantiate(self, host: WorkerHost) -> GuestInstance:
        self._guests.alive += 1
        self._guests.instantiated += 1
        return _Instance(self._script, ScriptedGuest(host, self._guests.effects), self._closed)

    def _closed(self) -> None:
        self._guests.alive -= 1


class ScriptedGuests:
    """The guests port over scripts. ``wasm(name)`` gives the bytes to upload for script ``name``."""

    def __init__(self, **scripts: Script) -> None:
        self._scripts = scripts
        self.effects: list[tuple[str, str]] = []
        self.alive = 0
        self.instantiated = 0

    @staticmethod
    def wasm(name: str) -> bytes:
        return b"\0asm" + name.encode()

    async def load(self, sha256: bytes, path: Path) -> GuestComponent:
        for name, script in self._scripts.items():
            if hashlib.sha256(self.wasm(name)).digest() == sha256:
                return _Component(script, self)
        raise InvalidComponent("no script has these bytes")

    def compilation(self, sha256: bytes) -> CompilationState | None:
        return None

    def statistics(self) -> dict[str, float]:
        return {"instances_alive": float(self.alive)}

    async def aclose(self) -> None:
        pass
