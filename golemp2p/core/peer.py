"""One node's part in the mesh: all cores of a node as one machine, which a driver and the simulation run alike.

     message ──> by kind ──> Membership  who is there ──> suspicion ──────> every replica whose group has that peer
                             Liveness    who works     ──'             └──> Succession: who campaigns when nobody leads
                             Replica     per shard     ──serving──> Planner, Seats ──> changes of members, hand-over ──> Replica
                             Requests    find primaries ──nobody known──> Dht
                             Forward     ──> Requested, if this node serves the shard, else NotPrimary

Calls return effects, in order: those of ``core.effects``, ``core.replica_effects``, ``core.peer_effects``, and ``MemberChanged``,
``LonelyChanged``, ``Removed``, ``Expelled``, ``Answered``, ``GaveUp``, ``Dial``, ``NodesFound`` and ``RecordsFound`` of the parts. A
driver hands over the writes and messages of a list before it calls again because of its other effects: else writes of one replica
change places. Tokens of ``Persist`` are this node's own. What is sent to this node itself is turned round here. Idle shards have no
timer.

Replicas come and go: a shard of which this node hears from a primary is held from then on, blank at first; one whose group has
removed this node is forgotten but for its record (S9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from golemp2p.core.address_book import AddressBook
from golemp2p.core.announcements import Announcements
from golemp2p.core.beliefs import Authority, LonelyChanged, MemberChanged
from golemp2p.core.dht import Dht, Proofs, RecordsFound
from golemp2p.core.dice import Dice
from golemp2p.core.effects import Effect, Persist, Send
from golemp2p.core.liveness import Liveness, PeerHeard, PeerSilent
from golemp2p.core.membership import Membership
from golemp2p.core.notary import Notary
from golemp2p.core.peer_effects import Drained, PeerProfile, Requested
from golemp2p.core.peer_shards import PeerShards
from golemp2p.core.placement import Targets, best, targets
from golemp2p.core.planner import HandOver, Planner, ProposeConfiguration
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_effects import StartServing, StopServing
from golemp2p.core.requests import Locate, Requests
from golemp2p.model.dht import ShardHint, shard_hint_key
from golemp2p.model.membership import NodeRecord, Removal, Status
from golemp2p.model.messages_dht import DhtMessage
from golemp2p.model.messages_membership import LivenessMessage, MembershipMessage
from golemp2p.model.messages_requests import Answer, Busy, Forward, NotPrimary, RequestMessage
from golemp2p.model.messages_shard import ShardMessage
from golemp2p.model.replication import Branch, Member

Certify = Callable[[int], bytes]
"""The newest election certificate of a shard that this node serves, as ``wire.certificate`` encodes it."""


class Peer:
    """``record``: this node, unsigned, with an incarnation higher than in earlier lives (such as milliseconds of its clock), so that
    others notice that it started anew. ``durable``: what storage holds, by shard. ``size_of``: bytes to copy when a shard gets another
    replica. ``compute``, ``rank``: see ``Planner``."""

    def __init__(
        self,
        record: NodeRecord,
        durable: Mapping[int, ReplicaDurable],
        *,
        shards_count: int,
        notary: Callable[[int], Notary],
        authority: Authority,
        proofs: Proofs,
        dice: Dice,
        profile: PeerProfile | None = None,
        size_of: Callable[[int], int] = lambda _shard: 0,
        certify: Certify = lambda _shard: b"",
        compute: Callable[[Sequence[Any], int, int], Targets] = targets,
        rank: Callable[[int, Mapping[bytes, Any], int], tuple[bytes, ...]] = best,
    ) -> None:
        self.profile = profile = profile or PeerProfile()
        self.own = record.public_key
        self._certify = certify
        self._out: list[Effect] = []
        self.membership = Membership(record, authority, dice, profile.membership)
        self.liveness = Liveness(profile.liveness)
        self.planner = Planner(self.own, shards_count, profile.placement, compute, rank)
        self.requests = Requests(self._candidates, dice, profile.requests, lambda peer: not self.shards.is_suspected(peer))
        self.dht = Dht(self.membership.record, proofs, dice, profile.lookup)
        self.shards = PeerShards(
            Member(self.own, record.store_id), durable, shards_count=shards_count, notary=notary, dice=dice, profile=profile,
            size_of=size_of, member_of=self.membership.members.get, may_campaign=self._may_campaign, emit=self._emit,
            planner=self.planner,
        )  # fmt: skip
        self._seen: dict[bytes, tuple[int, bytes]] = {}  # of each member: incarnation and store
        self._announcements = Announcements(profile)
        self._located: dict[int, int] = {}  # lookup -> shard
        self._working: dict[int, None] = {}
        self._changed: dict[bytes, None] = {self.own: None}  # members of which the planner has not heard yet
        self._book = AddressBook(profile.remember_ns)
        self._drain_ns: int | None = None
        parts = (self.membership, self.liveness, self.shards, self.planner, self.requests, self.dht)
        self._dues = tuple(part.next_due_ns for part in parts)
        self._due_ns: int | None = None
        self._due_stale = True  # something happened since it was computed
        self._handlers: dict[type, Callable[[bytes, Any, int], None]] = {
            **dict.fromkeys(get_args(MembershipMessage), self._on_membership),
            **dict.fromkeys(get_args(LivenessMessage), self._on_liveness),
            **dict.fromkeys(get_args(DhtMessage), self._on_dht),
            **dict.fromkeys(get_args(RequestMessage), self._on_answer),
            Forward: self._on_forward,
            ShardMessage: self._on_shard,
        }

    # -- life

    def start(
        self,
        now_ns: int,
        *,
        known: Sequence[bytes] = (),
        remembered: Iterable[NodeRecord] = (),
        removals: Iterable[Removal] = (),
    ) -> list[Effect]:
        """Call it once, first. ``known``: public keys of members, from an invite or an earlier life: they are asked to let it in.
        ``remembered``: members who are taken to be there without being asked. ``removals``: those of which ``Removed`` told."""
        for removal in removals:
            self._node_level(self.membership.remove(removal, now_ns), now_ns)
        self._node_level(self.membership.remember(remembered, now_ns), now_ns)
        self.shards.start(now_ns)
        if known:
            self._node_level(self.membership.join(known, now_ns), now_ns)
        return self._done(now_ns)

    def leave(self, now_ns: int) -> list[Effect]:
        """Give every replica away, then say farewell: ``Drained``. Others see at once that this node takes nothing any more. It stays
        if nobody can take over what it has. To be called again after a restart."""
        record = self.membership.record
        self._node_level(self.membership.update(now_ns, addresses=record.addresses, weight=0, domain=record.domain), now_ns)
        self._drain_ns = now_ns
        self._changed[self.own] = None
        return self._done(now_ns)

    @property
    def is_outside(self) -> bool:
        """Whether this node is in no mesh yet: it asked to be let in, nobody has answered, and it holds nothing."""
        return self.membership.is_joining and not self.shards.held()

    def meet(self, peers: Sequence[bytes], now_ns: int) -> list[Effect]:
        """These public keys may be members, of whom this node learned elsewhere: strangers among them are asked to let it in."""
        strangers = [peer for peer in peers if not self.membership.is_alive(peer)]
        if strangers:
            self._node_level(self.membership.meet(strangers, now_ns), now_ns)
        return self._done(now_ns)

    def step_aside(self, shards: Iterable[int], now_ns: int) -> list[Effect]:
        """Hand over each of ``shards`` that this node serves to a live voter of it, while it stays a member: its process is about to
        end."""
        self.shards.step_aside(shards, now_ns)
        return self._done(now_ns)

    def remove(self, removal: Removal, now_ns: int) -> list[Effect]:
        """The operator ends the membership of a node; everybody will hear of it. Not signed by the operator, it does nothing."""
        self._node_level(self.membership.remove(removal, now_ns), now_ns)
        return self._done(now_ns)

    def recover_by_force(self, shard: int, order: Branch, now_ns: int) -> list[Effect]:
        """The operator has this node's replica go on alone. Raises ``InvalidState`` (``Replica.recover_by_force``)."""
        self.shards.recover_by_force(shard, order, now_ns)
        return self._done(now_ns)

    def give_way(self, shard: int, order: Branch, now_ns: int) -> list[Effect]:
        """The operator has another node's replica go on alone. Raises ``InvalidState`` (``Replica.give_way``)."""
        self.shards.give_way(shard, order, now_ns)
        return self._done(now_ns)

    # -- what happens to this node

    def receive(self, sender: bytes, message: Any, now_ns: int) -> list[Effect]:
        """``message`` of the node with public key ``sender``, which the transport has authenticated."""
        handler = self._handlers[message.__class__]
        effects = self.liveness.heard_from(sender, now_ns)
        if effects:
            self._node_level(effects, now_ns)
        handler(sender, message, now_ns)
        return self._done(now_ns)

    def connected(self, peer: bytes, now_ns: int) -> list[Effect]:
        """A new connection to ``peer``: what was under way on an old one may be lost."""
        self.shards.reconnected(peer, now_ns)
        return self._done(now_ns)

    def persisted(self, token: int, now_ns: int) -> list[Effect]:
        """The write with this token, and so all before it, is durable."""
        self.shards.persisted(token, now_ns)
        return self._done(now_ns)

    def next_due_ns(self) -> int | None:
        """When ``on_time`` should be called; ``None`` for a node that is alone and idle."""
        if self._due_stale:
            self._due_stale = False
            due_ns = self._drain_ns
            announce_ns = self._announcements.due_ns
            if announce_ns is not None and (due_ns is None or announce_ns < due_ns):
                due_ns = announce_ns
            for next_due_ns in self._dues:
                other_ns = next_due_ns()
                if other_ns is not None and (due_ns is None or other_ns < due_ns):
                    due_ns = other_ns
            self._due_ns = due_ns
        return self._due_ns

    def on_time(self, now_ns: int) -> list[Effect]:
        """Do what is due; may be called early or late."""
        for part in (self.membership, self.liveness, self.planner, self.requests, self.dht):
            due_ns = part.next_due_ns()
            if due_ns is not None and due_ns <= now_ns:
                self._node_level(part.on_time(now_ns), now_ns)
        due_ns = self.shards.next_due_ns()
        if due_ns is not None and due_ns <= now_ns:
            self.shards.on_time(now_ns)
        if self._drain_ns is not None and self._drain_ns <= now_ns:
            self._drain(now_ns)
        return self._done(now_ns)

    # -- what the node wants

    def submit(self, shard: int, idempotency_key: str, payload: Any, deadline_ns: int, now_ns: int) -> tuple[int, list[Effect]]:
        """A request to whoever is primary of ``shard``. Its number; ``Answered`` or ``GaveUp`` will carry it."""
        number, effects = self.requests.submit(shard, idempotency_key, payload, deadline_ns, now_ns)
        self._node_level(effects, now_ns)
        return number, self._done(now_ns)

    def answer(self, sender: bytes, message: Answer | NotPrimary | Busy, now_ns: int) -> list[Effect]:
        """To a ``Requested`` of ``sender``."""
        self._send(sender, message, now_ns)
        return self._done(now_ns)

    def flush(self, shard: int, now_ns: int) -> list[Effect]:
        """Ship what was queued with ``shards[shard].append`` and the like."""
        self.shards.flush(shard, now_ns)
        return self._done(now_ns)

    def work_began(self, shard: int, now_ns: int) -> list[Effect]:
        """This node, its primary, runs or waits for something in ``shard``: followers are to notice its death soon."""
        self._working[shard] = None
        self._node_level(self.liveness.work_began(shard, self.shards.others(shard), now_ns), now_ns)
        return self._done(now_ns)

    def work_ended(self, shard: int, now_ns: int) -> list[Effect]:
        """Nothing is left to do in ``shard``."""
        self._working.pop(shard, None)
        self._node_level(self.liveness.work_ended(shard), now_ns)
        return self._done(now_ns)

    # -- messages

    def _on_membership(self, sender: bytes, message: Any, now_ns: int) -> None:
        self._node_level(self.membership.receive(sender, message, now_ns), now_ns)

    def _on_liveness(self, sender: bytes, message: Any, now_ns: int) -> None:
        self._hear(sender, now_ns)
        if sender in self.membership.members:
            self._node_level(self.liveness.receive(sender, message, now_ns), now_ns)

    def _on_shard(self, sender: bytes, message: ShardMessage, now_ns: int) -> None:
        self._hear(sender, now_ns)
        if sender in self.membership.members:
            self.shards.receive(sender, message, now_ns)

    def _on_dht(self, sender: bytes, message: Any, now_ns: int) -> None:
        self._hear(sender, now_ns)
        member = self.membership.members.get(sender)
        if member is not None:
            self._node_level(self.dht.receive(member.record, message, now_ns), now_ns)

    def _on_answer(self, sender: bytes, message: Any, now_ns: int) -> None:
        self._hear(sender, now_ns)
        self._node_level(self.requests.receive(sender, message, now_ns), now_ns)

    def _on_forward(self, sender: bytes, forward: Forward, now_ns: int) -> None:
        self._hear(sender, now_ns)
        shard = forward.shard
        if self.shards.is_serving(shard):
            self._out.append(Requested(sender, forward))
        elif self.shards.leads(shard):
            self._send(sender, Busy(forward.number, self.profile.not_serving_ms), now_ns)
        else:
            self.shards.doubt(shard, now_ns)
            term, primary = max(self.shards.primary(shard), self.requests.primary(shard), key=lambda known: known[0])
            hint = None if primary in (self.own, sender) else primary
            self._send(sender, NotPrimary(forward.number, shard, term, hint), now_ns)

    def _hear(self, sender: bytes, now_ns: int) -> None:
        """Whoever says anything lives."""
        if sender != self.own:
            effects = self.membership.heard_from(sender, now_ns)
            if effects:
                self._node_level(effects, now_ns)

    # -- effects of the parts

    def _emit(self, effect: Effect, now_ns: int) -> None:
        """Of the shards."""
        if effect.__class__ is Send:
            self._send(effect.peer, effect.message, now_ns)
            return
        self._out.append(effect)
        if effect.__class__ is StartServing:
            self._node_level(self.requests.hint(effect.shard, effect.term, self.own, now_ns), now_ns)
            self._announcements.serving_began(effect.shard)
        elif effect.__class__ is StopServing:
            self._working.pop(effect.shard, None)
            self._node_level(self.liveness.work_ended(effect.shard), now_ns)
        elif effect.__class__ is Persist:
            for send in effect.then:
                self.liveness.sent_to(send.peer, now_ns)

    def _send(self, peer: bytes, message: Any, now_ns: int) -> None:
        if peer == self.own:
            self._handlers[message.__class__](peer, message, now_ns)
            return
        self.liveness.sent_to(peer, now_ns)
        self._out.append(Send(peer, message))

    def _node_level(self, effects: Sequence[Effect], now_ns: int) -> None:
        """Effects of everything but the shards."""
        for effect in effects:
            if effect.__class__ is Send:
                self._send(effect.peer, effect.message, now_ns)
                continue
            match effect:
                case MemberChanged():
                    self._member_changed(effect, now_ns)
                case PeerSilent(peer):
                    self._judge(peer, now_ns)
                    self._node_level(self.requests.lost(peer, now_ns), now_ns)
                case PeerHeard(peer):
                    self._judge(peer, now_ns)
                case LonelyChanged(lonely):
                    self._out.append(effect)
                    for peer in self.shards.peers():
                        self._judge(peer, now_ns)
                    if not lonely:
                        self.shards.hurry(now_ns)
                case ProposeConfiguration(shard, voters, learners):
                    self.shards.propose(shard, voters, learners, now_ns)
                case HandOver(shard, successor):
                    self.shards.hand_over(shard, successor, now_ns)
                case Locate(shard):
                    self._locate(shard, now_ns)
                case RecordsFound(number, _, records):
                    self._out.append(effect)
                    self._found(self._located.pop(number, None), records, now_ns)
                case _:
                    self._out.append(effect)

    def _locate(self, shard: int, now_ns: int) -> None:
        """Look for the shard's certificate, unless that is under way, or the mesh is so small that nobody puts any into the DHT."""
        if shard not in self._located.values() and self.membership.members.present_count > self.profile.hints_above:
            number, effects = self.dht.find_records(shard_hint_key(shard), now_ns, enough=1)
            self._located[number] = shard
            self._node_level(effects, now_ns)

    def _found(self, shard: int | None, records: Sequence[Any], now_ns: int) -> None:
        for record in records:
            if isinstance(record, ShardHint) and record.shard == shard:
                self._node_level(self.requests.hint(shard, record.term, record.primary, now_ns), now_ns)

    def _announce(self, now_ns: int) -> None:
        """Put certificates into the DHT."""
        for shard in self._announcements.take(now_ns):
            if self.shards.is_serving(shard):
                hint = ShardHint(shard, self.shards[shard].term, self.own, self._certify(shard))
                self._node_level(self.dht.publish(hint, now_ns), now_ns)

    # -- who is there

    def _member_changed(self, change: MemberChanged, now_ns: int) -> None:
        self._out.append(change)
        self.shards.member_changed()
        member = change.member
        key, record = member.public_key, member.record
        self._changed[key] = None
        before = self._seen.get(key)
        if member.status is Status.REMOVED:
            self._seen.pop(key, None)
        else:
            self._seen[key] = (record.incarnation, record.store_id)
        self._judge(key, now_ns)
        if not member.is_present:
            self._node_level(self.dht.lost(key, now_ns), now_ns)
            self.liveness.forget(key)
            self._node_level(self.requests.lost(key, now_ns), now_ns)
            return
        self._node_level(self.dht.contacted(record, now_ns), now_ns)
        if before is not None and before != (record.incarnation, record.store_id):
            if before[1] != record.store_id:
                self.shards.store_changed(key, now_ns)
            self.shards.reconnected(key, now_ns)
        elif change.before is None or change.before > Status.SUSPECT:
            self.shards.hurry(now_ns)

    def _judge(self, peer: bytes, now_ns: int) -> None:
        """Whether the replicas should hold ``peer`` dead: members not present, primaries with work that fell silent; and, for a node
        that hears nobody, everybody, so that it stops to serve (S10)."""
        is_dead = self.membership.is_lonely or not self.membership.is_alive(peer) or self.liveness.is_silent(peer)
        self.shards.judged(peer, now_ns, is_dead=is_dead)

    def _may_campaign(self) -> bool:
        return self.membership.may_campaign

    def _candidates(self, shard: int) -> Sequence[bytes]:
        """Whom to ask for ``shard``: its voters where this node knows them, else where placement puts it; in a small mesh everybody."""
        likely = self.shards.voters(shard) or self.planner.target(shard)
        members = self.membership.members
        if members.present_count > self.profile.hints_above:
            return likely
        return tuple(dict.fromkeys((*likely, *members.others())))

    def _drain(self, now_ns: int) -> None:
        if len(self.shards) == 0:
            self._drain_ns = None
            self._node_level(self.membership.leave(now_ns), now_ns)
            self._out.append(Drained())
        else:
            self._drain_ns = now_ns + self.profile.drain_tick_ns
            for shard in self.shards.deciding():  # it may have been removed, and nobody there to tell it
                self.shards.doubt(shard, now_ns)

    # -- the end of every call

    def _done(self, now_ns: int) -> list[Effect]:
        if self._changed:
            self._tell_planner(now_ns)
            serving = (shard for shard in self.shards.held() if self.shards.is_serving(shard))  # asked when all are due
            self._announcements.mesh_has(self.membership.members.present_count, serving)
        self._out += self._book.written(self._others, now_ns)
        self.shards.settle(now_ns)
        if self.shards.reconfigured:
            for shard in [shard for shard in self.shards.reconfigured if shard in self._working]:
                self._node_level(self.liveness.work_began(shard, self.shards.others(shard), now_ns), now_ns)
            self.shards.reconfigured.clear()
        if self._announcements.is_due(now_ns):
            self._announce(now_ns)
        self._due_stale = True
        out, self._out = self._out, []
        return out

    def _tell_planner(self, now_ns: int) -> None:
        """Of the members that changed, and of those that were dropped from the list without a word since they had long been dead."""
        members = self.membership.members
        if len(self._seen) >= len(members):
            for key in [key for key in self._seen if key not in members]:
                del self._seen[key]
                self._changed[key] = None
        changed, self._changed = self._changed, {}
        known = [member for key in changed if (member := members.get(key)) is not None]
        self.planner.members_changed(known, now_ns, gone=[key for key in changed if key not in members])
        for member in known:
            if member.public_key != self.own and member.is_present:
                self._book.met(member.record)

    def _others(self) -> list[NodeRecord]:
        members = self.membership.members
        return [member.record for key in members.others() if (member := members.get(key)) is not None]
