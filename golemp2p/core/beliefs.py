"""What one member believes about all others, and how news changes it. Membership without timers and probes (see ``membership``).

record (signed by its node)     higher incarnation: believed at once
claim (of some member)          alive -> suspect -> dead, one step at a time; about ourselves: refuted
removal (signed by operator)    believed for ever
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from golemp2p.core.dice import Dice
from golemp2p.core.effects import Effect, Notice, Send
from golemp2p.core.gossip import Gossip
from golemp2p.core.members import Members
from golemp2p.core.membership_profile import MembershipProfile
from golemp2p.core.probing import Probing
from golemp2p.core.suspicion import Suspicion
from golemp2p.model.membership import INCARNATION_MAX, Claim, Member, NodeRecord, Removal, Status, Update
from golemp2p.model.messages_membership import Gossip as GossipMessage


class Authority(Protocol):
    """The cryptography of a mesh's membership."""

    def sign(self, record: NodeRecord) -> NodeRecord:
        """This node's own ``record`` with its signature."""
        ...

    def admits(self, record: NodeRecord) -> bool:
        """Whether the node signed ``record`` itself, and its admission holds in this mesh."""
        ...

    def ordered(self, removal: Removal) -> bool:
        """Whether the operator signed ``removal``."""
        ...


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Effect: a member came, changed its status, or its record. ``before`` is ``None`` for one not known until now."""

    member: Member
    before: Status | None


@dataclass(frozen=True, slots=True)
class LonelyChanged:
    """Effect: this node hears nobody any more (it must not campaign), or hears somebody again."""

    lonely: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """Effect: the operator removed a node. To be remembered over restarts, for ever (``Peer.start``)."""

    removal: Removal


@dataclass(frozen=True, slots=True)
class Expelled:
    """Effect: the operator removed this very node. It must stop."""


class Beliefs:
    """Of the node that ``record`` describes. Methods append to the ``effects`` they are given."""

    def __init__(
        self, record: NodeRecord, authority: Authority, dice: Dice, probing: Probing, profile: MembershipProfile
    ) -> None:
        self._authority = authority
        self._dice = dice
        self._probing = probing
        self._profile = profile
        self._own = record.public_key
        self.excused: dict[bytes, int] = {}
        self._refuted_ns: int | None = None
        self._corrected: dict[tuple[bytes, bytes], int] = {}
        self.record = authority.sign(record)
        self.members = Members(record.public_key, profile.members_max, profile.removals_max)
        self.members.put(self.record, Status.ALIVE, 0)
        self.gossip = Gossip(profile.retransmit_factor)
        self.suspicions: dict[bytes, Suspicion] = {}
        self.heard: dict[bytes, int] = {}
        self.heard_any_ns = 0
        self.is_lonely = False
        self.is_over = False

    def apply_all(self, updates: tuple[Update, ...], sender: bytes, now_ns: int, effects: list[Effect]) -> None:
        introduced: list[bytes] = []
        for update in updates:
            match update:
                case NodeRecord(public_key=key) if key not in self.members:
                    introduced.append(key)
                    self.apply(update, sender, now_ns, effects)
                case Claim(subject=key, status=Status.DEAD) if key in introduced:
                    self.bury(key, update, now_ns, effects)
                case _:
                    self.apply(update, sender, now_ns, effects)

    def apply(self, update: Update, sender: bytes, now_ns: int, effects: list[Effect], *, genuine: bool = False) -> None:
        match update:
            case NodeRecord():
                self._apply_record(update, now_ns, effects, genuine=genuine)
            case Claim():
                self._apply_claim(update, sender, now_ns, effects)
            case Removal():
                self._apply_removal(update, now_ns, effects)

    def _apply_record(self, record: NodeRecord, now_ns: int, effects: list[Effect], *, genuine: bool) -> None:
        key = record.public_key
        if key == self._own:
            self._meet_earlier_self(record, now_ns, effects)
            return
        known = self.members.get(key)
        if (known is not None and record.incarnation <= known.record.incarnation) or self.members.removal(key) is not None:
            return
        if known is None and (record.left or not self.has_room(now_ns)):
            return
        if not (genuine or self._authority.admits(record)):
            effects.append(Notice("membership.forged-record", (("subject", key),)))
            return
        self._set(record, Status.LEFT if record.left else Status.ALIVE, now_ns, effects)
        self.gossip.add(record)

    def remember(self, record: NodeRecord, now_ns: int, effects: list[Effect]) -> None:
        """A member from before, no news for anybody."""
        is_other = record.public_key != self._own and record.public_key not in self.members
        if is_other and not record.left and self.has_room(now_ns) and self._authority.admits(record):
            self._set(record, Status.ALIVE, now_ns, effects)

    def _apply_claim(self, claim: Claim, sender: bytes, now_ns: int, effects: list[Effect]) -> None:
        """Only claims about the incarnation we hold count; a higher one is fetched by the next comparison of lists. Those about
        ourselves are refuted, or answered with the refutation that there is."""
        if claim.subject == self._own:
            if claim.incarnation == self.record.incarnation:
                self._refute(sender, now_ns, effects)
            elif claim.incarnation < self.record.incarnation and self.may_correct(sender, self._own, now_ns):
                effects.append(Send(sender, GossipMessage((self.record,))))  # refuted already, and the sender has not heard it
            return
        member = self.members.get(claim.subject)
        if member is None or claim.incarnation != member.record.incarnation or not member.is_present:
            return
        if claim.status not in (Status.SUSPECT, Status.DEAD):
            return
        suspicion = self.suspicions.get(claim.subject)
        if suspicion is None:
            self.suspect(member, claim.accuser, now_ns, effects)
            if claim.status is Status.DEAD:
                self.suspicions[claim.subject].hurry()
            elif self._dice.randrange(max(1, self.members.present_count)) < self._profile.verifiers:
                self._probing.hurry(claim.subject)
        elif claim.status is Status.DEAD and self.heard.get(claim.subject, -1) <= suspicion.start_ns:
            if suspicion.is_seasoned(now_ns):
                self.bury(claim.subject, claim, now_ns, effects)
            else:
                suspicion.hurry()
        elif claim.accuser in self.members and suspicion.confirm(claim.accuser):
            self.gossip.add(replace(claim, status=Status.SUSPECT))

    def _apply_removal(self, removal: Removal, now_ns: int, effects: list[Effect]) -> None:
        if self.members.removal(removal.subject) is not None or not self._authority.ordered(removal):
            return
        if removal.subject == self._own:
            effects.append(Expelled())
            self.stop()
            return
        if self.members.removals_full:
            effects.append(Notice("membership.removals-full", (("subject", removal.subject),)))
            return
        member = self.members.remove(removal)
        self.suspicions.pop(removal.subject, None)
        self.heard.pop(removal.subject, None)
        self.gossip.add(removal)
        effects.append(Removed(removal))
        if member is not None:
            effects.append(MemberChanged(replace(member, status=Status.REMOVED, since_ns=now_ns), member.status))

    def suspect(self, member: Member, accuser: bytes, now_ns: int, effects: list[Effect]) -> None:
        key, incarnation = member.public_key, member.record.incarnation
        self.suspicions[key] = Suspicion(incarnation, accuser, now_ns, self.members.present_count, self._profile)
        self._set(member.record, Status.SUSPECT, now_ns, effects)
        self.gossip.add(Claim(key, incarnation, Status.SUSPECT, accuser))

    def bury(self, key: bytes, claim: Claim, now_ns: int, effects: list[Effect]) -> None:
        member = self.members.get(key)
        if member is not None and member.is_present and claim.incarnation == member.record.incarnation:
            self._set(member.record, Status.DEAD, now_ns, effects)
            self.gossip.add(claim)

    def _set(self, record: NodeRecord, status: Status, now_ns: int, effects: list[Effect]) -> None:
        before = self.members.get(record.public_key)
        member = self.members.put(record, status, now_ns)
        if status is not Status.SUSPECT:
            self.suspicions.pop(record.public_key, None)
        if status > Status.SUSPECT:
            self.heard.pop(record.public_key, None)
            self.excused.pop(record.public_key, None)
        elif before is None and self.members.present_count == 2:  # the first other one: until now there was nobody to hear
            self.heard_any_ns = now_ns
        effects.append(MemberChanged(member, None if before is None else before.status))

    def may_correct(self, peer: bytes, subject: bytes, now_ns: int) -> bool:
        """Whether to tell ``peer`` now how it is about ``subject``: two that hold each other dead would do so at wire speed."""
        before_ns = self._corrected.get((peer, subject))
        if before_ns is not None and now_ns - before_ns < self._profile.refute_interval_ns:
            return False
        if len(self._corrected) >= self._profile.members_max:
            self._corrected.clear()
        self._corrected[peer, subject] = now_ns
        return True

    def _refute(self, accuser: bytes, now_ns: int, effects: list[Effect]) -> None:
        if self._refuted_ns is not None and now_ns - self._refuted_ns < self._profile.refute_interval_ns:
            return
        self._refuted_ns = now_ns
        self._probing.worsen(1)
        self.renew(self.record, now_ns)
        effects.append(Notice("membership.refuted", (("accuser", accuser), ("incarnation", self.record.incarnation))))
        if accuser in self.members:
            effects.append(Send(accuser, GossipMessage((self.record,))))

    def _meet_earlier_self(self, record: NodeRecord, now_ns: int, effects: list[Effect]) -> None:
        """The mesh remembers a record that an earlier life of this node signed: go on above it."""
        newer = record.incarnation >= self.record.incarnation and record != self.record
        if newer and record.incarnation < INCARNATION_MAX and self._authority.admits(record):
            self.record = replace(self.record, incarnation=record.incarnation)
            self.renew(self.record, now_ns)

    def renew(self, record: NodeRecord, now_ns: int) -> None:
        """Tell the mesh about ourselves anew, under the next incarnation."""
        self.record = self._authority.sign(replace(record, incarnation=self.record.incarnation + 1, signature=b""))
        self.members.put(self.record, Status.ALIVE, now_ns)
        self.gossip.add(self.record)

    def has_room(self, now_ns: int) -> bool:
        if self.members.is_full:
            self.members.forget(now_ns)
        return not self.members.is_full

    def hear(self, peer: bytes, now_ns: int, effects: list[Effect]) -> None:
        self.heard[peer] = self.heard_any_ns = now_ns
        if self.is_lonely:
            self.is_lonely = False
            effects.append(LonelyChanged(False))
            for suspicion in self.suspicions.values():
                suspicion.start_ns = now_ns
                suspicion.excuses = 0

    def forgive(self, away_ns: int, now_ns: int) -> None:
        """We stood still for ``away_ns``: nobody's silence in that time counts."""
        self.heard_any_ns = now_ns
        for suspicion in self.suspicions.values():
            suspicion.start_ns += away_ns

    def take_updates(self, receiver: bytes) -> tuple[Update, ...]:
        """News for a message to ``receiver``; if it is a suspect, that comes first (Lifeguard: buddy system)."""
        updates = self.gossip.take(self._profile.piggyback_max, self.members.present_count)
        suspicion = self.suspicions.get(receiver)
        if suspicion is None:
            return updates
        return (Claim(receiver, suspicion.incarnation, Status.SUSPECT, suspicion.accusers[0]), *updates)

    def stop(self) -> None:
        """This node is no member any more."""
        self.is_over = True
        self.suspicions.clear()
