"""Calling an export of an instance by its full name, as the journal has it: functions, methods, indexed resources, drops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from golemp2p.ports import GuestInstance
from golemp2p.values.cbor import loads
from golemp2p.values.names import IndexedResource, ResolvedFunction


class IndexedResources(Protocol):
    """``indexed`` maps (resource type, parameter texts) to the resource made for them; who keeps it forgets dropped ones."""

    indexed: dict[tuple[str, tuple[str, ...]], int]

    def resource_described(self, resource: int, name: str, params: tuple[str, ...]) -> None:
        """``resource`` was made for ``name(params...)``."""
        ...


class Caller:
    """``resolve``: the export that a name means."""

    __slots__ = ("_instance", "_kept", "_resolve")

    def __init__(self, resolve: Callable[[str], ResolvedFunction], instance: GuestInstance, kept: IndexedResources) -> None:
        self._resolve = resolve
        self._instance = instance
        self._kept = kept

    async def call(self, function: str, request: bytes) -> Any:
        """The result of calling ``function`` with the encoded arguments ``request``. Raises as ``GuestInstance.call``, and
        ``InvalidName``, ``FunctionNotFound``, ``DataDamaged`` for a request that cannot be read."""
        resolved = self._resolve(function)
        args = loads(request)
        if resolved.indexed is not None:
            return await self._call_indexed(resolved, resolved.indexed, args)
        if resolved.kind == "drop":
            await self._instance.drop_resource(args[0])
            return None
        assert resolved.function is not None
        return await self._instance.call(resolved.interface, resolved.function.name, args)

    async def _call_indexed(self, resolved: ResolvedFunction, indexed: IndexedResource, args: list[Any]) -> Any:
        """A method of an indexed resource ``r("a", 1)``, which is made on first use with those constructor arguments."""
        assert resolved.resource is not None
        key = (resolved.resource, indexed.params)
        handle = self._kept.indexed.get(key)
        if handle is None:
            made: int = await self._instance.call(resolved.interface, indexed.constructor.name, indexed.args)
            handle = self._kept.indexed[key] = made
            self._kept.resource_described(handle, *key)
        if resolved.kind == "constructor":
            return handle
        if resolved.kind == "drop":
            await self._instance.drop_resource(handle)
            self._kept.indexed.pop(key, None)
            return None
        assert resolved.function is not None
        return await self._instance.call(resolved.interface, resolved.function.name, [handle, *args])
