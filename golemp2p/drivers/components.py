"""Components of the mesh, as one node uses them: which versions there are, and their code.

    versions, latest ──lead the shard──> ComponentLogs                 newest at the time of asking
                     ──else──> mesh.ask ──> answer() of who leads it
    version, known_version ──> what was told before: a version never changes
    loaded ──> version ──> bytes: here, or from whoever has them ──> guests.load ──> kept
    add, update ──lead the shard──> bytes ──> compiled ──> a majority of the group has them ──> ComponentLogs

A component's id derives from the mesh key and its name, its log's key from the id: so a name, or an id, leads to the shard.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import trio

from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.component_logs import ComponentLogs, NewVersion
from golemp2p.drivers.oplog import Appending
from golemp2p.errors import (
    ComponentNotFound,
    DataDamaged,
    Golemp2pError,
    InvalidComponent,
    MalformedRequest,
    Moved,
    PayloadTooLarge,
    RequestFailed,
)
from golemp2p.model.entries import BlobRef
from golemp2p.model.ids import ComponentId, check_component_name
from golemp2p.model.worker import ComponentInfo
from golemp2p.ports import Clock, GuestComponent, Guests, Mesh, Storage
from golemp2p.values.cbor_types import dump_type
from golemp2p.values.names import ResolvedFunction
from golemp2p.values.resolve import resolve
from golemp2p.wire.component_info import (
    ENVIRONMENT_BYTES_MAX,
    TYPE_BYTES_MAX,
    VersionsQuestion,
    decode_answer,
    decode_question,
    encode_answer,
    encode_failure,
    encode_question,
)

RESOLVED_MAX = 4096
"""Function names remembered per component; names with indexed resources are endless, so the memory is bounded."""

KNOWN_MAX = 10_000
"""Components whose versions are remembered; beyond it, the one that was asked for first is asked for anew."""

ASK_S = 10.0
"""For an answer about versions: an election takes two seconds."""

TEXT_OVERHEAD_BYTES = 8
"""So that many short texts are as bounded as few long ones."""

logger = logging.getLogger(__name__)


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


class Components:
    """``mesh_key``: component ids derive from it. ``spawn`` starts a task in the node's nursery. ``bytes_max``: of one component."""

    def __init__(
        self,
        *,
        mesh_key: bytes,
        mesh: Mesh,
        storage: Storage,
        shards: Appending,
        blobs: Blobs,
        guests: Guests,
        clock: Clock,
        spawn: Callable[..., None],
        scratch_dir: Path,
        bytes_max: int,
    ) -> None:
        self._mesh_key = mesh_key
        self._mesh = mesh
        self._blobs = blobs
        self._guests = guests
        self._scratch_dir = scratch_dir
        self._bytes_max = bytes_max
        self._logs = ComponentLogs(
            mesh_key=mesh_key, mesh=mesh, storage=storage, shards=shards, blobs=blobs, clock=clock, spawn=spawn
        )
        self._known: dict[ComponentId, list[ComponentInfo]] = {}
        self._loaded: dict[tuple[ComponentId, int], LoadedComponent] = {}
        self._scratch_total = 0
        self._asks_total = 0
        self._answers_total = 0

    def id_of(self, name: str) -> ComponentId:
        return ComponentId.of(self._mesh_key, name)

    def shard_of(self, component: ComponentId) -> int:
        """The shard whose primary adds versions of ``component``, and knows the newest."""
        return self._logs.shard_of(component)

    def shard_ready(self, shard: int) -> None:
        """This node leads ``shard``, and has all that was committed before."""
        self._logs.shard_ready(shard)

    def shard_lost(self, shard: int) -> None:
        """Not any more. What is known of versions stays true."""
        self._logs.shard_lost(shard)

    # -- adding

    async def add(
        self,
        name: str,
        wasm: bytes | BlobRef,
        *,
        holders: Iterable[bytes] = (),
        ephemeral: bool,
        env: Mapping[str, str],
        request_key: str = "",
    ) -> ComponentInfo:
        """Version 0 of a new component, on the node that leads its shard. ``wasm``: the bytes, or a blob that ``holders`` have. Durable
        on return; under the same ``request_key`` it is added once, and its info given again.

        Raises ``InvalidName``, ``ComponentAlreadyExists``, ``InvalidComponent``, ``PayloadTooLarge``, ``MalformedRequest`` before
        anything is written; ``Moved``; ``WorldError``; ``DataDamaged`` when the blob is nowhere.
        """
        check_component_name(name)
        check_environment((), env)
        component = self.id_of(name)
        pairs = tuple(env.items())
        return await self._add(
            component, wasm, holders=holders, name=name, ephemeral=ephemeral, env=pairs, request_key=request_key
        )

    async def update(
        self,
        component: ComponentId,
        wasm: bytes | BlobRef,
        *,
        holders: Iterable[bytes] = (),
        ephemeral: bool | None,
        env: Mapping[str, str] | None,
        request_key: str = "",
    ) -> ComponentInfo:
        """One version more; ``None`` for what the version before has. Otherwise as ``add``; raises ``ComponentNotFound``."""
        if env is not None:
            check_environment((), env)
        pairs = None if env is None else tuple(env.items())
        return await self._add(
            component, wasm, holders=holders, name=None, ephemeral=ephemeral, env=pairs, request_key=request_key
        )

    async def _add(
        self,
        component: ComponentId,
        wasm: bytes | BlobRef,
        *,
        holders: Iterable[bytes],
        name: str | None,
        ephemeral: bool | None,
        env: tuple[tuple[str, str], ...] | None,
        request_key: str,
    ) -> ComponentInfo:
        info = await self._logs.added(component, is_first=name is not None, request_key=request_key)
        if info is None:
            blob, path = await self._bring(wasm, holders)
            guest = await self._guests.load(blob.sha256, path)
            described = dump_type(guest.type)
            if len(described) > TYPE_BYTES_MAX:
                raise InvalidComponent(f"its types take {len(described)} bytes, the limit is {TYPE_BYTES_MAX}")
            await self._blobs.spread(blob.sha256, blob.size_bytes, shard=self.shard_of(component))
            new = NewVersion(name, blob, ephemeral, env, described, guest.memory_initial, request_key)
            info = await self._logs.add(component, new)
            self._loaded.setdefault((component, info.version), LoadedComponent(info, guest))
        self._learn(component, [info])
        return info

    async def _bring(self, wasm: bytes | BlobRef, holders: Iterable[bytes]) -> tuple[BlobRef, Path]:
        """The bytes as a blob and a file of this node."""
        size = wasm.size_bytes if isinstance(wasm, BlobRef) else len(wasm)
        if size > self._bytes_max:
            raise PayloadTooLarge(f"the component has {size} bytes, the limit is {self._bytes_max}")
        if isinstance(wasm, BlobRef):
            return wasm, await self._as_file(wasm, holders)
        if not wasm.startswith(b"\0asm"):
            raise InvalidComponent("these bytes are not WebAssembly: they do not start with \\0asm")
        blob = BlobRef(await self._blobs.put(wasm), size)
        return blob, await self._as_file(blob, ())

    # -- knowing

    def known_version(self, component: ComponentId, version: int) -> ComponentInfo | None:
        """At once; ``None`` when this node has not been told of it yet, or it does not exist."""
        known = self._known.get(component)
        return known[version] if known is not None and 0 <= version < len(known) else None

    async def require(self, component: ComponentId) -> None:
        """Raises ``ComponentNotFound``, and as ``versions``; asks nobody about what is known, since components are never removed."""
        if not self._known.get(component):
            await self.versions(component)

    async def version(self, component: ComponentId, version: int | None) -> ComponentInfo:
        """``None``: the newest. Raises ``ComponentNotFound``, and as ``versions``."""
        info = None if version is None else self.known_version(component, version)
        if info is None:
            versions = await self.versions(component)
            if version is not None and not 0 <= version < len(versions):
                raise ComponentNotFound(f"component {versions[0].name!r} has versions 0 to {len(versions) - 1}, not {version}")
            info = versions[-1 if version is None else version]
        return info

    async def latest(self, component: ComponentId) -> ComponentInfo:
        """The newest version, at the time of asking. Raises as ``versions``."""
        return (await self.versions(component))[-1]

    async def versions(self, component: ComponentId) -> list[ComponentInfo]:
        """All versions, from 0 on, at the time of asking: from here if this node leads the shard, else with one round trip to who does.

        Raises ``ComponentNotFound``, ``DataDamaged``, and ``WorldError`` when the shard's primary cannot be asked now.
        """
        if self._mesh.is_ready(self.shard_of(component)):
            try:
                versions = await self._logs.versions(component)
            except Moved:
                pass  # somebody else leads it by now
            else:
                self._learn(component, versions)
                return list(versions)
        return await self._ask(component)

    async def by_name(self, name: str) -> list[ComponentInfo]:
        """``[]`` when there is none. Raises as ``versions``."""
        try:
            return await self.versions(self.id_of(name))
        except ComponentNotFound:
            return []

    async def owned(self, *, after: str = "", count: int | None = None) -> list[ComponentInfo]:
        """All versions of all components whose shards this node leads, ordered by id (as text), from after ``after`` on, of ``count``
        components at most."""
        found = await self._logs.owned(after=after, count=count)
        return [info for versions in found for info in versions]

    def _learn(self, component: ComponentId, versions: Sequence[ComponentInfo]) -> None:
        """``versions``: some of them, without a gap. Only what follows what is known is taken."""
        known = self._known.get(component)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                del self._known[next(iter(self._known))]
            known = self._known[component] = []
        if versions and versions[0].version <= len(known):
            known += versions[len(known) - versions[0].version :]

    # -- asking and answering

    async def _ask(self, component: ComponentId) -> list[ComponentInfo]:
        shard = self.shard_of(component)
        while True:
            known = len(self._known.get(component, ()))
            self._asks_total += 1
            key = f"component-versions-{self._mesh.own.hex()[:16]}-{self._asks_total}"
            payload = encode_question(VersionsQuestion(component, known))
            data = await self._mesh.ask(shard, key, payload, deadline_s=ASK_S)
            try:
                answer = decode_answer(data)
            except DataDamaged as error:
                raise RequestFailed(error.code, str(error)) from error
            if answer.failure is not None:
                raise RequestFailed(*answer.failure)
            self._check_told(component, known, answer.infos)
            if answer.infos:
                self._learn(component, answer.infos)
            versions = list(self._known.get(component, ()))
            if len(versions) >= answer.total:
                if not versions:
                    raise ComponentNotFound(f"no component has the id {component}")
                return versions
            if not answer.infos:
                raise RequestFailed(
                    DataDamaged.code, f"component {component}: {answer.total} versions were told of, and none given"
                )

    def _check_told(self, component: ComponentId, known: int, infos: Sequence[ComponentInfo]) -> None:
        """Whoever answered, what it says must be of this component and follow what is known."""
        for version, info in enumerate(infos, known):
            if info.component != component or info.version != version or self.id_of(info.name) != component:
                raise RequestFailed(DataDamaged.code, f"component {component}: another version than {version} was told of")

    async def serve(self, component: ComponentId, known_versions: int) -> list[ComponentInfo]:
        """The versions beside the first ``known_versions``, from the node that leads the shard. Raises ``Moved``,
        ``ComponentNotFound``, ``DataDamaged``, ``WorldError``."""
        return (await self._logs.versions(component))[known_versions:]

    async def answer(self, shard: int, payload: bytes) -> bytes:
        """A question that came through ``mesh.ask`` (``wire.component_info.is_question``), answered whatever it is. Raises ``Moved``
        only."""
        self._answers_total += 1
        try:
            question = decode_question(payload)
            if self.shard_of(question.component) != shard:
                raise MalformedRequest(f"component {question.component} is not in shard {shard}")
            versions = await self.serve(question.component, 0)
            return encode_answer(len(versions), versions[question.known :])
        except Moved:
            raise
        except ComponentNotFound:
            return encode_answer(0, [])
        except Golemp2pError as error:
            return encode_failure(error.code, str(error))

    # -- code

    def loaded_nowait(self, component: ComponentId, version: int) -> LoadedComponent | None:
        """The code, if it is in memory."""
        return self._loaded.get((component, version))

    async def loaded(self, component: ComponentId, version: int) -> LoadedComponent:
        """The code of a version, fetched, compiled and loaded on first use. Raises as ``version`` and ``file``, and
        ``InvalidComponent``."""
        loaded = self._loaded.get((component, version))
        if loaded is None:
            info = await self.version(component, version)
            guest = await self._guests.load(info.sha256, await self.file(info))
            loaded = self._loaded.setdefault((component, version), LoadedComponent(info, guest))
        return loaded

    async def warm(self, identity: str) -> None:
        """Have the newest version of a component compiled and loaded, so that nobody waits for that in a takeover."""
        try:
            component = ComponentId.parse(identity)
            await self.loaded(component, (await self.latest(component)).version)
        except Golemp2pError as error:  # whoever needs it tries again
            logger.info("component_not_warmed", extra={"component": identity, "code": error.code, "error": str(error)})

    async def file(self, info: ComponentInfo) -> Path:
        """The component's bytes as a file of this node. Raises ``DataDamaged`` when they are nowhere, ``Unreachable``,
        ``StorageFailed``."""
        return await self._as_file(BlobRef(info.sha256, info.size_bytes), self._mesh.holders(self.shard_of(info.component)))

    async def _as_file(self, blob: BlobRef, holders: Iterable[bytes]) -> Path:
        path = await self._blobs.ensure(blob.sha256, blob.size_bytes, holders)
        if path is None:
            path = self._scratch_dir / f"{blob.sha256.hex()}.wasm"
            if not path.exists():
                data = await self._blobs.get(blob.sha256, size=blob.size_bytes, holders=holders)
                self._scratch_total += 1
                partial = trio.Path(path.with_name(f"{path.name}.{self._scratch_total}.partial"))
                await partial.write_bytes(data)
                await partial.rename(path)  # whoever finds it finds all of it
        return path

    def statistics(self) -> dict[str, float]:
        return {
            "components": float(len(self._known)),
            "component_asks_total": float(self._asks_total),
            "component_answers_total": float(self._answers_total),
            "components_damaged": float(len(self._logs.damaged)),
        }


def check_environment(args: Sequence[str], env: Mapping[str, str]) -> None:
    """Raises ``PayloadTooLarge`` beyond ``ENVIRONMENT_BYTES_MAX``, which counts eight bytes more for each text, and
    ``MalformedRequest`` for text that UTF-8 cannot hold."""
    texts = (*args, *env, *env.values())
    try:
        size = sum(len(text.encode()) for text in texts) + TEXT_OVERHEAD_BYTES * len(texts)
    except UnicodeEncodeError as error:
        raise MalformedRequest(f"arguments and environment must be text that UTF-8 can hold: {error}") from error
    if size > ENVIRONMENT_BYTES_MAX:
        raise PayloadTooLarge(
            f"arguments and environment, the component's included, take {size} bytes ({TEXT_OVERHEAD_BYTES} more for each text); "
            f"the limit is {ENVIRONMENT_BYTES_MAX}"
        )
