"""A node that runs the real replica core (``golemp2p.core.replica``) for a handful of shards, over the simulated network and disk.

    detector ──suspected, alive──> Replica per shard ──Persist──> disk ──> persisted      Committed ──> workers ──> desk ──> answers
        └──nobody leads──> campaign, by rank                StartServing, StopServing ──> desk

The detector is simple: neighbours (nodes of shared shards) say ``Alive`` every 200 ms and are suspected after a second of silence; a
node that slept itself suspects nobody for it. A node whose store was lost comes back as another member; primaries that hear of it
take it in as a learner, then make it a voter in the old one's place.

**Infidelities:** every shard is born with all its voters; one detector in place of membership and liveness; no compaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from golemp2p.core.effects import Persist, Send
from golemp2p.core.replica import Replica
from golemp2p.core.replica_effects import Committed, ReadSegments, StartServing, StopServing
from golemp2p.core.replica_state import Role
from golemp2p.errors import InvalidState
from golemp2p.model.messages_shard import FetchedSegments, ShardMessage, Voted
from golemp2p.model.replication import Member
from golemp2p_sim.node import (
    BecamePrimary,
    Effects,
    Halt,
    Repaired,
    ReplicaView,
    Request,
    Sometimes,
    Step,
    Surroundings,
)
from golemp2p_sim.randomness import node_key
from golemp2p_sim.shard_copy import ShardCopy
from golemp2p_sim.shard_desk import ShardDesk
from golemp2p_sim.shard_image import ShardImage
from golemp2p_sim.shard_voters import Shuffle, replace_lost
from golemp2p_sim.shard_wire import Alive, HashNotary
from golemp2p_sim.shard_witness import Witness
from golemp2p_sim.toy_messages import Answer, Forward
from golemp2p_sim.units import MS

if TYPE_CHECKING:
    from golemp2p_sim.shard_subject import Shards

TICK_NS, TICK_JITTER_NS = 100 * MS, 30 * MS
ALIVE_NS = 200 * MS
SUSPECT_NS = 1_000 * MS
PAUSE_NS = 500 * MS
"""A tick this late means that we stood still: everybody gets the time back."""
CAMPAIGN_NS, RANK_NS, CAMPAIGN_JITTER_NS = 300 * MS, 250 * MS, 200 * MS
CAMPAIGN_AGAIN_NS = 1_000 * MS
SEGMENTS_PER_ANSWER = 64


def member_of(index: int, store: int = 0) -> Member:
    return Member(node_key(index), b"%d" % store + bytes(16 - len(b"%d" % store)))


def _is_vote(send: Send) -> bool:
    """A vote given, not a trial's."""
    body = send.message.body
    return type(body) is Voted and not body.trial and body.refusal is None


@dataclass(slots=True)
class Neighbour:
    """Another node of shared shards. ``told``: its newest ``Alive``; ``leads``: the shards that it says there to be primary of."""

    shards: tuple[int, ...]
    heard_ns: int
    suspected: bool = False
    told: Alive | None = None
    leads: tuple[int, ...] = ()


class ShardNode:
    """One process."""

    def __init__(self, subject: Shards, surroundings: Surroundings) -> None:
        self._subject, self._dice = subject, surroundings.dice
        self._me, self._keys = surroundings.index, surroundings.keys
        self._key = surroundings.keys[surroundings.index]
        self._index = subject.index_of(surroundings.keys)
        self.member = member_of(surroundings.index, surroundings.store)
        self._life = surroundings.dice.getrandbits(40)
        self._out: list[Any] = []
        self._desk = ShardDesk(
            self._me, self._keys, subject.groups(), subject.shard_of,
            index=self._index, dice=self._dice, out=self._emit, flush=self._flush,
        )  # fmt: skip
        self._copies = self._desk.copies
        self._neighbours: dict[bytes, Neighbour] = {}
        self._dues: dict[int, int] = {}
        self._tokens: dict[int, tuple[int, int]] = {}
        self._token = 0
        self._tick_ns = self._alive_ns = 0
        self._is_carrying = False
        self._proposed: list[ShardCopy] = []
        self._image = ShardImage({})
        self._witness = Witness(self.member, self._image.shards.__getitem__)
        self._harmed = surroundings.store != 0
        self._shuffle = Shuffle(subject.shuffle_ns, self._dice) if subject.shuffle_ns else None

    # -- SimulatedNode --------------------------------------------------------------------------------------------------------

    def start(self, image: Any, now_ns: int) -> Effects:
        assert isinstance(image, ShardImage), "the disk of this subject"
        self._image, self._witness = image, Witness(self.member, image.shards.__getitem__)
        self._harmed = self._harmed or image.rotten
        subject = self._subject
        groups = subject.groups()
        shards = [shard for shard, group in enumerate(groups) if self._me in group]
        for peer in dict.fromkeys(node for shard in shards for node in groups[shard] if node != self._me):
            shared = tuple(shard for shard in shards if peer in groups[shard])
            self._neighbours[self._keys[peer]] = Neighbour(shared, now_ns)
        for shard in shards:
            durable = image.of(shard, self.member)
            replica = Replica(shard, self.member, durable, HashNotary(self._key), rules=subject.rules, limits=subject.limits)
            copy = self._copies[shard] = ShardCopy(shard, replica, self._key)
            self._out.append(self._witness.born(copy))
            self._apply(copy, replica.commit_position, now_ns)
            self._carry_out(copy, replica.started(), now_ns)
            if replica.is_damaged:
                self._out.append(Sometimes("a damaged replica started"))
        self._tick_ns = now_ns + self._dice.randrange(TICK_NS)
        self._alive_ns = now_ns
        return self._done()

    def next_due_ns(self) -> int | None:
        soonest_ns = self._tick_ns
        for due_ns in self._dues.values():  # asked after every event: no lists are made
            soonest_ns = min(soonest_ns, due_ns)
        return soonest_ns

    def on_time(self, now_ns: int) -> Effects:
        for shard in [shard for shard, due in self._dues.items() if due <= now_ns]:
            copy = self._copies[shard]
            self._carry_out(copy, copy.replica.on_time(now_ns), now_ns)
        if now_ns >= self._tick_ns:
            self._on_tick(now_ns)
        return self._done()

    def on_message(self, sender: bytes, message: Any, now_ns: int) -> Effects:
        neighbour = self._neighbours.get(sender)
        if neighbour is not None:
            neighbour.heard_ns = now_ns
            if neighbour.suspected:
                neighbour.suspected = False
                self._connected(sender, neighbour, now_ns)
        elif sender not in self._index:
            return ()
        match message:
            case ShardMessage():
                copy = self._copies.get(message.shard)
                if copy is not None:
                    self._witness.hears(copy, sender, message)
                    self._carry_out(copy, copy.replica.receive(sender, message, now_ns), now_ns)
            case Alive():
                if neighbour is not None:
                    self._on_alive(sender, neighbour, message, now_ns)
            case Forward():
                self._desk.invoke(message, self._index[sender], now_ns)
            case Answer():
                self._desk.answered(self._index[sender], message, now_ns)
            case _:
                raise AssertionError(f"not a message of ours: {message!r}")
        return self._done()

    def on_persisted(self, token: int, now_ns: int) -> Effects:
        shard, replica_token = self._tokens.pop(token)
        copy = self._copies[shard]
        self._carry_out(copy, copy.replica.persisted(replica_token, now_ns), now_ns)
        return self._done()

    def on_write_failed(self, token: int, now_ns: int) -> Effects:
        return (Halt("the disk refused a write"),)

    def on_reset(self, peer: bytes, now_ns: int) -> Effects:
        neighbour = self._neighbours.get(peer)
        if neighbour is not None and not neighbour.suspected:
            self._connected(peer, neighbour, now_ns)
        return self._done()

    def on_request(self, request: Request, now_ns: int) -> Effects:
        self._desk.request(request, now_ns)
        return self._done()

    def on_leave(self, now_ns: int) -> Effects:
        raise AssertionError("groups of this subject do not move: nobody can leave")

    def replicas(self) -> Sequence[ReplicaView]:
        return [copy.view(self._is_voter(copy)) for copy in self._copies.values()]

    def chain_at(self, shard: int, position: int) -> int | None:
        copy = self._copies.get(shard)
        return copy.chain_at(position) if copy is not None else None

    def queues(self) -> Mapping[str, tuple[int, int]]:
        return self._desk.queues()

    def copy_of(self, message: Any) -> ShardCopy | None:
        """The replica that ``message`` is about, for liars."""
        return self._copies.get(message.shard) if type(message) is ShardMessage else None

    # -- detector -------------------------------------------------------------------------------------------------------------

    def _on_tick(self, now_ns: int) -> None:
        if now_ns - self._tick_ns > PAUSE_NS:
            for neighbour in self._neighbours.values():
                neighbour.heard_ns = now_ns
        self._tick_ns = now_ns + TICK_NS - self._dice.randrange(TICK_JITTER_NS)
        for peer, neighbour in self._neighbours.items():
            if not neighbour.suspected and now_ns - neighbour.heard_ns > SUSPECT_NS:
                neighbour.suspected = True
                for shard in neighbour.shards:
                    copy = self._copies[shard]
                    self._carry_out(copy, copy.replica.peer_suspected(peer, now_ns), now_ns)
        for copy in self._copies.values():
            self._lead_or_follow(copy, now_ns)
            self._out += self._witness.serving(copy)
        self._desk.tick(now_ns)
        if now_ns >= self._alive_ns:
            self._say_alive(now_ns)
        if self._harmed and all(self._is_whole(copy) for copy in self._copies.values()):
            self._harmed = self._image.rotten = False
            self._out += (Sometimes("what was lost or rotten was repaired"), Repaired())

    def _say_alive(self, now_ns: int) -> None:
        self._alive_ns = now_ns + ALIVE_NS
        led = {
            shard: (shard, copy.applied, copy.replica.log.hash_at(copy.applied))
            for shard, copy in self._copies.items()
            if copy.is_primary
        }
        electors = {shard: self._copies[shard].electors() for shard in led}
        for peer, neighbour in self._neighbours.items():
            leads = tuple([led[shard] for shard in neighbour.shards if shard in led])
            strange = tuple([shard for shard, _, _ in leads if peer not in electors[shard]])
            self._out.append(Send(peer, Alive(self.member.store_id, self._life, leads, strange)))

    def _on_alive(self, peer: bytes, neighbour: Neighbour, alive: Alive, now_ns: int) -> None:
        before, neighbour.told = neighbour.told, alive
        neighbour.leads = tuple([lead[0] for lead in alive.leads])
        if before is None or before.life != alive.life:
            for copy in self._copies.values():
                copy.whole = None
            self._connected(peer, neighbour, now_ns)
        for shard, commit, last_hash in alive.leads:
            if shard not in neighbour.shards:
                continue  # a liar's, or said to somebody else
            copy = self._copies[shard]
            copy.is_outside = shard in alive.strange
            log = copy.replica.log
            if commit > copy.applied and log.holds(commit) and log.hash_at(commit) == last_hash:
                self._apply(copy, commit, now_ns)

    def _connected(self, peer: bytes, neighbour: Neighbour, now_ns: int) -> None:
        for shard in neighbour.shards:
            copy = self._copies[shard]
            self._carry_out(copy, copy.replica.peer_alive(peer, now_ns), now_ns)

    # -- who leads, who votes -------------------------------------------------------------------------------------------------

    def _lead_or_follow(self, copy: ShardCopy, now_ns: int) -> None:
        replica = copy.replica
        if copy.is_primary or self._is_led(copy):
            copy.campaign_ns = None
            if copy.is_primary and replica.configuration is not copy.whole and replica.is_serving:
                self._move_voters(copy, now_ns)
            return
        live = [key for key in copy.electors() if key == self._key or not self._neighbours[key].suspected]
        if self._key not in live:
            return
        pause_ns = live.index(self._key) * RANK_NS + self._dice.randrange(CAMPAIGN_JITTER_NS)
        if copy.campaign_ns is None:
            copy.campaign_ns = now_ns + CAMPAIGN_NS + pause_ns
        elif now_ns >= copy.campaign_ns:
            copy.campaign_ns = now_ns + CAMPAIGN_AGAIN_NS + pause_ns
            self._out.append(Step("campaigns"))
            self._carry_out(copy, replica.campaign(now_ns), now_ns)

    def _is_led(self, copy: ShardCopy) -> bool:
        """The primary that this replica knows lives, and says itself that it leads."""
        neighbour = self._neighbours.get(copy.replica.primary or b"")
        return neighbour is not None and not neighbour.suspected and copy.shard in neighbour.leads

    def _move_voters(self, copy: ShardCopy, now_ns: int) -> None:
        """As primary."""
        present = {key: Member(key, n.told.store_id) for key, n in self._neighbours.items() if n.told is not None}
        present[self._key] = self.member
        shuffle = self._shuffle
        voters = copy.replica.configuration.voters
        if shuffle is None and all(present.get(voter.public_key, voter) == voter for voter in voters):
            copy.whole = copy.replica.configuration  # until a node says something else
        wish = replace_lost(copy, present) if shuffle is None else shuffle.wish(copy, present, now_ns)
        if wish is None:
            return
        with suppress(InvalidState):  # another change is under way, or the learner is behind: the next tick tries again
            effects = copy.replica.change_members(*wish, now_ns)
            self._out.append(Step("learner-added" if wish[1] else "voters-change"))
            self._carry_out(copy, effects, now_ns)

    def _is_voter(self, copy: ShardCopy) -> bool:
        return self.member in copy.replica.configuration.voters and not copy.is_outside

    def _is_whole(self, copy: ShardCopy) -> bool:
        """Durably a voter again, in the place of whatever this node had before."""
        replica = copy.replica
        log = replica.log
        voters = [voter for voter in replica.configuration.voters if voter.public_key == self._key]
        is_settled = not replica.configuration.is_joint and log.configuration_position <= log.commit
        record = self._image.shards[copy.shard].record
        return (
            voters == [self.member]
            and is_settled
            and not replica.is_damaged
            and replica.is_idle
            and record.high_water <= log.last
        )

    # -- effects of the core --------------------------------------------------------------------------------------------------

    def _carry_out(self, copy: ShardCopy, effects: Sequence[Any], now_ns: int) -> None:
        """What is proposed meanwhile is shipped when all of ``effects`` are out: a replica's writes keep their order."""
        is_outermost, self._is_carrying = not self._is_carrying, True
        self._take_over(copy, effects, now_ns)
        if not is_outermost:
            return
        while self._proposed:
            other = self._proposed.pop()
            self._take_over(other, other.replica.flush(now_ns), now_ns)
        self._is_carrying = False

    def _take_over(self, copy: ShardCopy, effects: Sequence[Any], now_ns: int) -> None:
        shard = copy.shard
        copy.is_primary = copy.replica.role is Role.PRIMARY
        due = copy.replica.next_due_ns()
        if due is None:
            self._dues.pop(shard, None)
        else:
            self._dues[shard] = due
        for effect in effects:
            match effect:
                case Persist():
                    self._token += 1
                    self._tokens[self._token] = (shard, effect.token)
                    self._out += self._witness.written(copy, effect.write)
                    self._out.append(Persist(effect.write, self._token, self._witness.behind(copy, effect.then)))
                    if effect.then and any(map(_is_vote, effect.then)):
                        self._out.append(Step("voted"))
                case Send():
                    self._out += self._witness.behind(copy, (effect,))
                    if _is_vote(effect):
                        self._out.append(Step("voted"))
                case Committed():
                    self._out += self._witness.settled(copy, effect.entries[-1].position)
                    self._apply(copy, effect.entries[-1].position, now_ns)
                case StartServing():
                    self._out += self._witness.serving(copy, begins=True)
                    copy.is_outside = False
                    if copy.served_term < effect.term:  # else it goes on, having had no majority for a while
                        copy.served_term = effect.term
                        self._out += (BecamePrimary(shard, effect.term), Step("became-primary"))
                    self._desk.serving_began(copy, now_ns)
                    self._say_alive(now_ns)
                case StopServing():
                    self._out += self._witness.stopped(shard, effect.reason)
                    self._out.append(Sometimes(f"a primary stopped: {effect.reason}"))
                    self._desk.serving_ended(copy, now_ns)
                case ReadSegments():
                    self._out.append(Send(effect.peer, self._segments(copy, effect)))
                case _:
                    self._out.append(effect)  # Notice

    def _segments(self, copy: ShardCopy, wanted: ReadSegments) -> ShardMessage:
        found = tuple(self._image.shards[copy.shard].read_for(wanted)[:SEGMENTS_PER_ANSWER])
        answer = FetchedSegments(wanted.log, wanted.first, found)
        return ShardMessage(copy.shard, copy.replica.log.branch, copy.replica.term, self.member.store_id, answer)

    def _apply(self, copy: ShardCopy, position: int, now_ns: int) -> None:
        if position > copy.applied:
            copy.apply_to(position, self._out, self._desk.applied, now_ns)

    def _emit(self, effect: Any) -> None:
        self._out.append(effect)

    def _flush(self, copy: ShardCopy, now_ns: int) -> None:
        if self._is_carrying:
            self._proposed.append(copy)
        else:
            self._carry_out(copy, copy.replica.flush(now_ns), now_ns)

    def _done(self) -> Effects:
        out, self._out = self._out, []
        return out
