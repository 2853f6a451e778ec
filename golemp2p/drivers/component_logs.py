"""The logs of components in the shards that this node leads: read on first use, kept while it leads, appended to.

    one log per component (kind ``component``, identity: its id), whose n-th entry is version n - 1
    find ──not read yet──> storage ──> versions, writer ──append──> all (in order) ──durable──> versions (told to others)
    shard lost, append failed ──> forgotten; what was told stays true, what was not is read anew

What was only appended is never told: it may not become true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import trio

from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.oplog import Appending, LogWriter, inline_payload, read_log
from golemp2p.drivers.waiters import Waiter
from golemp2p.errors import ComponentAlreadyExists, ComponentNotFound, DataDamaged, Golemp2pError, Moved
from golemp2p.model import entries as e
from golemp2p.model.ids import ComponentId, Key
from golemp2p.model.worker import ComponentInfo
from golemp2p.ports import Clock, LogHead, Mesh, Storage
from golemp2p.values.cbor import dumps, loads
from golemp2p.values.cbor_types import load_type

COMPONENT = "component"

LOGS_MAX = 10_000
"""Logs kept in memory; beyond it the one that was read first is forgotten, and read anew when it is needed."""

HEADS_PER_PAGE = 1000
"""Heads read at once: storage bounds what one listing may return."""


class NewVersion(NamedTuple):
    """``name``: of a new component; ``None``: one more version of one that exists. ``ephemeral``, ``env``: ``None`` for what the
    version before has. ``type``: as ``values.cbor_types`` writes it. ``request_key``: what was added under a key is not added again
    under it; ``""`` for none."""

    name: str | None
    blob: e.BlobRef
    ephemeral: bool | None
    env: tuple[tuple[str, str], ...] | None
    type: bytes
    memory_initial: int
    request_key: str


class _Log:
    """``all``: appended versions; ``versions``: those of them that are durable. ``by_key``: who was added under which request key."""

    __slots__ = ("all", "by_key", "shard", "versions", "writer")

    def __init__(self, shard: int, writer: LogWriter) -> None:
        self.shard = shard
        self.writer = writer
        self.all: list[ComponentInfo] = []
        self.versions: list[ComponentInfo] = []
        self.by_key: dict[str, ComponentInfo] = {}

    def take(self, info: ComponentInfo, request_key: str) -> None:
        self.all.append(info)
        if request_key:
            self.by_key.setdefault(request_key, info)


class ComponentLogs:
    """``mesh_key``: component ids derive from it. ``spawn`` starts a task in the node's nursery."""

    def __init__(
        self,
        *,
        mesh_key: bytes,
        mesh: Mesh,
        storage: Storage,
        shards: Appending,
        blobs: Blobs,
        clock: Clock,
        spawn: Callable[..., None],
    ) -> None:
        self._mesh_key = mesh_key
        self._mesh = mesh
        self._storage = storage
        self._shards = shards
        self._blobs = blobs
        self._clock = clock
        self._spawn = spawn
        self._logs: dict[ComponentId, _Log] = {}
        self._locks: defaultdict[int, trio.Lock] = defaultdict(trio.Lock)  # one reader per shard
        self._lives: defaultdict[int, int] = defaultdict(int)  # how often a shard was lost
        self.damaged: dict[ComponentId, str] = {}
        """Components whose log cannot be read, and why; they are absent from listings."""

    def shard_of(self, component: ComponentId) -> int:
        return Key.of(COMPONENT, str(component)).shard(self._mesh.shards_count)

    def shard_lost(self, shard: int) -> None:
        """This node does not lead ``shard`` any more. Appends under way fail by themselves."""
        self._lives[shard] += 1
        for component in [component for component, log in self._logs.items() if log.shard == shard]:
            del self._logs[component]
        self._forget_damage(shard)

    def shard_ready(self, shard: int) -> None:
        """This node leads ``shard``; logs that were damaged may have been repaired."""
        self._forget_damage(shard)

    def _forget_damage(self, shard: int) -> None:
        for component in [component for component in self.damaged if self.shard_of(component) == shard]:
            del self.damaged[component]

    # -- reading

    async def versions(self, component: ComponentId) -> list[ComponentInfo]:
        """All versions, from 0 on; at least one. Raises ``Moved``, ``ComponentNotFound``, ``DataDamaged``, ``WorldError``."""
        log = await self._find(component)
        if log is None or not log.versions:
            raise ComponentNotFound(f"no component has the id {component}")
        return log.versions

    async def owned(self, *, after: str = "", count: int | None = None) -> list[list[ComponentInfo]]:
        """The versions of every component in this node's shards, ordered by id (as text), from after ``after`` on, at most ``count``
        components. Without those that are damaged, and those of shards that are lost meanwhile."""
        await self._shards.level_all()
        found: list[list[ComponentInfo]] = []
        while count is None or len(found) < count:
            heads = await self._storage.heads(
                COMPONENT, shards=frozenset(self._mesh.ready_shards()), after=after, count=HEADS_PER_PAGE
            )
            for head in heads:
                after = head.identity
                try:
                    found.append(list(await self.versions(ComponentId.parse(head.identity))))
                except (Moved, ComponentNotFound, DataDamaged):
                    continue
                if len(found) == count:
                    break
            if len(heads) < HEADS_PER_PAGE:
                break
        return found

    async def _find(self, component: ComponentId) -> _Log | None:
        """``None``: there is none. No other task runs between the return and the caller's next wait."""
        shard = self.shard_of(component)
        self._check(shard)
        log = self._logs.get(component)
        if log is None:
            async with self._locks[shard]:
                self._check(shard)
                log = self._logs.get(component) or await self._read(component, shard)
        return log

    async def _read(self, component: ComponentId, shard: int) -> _Log | None:
        life = self._lives[shard]
        await self._shards.level(shard)  # what is read is committed, and what is committed is read
        try:
            head = await self._storage.head(Key.of(COMPONENT, str(component)))
            if head is None:
                return None
            entries = [await inline_payload(self._blobs, shard, entry) for entry in await read_log(self._storage, head)]
            log = _Log(shard, self._writer(component, tail=head.tail, head_hash=head.head_hash))
            for entry in entries:
                log.take(*self._info(component, entry, len(log.all)))
        except DataDamaged as error:
            self.damaged[component] = str(error)
            raise
        if self._lives[shard] != life:
            raise _moved(shard)
        self._check(shard)
        log.versions = list(log.all)
        self.damaged.pop(component, None)
        self._keep(component, log)
        return log

    def _info(self, component: ComponentId, entry: e.Entry, version: int) -> tuple[ComponentInfo, str]:
        """What an entry says, and its request key. Raises ``DataDamaged`` for one that does not belong here."""
        what = f"component {component}"
        is_here = isinstance(entry, e.ComponentVersionAdded) and (entry.component_id, entry.version) == (
            str(component),
            version,
        )
        if not is_here or ComponentId.of(self._mesh_key, entry.name) != component:
            raise DataDamaged(what, f"entry {version + 1} is not its version {version}")
        match loads(entry.metadata, what=what) if isinstance(entry.metadata, bytes) else None:
            case [int(memory_initial), *rest] if all(isinstance(key, str) for key in rest[:1]):
                return info_of(component, entry, memory_initial), rest[0] if rest else ""
        raise DataDamaged(what, f"what entry {version + 1} says beside the type is malformed")

    # -- appending

    async def added(self, component: ComponentId, *, is_first: bool, request_key: str) -> ComponentInfo | None:
        """What was added under this key; ``None`` when a version may be added. Raises as ``add``, before anything is done."""
        log = await self._find(component)
        info = self._added(log, request_key)
        if info is None:
            _check(component, log, is_first=is_first)
        elif log is not None:
            await log.writer.commit()
        return info

    async def add(self, component: ComponentId, new: NewVersion) -> ComponentInfo:
        """The new version, or what was added under its key before; durable on return. When cancelled, it may be added all the same.

        Raises ``ComponentAlreadyExists``, ``ComponentNotFound``, ``Moved``, ``DataDamaged``, ``WorldError``.
        """
        log = await self._find(component)
        done = self._added(log, new.request_key)
        if done is not None:
            assert log is not None, "it was found there"
            await log.writer.commit()
            return done
        _check(component, log, is_first=new.name is not None)
        if log is None:
            log = _Log(self.shard_of(component), self._writer(component, tail=1, head_hash=bytes(32)))
            self._keep(component, log)
        try:
            waiter = self._append(component, log, new)
        except Golemp2pError:
            if not log.all:  # nothing was appended: there is no such component
                self._logs.pop(component, None)
            raise
        info: ComponentInfo = await waiter.wait()
        return info

    def _added(self, log: _Log | None, request_key: str) -> ComponentInfo | None:
        return None if log is None or not request_key else log.by_key.get(request_key)

    def _append(self, component: ComponentId, log: _Log, new: NewVersion) -> Waiter:
        latest = log.all[-1] if log.all else None
        entry = e.ComponentVersionAdded(
            time_ns=self._clock.wall_ns(),
            component_id=str(component),
            name=new.name if latest is None else latest.name,  # type: ignore[arg-type]  # a new component has one
            version=len(log.all),
            sha256=new.blob.sha256,
            size_bytes=new.blob.size_bytes,
            ephemeral=bool(new.ephemeral) if new.ephemeral is not None or latest is None else latest.ephemeral,
            env=(new.env or ()) if new.env is not None or latest is None else latest.env,
            type=new.type,
            metadata=dumps([new.memory_initial, new.request_key]),
        )
        log.writer.append(entry)
        info = info_of(component, entry, new.memory_initial)
        log.take(info, new.request_key)
        waiter = Waiter()

        def durable(error: Exception | None) -> None:
            if error is None:
                log.versions.append(info)
            waiter.settle(info, error)

        log.writer.when_durable(durable)
        return waiter

    def _writer(self, component: ComponentId, *, tail: int, head_hash: bytes) -> LogWriter:
        identity = str(component)
        key = Key.of(COMPONENT, identity)
        shard = key.shard(self._mesh.shards_count)

        def describe(tail: int) -> LogHead:
            return LogHead(key, COMPONENT, identity, shard, tail, b"", False, None, b"")

        return LogWriter(key, self._shards, self._blobs, self._spawn, describe, tail=tail, head_hash=head_hash)

    def _keep(self, component: ComponentId, log: _Log) -> None:
        def forget(_error: Exception) -> None:
            if self._logs.get(component) is log:
                del self._logs[component]

        log.writer.on_broken = forget
        self._logs[component] = log
        if len(self._logs) > LOGS_MAX:
            idle = (other for other, its in self._logs.items() if its.writer.durable == its.writer.tail and other != component)
            oldest = next(idle, None)
            if oldest is not None:
                del self._logs[oldest]

    def _check(self, shard: int) -> None:
        if not self._mesh.is_ready(shard):
            raise _moved(shard)


def info_of(component: ComponentId, entry: e.ComponentVersionAdded, memory_initial: int) -> ComponentInfo:
    """As users see it. Raises ``DataDamaged`` for a type that cannot be read."""
    assert isinstance(entry.type, bytes), "read in before"
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
        memory_initial=memory_initial,
    )


def _check(component: ComponentId, log: _Log | None, *, is_first: bool) -> None:
    if is_first and log is not None:
        raise ComponentAlreadyExists(f"component {log.all[0].name!r} exists already; add a version with an update")
    if not is_first and log is None:
        raise ComponentNotFound(f"no component has the id {component}")


def _moved(shard: int) -> Moved:
    return Moved(f"this node does not lead shard {shard}")
