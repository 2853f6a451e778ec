"""Drives ``core.peer`` over a network, a storage and a clock: the node's part in the mesh as a running thing.

    Network ──message, connected──> Peer ──effects──> ReplicaWrites ──> storage         written first, sent first; then the rest:
    storage ──durable─────────────>      ──────────> Network                            ShardTenants   serving, stopped, committed
    clock ────due─────────────────>      ──────────> Asks, ShardTenants                 Asks           requests both ways

All calls of the core happen on the event loop, one after another, and none waits for anything. Times are trio's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

import trio

from golemp2p.core.beliefs import Expelled, LonelyChanged, MemberChanged, Removed
from golemp2p.core.dht import Dial
from golemp2p.core.effects import Notice, Persist, Send
from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import Drained, MembersKnown, Requested
from golemp2p.core.replica_effects import Committed, Installed, ReadSegments, StartServing, StopServing
from golemp2p.core.requests import Answered, GaveUp
from golemp2p.drivers.peers.asks import Asks
from golemp2p.drivers.peers.hand_overs import HandOvers
from golemp2p.drivers.peers.removals import Removals
from golemp2p.drivers.peers.replica_writes import ReplicaWrites
from golemp2p.errors import DataDamaged, Golemp2pError, PayloadTooLarge, RemoteError, RequestFailed, UsageError, WorldError
from golemp2p.mesh.calls import Call
from golemp2p.mesh.network import Network
from golemp2p.mesh.session import SessionStatistics
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import NodeRecord, Status
from golemp2p.model.messages_shard import FetchedSegments, ShardMessage
from golemp2p.model.replication import Entry
from golemp2p.ports import Asked, Bulk, Storage
from golemp2p.values import cbor
from golemp2p.wire.messages_membership import decode_node_record, encode_node_record
from golemp2p.wire.messages_shard import SEGMENTS_MAX

logger = logging.getLogger(__name__)

KNOWN = "known-members"
"""Name of the remembered members among the storage's metadata: CBOR, an array of encoded node records."""

KNOWN_MAX = 256
"""So many members are remembered."""

MEET_S, MEET_S_MAX = 2.0, 300.0
"""When an invite's contacts that are no members are asked again: at first, and at last."""

KEPT_MAX = 64
"""In a mesh of up to so many members each keeps a connection to every other; in a larger one, to whom it talks."""

SEGMENTS_BYTES_MAX = 2 << 20
"""Of one answer to a replica that catches up."""

ROUNDING_NS = 1_000
"""Seconds of trio's clock are floats: a deadline may be met a little early."""

Serve = Callable[[Asked], Awaitable[bytes]]


class ShardTenants(Protocol):
    """Who lives in the shards of this node, as long as it serves them."""

    def started(self, shard: int, term: int) -> None:
        """This node is primary, and everything that was committed before is in its storage."""

    def stopped(self, shard: int, reason: str) -> None:
        """Not any more: append nothing, answer nothing."""

    def committed(self, shard: int, entries: Sequence[Entry]) -> None:
        """Of any shard that this node holds."""

    def stalled(self, shard: int, error: WorldError) -> None:
        """The disk refuses what was appended: it may be committed later all the same."""

    def installed(self, shard: int) -> None:
        """Logs came from others, as of some base, without descriptions."""

    def forgotten(self, shard: int) -> None:
        """This node holds the shard no more."""


class PeerDriver:
    """``ports.Mesh`` for those who run here, and ``mesh.owner.Owner`` for the network. Built in two steps, since network and peer
    need to know it: ``run`` needs ``attach`` before."""

    def __init__(self, peer: Peer, storage: Storage, *, spawn: Callable[..., None], shards_count: int) -> None:
        self.peer = peer
        self.own = peer.own
        self.shards_count = shards_count
        self._storage = storage
        self._spawn = spawn
        self._network: Network | None = None
        self._tenants: ShardTenants | None = None
        self._calls: Mapping[int, Serve] = {}
        self.writes = ReplicaWrites(storage, spawn=spawn, persisted=self._persisted, stalled=self._stalled)
        self.asks = Asks(peer, carry_out=self.carry_out, now_ns=self.now_ns, spawn=spawn)
        self._ready: dict[int, int] = {}  # shard -> term
        self._starting: dict[int, int] = {}
        self._removals = Removals(storage)
        self._installing: dict[int, list[int]] = {}  # shard -> tokens of installs that are not durable yet
        self._nap = trio.CancelScope()
        self._has_started = self._is_closed = False
        self.hand_overs = HandOvers(self)
        self._alone: set[int] = set()  # shards of which this node is the only voter, and which it does not serve yet
        self.settled = trio.Event()
        """Every shard of which this node is the only voter is ready: a mesh of one node works."""
        self.drained = trio.Event()
        """This node has left the mesh."""
        self.expelled = trio.Event()
        """The operator has removed this node."""
        self.counts: dict[str, int] = {}

    def attach(self, network: Network, tenants: ShardTenants, calls: Mapping[int, Serve]) -> None:
        """``calls``: who serves which kind of call."""
        self._network, self._tenants, self._calls = network, tenants, calls

    # -- life

    async def run(
        self,
        contacts: Sequence[tuple[bytes, Sequence[str]]] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until cancelled. The network must be running. ``contacts``: public keys and addresses of an invite."""
        network = self._running()
        known = {record.public_key: record for record in await self._remembered()}
        for record in known.values():
            network.learn(record.public_key, record.addresses)
        for key, addresses in contacts:
            if key != self.own and key not in known:
                network.learn(key, addresses)
        keys = [key for key in dict.fromkeys((*known, *(key for key, _ in contacts))) if key != self.own]
        removals = await self._removals.load()
        # nothing may be waited for between these two: a core that has not started does not know which replicas it holds
        self._has_started = True
        effects = self.peer.start(self.now_ns(), known=keys, removals=removals)
        shards = self.peer.shards
        self._alone = {shard for shard in shards.held() if shards.voters(shard) == (self.own,)}
        self.carry_out(effects)
        if not self._alone:
            self.settled.set()
        task_status.started()
        self._spawn(self._meet_all, [key for key, _ in contacts if key != self.own])
        await self._keep_time()

    def close(self) -> None:
        """The node ends: it says nothing more to others, and hears of nothing that becomes durable from now on."""
        self._is_closed = True
        self.writes.close()

    def step_aside(self, shards: Iterable[int]) -> None:
        """Begin to hand ``shards`` over, those of them that this node leads and another voter could."""
        self.carry_out(self.peer.step_aside(shards, self.now_ns()))

    async def _keep_time(self) -> None:
        while True:
            due_ns = self.peer.next_due_ns()
            with trio.CancelScope(deadline=math.inf if due_ns is None else due_ns / 1e9) as self._nap:
                await trio.sleep_forever()
            now_ns, due_ns = self.now_ns(), self.peer.next_due_ns()
            if due_ns is not None and due_ns - now_ns < ROUNDING_NS:
                now_ns = max(now_ns, due_ns)
            self.carry_out(self.peer.on_time(now_ns))
            await trio.lowlevel.checkpoint()

    async def _meet_all(self, contacts: Sequence[bytes]) -> None:
        """Whoever let this node in may know nobody else, if they came together: those whom the invite names and who are no members are
        asked again, more and more seldom."""
        pause_s = MEET_S
        while strangers := [key for key in contacts if key not in self.peer.membership.members]:
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, MEET_S_MAX)
            if not self.peer.membership.is_joining:
                self.carry_out(self.peer.meet(strangers, self.now_ns()))

    async def _remembered(self) -> list[NodeRecord]:
        data = await self._storage.get_meta(KNOWN)
        if data is None:
            return []
        return [decode_node_record(bytes(record)) for record in cbor.loads(data, what="known members")]

    def now_ns(self) -> int:
        return int(trio.current_time() * 1e9)

    def _running(self) -> Network:
        assert self._network is not None, "attach comes first"
        return self._network

    def found(self, peer: bytes, addresses: Sequence[str]) -> None:
        """A node of this mesh may be at ``addresses``: worth a try if it is not known, or not there."""
        if not self._has_started or peer == self.own or self.peer.membership.is_alive(peer):
            return
        member = self.peer.membership.members.get(peer)
        known = () if member is None else member.record.addresses
        self._running().learn(peer, tuple(dict.fromkeys((*known, *addresses))))
        self.carry_out(self.peer.meet((peer,), self.now_ns()))

    # -- ports.Mesh

    def is_ready(self, shard: int) -> bool:
        return shard in self._ready

    def ready_shards(self) -> Sequence[int]:
        return list(self._ready)

    def primary(self, shard: int) -> bytes | None:
        if shard in self._ready:
            return self.own
        return max(self.peer.shards.primary(shard), self.peer.requests.primary(shard), key=lambda known: known[0])[1]

    def holders(self, shard: int) -> Sequence[bytes]:
        return self.peer.shards.voters(shard) or self.peer.planner.target(shard)

    def members(self) -> Sequence[NodeRecord]:
        members = self.peer.membership.members
        others = [member.record for key in members.others() if (member := members.get(key)) is not None and member.is_present]
        return [self.peer.membership.record, *others]

    async def ask(self, shard: int, key: str, payload: bytes, *, deadline_s: float) -> bytes:
        self._check_hope(shard)
        return await self.asks.ask(shard, key, payload, deadline_s)

    def _check_hope(self, shard: int) -> None:
        """Raises ``DataDamaged`` for a shard of which this node is the only voter and has not all that it should have: nobody can lead
        it, and nobody can mend it. Not for one that another node leads: a founder that takes a shard in again begins with the
        configuration of its birth, itself alone, and has yet to hear of the others."""
        shards = self.peer.shards
        is_alone = shard in shards and shards.voters(shard) == (self.own,) and self.primary(shard) in (None, self.own)
        if is_alone and shards[shard].is_damaged:
            raise DataDamaged(
                f"shard {shard}",
                "the only node that has it has lost part of it, or reads damage there; restore a backup, or have it go on without that:"
                f" golemp2p mesh recover --force {shard}",
            )

    async def request(self, peer: bytes, kind: int, payload: bytes, *, deadline_s: float) -> bytes:
        if peer == self.own:
            return await self._serve_here(kind, payload)
        return await self._running().request(peer, kind, payload, deadline_s=deadline_s)

    def fetch(self, peer: bytes, kind: int, payload: bytes, *, progress_s: float) -> AbstractAsyncContextManager[Bulk]:
        if peer == self.own:
            raise UsageError("a node has its own data")
        return self._running().fetch(peer, kind, payload, progress_s=progress_s)

    async def _serve_here(self, kind: int, payload: bytes) -> bytes:
        return await self._calls[kind](_OwnCall(self.own, payload))

    def statistics(self) -> dict[str, float]:
        """Metrics by name; names ending in ``_total`` are counters."""
        network = self._running().statistics()
        traffic = network.traffic
        members = self.peer.membership.members
        return {
            "mesh_members": members.present_count,
            "mesh_connections": network.connections,
            "mesh_dials_total": network.dials,
            "mesh_dials_failed_total": network.dials_failed,
            "mesh_writes_total": traffic.writes,
            "mesh_bytes_sent_total": traffic.bytes_sent,
            "mesh_bytes_received_total": traffic.bytes_received,
            "mesh_messages_sent_total": traffic.messages_sent,
            "mesh_messages_received_total": traffic.messages_received,
            "mesh_messages_dropped_total": traffic.messages_dropped + network.messages_dropped,
            "mesh_queued_bytes": traffic.queued_bytes,
            "mesh_asked_total": self.asks.asked_total,
            "mesh_served_total": self.asks.served_total,
            "mesh_asking": self.asks.under_way,
            "shards_held": len(self.peer.shards.held()),
            "shards_ready": len(self._ready),
            "shards_stalled": len(self.writes.stalled),
            **{f"mesh_{_metric(name)}_total": count for name, count in self.counts.items()},
        }

    def traffic(self) -> dict[bytes, SessionStatistics]:
        """Of each connection, by the peer's public key."""
        return self._running().traffic()

    def troubles(self) -> list[str]:
        """Whom this node has no connection to, and why."""
        return [f"{NodeId.of(peer)}: {error}" for peer, error in self._running().troubles().items()]

    # -- mesh.owner.Owner

    def connected(self, peer: bytes) -> None:
        if self._has_started:
            self.carry_out(self.peer.connected(peer, self.now_ns()))

    def disconnected(self, peer: bytes, reason: Golemp2pError) -> None:
        pass  # who is alive is for the membership to find out

    def message(self, peer: bytes, message: Any) -> None:
        if self._has_started:  # else it is lost, as messages may be
            self.carry_out(self.peer.receive(peer, message, self.now_ns()))

    def misbehaved(self, peer: bytes | None, what: RemoteError) -> None:
        self._count(f"misbehaviour_{what.code}")
        if peer is not None:  # else it is a stranger, who may say anything
            logger.warning("peer_misbehaved", extra={"peer": str(NodeId.of(peer)), "code": what.code, "error": str(what)})

    def notice(self, notice: Notice) -> None:
        self._count(notice.name)
        logger.debug(notice.name, extra={"fields": _printable(notice)})

    async def serve(self, call: Call) -> bytes:
        serve = self._calls.get(call.kind)
        if serve is None:
            raise RequestFailed("unknown-call", f"this node serves no calls of kind {call.kind}")
        return await serve(call)

    # -- effects

    def carry_out(self, effects: Sequence[Any]) -> None:
        """Writes and messages first: what the others lead to, as calls of the core, must come after them."""
        if self._is_closed:
            return
        others = []
        for effect in effects:
            kind = effect.__class__
            if kind is Send:
                self._send(effect)
            elif kind is Persist:
                if effect.write.is_install:
                    self._installing.setdefault(effect.write.shard, []).append(effect.token)
                self.writes.submit(effect)
            else:
                others.append(effect)
        for effect in others:
            self._handle(effect)
        self._hurry()

    def _hurry(self) -> None:
        """Wake up in time for what is due next."""
        due_ns = self.peer.next_due_ns()
        if due_ns is not None and due_ns / 1e9 < self._nap.deadline:
            self._nap.deadline = due_ns / 1e9

    def _handle(self, effect: Any) -> None:
        match effect:
            case Committed(shard, entries):
                self._tenant().committed(shard, entries)
            case Requested():
                self.asks.requested(effect)
            case Answered():
                self.asks.answered(effect)
            case GaveUp():
                self.asks.gave_up(effect)
            case StartServing(shard, term):
                self._starting[shard] = term
                self.writes.when_level(shard, partial(self._is_level, shard, term))
            case StopServing(shard, reason):
                self._starting.pop(shard, None)
                if self._ready.pop(shard, None) is not None:
                    self._tenant().stopped(shard, reason)
            case ReadSegments():
                self._spawn(self._read, effect)
            case MemberChanged():
                self._member_changed(effect)
            case Dial(record, message):
                self._running().learn(record.public_key, record.addresses)
                self._send(Send(record.public_key, message))
            case MembersKnown(records):
                self._spawn(self._remember, records)
            case Removed(removal):
                self._spawn(self._removals.add, removal)
            case Notice():
                self.notice(effect)
            case LonelyChanged(lonely):
                logger.warning("node_lonely" if lonely else "node_heard_again")
            case Drained():
                self.drained.set()
            case Expelled():
                logger.error("node_expelled")
                self.expelled.set()
            case Installed():
                pass  # told when it is durable

    def _send(self, send: Send) -> None:
        try:
            self._running().send(send.peer, send.message)
        except PayloadTooLarge as error:  # our mistake: nothing this large is made
            self._count("message_too_large")
            logger.error("message_too_large", extra={"error": str(error)})  # noqa: TRY400  # the text says it all

    def _persisted(self, writes: Sequence[Persist]) -> None:
        for write in writes:
            for send in write.then:
                self._send(send)
        now_ns = self.now_ns()
        for write in writes:
            self.carry_out(self.peer.persisted(write.token, now_ns))
            self._installed(write)

    def _installed(self, write: Persist) -> None:
        shard = write.write.shard
        if write.write.is_forgotten and shard not in self.peer.shards:
            self._tenant().forgotten(shard)
        tokens = self._installing.get(shard)
        if tokens and write.token in tokens:
            tokens.remove(write.token)
            if not tokens:
                del self._installing[shard]
                self._tenant().installed(shard)

    def _is_level(self, shard: int, term: int) -> None:
        """Everything that was written before this node began to serve is durable here."""
        if self._starting.get(shard) == term:
            del self._starting[shard]
            self._ready[shard] = term
            self._tenant().started(shard, term)
            if shard in self._alone:
                self._alone.discard(shard)
                if not self._alone:
                    self.settled.set()

    def _stalled(self, shard: int, error: WorldError) -> None:
        """The disk refuses. The others of the shard's group may have what was appended, and can go on: one of them should lead."""
        self.step_aside((shard,))
        if shard in self._ready:
            self._tenant().stalled(shard, error)

    def _tenant(self) -> ShardTenants:
        assert self._tenants is not None, "attach comes first"
        return self._tenants

    async def _read(self, wanted: ReadSegments) -> None:
        """Segments for a replica that catches up; it asks again for what is not there."""
        try:
            found = await self._storage.replica_segments(
                wanted.shard, wanted.log, first=wanted.first, tail=wanted.tail, position=wanted.position,
                count_max=SEGMENTS_MAX, bytes_max=SEGMENTS_BYTES_MAX,
            )  # fmt: skip
        except Golemp2pError as error:
            logger.warning("segments_not_read", extra={"shard": wanted.shard, "log": str(wanted.log), "error": str(error)})
            found = []
        replica = self.peer.shards.held().get(wanted.shard)
        if replica is not None:
            body = FetchedSegments(wanted.log, wanted.first, tuple(found))
            store_id = self.peer.membership.record.store_id
            self._send(Send(wanted.peer, ShardMessage(wanted.shard, replica.log.branch, replica.term, store_id, body)))

    # -- members

    def _member_changed(self, change: MemberChanged) -> None:
        member = change.member
        if member.public_key == self.own:
            return
        network = self._running()
        if member.status is Status.REMOVED:
            network.forget(member.public_key)
            return
        network.learn(member.public_key, member.record.addresses)
        is_few = self.peer.membership.members.present_count <= KEPT_MAX
        network.keep(member.public_key, kept=is_few and member.is_present)
        if member.status is not change.before:
            told = {"peer": str(NodeId.of(member.public_key)), "status": member.status.name.lower()}
            logger.log(logging.WARNING if member.status is Status.DEAD else logging.INFO, "member_changed", extra=told)

    async def _remember(self, records: Sequence[NodeRecord]) -> None:
        data = cbor.dumps([encode_node_record(record) for record in records[:KNOWN_MAX]])
        try:
            await self._storage.put_meta(KNOWN, data)
        except WorldError as error:
            logger.warning("members_not_remembered", extra={"error": str(error)})

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


class _OwnCall:
    """A call of this node to itself."""

    def __init__(self, peer: bytes, payload: bytes) -> None:
        self.peer, self.payload = peer, payload

    async def send(self, chunk: bytes) -> None:
        raise UsageError("a node does not stream to itself")


def _metric(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _printable(notice: Notice) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in notice.fields}
