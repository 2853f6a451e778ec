"""The walk towards a key: Kademlia's iterative lookup as a machine of its own, optionally over disjoint paths (S/Kademlia, 4.4).

    NEW --asked--> ASKED --answer--> ANSWERED           candidates, sorted by distance
                     |--timeout--> SLOW (asked again) --timeout--> FAILED
                     |--cannot be dialled----------------> FAILED

    ends when the k closest candidates that have not failed all answered, or 64 questions were asked, or nobody is left

**Where it differs** from the paper's rounds: alpha questions are always under way, one is asked the moment another is answered or slow;
what failed stays failed, whoever mentions it again (in the ``kademlia`` package the dead come back into results); timeouts follow the
round trips seen; and only nodes that answered in this lookup are results. With d paths, each candidate belongs to the path that
learned of it first, and a path only asks its own: one liar cannot draw them all aside.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from golemp2p.core.membership_profile import MS
from golemp2p.core.routing import K
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import NodeRecord

CANDIDATES_MAX = 1_024
"""Remembered in one lookup: 64 answers of 20 nodes could name a few more, all far away by then."""


@dataclass(frozen=True, slots=True)
class LookupProfile:
    """k, alpha, d: letters of the papers."""

    k: int = K
    alpha: int = 3
    paths: int = 1
    rpcs_max: int = 64
    attempts: int = 2
    timeout_min_ns: int = 50 * MS
    timeout_max_ns: int = 2_000 * MS


@dataclass(frozen=True, slots=True)
class Ask:
    """Effect: ask this node; then report ``answered`` or, if it cannot be reached, ``failed``."""

    record: NodeRecord


class RoundTrips:
    """The last 64 round trips of all lookups of a node: how long to wait is twice the 95th percentile, within limits."""

    SAMPLES = 64

    def __init__(self, profile: LookupProfile) -> None:
        self._profile = profile
        self._samples: list[int] = []
        self._next = 0

    def add(self, elapsed_ns: int) -> None:
        if len(self._samples) < self.SAMPLES:
            self._samples.append(elapsed_ns)
        else:
            self._samples[self._next] = elapsed_ns
            self._next = (self._next + 1) % self.SAMPLES

    @property
    def timeout_ns(self) -> int:
        """Before anything is known: half a second."""
        samples = sorted(self._samples) or [250 * MS]
        slow = samples[len(samples) * 95 // 100]
        return max(self._profile.timeout_min_ns, min(2 * slow, self._profile.timeout_max_ns))


class State(Enum):
    NEW = auto()
    ASKED = auto()
    SLOW = auto()
    ANSWERED = auto()
    FAILED = auto()


@dataclass(slots=True)
class Candidate:
    """``hops``: how many answers lead to it; those we knew at the start have 1."""

    record: NodeRecord
    distance: int
    path: int
    hops: int
    state: State = State.NEW
    attempts: int = 0
    asked_ns: int = 0
    deadline_ns: int = 0


class Lookup:
    """Towards ``target`` (20 bytes), from ``seeds``. ``is_genuine`` is asked once per candidate, before it is dialled."""

    def __init__(
        self,
        target: bytes,
        seeds: Iterable[NodeRecord],
        own: bytes,
        *,
        profile: LookupProfile,
        round_trips: RoundTrips,
        is_genuine: Callable[[NodeRecord], bool],
    ) -> None:
        self.target = target
        self.rpcs = 0
        self.is_over = False
        self._number = int.from_bytes(target, "big")
        self._own = own
        self._profile = profile
        self._round_trips = round_trips
        self._is_genuine = is_genuine
        self._candidates: dict[bytes, Candidate] = {}
        self._due_ns: int | None = None  # never later than the first deadline
        self._order: list[tuple[int, bytes]] = []
        for place, record in enumerate(seeds):
            self._learn(record, place % profile.paths, 1)

    def start(self, now_ns: int) -> list[Ask]:
        """The first questions. None if there is nobody to ask: then it is over."""
        return self._go_on(now_ns)

    def answered(self, peer: bytes, closer: Iterable[NodeRecord], now_ns: int) -> list[Ask]:
        """``peer`` named these nodes. An answer to a question never asked is nothing."""
        candidate = self._candidates.get(peer)
        if self.is_over or candidate is None or candidate.state in (State.NEW, State.ANSWERED):
            return []
        if candidate.attempts == 1:  # of a repeated question we cannot tell which one was answered (Karn)
            self._round_trips.add(now_ns - candidate.asked_ns)
        candidate.state = State.ANSWERED
        for record in list(closer)[: self._profile.k]:
            self._learn(record, candidate.path, candidate.hops + 1)
        return self._go_on(now_ns)

    def failed(self, peer: bytes, now_ns: int) -> list[Ask]:
        """``peer`` cannot be reached."""
        candidate = self._candidates.get(peer)
        if self.is_over or candidate is None or candidate.state not in (State.ASKED, State.SLOW):
            return []
        candidate.state = State.FAILED
        return self._go_on(now_ns)

    def stop(self) -> None:
        """What was found is enough."""
        self.is_over = True

    def next_due_ns(self) -> int | None:
        """May be early: somebody has answered meanwhile."""
        return None if self.is_over else self._due_ns

    def on_time(self, now_ns: int) -> list[Ask]:
        if self.is_over:
            return []
        effects: list[Ask] = []
        for candidate in self._waiting():
            if candidate.deadline_ns <= now_ns:
                effects += self._time_out(candidate, now_ns)
        effects += self._go_on(now_ns)
        self._due_ns = min((candidate.deadline_ns for candidate in self._waiting()), default=None)
        return effects

    @property
    def closest(self) -> list[NodeRecord]:
        """The k closest nodes that answered, closest first."""
        return [candidate.record for candidate in self._answered()[: self._profile.k]]

    @property
    def hops(self) -> int:
        """How many answers led to the closest node: 1 if we knew it."""
        return max((candidate.hops for candidate in self._answered()[:1]), default=0)

    @property
    def silent(self) -> list[bytes]:
        """Public keys of the nodes that were asked and never answered."""
        return [key for key, candidate in self._candidates.items() if candidate.state is State.FAILED and candidate.attempts]

    def _answered(self) -> list[Candidate]:
        ordered = (self._candidates[key] for _, key in self._order)
        return [candidate for candidate in ordered if candidate.state is State.ANSWERED]

    def _waiting(self) -> list[Candidate]:
        return [c for c in self._candidates.values() if c.state in (State.ASKED, State.SLOW)]

    def _learn(self, record: NodeRecord, path: int, hops: int) -> None:
        key = record.public_key
        if key == self._own or record.left or len(self._candidates) >= CANDIDATES_MAX:
            return
        known = self._candidates.get(key)
        if known is not None:
            if known.state is State.NEW and record.incarnation > known.record.incarnation:
                known.record = record
            return
        distance = int.from_bytes(NodeId.of(key).digest, "big") ^ self._number
        self._candidates[key] = Candidate(record, distance, path, hops)
        insort(self._order, (distance, key))

    def _time_out(self, candidate: Candidate, now_ns: int) -> list[Ask]:
        if candidate.attempts >= self._profile.attempts or self.rpcs >= self._profile.rpcs_max:
            candidate.state = State.FAILED
            return []
        candidate.state = State.SLOW
        return [self._ask(candidate, now_ns)]

    def _ask(self, candidate: Candidate, now_ns: int) -> Ask:
        self.rpcs += 1
        candidate.attempts += 1
        candidate.asked_ns = now_ns
        candidate.deadline_ns = now_ns + self._round_trips.timeout_ns
        if self._due_ns is None or candidate.deadline_ns < self._due_ns:
            self._due_ns = candidate.deadline_ns
        return Ask(candidate.record)

    def _go_on(self, now_ns: int) -> list[Ask]:
        effects: list[Ask] = []
        unfinished = False
        for path in range(self._profile.paths):
            unfinished |= self._go_on_along(path, now_ns, effects)
        if not unfinished:
            self.is_over = True
        return effects

    def _go_on_along(self, path: int, now_ns: int, effects: list[Ask]) -> bool:
        """Ask whom this path should ask now. Whether it waits for anybody among the k closest."""
        under_way = sum(c.state is State.ASKED and c.path == path for c in self._candidates.values())
        seen = 0
        waits = False
        for _, key in self._order:
            candidate = self._candidates[key]
            if candidate.state is State.FAILED or (candidate.path != path and candidate.state is not State.ANSWERED):
                continue
            if candidate.state is State.NEW and under_way < self._profile.alpha and self.rpcs < self._profile.rpcs_max:
                if not self._is_genuine(candidate.record):
                    candidate.state = State.FAILED
                    continue
                candidate.state = State.ASKED
                under_way += 1
                effects.append(self._ask(candidate, now_ns))
            waits |= candidate.state in (State.ASKED, State.SLOW)
            seen += 1
            if seen == self._profile.k:
                break
        return waits
