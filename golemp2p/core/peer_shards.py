"""The replicas of one node, and what the node does about each of them: suspicion, succession, changes of members, compaction.

    durable ──start──> Replica <──messages, suspicion── Peer          touched replicas are looked at again at the end of each call:
                          │ touched                                   led? removed? serving? its members as they should be?
                          v
    unled ──> Succession ──> campaign     serving ──> Seats, then Planner ──> change of members     removed ──> forget

Costs nothing for replicas that nothing happens to: timers of replicas stand in one table, shards are found by peer through an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from golemp2p.core.dice import Dice
from golemp2p.core.dues import Dues
from golemp2p.core.effects import Effect, Persist, Send
from golemp2p.core.notary import Notary
from golemp2p.core.peer_effects import PeerProfile
from golemp2p.core.placement import Place, ranked
from golemp2p.core.planner import Planner, ShardView
from golemp2p.core.replica import Replica
from golemp2p.core.replica_durable import FRESH, ReplicaDurable
from golemp2p.core.replica_state import Role
from golemp2p.core.seats import has_stale, next_seats
from golemp2p.core.succession import Succession
from golemp2p.errors import InvalidState
from golemp2p.model.membership import Member as NodeMember
from golemp2p.model.messages_shard import Append, AskPrimary, Offer, Resigned, ShardMessage
from golemp2p.model.replica_write import ReplicaRecord
from golemp2p.model.replication import BLANK, Branch, Configuration, Member


class PeerShards:
    """``member_of``: what membership knows of a public key; ``emit(effect, now_ns)``: where effects go."""

    def __init__(
        self,
        me: Member,
        durable: Mapping[int, ReplicaDurable],
        *,
        shards_count: int,
        notary: Callable[[int], Notary],
        dice: Dice,
        profile: PeerProfile,
        size_of: Callable[[int], int],
        member_of: Callable[[bytes], NodeMember | None],
        may_campaign: Callable[[], bool],
        emit: Callable[[Effect, int], None],
        planner: Planner,
    ) -> None:
        self.me = me
        self._durable = durable
        self._records: dict[int, ReplicaRecord] = {}  # of replicas that were removed
        self._count, self._notary, self._profile = shards_count, notary, profile
        self._size_of, self._member_of, self._may_campaign, self._emit = size_of, member_of, may_campaign, emit
        self._planner = planner
        self._succession = Succession(dice, profile.succession)
        self._replicas: dict[int, Replica] = {}
        self._configurations: dict[int, Configuration] = {}
        self._voters: dict[int, tuple[bytes, ...]] = {}  # of each of them
        self._of_peer: dict[bytes, dict[int, None]] = {}
        self._suspected: dict[bytes, None] = {}
        self._dues = Dues()
        self._touched: dict[int, None] = {}
        self._views: dict[int, ShardView] = {}
        self._calm: dict[int, None] = {}  # served here, with the members that it should have until somebody's record changes
        self._has_led: dict[int, None] = {}  # shards of which a primary was heard since the start
        self._doubted_ns: dict[int, int] = {}
        self.reconfigured: dict[int, None] = {}
        """Shards whose members have changed; whoever reads it clears it."""
        self._tokens: dict[int, tuple[int, Replica, int]] = {}
        self._token = 0
        self._strangers_ns: int | None = None

    # -- questions

    def __len__(self) -> int:
        """Shards in which this node decides, as far as it knows."""
        return len(self.deciding())

    def deciding(self) -> list[int]:
        """Shards in which this node has a vote, as far as it knows."""
        shards = self._of_peer.get(self.me.public_key, ())
        return [shard for shard in shards if self.me in self._configurations[shard].electors]

    def __getitem__(self, shard: int) -> Replica:
        return self._replicas[shard]

    def __contains__(self, shard: object) -> bool:
        return shard in self._replicas

    def held(self) -> Mapping[int, Replica]:
        return self._replicas

    def peers(self) -> list[bytes]:
        """The other members of all groups of this node."""
        return [peer for peer in self._of_peer if peer != self.me.public_key]

    def is_suspected(self, peer: bytes) -> bool:
        return peer in self._suspected

    def is_serving(self, shard: int) -> bool:
        replica = self._replicas.get(shard)
        return replica is not None and replica.is_serving

    def leads(self, shard: int) -> bool:
        """Whether this node is primary, though perhaps it does not serve just now."""
        replica = self._replicas.get(shard)
        return replica is not None and replica.role is Role.PRIMARY

    def primary(self, shard: int) -> tuple[int, bytes | None]:
        """(term, primary) as this node's replica knows them; (0, ``None``) without one."""
        replica = self._replicas.get(shard)
        return (0, None) if replica is None else (replica.term, replica.primary)

    def voters(self, shard: int) -> tuple[bytes, ...]:
        return self._voters.get(shard, ())

    def others(self, shard: int) -> tuple[bytes, ...]:
        """The other voters of ``shard``."""
        return tuple(key for key in self.voters(shard) if key != self.me.public_key)

    # -- life

    def start(self, now_ns: int) -> None:
        self._strangers_ns = now_ns + self._profile.stranger_ns
        durable, self._durable = self._durable, {}
        for shard, held in durable.items():
            if held.base.configuration.voters or held.entries or held.staged:
                self._hold(shard, held, now_ns)
            elif held.record != FRESH:
                self._records[shard] = held.record

    def _hold(self, shard: int, durable: ReplicaDurable, now_ns: int) -> Replica:
        rules, limits = self._profile.rules, self._profile.limits
        replica = Replica(shard, self.me, durable, self._notary(shard), rules=rules, limits=limits, suspected=self._suspected)
        self._replicas[shard] = replica
        self._configurations[shard] = BLANK
        self._drive(shard, replica.started(), now_ns)
        return replica

    def _forget(self, shard: int, now_ns: int) -> None:
        """Its group has removed this node."""
        self._drop(shard, self._replicas[shard].forget(), now_ns)

    def _drop(self, shard: int, effects: Sequence[Effect], now_ns: int) -> None:
        """After the replica's last ``effects``, only its record is left."""
        replica = self._replicas[shard]
        self._drive(shard, effects, now_ns)
        self._records[shard] = replica.record
        self._index(shard, BLANK)
        del self._replicas[shard], self._configurations[shard], self._voters[shard]
        self._dues.put(shard, None)
        for table in (self._touched, self._has_led, self._doubted_ns):
            table.pop(shard, None)
        self._succession.led(shard)
        self._lose_view(shard)

    # -- events

    def receive(self, sender: bytes, message: ShardMessage, now_ns: int) -> None:
        shard = message.shard
        replica = self._replicas.get(shard)
        if replica is None:
            replica = self._met(sender, message, now_ns)
        if replica is None:
            return
        if replica.suspects(sender) and sender not in self._suspected:  # it was removed when it was dead, and is back
            self._drive(shard, replica.peer_alive(sender, now_ns), now_ns)
        self._drive(shard, replica.receive(sender, message, now_ns), now_ns)

    def _met(self, sender: bytes, message: ShardMessage, now_ns: int) -> Replica | None:
        """About a shard that this node does not hold: only a primary that wants it as a member makes it hold one."""
        body = message.body
        if isinstance(body, AskPrimary):
            resigned = ShardMessage(message.shard, message.branch, message.term, self.me.store_id, Resigned(message.term))
            self._emit(Send(sender, resigned), now_ns)
        if not isinstance(body, Append | Offer) or not 0 <= message.shard < self._count:
            return None
        return self._hold(message.shard, ReplicaDurable(self._records.pop(message.shard, FRESH)), now_ns)

    def persisted(self, token: int, now_ns: int) -> None:
        shard, replica, replica_token = self._tokens.pop(token)
        if self._replicas.get(shard) is replica:  # else it was forgotten since
            self._drive(shard, replica.persisted(replica_token, now_ns), now_ns)

    def _ask_around(self, shard: int, replica: Replica, now_ns: int) -> None:
        """Nobody of the group that this replica knows follows it: perhaps there is another group by now, where placement wants it. One
        that cannot campaign asks the old group as well."""
        known = [member.public_key for member in replica.configuration.members]
        strangers = [peer for peer in self._planner.target(shard) if peer not in known]
        for peer in strangers if replica.may_campaign else (*strangers, *known):
            if peer not in self._suspected and peer != self.me.public_key:
                self._drive(shard, replica.ask_primary(peer), now_ns)

    def judged(self, peer: bytes, now_ns: int, *, is_dead: bool) -> None:
        """The node holds ``peer`` dead, or alive."""
        if is_dead == (peer in self._suspected):
            return
        if is_dead:
            self._suspected[peer] = None
        else:
            del self._suspected[peer]
        for shard in list(self._of_peer.get(peer, ())):
            replica = self._replicas[shard]
            change = replica.peer_suspected if is_dead else replica.peer_alive
            self._drive(shard, change(peer, now_ns), now_ns)

    def reconnected(self, peer: bytes, now_ns: int) -> None:
        """``peer`` lives anew, or through a new connection."""
        if peer not in self._suspected:
            for shard in list(self._of_peer.get(peer, ())):
                replica = self._replicas[shard]
                self._drive(shard, replica.peer_alive(peer, now_ns), now_ns)
                if replica.primary == peer:  # it led in an earlier life, perhaps
                    self._drive(shard, replica.ask_primary(), now_ns)

    def member_changed(self) -> None:
        """What ``member_of`` tells of somebody is news."""
        self._calm.clear()

    def store_changed(self, peer: bytes, now_ns: int) -> None:
        """The node ``peer`` has another store now: whatever it was, its replicas are new ones."""
        for shard in list(self._of_peer.get(peer, ())):
            self._replicas[shard].disown(peer)
            self._touched[shard] = None

    def hurry(self, now_ns: int) -> None:
        self._succession.hurry(now_ns)

    def doubt(self, shard: int, now_ns: int) -> None:
        """Somebody takes this follower for the primary: is whom it follows really primary?"""
        replica = self._replicas.get(shard)
        if replica is None or replica.primary in (None, self.me.public_key) or replica.primary in self._suspected:
            return
        if now_ns - self._doubted_ns.get(shard, now_ns - self._profile.doubt_ns) >= self._profile.doubt_ns:
            self._doubted_ns[shard] = now_ns
            self._drive(shard, replica.ask_primary(), now_ns)

    # -- as primary

    def flush(self, shard: int, now_ns: int) -> None:
        self._drive(shard, self._replicas[shard].flush(now_ns), now_ns)

    def propose(self, shard: int, voters: Sequence[bytes], learners: Sequence[bytes], now_ns: int) -> None:
        """The planner wants these nodes. What cannot be now is proposed again later."""
        replica = self._replicas.get(shard)
        if replica is None or not replica.is_serving:
            return
        held = {member.public_key: member for member in (*replica.configuration.learners, *replica.configuration.voters)}
        members = {key: held.get(key) or self._newcomer(key) for key in (*voters, *learners)}
        if all(members.values()):
            self._change(
                shard, [m for key in voters if (m := members[key])], [m for key in learners if (m := members[key])], now_ns
            )

    def _newcomer(self, public_key: bytes) -> Member | None:
        node = self._member_of(public_key)
        return None if node is None else Member(public_key, node.record.store_id)

    def _change(self, shard: int, voters: Sequence[Member], learners: Sequence[Member], now_ns: int) -> None:
        with suppress(
            InvalidState
        ):  # a change or a hand-over is under way, a learner is behind: looked at again when that ends
            self._drive(shard, self._replicas[shard].change_members(voters, learners, now_ns), now_ns)

    def hand_over(self, shard: int, successor: bytes, now_ns: int) -> None:
        """To a voter that is alive, and answers: nobody serves the shard while a hand-over is under way, and one that cannot take over
        would take a second to be found out."""
        replica = self._replicas.get(shard)
        if replica is None or not replica.is_serving or successor in self._suspected:
            return
        if replica.is_answered_by(successor):
            with suppress(InvalidState):  # as above
                self._drive(shard, replica.hand_over(successor, now_ns), now_ns)

    def step_aside(self, shards: Iterable[int], now_ns: int) -> None:
        """Each shard goes to who would succeed this node, if it died; to the next one, if that does not answer."""
        for shard in [shard for shard in shards if self.is_serving(shard)]:
            replica = self._replicas[shard]
            others = (key for key in self._willing(shard) if key != self.me.public_key)
            successor = next((key for key in others if replica.is_answered_by(key)), None)
            if successor is not None:
                self.hand_over(shard, successor, now_ns)

    def recover_by_force(self, shard: int, order: Branch, now_ns: int) -> None:
        """Raises ``InvalidState``, also for a shard that this node does not hold."""
        replica = self._replicas.get(shard)
        if replica is None:
            raise InvalidState(f"this node holds no replica of shard {shard}")
        self._drive(shard, replica.recover_by_force(order, now_ns), now_ns)

    def give_way(self, shard: int, order: Branch, now_ns: int) -> None:
        """To another node's replica, which the operator has had go on alone. Raises ``InvalidState``."""
        replica = self._replicas.get(shard)
        if replica is None:
            raise InvalidState(f"this node holds no replica of shard {shard}")
        self._drop(shard, replica.give_way(order), now_ns)

    # -- time

    def next_due_ns(self) -> int | None:
        due_ns = self._succession.next_due_ns()
        soonest_ns = self._dues.soonest_ns()
        if soonest_ns is not None and (due_ns is None or soonest_ns < due_ns):
            due_ns = soonest_ns
        if self._strangers_ns is not None and (due_ns is None or self._strangers_ns < due_ns):
            due_ns = self._strangers_ns
        return due_ns

    def on_time(self, now_ns: int) -> None:
        for shard in self._dues.until(now_ns):
            self._drive(shard, self._replicas[shard].on_time(now_ns), now_ns)
        for shard in self._succession.due(now_ns):
            self._succeed(shard, now_ns)
        if self._strangers_ns is not None and self._strangers_ns <= now_ns:
            self._strangers_ns = None
            for peer in [peer for peer in self.peers() if self._member_of(peer) is None]:
                self.judged(peer, now_ns, is_dead=True)

    def _succeed(self, shard: int, now_ns: int) -> None:
        replica = self._replicas[shard]
        tries = self._succession.put_off(shard, self._rank(shard), now_ns)
        if tries > 1:
            self._ask_around(shard, replica, now_ns)
        is_alone = self.voters(shard) == (self.me.public_key,)
        if self._may_campaign() or is_alone:
            self._drive(shard, replica.campaign(now_ns) if replica.may_campaign else replica.resign(), now_ns)

    # -- the end of every call

    def settle(self, now_ns: int) -> None:
        """Look again at every replica that something happened to."""
        while self._touched:
            touched, self._touched = self._touched, {}
            for shard in touched:
                if shard in self._replicas:
                    self._look(shard, self._replicas[shard], now_ns)

    def _look(self, shard: int, replica: Replica, now_ns: int) -> None:
        configuration = replica.configuration
        is_same = configuration is self._configurations[shard]
        is_long = len(replica.log.entries) > self._profile.entries_max
        if is_same and not is_long and shard in self._calm and replica.is_serving:
            return
        if not is_same:
            self._index(shard, configuration)
            self._tell_suspicions(shard, replica, now_ns)
        if replica.role is Role.PRIMARY or (replica.primary is not None and replica.primary not in self._suspected):
            self._succession.led(shard)
            self._has_led[shard] = None
        elif replica.may_campaign or self._has_vote(configuration):
            is_alone = configuration.voters == (self.me,)
            is_new = shard not in self._has_led and not is_alone
            self._succession.unled(shard, self._rank(shard), now_ns, is_new=is_new)
        else:
            self._succession.led(shard)
        if replica.is_serving and not configuration.is_joint:
            self._tend(shard, replica, now_ns)
        else:
            self._lose_view(shard)
            if replica.is_removed:
                self._forget(shard, now_ns)
                return
            if replica.wants_repair and replica.primary is not None and replica.primary not in self._suspected:
                self._drive(shard, replica.repair(replica.primary, now_ns), now_ns)
        if is_long:
            effects = replica.compact(replica.log.last_position - self._profile.entries_max // 2)
            if effects:
                self._drive(shard, effects, now_ns)

    def _tend(self, shard: int, replica: Replica, now_ns: int) -> None:
        """As serving primary: are the members those that should be?"""
        configuration = replica.configuration
        if has_stale(configuration, self._store_of):
            self._lose_view(shard)
            seats = next_seats(configuration, self._store_of, replica.is_caught_up)
            if seats is not None:
                self._change(shard, *seats, now_ns)
            return
        voters = self.voters(shard)
        caught_up = frozenset([m.public_key for m in configuration.learners if replica.is_caught_up(m)])
        learners = tuple([key for key, _ in configuration.learners if key not in voters])  # else it waits for its own lost seat
        known = self._views.get(shard)
        is_same = known is not None and (known.voters, known.learners, known.caught_up) == (voters, learners, caught_up)
        if is_same and not learners:
            self._calm[shard] = None  # whatever its size
            return
        view = ShardView(shard, voters, learners, caught_up, self._size_of(shard))
        if view != known:
            self._views[shard] = view
            self._planner.shards_changed([view], now_ns)

    def _lose_view(self, shard: int) -> None:
        self._calm.pop(shard, None)
        if self._views.pop(shard, None) is not None:
            self._planner.shard_lost(shard)

    def _index(self, shard: int, configuration: Configuration) -> None:
        for member in self._configurations[shard].members:
            self._of_peer.get(member.public_key, {}).pop(shard, None)
        self._configurations[shard] = configuration
        self._calm.pop(shard, None)
        self._voters[shard] = tuple(voter.public_key for voter in configuration.voters)
        self.reconfigured[shard] = None
        for member in configuration.members:
            self._of_peer.setdefault(member.public_key, {})[shard] = None

    def _tell_suspicions(self, shard: int, replica: Replica, now_ns: int) -> None:
        """A replica hears only of members of its group: of new ones, it may think what was true long ago."""
        for member in replica.configuration.members:
            key = member.public_key
            if replica.suspects(key) != (key in self._suspected):
                change = replica.peer_suspected if key in self._suspected else replica.peer_alive
                self._drive(shard, change(key, now_ns), now_ns)

    def _has_vote(self, configuration: Configuration) -> bool:
        return any(member.public_key == self.me.public_key for member in configuration.electors)

    def _rank(self, shard: int) -> int:
        """How many live voters should campaign before this node."""
        order = self._willing(shard)
        return order.index(self.me.public_key) if self.me.public_key in order else len(order)

    def _willing(self, shard: int) -> list[bytes]:
        """The live voters, who should be primary first; those that are draining come last."""
        places = []
        for key in self.voters(shard):
            if key not in self._suspected:
                node = self._member_of(key)
                places.append(Place(key, 1 if node is None else node.record.weight))
        willing = ranked(shard, [place for place in places if place.weight])
        return [place.public_key for place in willing] + [place.public_key for place in places if not place.weight]

    def _store_of(self, public_key: bytes) -> bytes | None:
        """Of a node that is there to take its seats again; the planner gives those of others away in its time."""
        node = self._member_of(public_key)
        stays = node is not None and node.is_present and node.record.weight > 0
        return node.record.store_id if node is not None and stays else None

    # -- effects of replicas

    def _drive(self, shard: int, effects: Sequence[Effect], now_ns: int) -> None:
        self._touched[shard] = None
        replica = self._replicas[shard]
        self._dues.put(shard, replica.next_due_ns())
        for effect in effects:
            if effect.__class__ is Persist:
                self._token += 1
                self._tokens[self._token] = (shard, replica, effect.token)
                self._emit(Persist(effect.write, self._token, effect.then), now_ns)
            else:
                self._emit(effect, now_ns)
