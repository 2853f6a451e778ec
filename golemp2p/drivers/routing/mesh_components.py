"""Components of the whole mesh: asked for at the node that leads a component's shard, described from what this node has or fetches.

A version never changes, so where a version is known, nobody is asked. How many there are is asked anew each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from golemp2p.drivers.components import check_environment
from golemp2p.drivers.routing.gathering import Gathering
from golemp2p.drivers.routing.local import Blobs, Local
from golemp2p.drivers.routing.primaries import WORK_S, Primaries, malformed
from golemp2p.errors import ComponentNotFound, Golemp2pError, InvalidName
from golemp2p.model import operations as o
from golemp2p.model.ids import ComponentId
from golemp2p.model.listings import ListComponents
from golemp2p.model.worker import ComponentInfo
from golemp2p.ports import Mesh

PAGE = 1000
"""Components asked for at once."""

FETCHES_MAX = 16
"""Versions described at the same time."""

T = TypeVar("T")


class MeshComponents:
    """The part of ``MeshClient`` that is about components. ``id_of``: of a name, in this mesh."""

    def __init__(
        self,
        local: Local,
        mesh: Mesh,
        blobs: Blobs,
        primaries: Primaries,
        gathering: Gathering,
        *,
        id_of: Callable[[str], ComponentId],
    ) -> None:
        self._local = local
        self._own = mesh.own
        self._blobs = blobs
        self._primaries = primaries
        self._gathering = gathering
        self._id_of = id_of

    async def add(self, name: str, wasm: bytes, *, ephemeral: bool, env: dict[str, str] | None) -> ComponentInfo:
        check_environment((), env or {})
        component, key = self._id(name), self._primaries.fresh_key()

        async def here() -> ComponentInfo:
            return await self._local.add_component(name, wasm, ephemeral=ephemeral, env=env, request_key=key)

        async def there() -> ComponentInfo:
            added = o.AddComponent(component, name, await self._kept(wasm), ephemeral, tuple((env or {}).items()))
            version = await self._primaries.ask(added, key=key, deadline_s=WORK_S)
            return await self._local.component(component, version)

        return await self._primaries.do(o.component_log(component), here, there)

    async def update(
        self, component: ComponentId, wasm: bytes, *, ephemeral: bool | None, env: dict[str, str] | None
    ) -> ComponentInfo:
        check_environment((), env or {})
        key = self._primaries.fresh_key()

        async def here() -> ComponentInfo:
            return await self._local.update_component(component, wasm, ephemeral=ephemeral, env=env, request_key=key)

        async def there() -> ComponentInfo:
            await self._count(component)  # what does not exist is refused before the bytes travel
            pairs = None if env is None else tuple(env.items())
            updated = o.UpdateComponent(component, await self._kept(wasm), ephemeral, pairs)
            version = await self._primaries.ask(updated, key=key, deadline_s=WORK_S)
            return await self._local.component(component, version)

        return await self._primaries.do(o.component_log(component), here, there)

    async def all(self) -> list[ComponentInfo]:
        """Ordered by name and version. Raises ``WorldError`` when not all shards have a primary."""
        counts: list[tuple[ComponentId, int]] = []
        after: str | None = ""
        while after is not None:
            page, after = await self._gathering.components(ListComponents(after, PAGE))
            counts += page
        wanted = [(component, version) for component, count in counts for version in range(count)]
        return sorted(await self._described(wanted), key=lambda info: (info.name, info.version))

    async def named(self, name: str) -> list[ComponentInfo]:
        """``[]`` when there is none."""
        try:
            return await self.versions(self._id(name))
        except ComponentNotFound:
            return []

    async def versions(self, component: ComponentId) -> list[ComponentInfo]:
        async def there() -> list[ComponentInfo]:
            return await self._described([(component, version) for version in range(await self._count(component))])

        return await self._primaries.do(o.component_log(component), lambda: self._local.component_versions(component), there)

    async def version(self, component: ComponentId, version: int | None) -> ComponentInfo:
        if version is not None:
            return await self._local.component(component, version)

        async def there() -> ComponentInfo:
            return await self._local.component(component, await self._count(component) - 1)

        return await self._primaries.do(o.component_log(component), lambda: self._local.component(component), there)

    async def file(self, component: ComponentId, version: int | None) -> Path:
        info = await self.version(component, version)
        return await self._local.component_file(component, info.version)

    def _id(self, name: str) -> ComponentId:
        try:
            return self._id_of(name)
        except UnicodeEncodeError as error:
            raise InvalidName(f"component name {name!r} is not text that UTF-8 can hold") from error

    async def _kept(self, wasm: bytes) -> o.Lent:
        return o.Lent(await self._blobs.put(wasm), len(wasm), self._own)

    async def _count(self, component: ComponentId) -> int:
        count: int = await self._primaries.ask(o.CountVersions(component))
        if count < 1:
            raise malformed("a component without versions")
        return count

    async def _described(self, wanted: Sequence[tuple[ComponentId, int]]) -> list[ComponentInfo]:
        """In the order of ``wanted``; fetched where they are not known here."""
        found: list[ComponentInfo] = []
        for start in range(0, len(wanted), FETCHES_MAX):
            found += await _all_of([self._local.component(*each) for each in wanted[start : start + FETCHES_MAX]])
        return found


async def _all_of(waiting: Sequence[Awaitable[T]]) -> list[T]:
    """All results in order; the first error, as it is, if there is one."""
    results: dict[int, T] = {}
    failures: list[Golemp2pError] = []

    async def wait(place: int, one: Awaitable[T], nursery: trio.Nursery) -> None:
        try:
            results[place] = await one
        except Golemp2pError as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for place, one in enumerate(waiting):
            nursery.start_soon(wait, place, one, nursery)
    if failures:
        raise failures[0]
    return [results[place] for place in range(len(waiting))]
