"""Replicas of one shard over a bag of messages and disks that lose what was not synced; every step is checked.

A small judge for the core's own tests. ``World`` carries out effects as a driver must; ``ReplicaChecks`` knows what may never happen.
Infidelities: one shard; signatures are keyed hashes; a write is synced at once or not at all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from replica_checks import ReplicaChecks, demand

from golemp2p.core.effects import Notice, Persist, Send
from golemp2p.core.replica import Replica
from golemp2p.core.replica_durable import ReplicaDurable
from golemp2p.core.replica_effects import Committed, Installed, ReadSegments, StartServing, StopServing
from golemp2p.core.replica_rules import Limits, Rules
from golemp2p.model.ids import Key
from golemp2p.model.messages_shard import FetchedSegments, ShardMessage
from golemp2p.model.replication import EMPTY_LOG, Branch, Content, LogSegment, Member

OPERATOR = b"operator".ljust(32, b".")
LOGS = [Key.of("worker", f"c/{n}") for n in range(3)]


def hashed(*parts: Any) -> bytes:
    return blake2b(repr(parts).encode(), digest_size=32).digest()


class FakeNotary:
    """Signatures are hashes that name their signer."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def entry_hash(self, position: int, term: int, previous_hash: bytes, author: bytes, content: Content) -> bytes:
        digest = content.hash if isinstance(content, LogSegment) else content
        return hashed(position, term, previous_hash, author, digest)

    def sign_entry(self, entry_hash: bytes) -> bytes:
        return hashed("entry", self.key, entry_hash)

    def is_entry_signed(self, entry_hash: bytes, signature: bytes, author: bytes) -> bool:
        return signature == hashed("entry", author, entry_hash)

    def cast_vote(self, term: int, primary: bytes) -> bytes:
        return hashed("vote", self.key, term, primary)

    def is_vote(self, term: int, primary: bytes, voter: bytes, signature: bytes) -> bool:
        return signature == hashed("vote", voter, term, primary)

    def is_segment_signed(self, segment: LogSegment) -> bool:
        return segment == make_segment(
            segment.author, segment.log, segment.term, segment.first, segment.count, segment.previous_hash, segment.data[32:]
        )

    def is_branch_signed(self, branch: Branch) -> bool:
        return branch.operator == OPERATOR and branch.signature == branch_signature(branch)


def branch_signature(branch: Branch) -> bytes:
    return hashed(branch.branch, branch.survivor, branch.uncertain_from, branch.last_position, branch.last_hash)


def make_segment(
    author: bytes, log: Key, term: int, first: int, count: int, previous_hash: bytes, payload: bytes
) -> LogSegment:
    header = hashed(author, log.digest, term, first, count, previous_hash, payload)
    data = hashed("segment", author, header) + payload
    return LogSegment(log, term, first, count, previous_hash, author, hashed(header, data[:32]), data)


def key_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


class Node:
    """One node: its disk, what was not synced yet, its replica while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = key_of(name)
        self.stores = 0
        self.lives = 0
        self.durable = ReplicaDurable()
        self.queue: deque[Persist] = deque()
        self.replica: Replica | None = None
        self.suspected: dict[bytes, None] = {}
        self.is_harmed = False  # somebody damaged the disk, and it is not whole again
        self.must_reach = (0, 0)  # high-water mark of a disk that was damaged, or of a replica that was removed

    @property
    def is_damaged(self) -> bool:
        """Whether the disk holds less than it once did. Repairs count when they are synced."""
        if self.durable.damaged_logs:
            return True
        entries, base = self.durable.entries, self.durable.base
        last = (entries[-1].term, entries[-1].position) if entries else (base.term, base.position)
        return last < self.durable.record.high_water

    @property
    def is_whole(self) -> bool:
        """Whether the running replica may be counted: it holds, or is about to write, all it ever said it holds."""
        assert self.replica is not None
        is_repaired = not self.durable.damaged_logs or any(
            set(self.durable.damaged_logs) <= set(p.write.repaired) or p.write.is_install for p in self.queue
        )
        return is_repaired and self.replica.log.last >= self.must_reach

    @property
    def member(self) -> Member:
        return Member(self.key, b"store-%d" % self.stores + bytes(9))


class World:
    """``names``: the first founds the shard. ``now_ns`` is one clock for all."""

    def __init__(self, names: str = "ABC", rules: Rules | None = None, limits: Limits | None = None) -> None:
        self.rules = rules or Rules()
        self.limits = limits or Limits(append_entries_max=4, appends_in_flight_max=3, manifest_page_max=2)
        self.nodes = {name: Node(name) for name in names}
        self.by_key = {node.key: node for node in self.nodes.values()}
        self.bag: list[tuple[bytes, bytes, ShardMessage]] = []
        self.cut: set[tuple[bytes, bytes]] = set()
        self.now_ns = 0
        self.notices: list[tuple[str, Notice]] = []
        self.checks = ReplicaChecks()
        self.proposed = 0
        founder = self.nodes[names[0]]
        founder.durable = ReplicaDurable.at_birth(founder.member)
        for name in names:
            self.start(name)

    # -- what happens to nodes

    def start(self, name: str) -> None:
        node = self.nodes[name]
        assert node.replica is None
        node.lives += 1
        if node.is_damaged:
            demand(node.is_harmed, "damage that nobody did")
            node.must_reach = max(node.must_reach, node.durable.record.high_water)
        node.replica = Replica(
            7, node.member, node.durable, FakeNotary(node.key), rules=self.rules, limits=self.limits, suspected=node.suspected
        )
        self.checks.started(node)
        self.carry_out(node, node.replica.started())

    def crash(self, name: str) -> None:
        node = self.nodes[name]
        node.replica = None
        node.queue.clear()
        self.checks.stopped(node)

    def lose_disk(self, name: str) -> None:
        """The crashed node comes back with an empty store under a new id."""
        node = self.nodes[name]
        assert node.replica is None
        node.stores += 1
        self.checks.harmed(node)
        node.durable = ReplicaDurable()
        node.must_reach = (0, 0)

    def damage(self, name: str, keep: int) -> None:
        """The crashed node loses all durable entries but the first ``keep``, and remembers how many there were."""
        node = self.nodes[name]
        assert node.replica is None
        node.must_reach = max(node.must_reach, node.durable.record.high_water)
        self.checks.harmed(node)
        node.is_harmed = True
        del node.durable.entries[keep:]

    def damage_log(self, name: str, log: Key, place: int) -> None:
        """The crashed node finds a segment of ``log`` damaged that is older than the entries it keeps."""
        node = self.nodes[name]
        assert node.replica is None
        node.must_reach = max(node.must_reach, node.durable.record.high_water)
        self.checks.harmed(node)
        node.is_harmed = True
        segments = node.durable.history[log]
        segments[place] = replace(segments[place], data=b"rotten")
        node.durable.damaged_logs = tuple(sorted({*node.durable.damaged_logs, log}))

    # -- steps

    def call(self, name: str, method: str, *arguments: Any) -> None:
        """Call a method of the replica with ``now_ns`` last, and carry out what it wants."""
        node = self.nodes[name]
        assert node.replica is not None
        self.carry_out(node, getattr(node.replica, method)(*arguments, self.now_ns))

    def deliver(self, place: int = 0) -> None:
        sender, receiver, message = self.bag.pop(place)
        self.hand(sender, receiver, message)

    def hand(self, sender: bytes, receiver: bytes, message: ShardMessage) -> None:
        node = self.by_key[receiver]
        if node.replica is None or (sender, receiver) in self.cut:
            return
        before = self.checks.before(node, sender)
        effects = node.replica.receive(sender, message, self.now_ns)
        self.checks.received(node, message, before, effects)
        self.carry_out(node, effects)

    def sync(self, name: str) -> None:
        """The oldest unsynced write becomes durable; what waited for it is sent."""
        node = self.nodes[name]
        persist = node.queue.popleft()
        if persist.write.is_forgotten:
            node.must_reach = max(node.must_reach, node.durable.record.high_water)
            node.is_harmed = True
        node.durable.apply(persist.write)
        node.is_harmed = node.is_harmed and node.is_damaged
        self.checks.synced(node, persist.write)
        for send in persist.then:
            self.put(node, send)
        if node.replica is not None:
            self.carry_out(node, node.replica.persisted(persist.token, self.now_ns))

    def tick(self, name: str) -> None:
        node = self.nodes[name]
        due = node.replica.next_due_ns() if node.replica else None
        if due is not None and due <= self.now_ns:
            self.call(name, "on_time")

    def propose(self, name: str, log: Key = LOGS[0], count: int = 1) -> None:
        """The primary appends one segment of ``count`` entries, and ships it."""
        self.queue(name, log, count)
        self.call(name, "flush")

    def queue(self, name: str, log: Key = LOGS[0], count: int = 1) -> None:
        """The same, not shipped yet."""
        node = self.nodes[name]
        replica = node.replica
        assert replica is not None
        head = replica.head(log) or EMPTY_LOG
        self.proposed += 1
        payload = b"%d" % self.proposed
        replica.append([make_segment(node.key, log, replica.term, head.tail, count, head.hash, payload)])

    def suspect(self, name: str, peer: str) -> None:
        self.nodes[name].suspected[key_of(peer)] = None
        if self.nodes[name].replica is not None:
            self.call(name, "peer_suspected", key_of(peer))

    def trust(self, name: str, peer: str) -> None:
        self.nodes[name].suspected.pop(key_of(peer), None)
        if self.nodes[name].replica is not None:
            self.call(name, "peer_alive", key_of(peer))

    def settle(self, *, lost: Any = lambda message: False, rounds: int = 2000) -> None:
        """Deliver and sync in order until nothing is left; timers do not run."""
        for _ in range(rounds):
            busy = [name for name, node in self.nodes.items() if node.queue]
            if busy:
                self.sync(busy[0])
            elif self.bag:
                sender, receiver, message = self.bag.pop(0)
                if not lost(message):
                    self.hand(sender, receiver, message)
            else:
                return
        raise AssertionError("messages never end")

    def rest(self) -> None:
        """Settle, and let time pass until no replica has anything under way."""
        self.settle()
        while dues := [due for node in self.nodes.values() if node.replica and (due := node.replica.next_due_ns()) is not None]:
            self.now_ns = max(self.now_ns, min(dues))
            for name in self.nodes:
                self.tick(name)
            self.settle()

    # -- driver

    def put(self, node: Node, send: Send) -> None:
        self.checks.sent(node, send)
        self.bag.append((node.key, send.peer, send.message))

    def carry_out(self, node: Node, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.put(node, effect)
            elif isinstance(effect, Persist):
                self.checks.persist(node, effect.write)
                node.queue.append(effect)
            elif isinstance(effect, Committed):
                self.checks.committed(node, effect.entries)
            elif isinstance(effect, StartServing):
                self.checks.serving(node, effect.term)
            elif isinstance(effect, ReadSegments):
                found = tuple(node.durable.read_for(effect)[:2])
                answer = FetchedSegments(effect.log, effect.first, found)
                assert node.replica is not None
                message = ShardMessage(7, node.replica.log.branch, node.replica.term, node.member.store_id, answer)
                self.bag.append((node.key, effect.peer, message))
            elif isinstance(effect, Notice):
                self.notices.append((node.name, effect))
            else:
                assert isinstance(effect, StopServing | Installed)
        self.checks.after(node)

    # -- looking

    def __getitem__(self, name: str) -> Replica:
        replica = self.nodes[name].replica
        assert replica is not None
        return replica

    def members(self, names: str) -> list[Member]:
        return [self.nodes[name].member for name in names]

    def serving(self) -> str | None:
        """Name of the serving primary of the highest term."""
        found = [node for node in self.nodes.values() if node.replica is not None and node.replica.is_serving]
        return max(found, key=lambda node: node.replica.term).name if found else None  # type: ignore[union-attr]

    def noticed(self, event: str) -> list[str]:
        return [name for name, notice in self.notices if notice.name == event]


def founded(names: str = "ABC", rules: Rules | None = None, limits: Limits | None = None, others: str = "") -> World:
    """A settled shard whose voters are all of ``names`` (1, 3 or 5), primary the first. ``others`` are no members yet."""
    world = World(names + others, rules, limits)
    world.call(names[0], "campaign")
    world.settle()
    if len(names) > 1:
        world.call(names[0], "change_members", world.members(names[0]), world.members(names[1:]))
        world.settle()
        world.call(names[0], "change_members", world.members(names), ())
        world.settle()
    assert world.serving() == names[0]
    return world
