"""What a primary knows of one other replica, and what it has under way to it.

    1 ......... match ................. next .......... last position of the log
      has, durably    sent, unanswered        to be sent

Invariant: ``match < next``. As etcd's ``Progress``: while *probing* one append is under way at a time, until an answer shows where
the logs meet; then several are (pipelining). ``wants_base``: what it lacks is compacted away, so it is offered the base instead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from golemp2p.model.messages_shard import Appended, Refusal


@dataclass(slots=True)
class Progress:
    """``in_flight``: (first, last) positions of each unanswered append, oldest first. ``due_ns``: when to send again what nobody
    answered; ``None`` while nothing is under way. ``damaged``: it has the entries but must not be counted (S9).
    ``violations``: how often, since something was accepted, it said that this primary broke the protocol. ``wants_proof``: it
    does not know that this primary won its term. ``is_gone``: its node
    answers with another store, so nothing is sent to this one any more. ``commit``: how far it knows the log to be committed.
    ``asked``: it is no member any more, and wants to know."""

    next: int
    delay_ns: int
    wants_base: bool = False
    match: int = 0
    commit: int = 0
    asked: bool = False
    probing: bool = True
    damaged: bool = False
    is_gone: bool = False
    violations: int = 0
    wants_proof: bool = False
    offered: bool = False
    due_ns: int | None = None
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)

    def sent(self, first: int, last: int, now_ns: int) -> None:
        if not self.in_flight:
            self.due_ns = now_ns + self.delay_ns
        self.in_flight.append((first, last))
        self.next = last + 1

    def arm(self, now_ns: int) -> None:
        if self.due_ns is None:
            self.due_ns = now_ns + self.delay_ns

    def rewind(self) -> None:
        """Take what is under way for lost."""
        if self.in_flight:
            self.next = max(self.match + 1, self.in_flight[0][0])
            self.in_flight.clear()
        self.probing = True
        self.offered = False
        self.due_ns = None

    def accepted(self, position: int, now_ns: int, delay_ns: int) -> None:
        """It holds everything up to ``position``."""
        self.match = max(self.match, position)
        self.next = self.match + 1 if self.wants_base else max(self.next, self.match + 1)
        while self.in_flight and self.in_flight[0][1] <= self.match:
            self.in_flight.popleft()
        self.probing = self.wants_base = self.offered = False
        self.violations = 0
        self.wants_proof = False
        self.delay_ns = delay_ns
        self.due_ns = now_ns + delay_ns if self.in_flight else None

    def refused(self, answer: Appended) -> None:
        """Find out where the logs meet. Answers that are older than what is known change nothing; a refusal that going back
        does not cure is left to the timer."""
        if answer.refusal is Refusal.BLANK:
            self.match = 0
            self.wants_base = True
            self.in_flight.clear()
            return
        if answer.refusal is Refusal.DAMAGED:  # said unasked: it is back, with less than it had
            self.match = min(self.match, answer.hint)
            self.next = min(self.next, answer.hint + 1)
            self.in_flight.clear()
            self.probing = True
            return
        if answer.refusal is Refusal.UNPROVEN:
            if not self.wants_proof:  # else it was shown, and the timer shows it again
                self.wants_proof = True
                self.rewind()
            return
        self.wants_proof = False
        if answer.refusal is Refusal.VIOLATION and self.in_flight and answer.position == self.in_flight[0][0] - 1:
            self.violations += 1  # once for each time the timer sends it, however much was sent behind it
        if answer.refusal not in (Refusal.BEHIND, Refusal.CONFLICT):
            return
        if answer.damaged:
            self.match = min(self.match, answer.hint)  # it lost what it had
        elif answer.refusal is Refusal.BEHIND and answer.hint < self.match:
            return  # old news, or a liar, or a disk that was set back: sent again at once, it would be refused again at once
        if answer.position >= self.match and max(self.match, answer.hint) + 1 < self.next:
            self.next = max(self.match, answer.hint) + 1
            self.in_flight.clear()
            self.probing = True
