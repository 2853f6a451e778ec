"""A worker's events, wherever it runs and wherever it goes meanwhile.

    connect ──> a task ──┬─ runs here ─> Local.connect ──────────────────────────────┐
                         ├─ elsewhere ─> EVENTS, a bulk answer of its primary ───────┼─> events, in order, each once
                         └─ moved, lost ─> find the new primary, drop what was seen ─┘

The primary sends something every few seconds; silence for longer means that it is lost. A new primary knows its worker's events from
the moment it took over, so what the old one had not shown yet is not seen by anybody. Recent events that come a second time are told
by the worker's own clock, which goes on over moves: those before the last one seen are dropped, and those at the same time that were
seen.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from golemp2p.drivers.routing.local import Local
from golemp2p.drivers.routing.primaries import malformed
from golemp2p.errors import (
    DataDamaged,
    DeadlineExceeded,
    Draining,
    Golemp2pError,
    Moved,
    Overloaded,
    RequestFailed,
    WorkerNotFound,
    WorldError,
)
from golemp2p.model.ids import WorkerId
from golemp2p.model.worker import WorkerEvent
from golemp2p.ports import Asked, Mesh
from golemp2p.wire.call_kinds import EVENTS
from golemp2p.wire.events import ALIVE, EventReader, decode_asked, encode_asked, encode_item
from golemp2p.wire.remote_errors import named

logger = logging.getLogger(__name__)

ALIVE_S = 5.0
"""So often the primary shows that it is there."""

SILENCE_S = 3 * ALIVE_S
FIND_S = 10.0
"""How long a worker's primary is looked for before whoever connects is told that there is none."""

LOST_S = 60.0
"""The same for who was connected: takeovers take seconds."""

MOVES_S = 5.0
"""So long after a stream has ended its worker may move: a node that stops sends its listeners home before it hands everything over."""

PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 1.0
BUFFER = 128
"""Events on their way to the listener. When it is slower than the worker, the stream ends where the events are made."""

SEEN_MAX = 128
"""Events of one moment that are remembered, as many as a stream repeats."""

STREAMS_PER_PEER_MAX = 128
"""Half of what one node may ask another at a time."""


class Watching:
    """``locate(worker)``: asks its primary, whoever that is, so that the mesh knows it afterwards; raises ``WorkerNotFound``.
    ``spawn``: starts a task in the node's nursery."""

    def __init__(
        self, local: Local, mesh: Mesh, *, locate: Callable[[WorkerId], Awaitable[object]], spawn: Callable[..., None]
    ) -> None:
        self._local = local
        self._mesh = mesh
        self._locate = locate
        self._spawn = spawn
        self._streams: Counter[bytes] = Counter()
        self._watches: dict[_Watch, None] = {}
        self._is_closed = False

    @property
    def watched_count(self) -> int:
        return len(self._watches)

    def close(self) -> None:
        """This node is going to stop: whoever listens here is sent home, and nobody else comes in."""
        self._is_closed = True
        for watch in list(self._watches):
            watch.scope.cancel()

    # -- for other nodes

    async def serve(self, asked: Asked) -> bytes:
        """Answers calls of kind ``EVENTS``. Raises ``Moved`` for a worker of other nodes; returns when its stream here ends, for
        whatever reason: the asker finds out (``_look_after``)."""
        worker = decode_asked(asked.payload)
        self._check(worker)
        if self._streams[asked.peer] >= STREAMS_PER_PEER_MAX:
            raise Overloaded(f"{STREAMS_PER_PEER_MAX} workers of this node are watched from yours, which is the limit", 1.0)
        self._streams[asked.peer] += 1
        try:
            async with self._local.connect(worker) as events:
                await asked.send(ALIVE)
                while (item := await _next_item(events)) is not None:
                    await asked.send(item)
        finally:
            self._streams[asked.peer] -= 1
        return b""

    def _check(self, worker: WorkerId) -> None:
        shard = worker.key.shard(self._mesh.shards_count)
        if not self._mesh.is_ready(shard):
            raise Moved(f"this node does not lead shard {shard}", PAUSE_MIN_S)

    # -- for this one

    @asynccontextmanager
    async def connect(self, worker: WorkerId) -> AsyncIterator[AsyncIterator[WorkerEvent]]:
        """As ``Client.connect``. The iterator may raise ``WorldError`` when the worker has no primary for long."""
        if self._is_closed:
            raise Draining("this node is shutting down; try again in a moment, or another node", 1.0)
        watch = _Watch(self, worker)
        self._spawn(watch.run)
        self._watches[watch] = None
        try:
            await watch.wait_entered()
            yield watch
        finally:
            del self._watches[watch]
            watch.scope.cancel()

    def source(self, worker: WorkerId) -> Callable[[_Watch], Awaitable[None]]:
        """Who tells of the worker's events now."""
        return self._from_here if self._mesh.is_ready(worker.key.shard(self._mesh.shards_count)) else self._from_primary

    async def _from_here(self, watch: _Watch) -> None:
        async with self._local.connect(watch.worker) as events:
            watch.enter()
            async for event in events:
                await watch.show(event)
        self._check(watch.worker)

    async def _from_primary(self, watch: _Watch) -> None:
        primary = self._mesh.primary(watch.worker.key.shard(self._mesh.shards_count))
        if primary is None or primary == self._mesh.own:
            raise Moved("it is not known who leads the worker's shard", PAUSE_MIN_S)
        reader = EventReader()
        async with self._mesh.fetch(primary, EVENTS, encode_asked(watch.worker), progress_s=SILENCE_S) as chunks:
            async for chunk in chunks:
                came = list(reader.feed(chunk))
                watch.enter()
                for event in came:
                    await watch.show(event)
        await self._look_after(watch.worker, primary)

    async def _look_after(self, worker: WorkerId, primary: bytes) -> None:
        """The stream at ``primary`` has ended. Returns if that was all; raises ``WorkerNotFound`` if the worker has ended, too, and
        ``Moved`` if its node sent its listeners home because it stops, and another leads the worker now."""
        shard = worker.key.shard(self._mesh.shards_count)
        until = trio.current_time() + MOVES_S
        while True:
            try:
                await self._locate(worker)
            except WorldError as error:
                raise Moved(f"the worker's node does not answer: {error}", PAUSE_MIN_S) from error
            if self._mesh.primary(shard) != primary:
                raise Moved("another node leads the worker's shard now", PAUSE_MIN_S)
            if trio.current_time() >= until:
                return
            await trio.sleep(PAUSE_MAX_S)

    async def locate(self, worker: WorkerId) -> None:
        if not self._mesh.is_ready(worker.key.shard(self._mesh.shards_count)):
            await self._locate(worker)


async def _next_item(events: AsyncIterator[WorkerEvent]) -> bytes | None:
    """The next event, or the sign of life that is due without one; ``None`` at the end."""
    with trio.move_on_after(ALIVE_S):
        try:
            return encode_item(await anext(events))
        except StopAsyncIteration:
            return None
    return ALIVE


class _Watch:
    """One listener: iterates over the events of ``worker`` while ``run`` runs."""

    def __init__(self, watching: Watching, worker: WorkerId) -> None:
        self.worker = worker
        self.scope = trio.CancelScope()
        self._watching = watching
        self._send, self._receive = trio.open_memory_channel[WorkerEvent](BUFFER)
        self._entered = trio.Event()
        self._connected_since: float | None = None
        self._error: Golemp2pError | None = None
        self._seen = Seen()

    # -- the listener's side

    async def wait_entered(self) -> None:
        """Raises what stands in the way of the first event."""
        await self._entered.wait()
        if self._error is not None:
            raise self._error

    def __aiter__(self) -> _Watch:
        return self

    async def __anext__(self) -> WorkerEvent:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    # -- the side of the events

    def enter(self) -> None:
        """The worker is there, and what comes from now on are its events."""
        self._entered.set()
        if self._connected_since is None:
            self._connected_since = trio.current_time()

    async def show(self, event: WorkerEvent) -> None:
        if self._seen.is_new(event):
            await self._send.send(event)

    async def run(self) -> None:
        """Until the worker's stream ends, the worker is gone, or nobody listens any more."""
        try:
            with self.scope:
                await self._follow()
        except WorkerNotFound as error:
            if not self._entered.is_set():  # else it was deleted: that was all
                self._error = error
        except Golemp2pError as error:
            self._error = error
        finally:
            self._entered.set()
            self._send.close()

    async def _follow(self) -> None:
        pause_s = PAUSE_MIN_S
        lost_since = trio.current_time()
        while True:
            self._seen.begin()
            try:
                await self._watching.source(self.worker)(self)
            except WorldError as failed:
                failure = named(failed) if isinstance(failed, RequestFailed) else failed
            except DataDamaged as damaged:  # no use in asking it again
                raise malformed(str(damaged)) from damaged
            else:
                return
            if not isinstance(failure, WorldError):
                raise failure
            if self._connected_since is not None:
                if trio.current_time() - self._connected_since > ALIVE_S:
                    pause_s = PAUSE_MIN_S
                lost_since, self._connected_since = trio.current_time(), None
                logger.info("events_interrupted", extra={"worker": str(self.worker), "code": failure.code})
            patience_s = LOST_S if self._entered.is_set() else FIND_S
            if trio.current_time() - lost_since > patience_s:
                raise failure
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
            await self._look_for_primary()

    async def _look_for_primary(self) -> None:
        try:
            await self._watching.locate(self.worker)
        except DeadlineExceeded:
            pass  # told after a while
        except WorldError as error:
            logger.debug("primary_not_found", extra={"worker": str(self.worker), "error": str(error)})


class Seen:
    """Which events of a worker were shown, as far as that matters when a stream begins again with recent ones."""

    def __init__(self) -> None:
        self._time_ns: int | None = None
        self._latest: list[WorkerEvent] = []  # all that were seen at that time
        self._repeated: list[WorkerEvent] | None = None

    def begin(self) -> None:
        """A stream begins: some of what was seen may come again, in order."""
        self._repeated = list(self._latest) if self._time_ns is not None else None

    def is_new(self, event: WorkerEvent) -> bool:
        """Asked once for every event, in the order of their coming. After the first new one all are."""
        if self._repeated is not None and self._time_ns is not None:
            if event.time_ns < self._time_ns:
                return False
            if event.time_ns == self._time_ns and event in self._repeated:
                self._repeated.remove(event)
                return False
            self._repeated = None
        if event.time_ns != self._time_ns:
            self._time_ns, self._latest = event.time_ns, []
        if len(self._latest) < SEEN_MAX:
            self._latest.append(event)
        return True
