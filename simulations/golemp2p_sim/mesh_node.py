"""A whole node: the composed core of a peer (``golemp2p.core.peer``) over the simulated network and disk, with its workers.

    world ──packet, time, durable, request──> Peer ──effects──> copies of workers, desk ──> one write, one packet per peer, answers

Everything that one event leads to shares one durable write, and one packet to each peer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from golemp2p.core.beliefs import MemberChanged
from golemp2p.core.dht import Dial, RecordsFound
from golemp2p.core.effects import Persist, Send
from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import Drained, MembersKnown, Requested
from golemp2p.core.replica import Replica
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_effects import Committed, Installed, ReadSegments, StartServing, StopServing
from golemp2p.core.requests import Answered, GaveUp
from golemp2p.model.dht import ShardHint
from golemp2p.model.membership import NodeRecord, Status
from golemp2p.model.messages_shard import FetchedSegments, RequestVote, ShardMessage
from golemp2p.model.replication import Configuration, Member
from golemp2p_sim.mesh_copy import MeshCopy
from golemp2p_sim.mesh_desk import MeshDesk
from golemp2p_sim.mesh_image import MeshImage, MeshWrite, Present
from golemp2p_sim.mesh_wire import Packet, Trust, bundled, is_vote
from golemp2p_sim.node import Answered as AnsweredSeen
from golemp2p_sim.node import (
    BecamePrimary,
    Departed,
    Effects,
    Executed,
    Halt,
    HandedOver,
    HeldAlive,
    HeldDead,
    Invoked,
    LookedUp,
    Repaired,
    ReplicaView,
    Request,
    Sometimes,
    Step,
    Surroundings,
)
from golemp2p_sim.node import Committed as CommittedSeen
from golemp2p_sim.shard_seen import Stored
from golemp2p_sim.shard_wire import HashNotary
from golemp2p_sim.shard_witness import PROMISES, Witness
from golemp2p_sim.units import MS

if TYPE_CHECKING:
    from golemp2p_sim.mesh import Mesh

SEGMENTS_PER_ANSWER = 64
WHOLE_TICK_NS = 500 * MS
"""How often a node whose store was lost or damaged looks whether it is whole again."""
LOOK_NS = 250 * MS
"""How often the judges are told what this node serves while it holds others dead."""

TOLD_FIRST = (Invoked, CommittedSeen, Executed, AnsweredSeen)


def store_id(store: int) -> bytes:
    return b"store %d" % store + bytes(10 - len(b"%d" % store))


class MeshNode:
    """One process."""

    def __init__(self, mesh: Mesh, surroundings: Surroundings) -> None:
        self._mesh, self._dice = mesh, surroundings.dice
        self._me, self._keys = surroundings.index, surroundings.keys
        self._founder, self._contacts = surroundings.founder and surroundings.store == 0, surroundings.contacts
        self._key = surroundings.keys[surroundings.index]
        self._store = surroundings.store
        self.member = Member(self._key, store_id(self._store))
        self._harmed = surroundings.store != 0
        self._out: list[Any] = []
        self._writes: list[Any] = []
        self._tokens: dict[int, tuple[int, ...]] = {}
        self._token = 0
        self._known: tuple[NodeRecord, ...] | None = None
        self._copies: dict[int, MeshCopy] = {}
        self._rebuilding: dict[int, int] = {}  # token of the peer -> shard
        self._whole_ns: int | None = None
        self._held_dead: dict[bytes, None] = {}
        self._seen: list[Any] = []  # what replicas hand to the disk, and promise by packets of this event and of its write
        self._behind: dict[bytes, list[Any]] = {}
        self._behind_write: dict[bytes, list[Any]] = {}
        self._forgot: list[Any] = []
        self._lives: dict[int, int] = {}  # shard -> how many lives its replica has ended, the last perhaps not on the disk yet
        self._look_ns = 0

    # -- SimulatedNode --------------------------------------------------------------------------------------------------------

    def start(self, image: Any, now_ns: int) -> Effects:
        assert isinstance(image, MeshImage), "the disk of this subject"
        self._image = image
        self._harmed = self._harmed or image.rotten
        self._witness = Witness(self.member, self._durable_of)
        mesh = self._mesh
        is_grown = mesh.grown and image.is_blank and self._store == 0
        record = mesh.record(self._me, self._store, 0 if is_grown else now_ns // MS)
        if is_grown:
            image.shards.update(mesh.grown_shards(self.member))
        elif image.is_blank and self._founder:
            for shard in range(self._mesh.shards_count):
                image.shards[shard] = ReplicaDurable.at_birth(self.member)
        self._peer = Peer(
            record, image.shards, shards_count=self._mesh.shards_count, notary=self._notary, authority=Trust(), proofs=Trust(),
            dice=self._dice, profile=self._mesh.profile, compute=self._mesh.targets, rank=self._mesh.rank, size_of=self._size_of,
        )  # fmt: skip
        self._desk = MeshDesk(self._peer, self._mesh.shard_of, copy_of=self._copy, carry_out=self._carry_out, out=self._out_one)
        known = tuple(member.public_key for member in image.known) or tuple(self._keys[i] for i in self._contacts)
        effects = self._peer.start(now_ns, known=() if is_grown else known, remembered=mesh.records() if is_grown else ())
        for shard in self._peer.shards.held():
            copy = self._copy(shard)
            copy.rebuild(image.shards.get(shard, ReplicaDurable()), self._out, self._applied_to(copy, now_ns))
            if copy.replica.is_damaged:
                self._out.append(Sometimes("a damaged replica started"))
        if self._harmed:
            self._whole_ns = now_ns + WHOLE_TICK_NS
        self._carry_out(effects, now_ns)
        return self._done()

    def next_due_ns(self) -> int | None:
        due_ns = self._peer.next_due_ns()
        for other_ns in (self._desk.next_due_ns(), self._whole_ns):
            if other_ns is not None and (due_ns is None or other_ns < due_ns):
                due_ns = other_ns
        return due_ns

    def on_time(self, now_ns: int) -> Effects:
        self._carry_out(self._peer.on_time(now_ns), now_ns)
        self._desk.on_time(now_ns)
        if self._whole_ns is not None and self._whole_ns <= now_ns:
            self._look_whole(now_ns)
        if self._look_ns <= now_ns:
            self._look_serving(now_ns)
        return self._done()

    def on_message(self, sender: bytes, message: Any, now_ns: int) -> Effects:
        peer = self._peer
        for part in message.messages:
            if part.__class__ is ShardMessage and part.body.__class__ is RequestVote and part.shard in peer.shards:
                self._witness.hears(self._copy(part.shard), sender, part)
            effects = peer.receive(sender, part, now_ns)
            if effects:
                self._carry_out(effects, now_ns)
        if self._look_ns <= now_ns:
            self._look_serving(now_ns)
        return self._done()

    def on_persisted(self, token: int, now_ns: int) -> Effects:
        for part in self._tokens.pop(token):
            shard = self._rebuilding.pop(part, None)
            self._carry_out(self._peer.persisted(part, now_ns), now_ns)
            copy = self._copies.get(shard) if shard is not None else None
            if copy is not None and copy.installing == part and shard in self._peer.shards:  # it has not started over since
                copy.rebuild(self._image.shards[copy.shard], self._out, self._applied_to(copy, now_ns))
                self._out.append(Sometimes("a replica caught up by manifest"))
                if copy.replica.is_serving:
                    self._desk.serving_began(copy, now_ns)
        return self._done()

    def on_write_failed(self, token: int, now_ns: int) -> Effects:
        return (Halt("the disk refused a write"),)

    def on_reset(self, peer: bytes, now_ns: int) -> Effects:
        self._carry_out(self._peer.connected(peer, now_ns), now_ns)
        return self._done()

    def on_request(self, request: Request, now_ns: int) -> Effects:
        self._desk.request(request, now_ns)
        return self._done()

    def on_leave(self, now_ns: int) -> Effects:
        self._carry_out(self._peer.leave(now_ns), now_ns)
        return self._done()

    def replicas(self) -> Sequence[ReplicaView]:
        shards = self._peer.shards
        return [self._copy(shard).view(is_member=self._mesh.has_vote(shards.me, shard)) for shard in shards.held()]

    def chain_at(self, shard: int, position: int) -> int | None:
        return self._copy(shard).chain_at(position) if shard in self._peer.shards else None

    def queues(self) -> Mapping[str, tuple[int, int]]:
        return self._desk.queues()

    # -- for the subject

    def held(self) -> Mapping[int, Any]:
        """The replicas, by shard."""
        return self._peer.shards.held()

    def configuration(self, shard: int) -> tuple[tuple[int, int], Configuration] | None:
        """End of the log (term, position), and the configuration in it, as this node's replica has them; ``None``: it holds none."""
        if shard not in self._peer.shards:
            return None
        log = self._peer.shards[shard].log
        return None if log.is_blank else (log.last, log.configuration)

    def replica_of(self, message: Any) -> Replica | None:
        """The replica that ``message`` is about, for liars."""
        return self._peer.shards.held().get(message.shard) if type(message) is ShardMessage else None

    # -- effects of the peer --------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: Sequence[Any], now_ns: int) -> None:
        """Writes and messages first: what the others lead to (a commit may have a worker call another) must come after them."""
        others = []
        for effect in effects:
            kind = effect.__class__
            if kind is Persist:
                self._writes.append(effect)
                if effect.write.is_install:
                    self._rebuilding[effect.token] = effect.write.shard
                self._witness_write(effect)
            elif kind is Send:
                self._out.append(effect)
                if effect.message.__class__ is ShardMessage and effect.message.body.__class__ in PROMISES:
                    self._witness_promise(effect, self._behind)
            else:
                others.append(effect)
                if kind is StopServing:
                    self._out += self._witness.stopped(effect.shard, effect.reason)
        for effect in others:
            if effect.__class__ is Committed:
                if effect.shard in self._peer.shards:  # else that it is removed was the news
                    copy = self._copy(effect.shard)
                    self._out += self._witness.settled(copy, effect.entries[-1].position)
                    copy.apply(effect.entries, self._out, self._applied_to(copy, now_ns))
                continue
            match effect:
                case Dial(record, message):
                    self._out.append(Send(record.public_key, message))
                case Requested():
                    self._desk.requested(effect, now_ns)
                case Answered():
                    self._desk.answered(effect, now_ns)
                case GaveUp():
                    self._desk.gave_up(effect, now_ns)
                case StartServing(shard, term):
                    if shard in self._peer.shards:  # as above
                        self._serving_began(shard, term, now_ns)
                case StopServing(shard, reason):
                    self._out.append(Sometimes(f"a primary stopped: {reason}"))
                    if reason == "hand-over":
                        self._out += (HandedOver(shard), Step("hand-over"))
                    self._desk.serving_ended(shard, now_ns)
                case ReadSegments():
                    self._read(effect)
                case Installed(shard, _):
                    if shard in self._peer.shards:
                        copy = self._copy(shard)
                        copy.stale, copy.installing = True, max(t for t, of in self._rebuilding.items() if of == shard)
                    self._out.append(Step("installed"))
                case MembersKnown(records):
                    self._known = records
                case MemberChanged():
                    self._member_changed(effect)
                case RecordsFound(records=records):
                    named = [record.primary for record in records if isinstance(record, ShardHint)]
                    dead = sum(not self._mesh.runs(primary) for primary in named)
                    self._out.append(LookedUp(effect.hops, effect.rpcs, dead))
                case Drained():
                    self._out.append(Departed())
                case _:
                    self._out.append(effect)  # Notice

    def _serving_began(self, shard: int, term: int, now_ns: int) -> None:
        copy = self._copy(shard)
        if copy.served_term < term:
            copy.served_term = term
            self._out += (BecamePrimary(shard, term), Step("became-primary"))
        self._out += self._witness.serving(copy, begins=True)
        if not copy.stale:
            self._desk.serving_began(copy, now_ns)

    def _member_changed(self, change: MemberChanged) -> None:
        peer, is_dead = change.member.public_key, change.member.status is Status.DEAD
        if is_dead and peer not in self._held_dead:
            self._held_dead[peer] = None
            self._out.append(HeldDead(peer))
        elif not is_dead and peer in self._held_dead:
            del self._held_dead[peer]
            self._out.append(HeldAlive(peer))

    def _read(self, wanted: ReadSegments) -> None:
        """What is durable now; what was handed over and is not yet there is asked for again."""
        replica = self._peer.shards[wanted.shard]
        found = tuple(self._image.shards[wanted.shard].read_for(wanted)[:SEGMENTS_PER_ANSWER])
        answer = FetchedSegments(wanted.log, wanted.first, found)
        said = ShardMessage(wanted.shard, replica.log.branch, replica.term, store_id(self._store), answer)
        self._out.append(Send(wanted.peer, said))

    def _copy(self, shard: int) -> MeshCopy:
        """Of the replica that is held now: one that was forgotten and taken in again starts anew."""
        replica = self._peer.shards[shard]
        copy = self._copies.get(shard)
        if copy is None or copy.replica is not replica:
            copy = self._copies[shard] = MeshCopy(shard, replica, self._key, self._mesh.chains_of(shard))
            self._seen.append(self._witness.born(copy))
        return copy

    def _applied_to(self, copy: MeshCopy, now_ns: int) -> Any:
        return lambda _at, entry, _result, derived: self._desk.applied(copy, entry, derived, now_ns)

    def _notary(self, _shard: int) -> HashNotary:
        return HashNotary(self._key)

    def _size_of(self, shard: int) -> int:
        return self._mesh.shard_bytes * len(self._copy(shard).state.results)

    def _out_one(self, effect: Any) -> None:
        self._out.append(effect)

    # -- for the judges of rules

    def _witness_write(self, effect: Persist) -> None:
        shard = effect.write.shard
        copy = self._copy(shard) if shard in self._peer.shards else self._copies.get(shard)
        if copy is None:
            return
        if effect.write.is_forgotten:
            self._lives[shard] = self._lives.get(shard, self._image.ended(shard)) + 1
            self._forgot += self._witness.forgot(shard, effect.write)
        self._seen += self._witness.written(copy, effect.write)
        for send in effect.then:
            if send.message.body.__class__ in PROMISES:
                self._witness_promise(send, self._behind_write)

    def _durable_of(self, shard: int) -> Stored:
        image = self._image
        durable, ended = image.shards.get(shard), image.ended(shard)
        life = self._lives.get(shard, ended)
        return Present(image, shard, life) if durable is None or life != ended else durable

    def _witness_promise(self, send: Send, behind: dict[bytes, list[Any]]) -> None:
        """One that its group has just removed promises nothing any more."""
        shard = send.message.shard
        if shard in self._peer.shards:
            behind.setdefault(send.peer, []).extend(self._witness.promises(self._copy(shard), send))

    def _look_serving(self, now_ns: int) -> None:
        self._look_ns = now_ns + LOOK_NS
        for shard in self._peer.shards.held():
            self._out += self._witness.serving(self._copy(shard))

    # -- is everything here that should be?

    def _look_whole(self, now_ns: int) -> None:
        """No group counts on what this node had before, and nothing of what it has is damaged."""
        self._whole_ns = now_ns + WHOLE_TICK_NS
        if self._mesh.is_whole(self._me, self._peer):
            self._whole_ns = None
            self._harmed = self._image.rotten = False
            self._out += (Sometimes("what was lost or rotten was repaired"), Repaired())

    # -- the end of every event -----------------------------------------------------------------------------------------------

    def _done(self) -> Effects:
        if not self._writes and self._known is None and not self._seen and len(self._out) < 2:
            out, self._out = self._out, []
            packed = [Send(e.peer, Packet((e.message,))) if e.__class__ is Send else e for e in out]
            return packed + self._behind.pop(packed[0].peer) if self._behind else packed
        sends: list[Send] = []
        told: list[Any] = []  # what a crash must not keep from the judges while the write that follows from it survives
        others: list[Any] = []
        for effect in self._out:
            if effect.__class__ is Send:
                sends.append(effect)
            else:
                (told if effect.__class__ in TOLD_FIRST else others).append(effect)
        self._out = []
        packed = bundled(sends, self._behind)
        seen, self._seen, self._behind = self._seen, [], {}
        if not self._writes and self._known is None:
            return [*told, *seen, *others, *packed]
        votes = any(is_vote(send.message) for write in self._writes for send in write.then)
        return [*told, *seen, self._write(), *others, *packed, *([Step("voted")] if votes else ())]

    def _write(self) -> Persist:
        """All writes of this event as one."""
        self._token += 1
        writes, self._writes = self._writes, []
        self._tokens[self._token] = tuple([write.token for write in writes])
        write = MeshWrite(tuple([write.write for write in writes]), self._known)
        packed = bundled([send for write in writes for send in write.then], self._behind_write)
        then = (*packed, *self._forgot)
        self._known, self._behind_write, self._forgot = None, {}, []
        return Persist(write, self._token, then)
