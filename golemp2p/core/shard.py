"""One shard: who may append to it, in which order, and when an append counts.

ARCHITECTURE section 4, for the configuration every mesh is born with: a single voter. The rules that bind a single voter are kept
here in their final form:

    S0  configuration zero is {founder}
    S1  the vote for oneself is durable before the term is used: the shard's record rides in the same commit as the first append
    S5  an append counts when a majority holds it durably: here, when the own disk says so
    S7  no process writes under a term it held before: the first append of every process elects itself anew, in a higher term

    FOLLOWER --append--> PRIMARY(term + 1, certificate)      positions: 1, 2, 3, ... one per segment, over all logs of the shard

Effects come back as values; the record inside an effect must be durable together with, or before, what else it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """What must be durable of a shard: newest term, the vote in it, the next free position, the certificate of the term."""

    term: int
    voted_for: bytes
    next_position: int
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Persist:
    """Make ``record`` durable in one commit with the segments at ``first_position`` and on."""

    record: Record
    first_position: int


class Shard:
    """``node``: this node's public key. ``certify(term)`` makes the signed election certificate of this node for a term."""

    __slots__ = ("_certify", "_elected", "_node", "certificate", "committed", "next_position", "term")

    def __init__(self, node: bytes, certify: Callable[[int], bytes], durable: Record | None) -> None:
        self._node = node
        self._certify = certify
        self.term = durable.term if durable else 0
        self.next_position = durable.next_position if durable else 1
        self.committed = self.next_position - 1
        self.certificate = b""
        self._elected = False

    def elect(self) -> int:
        """Be primary in a term of this process; returns the term. Repeating it changes nothing."""
        if not self._elected:
            self.term += 1
            self.certificate = self._certify(self.term)
            self._elected = True
        return self.term

    def append(self, count: int) -> Persist:
        """Give positions to ``count`` >= 1 segments sealed under ``elect()``'s term."""
        assert self._elected, "append before election"
        first = self.next_position
        self.next_position = first + count
        return Persist(Record(self.term, self._node, self.next_position, self.certificate), first)

    def persisted(self, position: int) -> int:
        """Everything up to ``position`` is durable here, which with one voter is a majority. Returns the commit position."""
        self.committed = max(self.committed, position)
        return self.committed
