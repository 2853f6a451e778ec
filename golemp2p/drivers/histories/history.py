"""A node gives a worker's history away: as one file to whoever asks it, log by log to other nodes.

    export_worker ──> Opening
                  ──> the worker's log     ┐ from here, if this node leads the shard; else from who does, or from a replica:
                  ──> its component's log  ┘ HISTORY calls, passed on frame by frame
                  ──> the component's bytes (``drivers.blobs.blobs``)
                  ──> Closing
    serve(asked)  ──> one log, its milestones, the blobs it names, sealed by this node

Only what is committed, as far as this node knows, is given away. What cannot be had of a component is left out: whoever checks says so.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import trio

from golemp2p.drivers.blobs.blob_fetches import chunks_of
from golemp2p.drivers.blobs.blobs import Blobs
from golemp2p.drivers.summary import WORKER
from golemp2p.errors import DataDamaged, Golemp2pError, NotFound, Overloaded, WorkerNotFound, WorldError
from golemp2p.model import entries as e
from golemp2p.model.ids import Key, WorkerId
from golemp2p.ports import Asked, Clock, Mesh, Storage
from golemp2p.wire.call_kinds import HISTORY
from golemp2p.wire.certificate import Genesis
from golemp2p.wire.entry import decode_payload
from golemp2p.wire.history import (
    MAGIC,
    MILESTONES_MAX,
    PIECE_BYTES_MAX,
    BlobOpening,
    BlobPiece,
    FrameSplitter,
    LogOpening,
    Milestone,
    Opening,
    Order,
    SealFrame,
    Sealing,
    SegmentFrame,
    encode_frame,
    opened,
)
from golemp2p.wire.history_calls import (
    HistoryAsk,
    decode_history_ask,
    decode_history_held,
    encode_history_ask,
    encode_history_held,
)
from golemp2p.wire.identity import Signer
from golemp2p.wire.segment import NO_HASH, open_segment

logger = logging.getLogger(__name__)

COMPONENT = "component"

PAGE_SEGMENTS = 8
"""Read at once: 10 MiB at most."""

SERVED_MAX = 8
"""Histories given away at once, to nodes and to clients each; more are told to come again."""

PROGRESS_S = 10.0
"""How long another node may take for every next chunk."""


class _NotHeld(Exception):
    """A node has no such log."""


class Histories:
    """Serves ``client.Histories``. ``commit_position(shard)``: up to where the shard's log is committed as far as this node knows;
    ``None`` when it is no replica."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        signer: Signer,
        mesh: Mesh,
        storage: Storage,
        blobs: Blobs,
        clock: Clock,
        commit_position: Callable[[int], int | None],
    ) -> None:
        self._birth = genesis.birth
        self._mesh_id = genesis.mesh_id
        self._signer = signer
        self._mesh = mesh
        self._storage = storage
        self._blobs = blobs
        self._clock = clock
        self._commit_position = commit_position
        self._serving = 0
        self._exporting = 0
        self._counts = dict.fromkeys(("exported", "served", "refused"), 0)

    # -- for whoever asks this node

    async def export_worker(self, worker: WorkerId, *, with_component: bool = True) -> AsyncGenerator[bytes, None]:
        """The file (``wire.history``), piece by piece. Returns when the worker was found; then it is to be used up, or closed.

        Raises ``WorkerNotFound``, ``WorldError``, ``DataDamaged`` when no replica has it whole; on the way, the two latter.
        """
        if self._exporting >= SERVED_MAX:
            self._counts["refused"] += 1
            raise Overloaded("this node exports as many histories as it can", 1.0)
        pieces = self._counted(worker, with_component=with_component)
        first = [await anext(pieces), await anext(pieces)]  # the opening, and the first frame of the worker's log

        async def rest() -> AsyncGenerator[bytes, None]:
            async with aclosing(pieces):
                for piece in first:
                    yield piece
                async for piece in pieces:
                    yield piece

        return rest()

    async def _counted(self, worker: WorkerId, *, with_component: bool) -> AsyncGenerator[bytes, None]:
        self._exporting += 1
        try:
            async with aclosing(self._file(worker, with_component=with_component)) as pieces:
                async for piece in pieces:
                    yield piece
            self._counts["exported"] += 1
        finally:
            self._exporting -= 1

    async def _file(self, worker: WorkerId, *, with_component: bool) -> AsyncGenerator[bytes, None]:
        order, component = Order(), str(worker.component)
        create: e.Create | None = None
        yield MAGIC + _ordered(order, encode_frame(Opening(self._birth.encoded(), component, worker.name)))
        async with aclosing(self._log(HistoryAsk(WORKER, str(worker)))) as frames:
            async for frame in frames:
                if create is None:
                    create = _create_in(frame)
                yield _ordered(order, frame)
        if with_component and create is not None:
            async with aclosing(self._component(worker, create.component_version)) as frames:
                async for frame in frames:
                    yield _ordered(order, frame)
        yield order.closing()

    async def _component(self, worker: WorkerId, version: int) -> AsyncGenerator[bytes, None]:
        """The component's log, and the bytes of one version; as much of it as there is to be had."""
        wasm: e.BlobRef | None = None
        has_begun = False
        try:
            async with aclosing(self._log(HistoryAsk(COMPONENT, str(worker.component)))) as frames:
                async for frame in frames:
                    has_begun = True
                    wasm = wasm or _version_in(frame, version)
                    yield frame
        except (NotFound, WorldError, DataDamaged) as error:
            if has_begun:
                raise
            logger.info("history_without_component", extra={"worker": str(worker), "error": str(error)})
        if wasm is None:
            return
        shard = Key.of(COMPONENT, str(worker.component)).shard(self._mesh.shards_count)
        try:
            path = await self._blobs.ensure(wasm.sha256, wasm.size_bytes, shard=shard)
            data = b"" if path is not None else await self._blobs.get(wasm.sha256, size=wasm.size_bytes, shard=shard)
        except Golemp2pError as error:
            logger.info("history_without_bytes", extra={"worker": str(worker), "error": str(error)})
            return
        yield encode_frame(BlobOpening(wasm.sha256, wasm.size_bytes))
        async with aclosing(_in_memory(data) if path is None else _in_file(path)) as pieces:
            async for piece in pieces:
                yield encode_frame(BlobPiece(piece))

    async def _log(self, ask: HistoryAsk) -> AsyncGenerator[bytes, None]:
        """The frames of one log, from here or from another node. Once the first has come, they come from that node to the end."""
        shard = Key.of(ask.kind, ask.identity).shard(self._mesh.shards_count)
        failure: Golemp2pError | None = None
        for node in self._holders(shard):
            frames = self._own(ask, shard) if node == self._mesh.own else self._fetched(node, ask)
            async with aclosing(frames):
                try:
                    frame = await anext(frames)
                except _NotHeld:
                    continue
                except (WorldError, DataDamaged) as error:
                    failure = failure or error
                    continue
                yield frame
                async for frame in frames:
                    yield frame
                return
        if failure is not None:
            raise failure
        raise WorkerNotFound(f"no node has the log of {ask.kind} {ask.identity}")

    def _holders(self, shard: int) -> list[bytes]:
        """Whom to ask, who knows the newest first."""
        mesh, own = self._mesh, self._mesh.own
        primary = own if mesh.is_ready(shard) else mesh.primary(shard)
        is_replica = self._commit_position(shard) is not None
        known = [*([primary] if primary is not None else []), *([own] if is_replica else []), *mesh.holders(shard)]
        return [node for node in dict.fromkeys(known) if node != own or is_replica]

    async def _fetched(self, node: bytes, ask: HistoryAsk) -> AsyncGenerator[bytes, None]:
        """From another node; what is not in the order of a history is refused here. Raises ``_NotHeld``, ``WorldError``,
        ``DataDamaged``."""
        splitter, order, is_sealed = FrameSplitter(is_part=True), Order(ask.kind), False
        async with self._mesh.fetch(node, HISTORY, encode_history_ask(ask), progress_s=PROGRESS_S) as bulk:
            async with chunks_of(bulk) as chunks:
                async for chunk in chunks:
                    for data in splitter.feed(chunk):
                        frame = opened(data)
                        order.take(data, frame)
                        if is_sealed or (isinstance(frame, LogOpening) and (frame.kind, frame.identity) != ask):
                            raise DataDamaged("history", f"node {node.hex()[:16]} gave another log than it was asked for")
                        is_sealed = isinstance(frame, SealFrame)
                        yield data
            if not decode_history_held(bulk.final):
                raise _NotHeld
        splitter.end()
        if not is_sealed:
            raise DataDamaged("history", f"node {node.hex()[:16]} gave a log without its end")

    # -- for other nodes

    async def serve(self, asked: Asked) -> bytes:
        """A HISTORY call. Raises ``MalformedRequest``, ``Overloaded``, ``DataDamaged``."""
        ask = decode_history_ask(asked.payload)
        if self._serving >= SERVED_MAX:
            self._counts["refused"] += 1
            raise Overloaded("this node gives away as many histories as it can", 1.0)
        self._serving += 1
        try:
            async with aclosing(self._own(ask, Key.of(ask.kind, ask.identity).shard(self._mesh.shards_count))) as frames:
                async for frame in frames:
                    await asked.send(frame)
        except _NotHeld:
            return encode_history_held(held=False)
        finally:
            self._serving -= 1
        self._counts["served"] += 1
        return encode_history_held(held=True)

    async def _own(self, ask: HistoryAsk, shard: int) -> AsyncGenerator[bytes, None]:
        """The log as this node has it, up to what is committed, sealed by this node. Raises ``_NotHeld``, ``DataDamaged``."""
        log, commit = Key.of(ask.kind, ask.identity), self._commit_position(shard)
        if commit is None or await self._storage.head(log) is None:
            raise _NotHeld
        sealing = Sealing(self._mesh_id)
        tail, head_hash = 1, NO_HASH
        milestones = [entry for entry in await self._storage.milestones(shard) if entry.position <= commit]
        sent: set[bytes] = set()
        is_open = False
        while page := await self._storage.read_segments(log, tail, PAGE_SEGMENTS):
            for stored in page:
                if stored.position > commit:
                    break
                segment = open_segment(stored.data)
                if (segment.log, segment.first, segment.previous_hash) != (log, tail, head_hash):
                    raise DataDamaged(
                        f"{ask.kind} {ask.identity}", f"the segment at index {tail} does not follow the one before it"
                    )
                if not is_open:  # nothing is said before the first segment is at hand
                    is_open = True
                    yield sealing.add(encode_frame(LogOpening(ask.kind, ask.identity, shard)))
                    for entry in milestones[-MILESTONES_MAX:]:
                        yield sealing.add(encode_frame(Milestone(entry)))
                yield sealing.add(encode_frame(SegmentFrame(stored.data)))
                tail, head_hash = segment.next_index, segment.hash
                if ask.kind == WORKER:
                    for ref in _blobs_in(segment.payload, segment.count, sent):
                        async for frame in self._blob(ref, shard):
                            yield sealing.add(frame)
            else:
                continue
            break
        if not is_open:
            raise _NotHeld
        time_ns = self._clock.wall_ns()
        yield sealing.sealed(self._signer, tail=tail, head_hash=head_hash, position=commit, time_ns=time_ns)

    async def _blob(self, ref: e.BlobRef, shard: int) -> AsyncGenerator[bytes, None]:
        """Nothing when it cannot be had."""
        try:
            data = await self._blobs.get(ref.sha256, size=ref.size_bytes, shard=shard)
        except Golemp2pError as error:
            logger.info("history_without_blob", extra={"blob": ref.sha256.hex(), "error": str(error)})
            return
        yield encode_frame(BlobOpening(ref.sha256, ref.size_bytes))
        async for piece in _in_memory(data):
            yield encode_frame(BlobPiece(piece))

    def statistics(self) -> dict[str, float]:
        return {
            "histories_serving": float(self._serving + self._exporting),
            **{f"histories_{name}_total": float(count) for name, count in self._counts.items()},
        }


def _ordered(order: Order, frame: bytes) -> bytes:
    order.take(frame, opened(frame))
    return frame


async def _in_memory(data: bytes) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(data), PIECE_BYTES_MAX):
        yield data[at : at + PIECE_BYTES_MAX]
        await trio.lowlevel.checkpoint()


async def _in_file(path: Path) -> AsyncGenerator[bytes, None]:
    async with await trio.open_file(path, "rb") as file:
        while piece := await file.read(PIECE_BYTES_MAX):
            yield piece


def _blobs_in(payload: bytes, count: int, sent: set[bytes]) -> list[e.BlobRef]:
    """Those that are named for the first time."""
    found: list[e.BlobRef] = []
    for entry in decode_payload(payload, count):
        for field in entry:
            if isinstance(field, e.BlobRef) and field.sha256 not in sent:
                sent.add(field.sha256)
                found.append(field)
    return found


def _create_in(data: bytes) -> e.Create | None:
    """The first entry of a worker's log, if this is the frame of its first segment."""
    frame = opened(data)
    if not isinstance(frame, SegmentFrame):
        return None
    segment = open_segment(frame.data)
    first = decode_payload(segment.payload, segment.count)[0]
    return first if isinstance(first, e.Create) else None


def _version_in(data: bytes, version: int) -> e.BlobRef | None:
    """The bytes of a component's version, if this frame tells of it."""
    frame = opened(data)
    if isinstance(frame, SegmentFrame):
        segment = open_segment(frame.data)
        for entry in decode_payload(segment.payload, segment.count):
            if isinstance(entry, e.ComponentVersionAdded) and entry.version == version:
                return e.BlobRef(entry.sha256, entry.size_bytes)
    return None
