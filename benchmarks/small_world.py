"""A network of cores in one heap: messages and timers in order of time, nothing else. For tests and figures of single cores.

    World: (time, number, node, message or timer) ---> core.receive / core.on_time ---> effects ---Send---> heap

The simulator with disks, faults and checkers is ``simulations/``; this is what fits into a unit test.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random
from typing import Any, Protocol

from golemp2p.core.dht import Dht, Dial, NodesFound, distance
from golemp2p.core.effects import Send
from golemp2p.core.lookup import LookupProfile
from golemp2p.core.membership import Membership
from golemp2p.core.membership_profile import LAN, MS, MembershipProfile
from golemp2p.model.dht import DhtRecord
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import Member, NodeRecord, Removal, Status

FAKE = b"fake" * 16


class Core(Protocol):
    def receive(self, sender: bytes, message: Any, now_ns: int) -> list[Any]: ...
    def on_time(self, now_ns: int) -> list[Any]: ...
    def next_due_ns(self) -> int | None: ...


class World:
    """``latency_ns``: lowest and highest one-way delay; ``loss``: probability. ``cut`` says which messages never arrive."""

    def __init__(self, seed: int, *, loss: float = 0.0, latency_ns: tuple[int, int] = (400_000, 1_200_000)) -> None:
        self.dice = Random(seed)
        self.loss = loss
        self.latency_ns = latency_ns
        self.now_ns = 0
        self.nodes: dict[bytes, Core] = {}
        self.stopped: set[bytes] = set()
        self.frozen: dict[bytes, int] = {}
        self.cut: Callable[[bytes, bytes], bool] = lambda _sender, _receiver: False
        self.seen: list[tuple[int, bytes, Any]] = []
        self.sent: Counter[str] = Counter()
        self._heap: list[tuple[int, int, bytes, bytes | None, Any]] = []
        self._number = 0
        self._timers: dict[bytes, int] = {}

    def add(self, key: bytes, core: Core) -> None:
        self.nodes[key] = core
        self.settle(key, [])

    def settle(self, key: bytes, effects: Iterable[Any]) -> None:
        """Carry out what a core returned, and set its timer."""
        for effect in effects:
            if isinstance(effect, Send):
                self.send(key, effect.peer, effect.message)
            else:
                self.seen.append((self.now_ns, key, effect))
        due_ns = self.nodes[key].next_due_ns()
        if due_ns is not None and (key not in self._timers or due_ns < self._timers[key]):
            self._timers[key] = due_ns
            self._push(max(due_ns, self.now_ns), key, None, None)

    def send(self, sender: bytes, receiver: bytes, message: Any) -> None:
        self.sent[type(message).__name__] += 1
        if receiver not in self.nodes or self.cut(sender, receiver) or (self.loss and self.dice.random() < self.loss):
            return
        self._push(self.now_ns + self.dice.randint(*self.latency_ns), receiver, sender, message)

    def run(self, duration_ns: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Go on for ``duration_ns``, or until a condition holds. Whether it does."""
        end_ns = self.now_ns + duration_ns
        while self._heap and self._heap[0][0] <= end_ns:
            at_ns, _, key, sender, message = heapq.heappop(self._heap)
            self.now_ns = at_ns
            if key in self.stopped:
                continue
            if at_ns < self.frozen.get(key, 0):
                self._push(self.frozen[key], key, sender, message)
                continue
            self._step(key, sender, message)
            if until():
                return True
        self.now_ns = end_ns
        return until()

    def _step(self, key: bytes, sender: bytes | None, message: Any) -> None:
        core = self.nodes[key]
        if sender is not None:
            self.settle(key, core.receive(sender, message, self.now_ns))
            return
        self._timers.pop(key, None)
        due_ns = core.next_due_ns()
        self.settle(key, core.on_time(self.now_ns) if due_ns is not None and due_ns <= self.now_ns else [])

    def _push(self, at_ns: int, key: bytes, sender: bytes | None, message: Any) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at_ns, self._number, key, sender, message))


class Trust:
    """An authority without cryptography: a record is genuine if it carries the fake signature."""

    def sign(self, record: NodeRecord) -> NodeRecord:
        return replace(record, signature=FAKE)

    def admits(self, record: NodeRecord) -> bool:
        return record.signature == FAKE

    def ordered(self, removal: Removal) -> bool:
        return removal.signature == FAKE

    def is_genuine(self, record: DhtRecord) -> bool:
        return not isinstance(record, NodeRecord) or self.admits(record)


def key_of(number: int) -> bytes:
    return blake2b(number.to_bytes(4, "big"), digest_size=32).digest()


def record_of(number: int, *, weight: int = 1, domain: str = "", incarnation: int = 0) -> NodeRecord:
    address = f"{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1:9882"  # a subnet of its own
    return NodeRecord(key_of(number), bytes(16), (address,), weight, domain, incarnation)


def mesh(world: World, count: int, profile: MembershipProfile = LAN) -> list[Membership]:
    """``count`` members that know each other already, each with dice of its own."""
    nodes = [Membership(record_of(number), Trust(), Random(world.dice.random()), profile) for number in range(count)]
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.members.put(other.record, Status.ALIVE, 0)
    for node in nodes:
        world.add(node.record.public_key, node)
    for node in nodes:
        world.settle(node.record.public_key, node.heard_from(nodes[node is nodes[0]].record.public_key, 0))
        world.settle(node.record.public_key, node.on_time(0))
    return nodes


def statuses(node: Membership) -> dict[bytes, Status]:
    return {member.public_key: member.status for member in node.members.everyone}


def believes(nodes: Iterable[Membership], subject: bytes, status: Status) -> bool:
    def told(member: Member | None) -> bool:
        return member is not None and member.status is status

    return all(told(node.members.get(subject)) for node in nodes)


def detection(seed: int, count: int, loss: float, *, warm_ns: int = 3_000 * MS) -> tuple[int, int]:
    """(first, last): nanoseconds from a crash until one, and until every other member holds the crashed one dead."""
    world = World(seed, loss=loss)
    nodes = mesh(world, count)
    world.run(warm_ns + world.dice.randrange(200 * MS))
    victim = nodes[0].record.public_key
    crashed_ns = world.now_ns
    world.stopped.add(victim)
    others = nodes[1:]

    def dead_somewhere() -> bool:
        return any(believes([node], victim, Status.DEAD) for node in others)

    assert world.run(60_000 * MS, dead_somewhere), "never found dead"
    first_ns = world.now_ns - crashed_ns
    assert world.run(60_000 * MS, lambda: believes(others, victim, Status.DEAD)), "not all heard of it"
    return first_ns, world.now_ns - crashed_ns


def false_positives(seed: int, count: int, loss: float, duration_ns: int) -> tuple[int, int]:
    """(suspicions, verdicts) about members that are well, in a mesh that runs for ``duration_ns``: how often any node changed its
    mind."""
    world = World(seed, loss=loss)
    mesh(world, count)
    world.run(duration_ns)
    changes = [effect.member.status for _, _, effect in world.seen if hasattr(effect, "member")]
    return changes.count(Status.SUSPECT), changes.count(Status.DEAD)


class Walker:
    """A DHT node in a ``World``: senders are known by their records, as after a handshake."""

    def __init__(self, number: int, book: dict[bytes, NodeRecord], dice: Random, profile: LookupProfile) -> None:
        self.record = Trust().sign(record_of(number))
        self._book = book
        book[self.record.public_key] = self.record
        self.dht = Dht(self.record, Trust(), dice, profile)

    def receive(self, sender: bytes, message: Any, now_ns: int) -> list[Any]:
        record = self._book[sender]
        return self.carry([*self.dht.contacted(record, now_ns), *self.dht.receive(record, message, now_ns)])

    def on_time(self, now_ns: int) -> list[Any]:
        return self.carry(self.dht.on_time(now_ns))

    def next_due_ns(self) -> int | None:
        return self.dht.next_due_ns()

    def carry(self, effects: list[Any]) -> list[Any]:
        return [Send(e.record.public_key, e.message) if isinstance(e, Dial) else e for e in effects]


def dht(seed: int, count: int, profile: LookupProfile | None = None) -> tuple[World, list[Walker]]:
    """A DHT whose nodes joined one after another, each by looking itself up through one that was there."""
    world = World(seed)
    book: dict[bytes, NodeRecord] = {}
    walkers = [Walker(number, book, Random(world.dice.random()), profile or LookupProfile()) for number in range(count)]
    for number, walker in enumerate(walkers):
        key = walker.record.public_key
        world.add(key, walker)
        if number:
            known = walkers[world.dice.randrange(number)].record
            walker.dht.contacted(known, world.now_ns)
            walk(world, walker, NodeId.of(key).digest)
    return world, walkers


def walk(world: World, walker: Walker, target: bytes) -> NodesFound:
    """One lookup, to its end."""
    world.seen.clear()
    _, effects = walker.dht.find_node(target, world.now_ns)
    world.settle(walker.record.public_key, walker.carry(effects))

    def found() -> bool:
        return any(isinstance(effect, NodesFound) for _, _, effect in world.seen)

    assert found() or world.run(120_000 * MS, found), "a lookup that never ends"
    return next(effect for _, _, effect in world.seen if isinstance(effect, NodesFound))


@dataclass(frozen=True, slots=True)
class Walks:
    """Figures of lookups: means, the 99th percentile of the duration, and what was wrong with the results."""

    hops: float
    rpcs: float
    duration_ms: float
    duration_p99_ms: float
    dead_found: int
    missed: float
    """Share of the true k closest live nodes that were not found."""


def walks(seed: int, count: int, dead_share: float, lookups: int, profile: LookupProfile | None = None) -> Walks:
    world, walkers = dht(seed, count, profile)
    world.stopped = {walker.record.public_key for walker in world.dice.sample(walkers, int(count * dead_share))}
    live = [walker for walker in walkers if walker.record.public_key not in world.stopped]
    results, durations, dead, missed = [], [], 0, 0.0
    for _ in range(lookups):
        walker = world.dice.choice(live)
        target = world.dice.randbytes(20)
        start_ns = world.now_ns
        result = walk(world, walker, target)
        durations.append((world.now_ns - start_ns) / MS)
        results.append(result)
        keys = [record.public_key for record in result.nodes]
        dead += sum(key in world.stopped for key in keys)
        others = (other.record.public_key for other in live if other is not walker)
        true = heapq.nsmallest(20, others, key=lambda key: distance(key, target))
        missed += len(set(true) - set(keys)) / len(true)
    durations.sort()
    return Walks(
        hops=sum(result.hops for result in results) / lookups,
        rpcs=sum(result.rpcs for result in results) / lookups,
        duration_ms=sum(durations) / lookups,
        duration_p99_ms=durations[min(lookups - 1, lookups * 99 // 100)],
        dead_found=dead,
        missed=missed / lookups,
    )
