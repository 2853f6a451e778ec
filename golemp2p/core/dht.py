"""A node's part in the DHT: answers, lookups, publishing, its table kept in order.

    find_node / find_records --Lookup--> Dial ... Dial --> NodesFound / RecordsFound
    publish --Lookup--> Put to the k closest --> Published; again every half lifetime

Hints only (ARCHITECTURE 5): nothing here decides a quorum. **Where it differs** from Kademlia: only nodes that proved their key get
into the table; answers hold signed records, so that a liar can name nobody but nodes that exist; a record proves itself, and its
author alone refreshes it; nothing is replicated to newcomers, whoever publishes finds them at the next refresh.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from golemp2p.core.dht_records import DhtRecords, RecordLimits, newest
from golemp2p.core.dice import Dice
from golemp2p.core.effects import Effect, Notice
from golemp2p.core.lookup import Ask, Lookup, LookupProfile, RoundTrips
from golemp2p.core.routing import Routing
from golemp2p.model import messages_dht as msg
from golemp2p.model.dht import DhtRecord, record_key, record_slot
from golemp2p.model.ids import KEY_BYTES, NodeId
from golemp2p.model.membership import NodeRecord

S = 1_000_000_000
FIRST_NUMBER_MAX = 1 << 48
LOOKUPS_MAX = 256
"""Under way at once; more are refused."""
PUBLISHED_MAX = 4_096
"""Records this node keeps alive."""
LIFETIME_S = 3600
REPUBLISH_NS = LIFETIME_S * S // 2


class Proofs(Protocol):
    """The cryptography of DHT records."""

    def admits(self, record: NodeRecord) -> bool:
        """Whether the node signed it itself, and may be in this mesh."""
        ...

    def is_genuine(self, record: DhtRecord) -> bool:
        """Whether the record proves itself."""
        ...


@dataclass(frozen=True, slots=True)
class Dial:
    """Effect: send ``message`` to the node of ``record``, over a connection that proves its key; ``lost`` if it cannot be reached."""

    record: NodeRecord
    message: msg.DhtMessage


@dataclass(frozen=True, slots=True)
class NodesFound:
    """Effect: the live nodes closest to ``target``, closest first. ``hops`` to the closest; ``rpcs`` asked in all."""

    number: int
    target: bytes
    nodes: tuple[NodeRecord, ...]
    hops: int
    rpcs: int


@dataclass(frozen=True, slots=True)
class RecordsFound:
    """Effect: the newest genuine records under ``key``; empty if nobody asked had any. ``hops`` and ``rpcs`` as above."""

    number: int
    key: bytes
    records: tuple[DhtRecord, ...]
    hops: int
    rpcs: int


@dataclass(slots=True)
class _Search:
    lookup: Lookup
    records: bool = False
    enough: int = 0
    holders: int = 0
    found: dict[tuple[bytes, bytes], DhtRecord] = field(default_factory=dict)
    publish: DhtRecord | None = None
    refresh: bool = False


class Dht:
    """One per node. ``record``: its own, signed."""

    def __init__(
        self,
        record: NodeRecord,
        proofs: Proofs,
        dice: Dice,
        profile: LookupProfile | None = None,
        limits: RecordLimits | None = None,
    ) -> None:
        self.routing = Routing(record.public_key)
        self.records = DhtRecords(limits)
        self._own = record.public_key
        self._proofs = proofs
        self._dice = dice
        self._profile = profile or LookupProfile()
        self._round_trips = RoundTrips(self._profile)
        self._number = dice.randrange(FIRST_NUMBER_MAX)  # answers to an earlier life of this node fit none of this one
        self._searches: dict[int, _Search] = {}
        self._asked: dict[int, tuple[int, bytes]] = {}
        self._published: dict[tuple[bytes, bytes], tuple[DhtRecord, int]] = {}
        self._published_ns: int | None = None  # never later than the first of them is due
        self._refresh_ns: int | None = None

    # --- contacts

    def contacted(self, record: NodeRecord, now_ns: int) -> list[Effect]:
        """A connection to this node stands, its key proved; or membership holds it alive."""
        if not self._proofs.admits(record):
            return [Notice("dht.forged-record", (("subject", record.public_key),))]
        to_ping = self.routing.contacted(record, now_ns)
        if self._refresh_ns is None:
            self._refresh_ns = self.routing.next_stale_ns()
        return [] if to_ping is None else [Dial(to_ping, msg.PingNode(self._next()))]

    def lost(self, peer: bytes, now_ns: int) -> list[Effect]:
        """``peer`` could not be reached, or its connection broke: what it was asked is not answered."""
        effects: list[Effect] = []
        if all(asked != peer for _, asked in self._asked.values()):  # else the lookup that asked it will count the failure
            self.routing.failed(peer)
        for number, (search, asked) in list(self._asked.items()):
            is_open = asked == peer and self._asked.pop(number, None) is not None  # else its lookup ended meanwhile
            if is_open and search in self._searches:
                effects += self._carry_on(search, self._searches[search].lookup.failed(peer, now_ns), now_ns)
        return effects

    # --- what the node wants

    def find_node(self, target: bytes, now_ns: int) -> tuple[int, list[Effect]]:
        """Look for the nodes closest to ``target`` (20 bytes). The number that the result will carry, and what to do."""
        return self._search(_Search(self._lookup(target)), now_ns)

    def find_records(self, key: bytes, now_ns: int, *, enough: int = 3) -> tuple[int, list[Effect]]:
        """Look for records under ``key``, until ``enough`` nodes had some."""
        search = _Search(self._lookup(key), records=True, enough=enough)
        newest(self.records.get(key, now_ns), search.found)
        return self._search(search, now_ns)

    def publish(self, record: DhtRecord, now_ns: int) -> list[Effect]:
        """Put ``record`` where it belongs, now and every half lifetime, until ``withdraw``."""
        slot = record_slot(record)
        if slot not in self._published and len(self._published) >= PUBLISHED_MAX:
            return [Notice("dht.too-many-published")]
        jitter_ns = int(self._dice.random() * REPUBLISH_NS / 10)
        due_ns = now_ns + REPUBLISH_NS - jitter_ns
        self._published[slot] = (record, due_ns)
        self._published_ns = due_ns if self._published_ns is None else min(self._published_ns, due_ns)
        self.records.put(record, LIFETIME_S, now_ns)
        return self._search(_Search(self._lookup(slot[0]), publish=record), now_ns)[1]

    def withdraw(self, record: DhtRecord) -> None:
        """Do not refresh ``record`` any more, nor what replaced it."""
        self._published.pop(record_slot(record), None)

    # --- messages

    def receive(self, sender: NodeRecord, message: msg.DhtMessage, now_ns: int) -> list[Effect]:
        """``message`` came over a connection that proved the key of ``sender``."""
        match message:
            case msg.FindNode(number, target):
                return [Dial(sender, msg.Found(number, (), self._closer(sender, target)))]
            case msg.FindRecords(number, key):
                held = tuple(self.records.get(key, now_ns)[: msg.RECORDS_MAX])
                return [Dial(sender, msg.Found(number, held, self._closer(sender, key)))]
            case msg.Put(number, record, lifetime_s):
                accepted = self._proofs.is_genuine(record) and self.records.put(record, lifetime_s, now_ns)
                return [Dial(sender, msg.Stored(number, accepted))]
            case msg.PingNode(number):
                return [Dial(sender, msg.Pong(number))]
            case msg.Found(number, records, closer):
                return self._on_found(sender, number, records, closer, now_ns)
            case msg.Stored() | msg.Pong():
                return self.contacted(sender, now_ns)

    def _on_found(
        self,
        sender: NodeRecord,
        number: int,
        records: tuple[DhtRecord, ...],
        closer: tuple[NodeRecord, ...],
        now_ns: int,
    ) -> list[Effect]:
        number_of_search, asked = self._asked.get(number, (0, b""))
        search = self._searches.get(number_of_search)
        if search is None or asked != sender.public_key:
            return []
        del self._asked[number]
        effects = self.contacted(sender, now_ns)
        if search.records:
            wanted = [r for r in records if record_key(r) == search.lookup.target and self._proofs.is_genuine(r)]
            newest(wanted, search.found)
            search.holders += bool(wanted)
        asks = search.lookup.answered(asked, closer, now_ns)
        if search.enough and search.holders >= search.enough:
            search.lookup.stop()
            asks = []
        return effects + self._carry_on(number_of_search, asks, now_ns)

    def _closer(self, sender: NodeRecord, target: bytes) -> tuple[NodeRecord, ...]:
        return tuple(self.routing.closest(target, msg.CLOSER_MAX, exclude=sender.public_key))

    # --- time

    def next_due_ns(self) -> int | None:
        """``None`` while nothing is looked for, published or known."""
        if not self._searches and not self._published:
            return self._refresh_ns
        due_ns = self._refresh_ns
        for search in self._searches.values():
            other_ns = search.lookup.next_due_ns()
            if other_ns is not None and (due_ns is None or other_ns < due_ns):
                due_ns = other_ns
        if self._published_ns is not None and (due_ns is None or self._published_ns < due_ns):
            due_ns = self._published_ns
        return due_ns

    def on_time(self, now_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for number, search in list(self._searches.items()):
            due_ns = search.lookup.next_due_ns()
            if due_ns is not None and due_ns <= now_ns:
                effects += self._carry_on(number, search.lookup.on_time(now_ns), now_ns)
        if self._published_ns is not None and self._published_ns <= now_ns:
            for record, due_ns in list(self._published.values()):
                if due_ns <= now_ns:
                    effects += self.publish(record, now_ns)
            self._published_ns = min((due_ns for _, due_ns in self._published.values()), default=None)
        if self._refresh_ns is not None and self._refresh_ns <= now_ns:
            for low, high in self.routing.stale(now_ns):
                target = (low + self._dice.randrange(high - low)).to_bytes(KEY_BYTES, "big")
                self.routing.looked_up(target, now_ns)
                effects += self._search(_Search(self._lookup(target), refresh=True), now_ns)[1]
            self._refresh_ns = max(self.routing.next_stale_ns(), now_ns + S)
        return effects

    # --- searches

    def _lookup(self, target: bytes) -> Lookup:
        return Lookup(
            target,
            self.routing.closest(target, self._profile.k),
            self._own,
            profile=self._profile,
            round_trips=self._round_trips,
            is_genuine=self._proofs.admits,
        )

    def _search(self, search: _Search, now_ns: int) -> tuple[int, list[Effect]]:
        number = self._next()
        if len(self._searches) >= LOOKUPS_MAX:
            return number, [Notice("dht.too-many-lookups"), *self._result(number, search, now_ns)]
        self._searches[number] = search
        self.routing.looked_up(search.lookup.target, now_ns)
        return number, self._carry_on(number, search.lookup.start(now_ns), now_ns)

    def _carry_on(self, number: int, asks: list[Ask], now_ns: int) -> list[Effect]:
        search = self._searches[number]
        effects: list[Effect] = []
        for ask in asks:
            own = self._next()
            self._asked[own] = (number, ask.record.public_key)
            target = search.lookup.target
            effects.append(Dial(ask.record, msg.FindRecords(own, target) if search.records else msg.FindNode(own, target)))
        if search.lookup.is_over:
            del self._searches[number]
            self._asked = {key: asked for key, asked in self._asked.items() if asked[0] != number}
            for peer in search.lookup.silent:
                self.routing.failed(peer)
            effects += self._result(number, search, now_ns)
        return effects

    def _result(self, number: int, search: _Search, now_ns: int) -> list[Effect]:
        lookup = search.lookup
        if search.refresh:
            return []
        if search.publish is not None:
            return [Dial(node, msg.Put(self._next(), search.publish, LIFETIME_S)) for node in lookup.closest]
        if search.records:
            return [RecordsFound(number, lookup.target, tuple(search.found.values()), lookup.hops, lookup.rpcs)]
        return [NodesFound(number, lookup.target, tuple(lookup.closest), lookup.hops, lookup.rpcs)]

    def _next(self) -> int:
        self._number += 1
        return self._number


def distance(public_key: bytes, key: bytes) -> int:
    """XOR of a node's id and a key: by this "close" is meant everywhere."""
    return int.from_bytes(NodeId.of(public_key).digest, "big") ^ int.from_bytes(key, "big")
