"""Blobs on their way to this node: one fetch per blob, however many wait for it.

    fetch ──first──> task: Fetching ──Ask──> BLOB call ──chunks──> sink ──whole──> hash ──right──> storage ──> all who wait
          ──later──> joins it                     '──broken, wrong──> next peer
    nobody waits any more ──> cancelled

Memory: what a sink takes and the window of one transfer, for each of ``FETCHES_MAX``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import trio

from golemp2p.core.fetching import Ask, Fetching, Pause
from golemp2p.drivers.blobs.blob_files import FileSink, MemorySink, Sink
from golemp2p.errors import DataDamaged, DeadlineExceeded, Draining, Golemp2pError, StorageFailed, Unreachable
from golemp2p.model.ids import NodeId
from golemp2p.ports import Bulk, Mesh, Storage
from golemp2p.wire.blob_calls import BlobAsk, decode_held, encode_ask
from golemp2p.wire.call_kinds import BLOB

logger = logging.getLogger(__name__)

MEMORY_BYTES_MAX = 1 << 20
"""Blobs up to this size gather in memory. Most payloads do; components go through files, piece by piece."""

FETCHES_MAX = 16
"""At once; more wait."""

PROGRESS_S = 5.0
"""A peer has so long for every next chunk."""

PACE_BYTES, PACE_S = 256 << 10, 10.0
"""A peer gives at least so many bytes in so many seconds, as one write between nodes must be taken: 25 KB/s."""

STRUCK_MAX = 1024
"""Blobs for which it is remembered who gave wrong bytes."""


class Fetch:
    """A blob on its way. ``data``: its bytes, if they gathered in memory; ``refusal``: why our own disk does not keep them."""

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


class BlobFetches:
    """``spawn`` starts a task in the node's nursery; ``threads``: for files."""

    def __init__(self, storage: Storage, mesh: Mesh, *, spawn: Callable[..., None], threads: trio.CapacityLimiter) -> None:
        self._storage = storage
        self._mesh = mesh
        self._spawn = spawn
        self._threads = threads
        self._slots = trio.Semaphore(FETCHES_MAX)
        self._under_way: dict[tuple[bytes, int], Fetch] = {}
        self._struck: dict[bytes, dict[bytes, None]] = {}
        self._counts = dict.fromkeys(("fetched", "fetched_bytes", "resumed", "broken", "failed", "peers_wrong"), 0)

    def struck(self, sha256: bytes) -> Collection[bytes]:
        """Who gave wrong bytes for this blob, and is not to be asked for it again."""
        return self._struck.get(sha256, ())

    async def fetch(self, sha256: bytes, size: int, peers: Sequence[bytes]) -> Fetch:
        """The blob of ``size`` >= 1 bytes is in storage on return, or ``refusal`` says why not; with ``refusal`` there is ``data``.
        Raises ``DataDamaged`` when everybody says that it is nowhere, ``Unreachable`` when somebody does not answer, and
        ``StorageFailed``."""
        fetch = self._under_way.get((sha256, size))
        if fetch is None:
            fetch = self._under_way[sha256, size] = Fetch(sha256, Fetching(size, peers))
            self._spawn(self._run, fetch)
        else:
            fetch.fetching.add(peers)
        fetch.waiting_count += 1
        try:
            await fetch.done.wait()
        finally:
            fetch.waiting_count -= 1
            if not fetch.waiting_count and self._under_way.get((sha256, size)) is fetch:
                del self._under_way[sha256, size]
                fetch.scope.cancel()
        if fetch.error is not None:
            raise fetch.error
        return fetch

    async def _run(self, fetch: Fetch) -> None:
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
            if self._under_way.get(key) is fetch:
                del self._under_way[key]
            fetch.done.set()

    async def _transfer(self, fetch: Fetch) -> None:
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

    async def _step(self, fetch: Fetch, sink: Sink) -> None:
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

    async def _ask(self, fetch: Fetch, peer: bytes, offset: int, sink: Sink) -> Golemp2pError | None:
        """One transfer. Returns what our own disk refuses; what the peer does wrong is for ``fetching``."""
        fetching = fetch.fetching
        payload = encode_ask(BlobAsk(fetch.sha256, fetching.size, offset))
        answer = None
        due = fetching.have + PACE_BYTES
        try:
            with trio.fail_after(PACE_S) as pace:
                async with self._mesh.fetch(peer, BLOB, payload, progress_s=PROGRESS_S) as bulk, chunks_of(bulk) as chunks:
                    async for chunk in chunks:
                        if not fetching.took(len(chunk)):
                            return None
                        try:
                            await sink.write(chunk)
                        except StorageFailed as error:
                            return error
                        if fetching.have >= due:
                            due = fetching.have + PACE_BYTES
                            pace.deadline = trio.current_time() + PACE_S
                    answer = bulk.final
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

    def _remember_wrong(self, fetch: Fetch) -> None:
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
        counts = {f"blobs_{name}_total": float(count) for name, count in self._counts.items()}
        return {"blobs_fetching": float(len(self._under_way)), **counts}


@asynccontextmanager
async def chunks_of(bulk: Bulk) -> AsyncIterator[AsyncIterator[bytes]]:
    """The chunks of ``bulk``, which may be left before the last."""
    chunks = aiter(bulk)
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
