"""Rounds of probes: one member per protocol period, then the same one through relays (SWIM, sections 3.1, 4.3; Lifeguard IV-A).

    begin ---Ping---> wait ping_timeout ---Ping again, PingRequest to k---> wait until the period ends ---> verdict
                        |                                                      |
                        +---- Ack: well, health improves <--------------------+

Targets come in random order, each once before any comes again. The local health multiplier h (0..S) makes periods and timeouts
h + 1 times longer: it falls with each answer, and rises when a round fails *and* relays did not even say that they are well.
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.core.dice import Dice, shuffle
from golemp2p.core.members import Members
from golemp2p.core.membership_profile import MembershipProfile


@dataclass(slots=True)
class Round:
    """One member being probed. ``repeat_ns`` is ``None`` once the probe was repeated and relays were asked."""

    target: bytes
    sequence: int
    start_ns: int
    repeat_ns: int | None
    end_ns: int
    answered: bool = False
    relays: int = 0
    nacks: int = 0


@dataclass(slots=True)
class Relay:
    """A probe on behalf of ``origin``, which calls it ``sequence``. ``nack_ns`` is ``None`` once a nack was sent."""

    origin: bytes
    sequence: int
    target: bytes
    nack_ns: int | None
    end_ns: int


class Probing:
    """The open round, the order of targets, our health, and what we probe for others."""

    def __init__(self, profile: MembershipProfile, dice: Dice) -> None:
        self._profile = profile
        self._dice = dice
        self._order: list[bytes] = []
        self._urgent: dict[bytes, None] = {}
        self._sequence = 0
        self._relays: dict[int, Relay] = {}
        self.round: Round | None = None
        self.health = 0

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def hurry(self, target: bytes) -> None:
        """Probe ``target`` in the next round."""
        self._urgent[target] = None

    def begin(self, members: Members, now_ns: int) -> Round | None:
        """A new round with one of the other members present; ``None`` if there are none."""
        target = self._choose(members)
        if target is None:
            self.round = None
            return None
        slow = self.health + 1
        repeat_ns = now_ns + self._profile.ping_timeout_ns * slow
        self.round = Round(target, self.next_sequence(), now_ns, repeat_ns, now_ns + self._profile.probe_interval_ns * slow)
        return self.round

    def _choose(self, members: Members) -> bytes | None:
        if not members.others():
            self._order.clear()
            self._urgent.clear()
            return None
        while self._urgent:
            urgent = next(iter(self._urgent))
            del self._urgent[urgent]
            if members.is_present(urgent):
                return urgent
        while True:
            while self._order:
                target = self._order.pop()
                if members.is_present(target):
                    return target
            self._order = list(members.others())
            shuffle(self._order, self._dice)

    @property
    def due_ns(self) -> int | None:
        """When the open round wants attention."""
        if self.round is None:
            return None
        if self.round.answered or self.round.repeat_ns is None:
            return self.round.end_ns
        return self.round.repeat_ns

    def answer(self, sequence: int) -> bool:
        """An ``Ack``, direct or through a relay. Whether it is the first to the open round."""
        opened = self.round
        if opened is None or opened.sequence != sequence or opened.answered:
            return False
        opened.answered = True
        self.health = max(0, self.health - 1)
        return True

    def nack(self, sequence: int) -> None:
        if self.round is not None and self.round.sequence == sequence and self.round.nacks < self.round.relays:
            self.round.nacks += 1

    def fail(self, failed: Round) -> None:
        """The round ended without an answer. If the relays are well it says nothing about us (as memberlist counts)."""
        self.worsen(failed.relays - failed.nacks if failed.relays else 1)

    def worsen(self, amount: int) -> None:
        self.health = min(self._profile.health_max, self.health + amount)

    def relay(self, origin: bytes, sequence: int, target: bytes, now_ns: int) -> int | None:
        """The sequence number for a probe on behalf of ``origin``; ``None`` if there are too many."""
        if len(self._relays) >= self._profile.relays_max:
            return None
        own = self.next_sequence()
        nack_ns = now_ns + self._profile.ping_timeout_ns
        self._relays[own] = Relay(origin, sequence, target, nack_ns, now_ns + self._profile.probe_interval_ns)
        return own

    def relayed(self, sequence: int, sender: bytes) -> Relay | None:
        """The relay that ``sender`` answers, which thereby ends."""
        relay = self._relays.get(sequence)
        if relay is None or relay.target != sender:
            return None
        return self._relays.pop(sequence)

    @property
    def relays_due_ns(self) -> int | None:
        if not self._relays:
            return None
        return min(relay.end_ns if relay.nack_ns is None else relay.nack_ns for relay in self._relays.values())

    def overdue_relays(self, now_ns: int) -> list[Relay]:
        """Relays for which it is time to say nack. Those that have ended are dropped."""
        for sequence in [key for key, relay in self._relays.items() if relay.end_ns <= now_ns]:
            del self._relays[sequence]
        overdue = [relay for relay in self._relays.values() if relay.nack_ns is not None and relay.nack_ns <= now_ns]
        for relay in overdue:
            relay.nack_ns = None
        return overdue
