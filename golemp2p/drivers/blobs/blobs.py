"""Blobs of the mesh: bytes named by their SHA-256, held by whoever needs them, fetched from each other, believed by their hash only.

    get, ensure ──> here? ──no──> one fetch per blob ──Fetching──> BLOB calls, peer after peer ──> sink ──> hash ──> storage
    put(shard)  ──> storage ──> BLOB_OFFER to the other voters, which fetch it back ──> a majority has it ──> may be named by a log
    keep        ──> what the logs of this node name, and it has not

Before a log names a blob, a majority of the log's group has it: whoever of the group takes the log over has it, or finds it with
another of them. Blobs are never changed, and not removed with the logs that name them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import trio

from golemp2p.drivers.blobs.blob_fetches import MEMORY_BYTES_MAX, BlobFetches, Fetch
from golemp2p.drivers.blobs.blob_files import has_size, is_blob, read_piece, translated
from golemp2p.drivers.blobs.blob_offers import offer_to_majority
from golemp2p.errors import (
    DataDamaged,
    Golemp2pError,
    MalformedRequest,
    Moved,
    Overloaded,
    PayloadTooLarge,
    StorageFailed,
)
from golemp2p.model.entries import BlobRef
from golemp2p.ports import Asked, Mesh, Storage
from golemp2p.wire.blob_calls import BlobAsk, BlobOffer, decode_ask, decode_offer, encode_held

logger = logging.getLogger(__name__)

BLOB_BYTES_MAX = 1 << 30
"""As storage has it; above any component."""

SERVED_MAX, SERVED_PEER_MAX = 64, 16
"""Transfers to others at once, and to one of them; more are told to come again, or to ask elsewhere."""

KEPT_AT_ONCE = 4
"""Blobs that repair fetches at once: it leaves room for what somebody waits for."""

PEERS_MAX = 64
"""Peers asked for one blob. Who should have it comes first; in a mesh of that size and less everybody is asked."""

SOUND_MAX = 10_000
"""Blobs for which it is remembered that their file was read and is right: each is hashed once per process."""

THREADS_MAX = 2
"""Reading, writing and hashing files is bulk work: the logs come first."""


class Blobs:
    """``spawn`` starts a task in the node's nursery. ``bytes_max``: no larger blob is taken from anybody."""

    def __init__(self, storage: Storage, mesh: Mesh, *, spawn: Callable[..., None], bytes_max: int = BLOB_BYTES_MAX) -> None:
        self._storage = storage
        self._mesh = mesh
        self._spawn = spawn
        self._bytes_max = bytes_max
        self._threads = trio.CapacityLimiter(THREADS_MAX)
        self._fetches = BlobFetches(storage, mesh, spawn=spawn, threads=self._threads)
        self._sound: dict[tuple[bytes, int], None] = {}
        self._serving: Counter[bytes] = Counter()
        self._counts = dict.fromkeys(("served", "served_bytes", "not_held", "spread", "offers_taken", "offers_refused"), 0)

    # -- having blobs

    async def get(self, sha256: bytes, *, size: int, holders: Iterable[bytes] = (), shard: int | None = None) -> bytes:
        """The blob's bytes, from here or else from ``holders``, the group of ``shard``, or other members; then this node has it too,
        unless its disk refuses.

        Raises ``DataDamaged`` when everybody says that it is nowhere, or it has another size; ``Unreachable`` when somebody who may
        have it cannot be asked; ``PayloadTooLarge``.
        """
        self._check(sha256, size)
        try:
            data = await self._storage.get_blob(sha256)
        except DataDamaged:
            fetched = await self._fetch(sha256, size, holders, shard)
            if fetched.refusal is not None:
                logger.warning("blob_not_kept", extra={"blob": sha256.hex(), "error": str(fetched.refusal)})
            data = fetched.data if fetched.data is not None else await self._storage.get_blob(sha256)
        if len(data) != size:
            raise DataDamaged(f"blob:{sha256.hex()}", f"has {len(data)} bytes, {size} were recorded")
        return data

    async def ensure(self, sha256: bytes, size: int, holders: Iterable[bytes] = (), shard: int | None = None) -> Path | None:
        """Have the blob here, durably; large ones pass through a file, not through memory. Where it lies; ``None`` when this node's
        storage has no files. Raises as ``get``, and ``StorageFailed``."""
        self._check(sha256, size)
        if not await self._holds(sha256, size):
            fetched = await self._fetch(sha256, size, holders, shard)
            if fetched.refusal is not None:
                raise fetched.refusal
        return self._storage.blob_path(sha256)

    async def keep(self, refs: Iterable[BlobRef], *, shard: int) -> list[BlobRef]:
        """Fetch what logs of ``shard`` name and this node lacks, a few at a time. Returns what could not be had now, for another try
        later. Meant for replicas; ``drivers.blobs.blob_repair`` does the trying."""
        missing: list[BlobRef] = []
        left = iter(dict.fromkeys(refs))

        async def work() -> None:
            for ref in left:
                try:
                    await self.ensure(ref.sha256, ref.size_bytes, shard=shard)
                except Golemp2pError as error:
                    logger.info("blob_still_missing", extra={"blob": ref.sha256.hex(), "error": str(error)})
                    missing.append(ref)

        async with trio.open_nursery() as nursery:
            for _ in range(KEPT_AT_ONCE):
                nursery.start_soon(work)
        return missing

    # -- giving blobs

    async def put(self, data: bytes, *, shard: int | None = None) -> bytes:
        """Returns the SHA-256 when the blob is durable here and, with ``shard``, as ``spread`` says. Raises as ``spread``, and
        ``StorageFailed``, ``PayloadTooLarge``."""
        if len(data) > self._bytes_max:
            raise PayloadTooLarge(f"a blob has at most {self._bytes_max} bytes, got {len(data)}")
        sha256 = await self._storage.put_blob(data)
        if shard is not None:
            await self.spread(sha256, len(data), shard=shard)
        return sha256

    async def spread(self, sha256: bytes, size: int, *, shard: int) -> None:
        """Returns when a majority of the voters of ``shard`` has the blob, which this node has already; the others are still being
        offered it. Only on the node that leads the shard.

        Raises ``Moved`` when this node does not lead the shard, or not any more; ``Overloaded`` or ``Unreachable`` when no majority
        could be had in time. Doing it again is safe and cheap.
        """
        self._counts["spread"] += 1
        await offer_to_majority(self._mesh, BlobOffer(sha256, size, shard), self._spawn)

    # -- serving others

    async def serve_blob(self, asked: Asked) -> bytes:
        """A BLOB call: the bytes from the offset on, then whether there are any. Raises ``MalformedRequest``, ``Overloaded``."""
        ask = decode_ask(asked.payload)
        if self._serving.total() >= SERVED_MAX or self._serving[asked.peer] >= SERVED_PEER_MAX:
            raise Overloaded("this node gives away as many blobs as it can", 0.5)
        self._serving[asked.peer] += 1
        try:
            held = await self._give(asked, ask)
        finally:
            self._serving[asked.peer] -= 1
            if not self._serving[asked.peer]:
                del self._serving[asked.peer]
        self._counts["served" if held else "not_held"] += 1
        return encode_held(held=held)

    async def serve_offer(self, asked: Asked) -> bytes:
        """A BLOB_OFFER call: fetches the blob from whoever offers it, and answers when it is durable here. Taken only from the group
        of a shard that this node is of. Raises ``MalformedRequest``, ``PayloadTooLarge``, ``Moved``, and as ``ensure``."""
        offer = decode_offer(asked.payload)
        if offer.shard >= self._mesh.shards_count:
            raise MalformedRequest(f"there is no shard {offer.shard}")
        group = self._mesh.holders(offer.shard)
        if self._mesh.own not in group or asked.peer not in group:
            self._counts["offers_refused"] += 1
            raise Moved(
                f"this node, or the one that offers, is no replica of shard {offer.shard} as far as this one knows", 0.5
            )
        await self.ensure(offer.sha256, offer.size, (asked.peer,), offer.shard)
        self._counts["offers_taken"] += 1
        return b""

    async def _give(self, asked: Asked, ask: BlobAsk) -> bool:
        path = self._storage.blob_path(ask.sha256)
        if path is None or ask.size <= MEMORY_BYTES_MAX:
            try:
                data = await self._storage.get_blob(ask.sha256)
            except DataDamaged:
                return False
            if len(data) != ask.size:
                return False
            await asked.send(data[ask.offset :])
            self._counts["served_bytes"] += ask.size - ask.offset
            return True
        if not await self._holds(ask.sha256, ask.size):
            return False
        with translated(path):
            file = await trio.to_thread.run_sync(open, path, "rb", limiter=self._threads)
        with file:
            offset = ask.offset
            while offset < ask.size:
                piece = await trio.to_thread.run_sync(read_piece, file, offset, limiter=self._threads)
                if not piece:
                    raise StorageFailed(f"{path} has become shorter")
                await asked.send(piece)
                offset += len(piece)
                self._counts["served_bytes"] += len(piece)
        return True

    # -- what is here

    def _check(self, sha256: bytes, size: int) -> None:
        """Before anything is read, asked or allocated."""
        if size > self._bytes_max:
            raise PayloadTooLarge(f"blob:{sha256.hex()} has {size} bytes, this node takes at most {self._bytes_max}")
        if size < 1:
            raise DataDamaged(f"blob:{sha256.hex()}", "a blob has one byte at least")

    async def _holds(self, sha256: bytes, size: int) -> bool:
        """Whether the blob is here, right and durable."""
        path = self._storage.blob_path(sha256)
        if path is None:
            try:
                return len(await self._storage.get_blob(sha256)) == size
            except DataDamaged:
                return False
        if (sha256, size) in self._sound:
            return await trio.to_thread.run_sync(has_size, path, size, limiter=self._threads)
        if not await trio.to_thread.run_sync(is_blob, path, sha256, size, limiter=self._threads):
            return False
        self._sound[sha256, size] = None
        if len(self._sound) > SOUND_MAX:
            del self._sound[next(iter(self._sound))]
        return True

    async def _fetch(self, sha256: bytes, size: int, holders: Iterable[bytes], shard: int | None) -> Fetch:
        group = self._mesh.holders(shard) if shard is not None else ()
        members = (member.public_key for member in self._mesh.members())
        struck = self._fetches.struck(sha256)
        peers = dict.fromkeys((*holders, *group, *members))
        chosen = [peer for peer in peers if peer != self._mesh.own and peer not in struck]
        return await self._fetches.fetch(sha256, size, chosen[:PEERS_MAX])

    def statistics(self) -> dict[str, float]:
        return {
            **self._fetches.statistics(),
            "blobs_serving": float(self._serving.total()),
            **{f"blobs_{name}_total": float(count) for name, count in self._counts.items()},
        }
