"""Who is in the mesh and who is alive: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2017).

    this node --probe--> one member per period ---no answer, none through k relays---> suspect --not refuted in time--> dead
        |                                                                                 ^
        +--- updates ride on probes and gossip; lists are compared now and then ----------+

**Where it differs:**
 - An incarnation is in a record that its node signed, so nobody else can raise it; claims about others are unsigned.
 - Traffic is evidence (``heard_from``): whoever was heard during a round is not suspected, for a bounded number of rounds.
 - Nobody jumps: news that a member is dead makes one that is believed alive *suspect*, and is itself believed of those who have
   been suspect for half the shortest time. So the dead of the other half of a mended partition refute before anybody acts.
 - Lonely: a node that nobody answers, not even relays, and that has heard nobody for some periods, suspects itself first. It
   declares nobody dead and must not campaign.
 - Paused: a timer that comes far too late means that we stood still. Open rounds are void, suspicions get the time back.
 - Some of those who hear of a suspicion probe the suspect out of turn, so that confirmations come at once.
 - Lists are compared by digest and page instead of being sent whole; a dead member is asked now and then, which mends partitions.

A wrong verdict costs a takeover, never a second writer (S11): nothing here decides who may write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from golemp2p.core.beliefs import Authority, Beliefs, LonelyChanged
from golemp2p.core.dice import Dice, sample
from golemp2p.core.effects import Effect, Notice, Send
from golemp2p.core.membership_profile import LAN, MembershipProfile
from golemp2p.core.probing import Probing, Round
from golemp2p.model import messages_membership as msg
from golemp2p.model.membership import Claim, NodeRecord, Removal, Status, Update


class Membership:
    """One node's part. ``record`` describes it, unsigned; its incarnation must exceed those of earlier lives if they are known
    (a lower one is raised when the mesh remembers a higher). ``dice``: a random source."""

    def __init__(self, record: NodeRecord, authority: Authority, dice: Dice, profile: MembershipProfile = LAN) -> None:
        self._authority = authority
        self._dice = dice
        self._profile = profile
        self._own = record.public_key
        self._probing = Probing(profile, dice)
        self._beliefs = Beliefs(record, authority, dice, self._probing, profile)
        self._joining: tuple[bytes, ...] = ()
        self._met: tuple[bytes, ...] = ()
        self._due: dict[str, int] = {}
        self._due_soonest_ns: int | None = None
        self._next_ns: int | None = None
        self._next_stale = True  # something happened since it was computed
        self._reasons = (False, False, False, False, False)
        self.members = self._beliefs.members

    # --- what others ask

    @property
    def record(self) -> NodeRecord:
        """This node's own record, signed, as it is now."""
        return self._beliefs.record

    @property
    def is_lonely(self) -> bool:
        """Whether nobody was heard for so long that the fault is likely ours."""
        return self._beliefs.is_lonely

    @property
    def is_over(self) -> bool:
        """Whether this node has left, or was removed."""
        return self._beliefs.is_over

    @property
    def is_joining(self) -> bool:
        """Whether this node asked to be let in, and nobody has answered yet."""
        return bool(self._joining)

    @property
    def may_campaign(self) -> bool:
        """Whether this node may try to become primary of anything: it is a member, and hears somebody."""
        return not self.is_lonely and not self.is_over

    @property
    def health(self) -> int:
        """The local health multiplier: 0 is well."""
        return self._probing.health

    def is_alive(self, peer: bytes) -> bool:
        """Whether ``peer`` is a member that nobody has proved dead. A suspect is alive."""
        member = self.members.get(peer)
        return member is not None and member.is_present

    def heard_from(self, peer: bytes, now_ns: int) -> list[Effect]:
        """``peer`` said something else than a membership message: an append, an acknowledgement."""
        effects: list[Effect] = []
        if peer in self.members:
            self._beliefs.hear(peer, now_ns, effects)
            if effects:
                self._next_stale = True
        return effects

    # --- what the node decides

    def remember(self, records: Iterable[NodeRecord], now_ns: int) -> list[Effect]:
        """Members as this node knew them when it stopped: held alive until probes say something else."""
        effects: list[Effect] = []
        for record in records:
            self._beliefs.remember(record, now_ns, effects)
        self._schedule(now_ns)
        return effects

    def join(self, peers: Sequence[bytes], now_ns: int) -> list[Effect]:
        """Ask ``peers`` (from the invite) to be let in; again every ``join_interval_ns`` until one of them answers."""
        self._joining = tuple(peer for peer in peers if peer != self._own)
        return self._ask_to_join(now_ns)

    def meet(self, peers: Sequence[bytes], now_ns: int) -> list[Effect]:
        """Ask ``peers``, who may be members that this node has not heard of, to let it in; once. If nobody has let it in yet, they are
        asked again as those of the invite are."""
        peers = tuple(peer for peer in peers if peer != self._own)
        if self._joining:
            return self.join(tuple(dict.fromkeys((*self._joining, *peers))), now_ns)
        self._met = peers
        return [Send(peer, msg.Join(self.record)) for peer in peers]

    def update(self, now_ns: int, *, addresses: tuple[str, ...], weight: int, domain: str) -> list[Effect]:
        """This node can be reached elsewhere, or can do more or less."""
        self._beliefs.renew(replace(self.record, addresses=addresses, weight=weight, domain=domain), now_ns)
        self._schedule(now_ns)
        return []

    def leave(self, now_ns: int) -> list[Effect]:
        """Say farewell, signed. Nothing is due afterwards; give the messages a moment to leave."""
        self._beliefs.renew(replace(self.record, left=True), now_ns)
        self._beliefs.stop()
        self._next_stale = True
        targets = sample(self.members.others(), 2 * self._profile.retransmit_factor, self._dice)
        return [Send(peer, msg.Gossip((self.record,))) for peer in targets]

    def remove(self, removal: Removal, now_ns: int) -> list[Effect]:
        """The operator's order, through this node's management interface."""
        effects: list[Effect] = []
        self._beliefs.apply(removal, self._own, now_ns, effects)
        self._next_stale = True
        return effects

    # --- messages

    def receive(self, sender: bytes, message: msg.MembershipMessage, now_ns: int) -> list[Effect]:
        """``message`` came from ``sender``, whose key the transport has authenticated."""
        self._next_stale = True
        if self.is_over:
            return []
        effects: list[Effect] = []
        self._excuse_pause(now_ns)
        member = self.members.get(sender)
        if member is None:
            return self._receive_from_stranger(sender, message, now_ns)
        self._beliefs.hear(sender, now_ns, effects)
        if member.status is Status.DEAD and self._beliefs.may_correct(sender, sender, now_ns):  # it does not know it yet
            claim = Claim(sender, member.record.incarnation, Status.DEAD, self._own)
            effects.append(Send(sender, msg.Gossip((claim,))))
        match message:
            case msg.Ping(sequence, updates):
                self._beliefs.apply_all(updates, sender, now_ns, effects)
                effects.append(Send(sender, msg.Ack(sequence, self._beliefs.take_updates(sender))))
            case msg.Ack(sequence, updates):
                self._beliefs.apply_all(updates, sender, now_ns, effects)
                self._on_ack(sender, sequence, now_ns, effects)
            case msg.PingRequest(sequence, target, updates):
                self._beliefs.apply_all(updates, sender, now_ns, effects)
                self._on_ping_request(sender, sequence, target, now_ns, effects)
            case msg.Nack(sequence):
                self._probing.nack(sequence)
            case msg.Gossip(updates):
                self._beliefs.apply_all(updates, sender, now_ns, effects)
            case msg.Join(record):
                self._on_join(sender, record, now_ns, effects)
            case msg.Stranger():
                effects.append(Send(sender, msg.Join(self.record)))
            case msg.Refused(reason):
                effects.append(Notice("membership.refused", (("peer", sender), ("reason", reason))))
            case msg.SyncStart() | msg.SyncPage() | msg.SyncUpdates():
                self._on_sync(sender, message, now_ns, effects)
        if self._reasons != self._reasons_now():
            self._schedule(now_ns)
        return effects

    def _receive_from_stranger(self, sender: bytes, message: msg.MembershipMessage, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        removal = self.members.removal(sender)
        if removal is not None:
            effects.append(Send(sender, msg.Gossip((removal,))))
        elif isinstance(message, msg.Join):
            self._on_join(sender, message.record, now_ns, effects)
        elif (sender in self._joining or sender in self._met) and isinstance(message, msg.SyncPage | msg.SyncUpdates):
            self._on_sync(sender, message, now_ns, effects)
        elif isinstance(message, msg.Gossip):
            self._beliefs.apply_all(tuple(u for u in message.updates if isinstance(u, Removal)), sender, now_ns, effects)
        elif isinstance(message, msg.Refused):
            effects.append(Notice("membership.refused", (("peer", sender), ("reason", message.reason))))
        elif not isinstance(message, msg.Stranger):
            effects.append(Send(sender, msg.Stranger()))
        self._schedule(now_ns)
        return effects

    def _on_join(self, sender: bytes, record: NodeRecord, now_ns: int, effects: list[Effect]) -> None:
        known = self.members.get(sender)
        if record.public_key != sender or record.left or not self._authority.admits(record):
            effects.append(Send(sender, msg.Refused("not-admitted")))
            return
        if known is None and not self._beliefs.has_room(now_ns):
            effects.append(Send(sender, msg.Refused("mesh-full")))
            return
        self._beliefs.apply(record, sender, now_ns, effects, genuine=True)
        self._beliefs.hear(sender, now_ns, effects)
        effects += [Send(sender, page) for page in self.members.pages()]

    def _on_ack(self, sender: bytes, sequence: int, now_ns: int, effects: list[Effect]) -> None:
        relay = self._probing.relayed(sequence, sender)
        if relay is not None:
            effects.append(Send(relay.origin, msg.Ack(relay.sequence, self._beliefs.take_updates(relay.origin))))
        elif self._probing.answer(sequence) and self._probing.round is not None:
            self._beliefs.hear(self._probing.round.target, now_ns, effects)
            self._beliefs.excused.pop(self._probing.round.target, None)

    def _on_ping_request(self, sender: bytes, sequence: int, target: bytes, now_ns: int, effects: list[Effect]) -> None:
        if target == self._own:
            effects.append(Send(sender, msg.Ack(sequence)))
        elif target in self.members:
            own = self._probing.relay(sender, sequence, target, now_ns)
            if own is not None:
                effects.append(Send(target, msg.Ping(own, self._beliefs.take_updates(target))))

    def _on_sync(
        self, sender: bytes, message: msg.SyncStart | msg.SyncPage | msg.SyncUpdates, now_ns: int, effects: list[Effect]
    ) -> None:
        match message:
            case msg.SyncStart(digest):
                member = self.members.get(sender)
                if digest != self.members.digest() or (member is not None and not member.is_present):
                    effects += [Send(sender, page) for page in self.members.pages()]
            case msg.SyncPage():
                self._joining = ()
                updates, wanted, claims = self.members.compare(message, sender)
                self._beliefs.apply_all(tuple(claims), sender, now_ns, effects)
                effects += _sync_updates(sender, updates, wanted)
            case msg.SyncUpdates(updates_, wanted_):
                self._beliefs.apply_all(updates_, sender, now_ns, effects)
                effects += _sync_updates(sender, [update for key in wanted_ for update in self.members.updates(key)], [])

    # --- time

    def next_due_ns(self) -> int | None:
        """When ``on_time`` is wanted; ``None`` for a node alone in its mesh."""
        if self._next_stale:  # asked after every message of any kind
            self._next_stale = False
            dues = [self._probing.due_ns, self._due_soonest_ns, self._probing.relays_due_ns]
            dues += [suspicion.deadline_ns for suspicion in self._beliefs.suspicions.values()]
            self._next_ns = None if self.is_over else min((due_ns for due_ns in dues if due_ns is not None), default=None)
        return self._next_ns

    def on_time(self, now_ns: int) -> list[Effect]:
        """Do what is due. May be called too early, or late."""
        self._next_stale = True
        effects: list[Effect] = []
        if self.is_over:
            return effects
        self._excuse_pause(now_ns)
        for relay in self._probing.overdue_relays(now_ns):
            effects.append(Send(relay.origin, msg.Nack(relay.sequence)))
        self._go_on_probing(now_ns, effects)
        self._judge(now_ns, effects)
        if self._is_due("gossip", now_ns):
            self._spread(effects)
        if self._is_due("sync", now_ns):
            self.members.forget(now_ns - self._profile.forget_after_ns)
            self._compare_lists(self.members.others(), effects)
        if self._is_due("reconnect", now_ns):
            self._compare_lists(self.members.dead(), effects)
        if self._is_due("join", now_ns):
            effects += self._ask_to_join(now_ns)
        self._schedule(now_ns)
        return effects

    def _is_due(self, what: str, now_ns: int) -> bool:
        if what not in self._due or self._due[what] > now_ns:
            return False
        del self._due[what]
        return True

    def _reasons_now(self) -> tuple[bool, bool, bool, bool, bool]:
        """To start a probe, to gossip, to compare lists, to look for the dead, to join. Messages seldom change them."""
        company = self.members.present_count > 1
        return (
            company and self._probing.round is None,
            company and len(self._beliefs.gossip) > 0,
            company,
            self.members.has_dead,
            bool(self._joining),
        )

    def _schedule(self, now_ns: int) -> None:
        """Start the timers that have a reason to run, stop those that have none."""
        self._next_stale = True
        self._reasons = probe, gossip, sync, reconnect, join = self._reasons_now()
        if probe:
            self._due.setdefault("probe", now_ns)
        self._want("gossip", gossip, now_ns, self._profile.gossip_interval_ns)
        self._want("sync", sync, now_ns, self._profile.sync_interval_ns)
        self._want("reconnect", reconnect, now_ns, self._profile.reconnect_interval_ns)
        self._want("join", join, now_ns, self._profile.join_interval_ns)
        self._due_soonest_ns = min(self._due.values(), default=None)

    def _want(self, what: str, wanted: bool, now_ns: int, interval_ns: int) -> None:
        if not wanted:
            self._due.pop(what, None)
        elif what not in self._due:
            self._due[what] = now_ns + interval_ns

    def _go_on_probing(self, now_ns: int, effects: list[Effect]) -> None:
        opened = self._probing.round
        if opened is not None:
            if not opened.answered and opened.repeat_ns is not None and opened.repeat_ns <= now_ns:
                self._repeat(opened, effects)
            if opened.end_ns > now_ns:
                return
            self._close(opened, now_ns, effects)
        self._due.pop("probe", None)
        started = self._probing.begin(self.members, now_ns)
        if started is not None:
            effects.append(Send(started.target, msg.Ping(started.sequence, self._beliefs.take_updates(started.target))))

    def _repeat(self, opened: Round, effects: list[Effect]) -> None:
        opened.repeat_ns = None
        effects.append(Send(opened.target, msg.Ping(opened.sequence, self._beliefs.take_updates(opened.target))))
        relays = [peer for peer in self.members.others() if peer != opened.target]
        for relay in sample(relays, self._profile.indirect_probes, self._dice):
            opened.relays += 1
            request = msg.PingRequest(opened.sequence, opened.target, self._beliefs.take_updates(relay))
            effects.append(Send(relay, request))

    def _close(self, ended: Round, now_ns: int, effects: list[Effect]) -> None:
        if ended.answered:
            return
        heard_any_ns = self._beliefs.heard_any_ns
        lonely = heard_any_ns < ended.start_ns and now_ns - heard_any_ns >= self._profile.lonely_after_ns
        if lonely and not self.is_lonely:
            self._beliefs.is_lonely = True
            effects.append(LonelyChanged(True))
        self._probing.fail(ended)
        member = self.members.get(ended.target)
        if member is None or not member.is_present or self.is_lonely:
            return
        if self._beliefs.heard.get(ended.target, -1) >= ended.start_ns:
            excused = self._beliefs.excused[ended.target] = self._beliefs.excused.get(ended.target, 0) + 1
            if excused <= self._profile.evidence_rounds_max:
                return
        suspicion = self._beliefs.suspicions.get(ended.target)
        if suspicion is None:
            self._beliefs.suspect(member, self._own, now_ns, effects)
        elif suspicion.confirm(self._own):
            self._beliefs.gossip.add(Claim(ended.target, suspicion.incarnation, Status.SUSPECT, self._own))

    def _judge(self, now_ns: int, effects: list[Effect]) -> None:
        for key, suspicion in list(self._beliefs.suspicions.items()):
            if suspicion.deadline_ns > now_ns:
                continue
            heard = self._beliefs.heard.get(key, -1) > suspicion.start_ns
            excuses = max(suspicion.excuses, self._beliefs.excused.get(key, 0))
            if self.is_lonely or (heard and excuses < self._profile.evidence_rounds_max):
                suspicion.start_ns = now_ns
                suspicion.excuses += 1
                continue
            self._beliefs.bury(key, Claim(key, suspicion.incarnation, Status.DEAD, self._own), now_ns, effects)

    def _excuse_pause(self, now_ns: int) -> None:
        due_ns = self._probing.due_ns
        if due_ns is not None and now_ns - due_ns > self._profile.pause_ns:
            self._probing.round = None
            self._probing.worsen(1)
            self._beliefs.forgive(now_ns - due_ns, now_ns)

    def _spread(self, effects: list[Effect]) -> None:
        for peer in sample(self.members.others(), self._profile.gossip_fanout, self._dice):
            updates = self._beliefs.take_updates(peer)
            if updates:
                effects.append(Send(peer, msg.Gossip(updates)))

    def _compare_lists(self, candidates: Sequence[bytes], effects: list[Effect]) -> None:
        effects += [Send(peer, msg.SyncStart(self.members.digest())) for peer in sample(candidates, 1, self._dice)]

    def _ask_to_join(self, now_ns: int) -> list[Effect]:
        self._due.pop("join", None)
        self._schedule(now_ns)
        return [Send(peer, msg.Join(self.record)) for peer in sample(self._joining, 3, self._dice)]


def _sync_updates(receiver: bytes, updates: list[Update], wanted: list[bytes]) -> list[Effect]:
    """Messages for ``receiver``, as many as the limits of one make necessary; none if there is nothing to say."""
    effects: list[Effect] = []
    while updates or wanted:
        now, updates = updates[: msg.UPDATES_MAX], updates[msg.UPDATES_MAX :]
        ask, wanted = wanted[: msg.ENTRIES_MAX], wanted[msg.ENTRIES_MAX :]
        effects.append(Send(receiver, msg.SyncUpdates(tuple(now), tuple(ask))))
    return effects
