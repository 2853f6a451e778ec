"""The shards that this node serves, as those who write logs see them: appends with callbacks, and news of shards that come or go.

    LogWriter --append--> seal --> replica --committed--> done(None)
                                           --moved, stalled--> done(error)
    PeerDriver --started--> undescribed logs are read and described --> tenants: resume what is open in these shards
               --stopped--> appends under way fail with ``Moved`` ----> tenants: let go

A segment is sealed under the term in which this node was elected, and continues the log as the replica has it; a writer that has
missed something is told ``Moved``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from golemp2p.core.replica import Replica
from golemp2p.drivers.blobs.blob_repair import BlobRepair
from golemp2p.drivers.oplog import Payload
from golemp2p.drivers.peers.peer import PeerDriver
from golemp2p.drivers.work import Work
from golemp2p.errors import DataDamaged, Golemp2pError, InvalidState, Moved, PayloadTooLarge, WorldError
from golemp2p.model.ids import Key
from golemp2p.model.replication import DESCRIPTION_BYTES_MAX, Entry, LogSegment
from golemp2p.ports import LogHead, Storage
from golemp2p.wire.description import Description, decode_description, encode_description
from golemp2p.wire.identity import Signer
from golemp2p.wire.segment import seal

logger = logging.getLogger(__name__)

Done = Callable[[Exception | None], None]

_COMPONENT_BEGINS = encode_description(Description("component", "", False, None, b""))[:11]  # array, kind

RETRY_AFTER_S = 0.1
"""Advice to whoever comes to the wrong node."""


class Shards:
    """``started(shard)`` and ``stopped(shard)`` are called for every tenant, in the order in which tenants were added.
    ``describe``: writes down what an undescribed log is."""

    def __init__(
        self,
        peers: PeerDriver,
        storage: Storage,
        signer: Signer,
        *,
        spawn: Callable[..., None],
        describe: Callable[[LogHead], Awaitable[None]],
        repair: BlobRepair,
    ) -> None:
        self._peers = peers
        self._repair = repair
        self._describe_log = describe
        self._work = Work(peers, spawn)
        self._storage = storage
        self._signer = signer
        self._spawn = spawn
        self.shards_count = peers.shards_count
        self._pending: dict[int, deque[tuple[int, Done]]] = {}
        self._levelling: dict[int, set[trio.Event]] = {}
        self.component_seen: Callable[[str], Awaitable[None]]
        """Told the identity of a component whose log has grown, in a shard that another node leads. Set before the peer runs."""
        self._started: list[Callable[[int], None]] = []
        self._stopped: list[Callable[[int], None]] = []
        self._new: list[int] = []
        self._is_settling = False
        self.segments_total = 0

    def add_tenant(self, started: Callable[[int], None], stopped: Callable[[int], None]) -> None:
        """Who is added later is told of what starts from then on."""
        self._started.append(started)
        self._stopped.append(stopped)

    # -- questions

    def is_ready(self, shard: int) -> bool:
        return self._peers.is_ready(shard)

    def ready_shards(self) -> Sequence[int]:
        return self._peers.ready_shards()

    def check(self, shard: int) -> None:
        """Raises ``Moved``, or what the disk refused: then nothing can be read or written that is certain."""
        if not self._peers.is_ready(shard):
            raise moved(shard)
        error = self._peers.writes.stalled.get(shard)
        if error is not None:
            raise error

    async def level(self, shard: int) -> None:
        """Returns when all that was appended to ``shard`` so far is committed, and in the storage of this node: what was committed may
        not be on its own disk yet, since others are a majority without it. Raises as ``check``, also once that would raise."""
        self.check(shard)
        last = self._replica(shard).log.last_position
        while self._replica(shard).commit_position < last:
            event = trio.Event()
            self._pending.setdefault(shard, deque()).append((last, lambda _error, event=event: event.set()))  # type: ignore[misc]
            await event.wait()
            self.check(shard)
        news, is_level = trio.Event(), False

        def levelled() -> None:
            nonlocal is_level
            is_level = True
            news.set()

        self._peers.writes.when_level(shard, levelled)
        if not is_level:
            awaited = self._levelling.setdefault(shard, set())
            awaited.add(news)
            await news.wait()
            awaited.discard(news)
            self.check(shard)
            if not is_level:  # it was lost, and is led here again
                raise moved(shard)

    async def level_all(self) -> None:
        """As ``level``, of every shard that this node leads; those that it loses meanwhile are left out. Raises what a disk refused."""
        for shard in self.ready_shards():
            try:
                if not self._is_level(shard):
                    await self.level(shard)
            except Moved:
                continue

    def _is_level(self, shard: int) -> bool:
        self.check(shard)
        replica = self._replica(shard)
        return replica.commit_position >= replica.log.last_position and self._peers.writes.is_level(shard)

    def when_level(self, shard: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once everything that this node knows of ``shard`` so far is in its storage."""
        self._peers.writes.when_level(shard, callback)

    # -- writing

    def append(self, log: Key, payloads: Sequence[Payload], previous_hash: bytes, head: LogHead, done: Done) -> bytes:
        """Append ``payloads`` to ``log``, with what ``head`` says of it. ``done`` is called on the event loop when they are committed,
        or with the error that leaves it uncertain. Returns the hash of the last segment, which is the ``previous_hash`` of the next
        append. Raises as ``check``, and ``PayloadTooLarge`` for a description that no other node takes; then nothing was appended."""
        shard = head.shard
        self.check(shard)
        replica = self._replica(shard)
        description = encode_description(Description(head.kind, head.identity, head.has_open_work, head.wake_ns, head.summary))
        if len(description) > DESCRIPTION_BYTES_MAX:
            raise PayloadTooLarge(
                f"the description of {head.identity} has {len(description)} bytes, at most {DESCRIPTION_BYTES_MAX}"
            )
        author, term = self._signer.public_key, replica.term
        segments: list[LogSegment] = []
        for payload in payloads:
            data, sealed_hash = seal(
                self._signer,
                key=log,
                term=term,
                first=payload.first,
                count=payload.count,
                previous_hash=previous_hash,
                payload=payload.data,
            )
            segments.append(
                LogSegment(log, term, payload.first, payload.count, previous_hash, author, sealed_hash, data, description)
            )
            previous_hash = sealed_hash
        if not replica.log.heads.extends(segments[0]):
            raise Moved(f"{log} has been written by another node", RETRY_AFTER_S)
        try:
            position = replica.append(segments)
        except InvalidState:
            raise moved(shard) from None
        self.segments_total += len(segments)
        self._await(shard, position, done)
        return previous_hash

    def delete(self, log: Key, done: Done) -> None:
        """End a log with all its segments. Raises as ``append``."""
        shard = log.shard(self.shards_count)
        self.check(shard)
        replica = self._replica(shard)
        if replica.log.heads.head(log) is None:
            done(None)  # it never was, or is gone
            return
        try:
            position = replica.delete(log)
        except InvalidState:
            raise moved(shard) from None
        self._await(shard, position, done)

    def _await(self, shard: int, position: int, done: Done) -> None:
        self._pending.setdefault(shard, deque()).append((position, done))
        self._peers.carry_out(self._peers.peer.flush(shard, self._peers.now_ns()))

    def _replica(self, shard: int) -> Replica:
        return self._peers.peer.shards[shard]

    # -- work

    def work_began(self, shard: int) -> None:
        """A worker of ``shard`` has something to do: the death of this node is to be noticed soon."""
        self._work.began(shard)

    def work_ended(self, shard: int) -> None:
        """Once for each ``work_began``."""
        self._work.ended(shard)

    def is_busy(self, shard: int) -> bool:
        return self._work.is_running(shard)

    # -- what the peer tells (drivers.peers.peer.ShardTenants)

    def started(self, shard: int, term: int) -> None:
        self._new.append(shard)
        if not self._is_settling:
            self._is_settling = True
            self._spawn(self._settle)

    def stopped(self, shard: int, reason: str) -> None:
        self._fail(shard, moved(shard))
        self._work.dropped(shard)
        for stopped in self._stopped:
            stopped(shard)

    def committed(self, shard: int, entries: Sequence[Entry]) -> None:
        pending = self._pending.get(shard)
        while pending and pending[0][0] <= entries[-1].position:
            pending.popleft()[1](None)
        if not self._peers.is_ready(shard):
            segments = [entry.content for entry in entries if isinstance(entry.content, LogSegment)]
            self._repair.want_segments(shard, (segment.data for segment in segments))
            for segment in segments:
                if segment.description.startswith(_COMPONENT_BEGINS):
                    self._component_seen(segment)

    def _component_seen(self, segment: LogSegment) -> None:
        """A component has a new version: have it ready before a worker of it is taken over."""
        try:
            identity = decode_description(segment.description, segment.log).identity
        except DataDamaged as error:
            logger.warning("description_not_read", extra={"log": str(segment.log), "error": str(error)})
        else:
            self._spawn(self.component_seen, identity)

    def stalled(self, shard: int, error: WorldError) -> None:
        self._fail(shard, error)

    def installed(self, shard: int) -> None:
        self._spawn(self._take_in, shard)

    def forgotten(self, shard: int) -> None:
        self._repair.forget(shard)

    async def _take_in(self, shard: int) -> None:
        """Logs came from others: say what they are, have what they name."""
        try:
            await self._describe(frozenset((shard,)))
            for head in await self._storage.heads("component", shards=(shard,)):
                await self.component_seen(head.identity)
            await self._repair.scan(shard)
        except Golemp2pError as error:  # again when this node begins to serve the shard
            logger.warning("shard_not_taken_in", extra={"shard": shard, "code": error.code, "error": str(error)})

    def _fail(self, shard: int, error: WorldError) -> None:
        pending = self._pending.pop(shard, None)
        while pending:
            pending.popleft()[1](error)
        for news in self._levelling.pop(shard, ()):
            news.set()

    async def _settle(self) -> None:
        """Tell the tenants of shards that have started, once it is known what their logs are."""
        try:
            while self._new:
                shards, self._new = self._new, []
                await self._describe(frozenset(shards))
                for shard in shards:
                    if self.is_ready(shard):
                        for started in self._started:
                            started(shard)
        finally:
            self._is_settling = False

    async def _describe(self, shards: frozenset[int]) -> None:
        for head in await self._storage.undescribed_heads():
            if head.shard in shards:
                await self._describe_log(head)


def moved(shard: int) -> Moved:
    return Moved(f"this node does not lead shard {shard}", RETRY_AFTER_S)
