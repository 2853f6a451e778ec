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

from golemp2p.core.fetching import Ask, Fetching, Pause
from golemp2p.drivers.blob_files import FileSink, MemorySink, Sink, has_size, is_blob, read_piece, translated
from golemp2p.drivers.blob_offers import offer_to_majority
from golemp2p.errors import (
    DataDamaged,
    DeadlineExceeded,
    Draining,
    Golemp2pError,
    MalformedRequest,
    Moved,
    Overloaded,
    PayloadTooLarge,
    StorageFailed,
    Unreachable,
)
from golemp2p.model.entries import BlobRef
from golemp2p.model.ids import NodeId
from golemp2p.ports import Asked, Mesh, Storage
from golemp2p.wire.blob_calls import BlobAsk, BlobOffer, decode_ask, decode_held, decode_offer, encode_ask, encode_held
from golemp2p.wire.call_kinds import BLOB

logger = logging.getLogger(__name__)

BLOB_BYTES_MAX = 1 << 30
"""As storage has it; above any component."""

MEMORY_BYTES_MAX = 1 << 20
"""Blobs up to this size are fetched and served in memory. Most payloads are; components go through files, piece by piece."""

FETCHES_MAX = 16
"""At once; more wait. Each holds at most ``MEMORY_BYTES_MAX`` and the window of a transfer."""

SERVED_MAX, SERVED_PEER_MAX = 64, 16
"""Transfers to others at once, and to one of them; more are told to come again, or to ask elsewhere."""

KEPT_AT_ONCE = 4
"""Blobs that repair fetches at once: it leaves room for what somebody waits for."""

PEERS_MAX = 64
"""Peers asked for one blob. Who should have it comes first; in a mesh of that size and less everybody is asked."""

PROGRESS_S = 5.0
"""A peer has so long for every next chunk."""

PACE_BYTES, PACE_S = 256 << 10, 10.0
"""A peer gives at least so many bytes in so many seconds, as one write between nodes must be taken: 25 KB/s."""

STRUCK_MAX = 1024
"""Blobs for which it is remembered who gave wrong bytes."""

SOUND_MAX = 10_000
"""Blobs for which it is remembered that their file was read and is right: each is hashed once per process."""

THREADS_MAX = 2
"""Reading, writing and hashing files is bulk work: the logs come first."""


_COUNTERS = (
    "fetched", "fetched_bytes", "resumed", "broken", "failed", "peers_wrong", "served", "served_bytes", "not_held", "spread",
    "offers_taken", "offers_refused",
)  # fmt: skip


class _Fetch:
    """A blob on its way to this node. After ``done``: ``error``, or ``data`` if it was in memory, and ``refusal`` of our own disk."""

    __slots__ = ("data", "done", "error", "fetching", "refusal", "scope", "sha256", "waiting_count")

    def __init__(self, sha256: bytes, fetching: Fetching) -> None:
        self.sha256 = sha256
        self.fetching = fetching
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.waiting_count = 0
        self.data: bytes | None = None
        self.error: Golemp2pError | None = Draining("this node is stopping", 1.0)
        self.refusal: StorageFailed | None = None


class Blobs:
    """``spawn`` starts a task in the node's nursery. ``bytes_max``: no larger blob is taken from anybody."""

    def __init__(self, storage: Storage, mesh: Mesh, *, spawn: Callable[..., None], bytes_max: int = BLOB_BYTES_MAX) -> None:
        self._storage = storage
        self._mesh = mesh
        self._spawn = spawn
        self._bytes_max = bytes_max
        self._threads = trio.CapacityLimiter(THREADS_MAX)
        self._slots = trio.Semaphore(FETCHES_MAX)
        self._fetches: dict[tuple[bytes, int], _Fetch] = {}
        self._struck: dict[bytes, dict[bytes, None]] = {}
        self._sound: dict[tuple[bytes, int], None] = {}
        self._serving: Counter[bytes] = Counter()
        self._counts = dict.fromkeys(_COUNTERS, 0)

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
        later. Meant for replicas; ``drivers.blob_repair`` does the trying."""
        missing: list[BlobRef] = []
        limiter = trio.CapacityLimiter(KEPT_AT_ONCE)

        async def keep(ref: BlobRef) -> None:
            async with limiter:
                try:
                    await self.ensure(ref.sha256, ref.size_bytes, shard=shard)
                except Golemp2pError as error:
                    logger.info("blob_still_missing", extra={"blob": ref.sha256.hex(), "error": str(error)})
                    missing.append(ref)

        async with trio.open_nursery() as nursery:
            for ref in dict.fromkeys(refs):
                nursery.start_soon(keep, ref)
        return missing

    # -- giving blobs

    async def put(self, data: bytes, *, shard: int | None = None) -> bytes:
        """Returns the SHA-256 when the blob is durable here and, with ``shard``, as ``spread`` says. Raises as ``spread``, and
        ``StorageFailed``."""
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

    # -- fetching

    async def _fetch(self, sha256: bytes, size: int, holders: Iterable[bytes], shard: int | None) -> _Fetch:
        """Joins the fetch of this blob or begins one; it ends when nobody waits for it any more."""
        peers = self._peers(sha256, holders, shard)
        fetch = self._fetches.get((sha256, size))
        if fetch is None:
            fetch = self._fetches[sha256, size] = _Fetch(sha256, Fetching(size, peers))
            self._spawn(self._run, fetch)
        else:
            fetch.fetching.add(peers)
        fetch.waiting_count += 1
        try:
            await fetch.done.wait()
        finally:
            fetch.waiting_count -= 1
            if not fetch.waiting_count and self._fetches.get((sha256, size)) is fetch:
                del self._fetches[sha256, size]
                fetch.scope.cancel()
        if fetch.error is not None:
            raise fetch.error
        return fetch

    def _peers(self, sha256: bytes, holders: Iterable[bytes], shard: int | None) -> list[bytes]:
        group = self._mesh.holders(shard) if shard is not None else ()
        others = (member.public_key for member in self._mesh.members())
        struck = self._struck.get(sha256, ())
        peers = dict.fromkeys((*holders, *group, *others))
        return [peer for peer in peers if peer != self._mesh.own and peer not in struck][:PEERS_MAX]

    async def _run(self, fetch: _Fetch) -> None:
        """Not cancelled with whoever asked first: others may wait for the same blob."""
        key = (fetch.sha256, fetch.fetching.size)
        try:
            with fetch.scope:
                async with self._slots:
                    try:
                        await self._transfer(fetch)
                        fetch.error = None
                    except Golemp2pError as error:
                        fetch.error = error
        finally:
            if self._fetches.get(key) is fetch:
                del self._fetches[key]
            fetch.done.set()

    async def _transfer(self, fetch: _Fetch) -> None:
        fetching = fetch.fetching
        sink = self._sink(fetch.sha256, fetching.size)
        try:
            while True:
                while not fetching.is_whole:
                    await self._step(fetch, sink)
                right = await sink.sha256() == fetch.sha256
                fetching.verified(right=right)
                self._remember_wrong(fetch)
                if right:
                    break
            self._counts["fetched"] += 1
            self._counts["fetched_bytes"] += fetching.size
            self._counts["resumed"] += fetching.resumed_count
            fetch.data = sink.bytes()
            try:
                await sink.keep()
            except StorageFailed as error:
                fetch.refusal = error
                if fetch.data is None:
                    raise
        finally:
            await sink.aclose()

    async def _step(self, fetch: _Fetch, sink: Sink) -> None:
        """Ask the next peer, if there is one, until its transfer is over."""
        fetching = fetch.fetching
        match fetching.next():
            case None:
                self._counts["failed"] += 1
                if fetching.silent:
                    count = len(fetching.silent)
                    text = f"blob:{fetch.sha256.hex()} is not here, and {count} nodes that may have it do not give it"
                    raise Unreachable(text, retry_after_s=1.0)
                wrong = f"; {len(fetching.wrong)} nodes gave wrong bytes" if fetching.wrong else ""
                raise DataDamaged(f"blob:{fetch.sha256.hex()}", f"missing, here and with every node that was asked{wrong}")
            case Pause(seconds):
                await trio.sleep(seconds)
            case Ask(peer, offset):
                await sink.cut(offset)
                refusal = await self._ask(fetch, peer, offset, sink)
                self._remember_wrong(fetch)
                if refusal is not None:
                    raise refusal

    async def _ask(self, fetch: _Fetch, peer: bytes, offset: int, sink: Sink) -> Golemp2pError | None:
        """One transfer. Returns what our own disk refuses; what the peer does wrong is for ``fetching``."""
        fetching = fetch.fetching
        payload = encode_ask(BlobAsk(fetch.sha256, fetching.size, offset))
        answer = None
        due = fetching.have + PACE_BYTES
        try:
            with trio.fail_after(PACE_S) as pace:
                async with self._mesh.fetch(peer, BLOB, payload, progress_s=PROGRESS_S) as bulk:
                    async for chunk in bulk:
                        if not fetching.took(len(chunk)):
                            return None
                        try:
                            await sink.write(chunk)
                        except StorageFailed as error:
                            return error
                        if fetching.have >= due:
                            due = fetching.have + PACE_BYTES
                            pace.deadline = trio.current_time() + PACE_S
                    answer = bulk.answer
        except (Golemp2pError, trio.TooSlowError) as error:
            told = error if isinstance(error, Golemp2pError) else DeadlineExceeded("too slow")
            extra = {"blob": fetch.sha256.hex(), "peer": str(NodeId.of(peer)), "offset": fetching.have, "error": str(told)}
            logger.info("blob_transfer_broke", extra=extra)
            self._counts["broken"] += 1
            fetching.failed()
            return None
        try:
            fetching.answered(held=decode_held(answer))
        except DataDamaged as error:
            fetching.nonsense(str(error))
        return None

    def _sink(self, sha256: bytes, size: int) -> Sink:
        path = self._storage.blob_path(sha256)
        if path is None or size <= MEMORY_BYTES_MAX:
            return MemorySink(self._storage)
        return FileSink(path, size, self._threads)

    def _remember_wrong(self, fetch: _Fetch) -> None:
        """Who gave wrong bytes is not asked for this blob again."""
        struck = self._struck.get(fetch.sha256)
        for peer, reason in fetch.fetching.wrong.items():
            if struck is None:
                struck = self._struck[fetch.sha256] = {}
                if len(self._struck) > STRUCK_MAX:
                    del self._struck[next(iter(self._struck))]
            if peer not in struck:
                struck[peer] = None
                self._counts["peers_wrong"] += 1
                extra = {"blob": fetch.sha256.hex(), "peer": str(NodeId.of(peer)), "reason": reason}
                logger.warning("blob_peer_wrong", extra=extra)

    def statistics(self) -> dict[str, float]:
        return {
            "blobs_fetching": float(len(self._fetches)),
            "blobs_serving": float(self._serving.total()),
            **{f"blobs_{name}_total": float(count) for name, count in self._counts.items()},
        }
