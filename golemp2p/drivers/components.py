"""Components of this node: names, versions, loaded code.

A component's name is a log (kind ``component``) whose n-th entry is version n - 1; the bytes are a blob. The whole list is held
in memory: it is read once at the start, and appended to here. Code is loaded through the guests port on first use and kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trio

from golemp2p.drivers.oplog import LogWriter, all_heads, inline_payload, read_log
from golemp2p.drivers.shards import Shards
from golemp2p.errors import (
    ComponentAlreadyExists,
    ComponentNotFound,
    DataDamaged,
    InvalidComponent,
    InvalidName,
    MalformedRequest,
    PayloadTooLarge,
    WorldError,
)
from golemp2p.model import entries as e
from golemp2p.model.ids import ComponentId, Key
from golemp2p.model.worker import ComponentInfo
from golemp2p.ports import Clock, GuestComponent, Guests, LogHead, Storage
from golemp2p.values.cbor import dumps, loads
from golemp2p.values.cbor_types import dump_type, load_type
from golemp2p.values.names import ResolvedFunction
from golemp2p.values.resolve import resolve

COMPONENT = "component"
NAME_BYTES_MAX = 256
ENVIRONMENT_BYTES_MAX = 128 * 1024
"""Arguments and environment are in every head of the worker's log, which is written with every commit, so they are kept small."""

RESOLVED_MAX = 4096
"""Function names remembered per component; names with indexed resources are endless, so the memory is bounded."""


class LoadedComponent:
    """One version of a component with its code in memory."""

    __slots__ = ("_resolved", "guest", "info", "uses_files")

    def __init__(self, info: ComponentInfo, guest: GuestComponent) -> None:
        self.info = info
        self.guest = guest
        self.uses_files = any(i.name.startswith("wasi:filesystem/") for i in info.type.imports)
        self._resolved: dict[str, ResolvedFunction] = {}

    def function(self, name: str) -> ResolvedFunction:
        """The export that ``name`` (canonical or short) means. Raises ``InvalidName``, ``FunctionNotFound``."""
        resolved = self._resolved.get(name)
        if resolved is None:
            resolved = resolve(name, self.info.type)
            if len(self._resolved) >= RESOLVED_MAX:
                self._resolved.clear()
            self._resolved[name] = resolved
        return resolved


class _Named:
    """One component name: its versions and the writer of its log."""

    __slots__ = ("versions", "writer")

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer
        self.versions: list[ComponentInfo] = []


class Components:
    """``mesh``: the mesh key, which component ids derive from. ``spawn`` starts a task in the node's nursery."""

    def __init__(
        self,
        *,
        mesh: bytes,
        storage: Storage,
        shards: Shards,
        guests: Guests,
        clock: Clock,
        spawn: Callable[..., None],
        scratch_dir: Path,
        bytes_max: int,
    ) -> None:
        self._mesh = mesh
        self._storage = storage
        self._shards = shards
        self._guests = guests
        self._clock = clock
        self._spawn = spawn
        self._scratch_dir = scratch_dir
        self._bytes_max = bytes_max
        self._named: dict[ComponentId, _Named] = {}
        self._locks: defaultdict[ComponentId, trio.Lock] = defaultdict(trio.Lock)
        self._loaded: dict[tuple[ComponentId, int], LoadedComponent] = {}
        self.damaged: dict[str, str] = {}
        """Names whose log cannot be read, and why; they are absent from everything else."""

    async def start(self) -> None:
        """Read all component logs."""
        for head in await all_heads(self._storage, COMPONENT, range(self._shards.shards_count)):
            await self._read(head)

    async def add(self, name: str, wasm: bytes, *, ephemeral: bool, env: dict[str, str]) -> ComponentInfo:
        """Version 0 of a new component."""
        _check_name(name)
        component = ComponentId.of(self._mesh, name)
        async with self._locks[component]:
            if component in self._named:
                raise ComponentAlreadyExists(f"component {name!r} exists already; add a version with an update")
            return await self._add_version(component, name, wasm, ephemeral=ephemeral, env=env)

    async def update(
        self, component: ComponentId, wasm: bytes, *, ephemeral: bool | None, env: dict[str, str] | None
    ) -> ComponentInfo:
        self.latest(component)  # no lock is kept for what does not exist
        async with self._locks[component]:
            latest = self.latest(component)
            return await self._add_version(
                component,
                latest.name,
                wasm,
                ephemeral=latest.ephemeral if ephemeral is None else ephemeral,
                env=dict(latest.env) if env is None else env,
            )

    def all(self) -> list[ComponentInfo]:
        return [info for named in self._named.values() for info in named.versions]

    def by_name(self, name: str) -> list[ComponentInfo]:
        named = self._named.get(ComponentId.of(self._mesh, name))
        return list(named.versions) if named is not None else []

    def versions(self, component: ComponentId) -> list[ComponentInfo]:
        named = self._named.get(component)
        if named is None:
            raise ComponentNotFound(f"no component has the id {component}")
        return named.versions

    def latest(self, component: ComponentId) -> ComponentInfo:
        return self.versions(component)[-1]

    def version(self, component: ComponentId, version: int | None) -> ComponentInfo:
        versions = self.versions(component)
        if version is None:
            return versions[-1]
        if not 0 <= version < len(versions):
            raise ComponentNotFound(f"component {versions[0].name!r} has versions 0 to {len(versions) - 1}, not {version}")
        return versions[version]

    async def loaded(self, component: ComponentId, version: int) -> LoadedComponent:
        """The code of a version, loaded on first use."""
        loaded = self._loaded.get((component, version))
        if loaded is None:
            info = self.version(component, version)
            guest = await self._guests.load(info.sha256, await self.file(info))
            loaded = self._loaded.setdefault((component, version), LoadedComponent(info, guest))
        return loaded

    async def file(self, info: ComponentInfo) -> Path:
        """The component's bytes as a file."""
        path = self._storage.blob_path(info.sha256)
        if path is None:
            path = self._scratch_dir / f"{info.sha256.hex()}.wasm"
            if not path.exists():
                await trio.Path(path).write_bytes(await self._storage.get_blob(info.sha256))
        return path

    # -- writing and reading --------------------------------------------------------------------------------------------

    async def _add_version(
        self, component: ComponentId, name: str, wasm: bytes, *, ephemeral: bool, env: dict[str, str]
    ) -> ComponentInfo:
        if len(wasm) > self._bytes_max:
            raise PayloadTooLarge(f"the component has {len(wasm)} bytes, the limit is {self._bytes_max}")
        check_environment((), env)
        if not wasm.startswith(b"\0asm"):
            raise InvalidComponent("these bytes are not WebAssembly: they do not start with \\0asm")
        sha256 = await self._storage.put_blob(wasm)
        path = self._storage.blob_path(sha256)
        if path is None:
            path = self._scratch_dir / f"{sha256.hex()}.wasm"
            await trio.Path(path).write_bytes(wasm)
        guest = await self._guests.load(sha256, path)
        named = self._named.get(component) or _Named(self._writer(name, tail=1, head_hash=bytes(32)))
        entry = e.ComponentVersionAdded(
            time_ns=self._clock.wall_ns(),
            component_id=str(component),
            name=name,
            version=len(named.versions),
            sha256=sha256,
            size_bytes=len(wasm),
            ephemeral=ephemeral,
            env=tuple(env.items()),
            type=dump_type(guest.type),
            metadata=dumps([guest.memory_initial]),
        )
        named.writer.append(entry)
        try:
            await named.writer.commit()
        except WorldError:  # a broken writer is of no more use; the log stands where it stood
            head = await self._storage.head(Key.of(COMPONENT, name))
            if head is not None:
                named.writer = self._writer(name, tail=head.tail, head_hash=head.head_hash)
            raise
        info = _info(component, entry)
        named.versions.append(info)
        self._named[component] = named
        self._loaded[component, info.version] = LoadedComponent(info, guest)
        return info

    async def _read(self, head: LogHead) -> None:
        component = ComponentId.of(self._mesh, head.identity)
        try:
            entries = [await inline_payload(self._storage, entry) for entry in await read_log(self._storage, head)]
            named = _Named(self._writer(head.identity, tail=head.tail, head_hash=head.head_hash))
            named.versions = [_info(component, entry) for entry in entries]
        except DataDamaged as error:
            self.damaged[head.identity] = str(error)
            return
        self._named[component] = named

    def _writer(self, name: str, *, tail: int, head_hash: bytes) -> LogWriter:
        key = Key.of(COMPONENT, name)
        shard = key.shard(self._shards.shards_count)

        def describe(tail: int) -> LogHead:
            return LogHead(key, COMPONENT, name, shard, tail, b"", False, None, b"")

        return LogWriter(
            key,
            self._shards,
            self._storage,
            self._spawn,
            describe,
            tail=tail,
            head_hash=head_hash,
        )


def check_environment(args: Sequence[str], env: Mapping[str, str]) -> None:
    """Raises ``PayloadTooLarge`` beyond ``ENVIRONMENT_BYTES_MAX``, ``MalformedRequest`` for text that UTF-8 cannot hold."""
    try:
        size = sum(len(text.encode()) for text in (*args, *env, *env.values()))
    except UnicodeEncodeError as error:
        raise MalformedRequest(f"arguments and environment must be text that UTF-8 can hold: {error}") from error
    if size > ENVIRONMENT_BYTES_MAX:
        raise PayloadTooLarge(f"arguments and environment take {size} bytes, the limit is {ENVIRONMENT_BYTES_MAX}")


def _check_name(name: str) -> None:
    if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= NAME_BYTES_MAX:
        raise InvalidName(f"a component name has 1 to {NAME_BYTES_MAX} bytes")
    if "/" in name or name.startswith("-") or any(c.isspace() or not c.isprintable() for c in name):
        raise InvalidName(f"component name {name!r}: no whitespace, no control characters, no '/', no leading '-'")


def _info(component: ComponentId, entry: e.ComponentVersionAdded) -> ComponentInfo:
    assert isinstance(entry.type, bytes)
    assert isinstance(entry.metadata, bytes)
    return ComponentInfo(
        component=component,
        name=entry.name,
        version=entry.version,
        sha256=entry.sha256,
        size_bytes=entry.size_bytes,
        ephemeral=entry.ephemeral,
        env=tuple((name, value) for name, value in entry.env),
        created_ns=entry.time_ns,
        type=load_type(entry.type),
        memory_initial=loads(entry.metadata)[0],
    )
