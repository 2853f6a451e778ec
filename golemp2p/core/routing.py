"""The nodes we know, by distance: Kademlia's k-buckets (Maymounkov & Mazieres 2002, sections 2.2, 2.4, 4.2).

    [ bucket | bucket |    bucket    |          bucket          ]     half-open ranges that together cover 0 .. 2^160
              ^ own id is here: this one splits when it is full; others only as far as their depth is no multiple of 5

The structures are the ``kademlia`` package's (2.2.3), mended by subclasses. **What is mended:** ranges are half-open everywhere (there,
ids equal to a split point land in a bucket from which they cannot be removed); the depth of a bucket is that of its range, not of
what is in it; ``find_neighbors`` looks at all contacts instead of the first k it meets bucket by bucket; a full bucket returns the
contact to ping instead of scheduling a ping on asyncio; nothing reads the clock.

``Routing`` admits only nodes that we have talked to over an authenticated connection, replaces nobody who answers, and lets no subnet
crowd a bucket: an attacker pays for addresses, not only for keys.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from heapq import nsmallest
from ipaddress import ip_address, ip_network
from typing import Any

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from golemp2p.model.ids import KEY_BYTES, NodeId
from golemp2p.model.membership import NodeRecord

K = 20
ID_BITS = 8 * KEY_BYTES
SUBNET_PER_BUCKET = 2
SUBNET_PER_TABLE = 10
"""Contacts from one /24 (IPv4) or /48 (IPv6). Private and loopback addresses are not counted: who is there was let in."""
FAILURES_MAX = 2
"""A contact that failed so often in a row is dropped: one lost message is no death."""
HOSTS_MAX = 4_096
"""Hosts whose subnets, and nodes whose ids are remembered: every news of a node asks for its own."""
REFRESH_NS = 3600 * 1_000_000_000
"""A bucket in which nothing happened for an hour is looked up (section 2.3)."""


class Contact(Node):  # type: ignore[misc]  # the package is not typed
    """A node we know, by its signed record."""

    def __init__(self, record: NodeRecord) -> None:
        host, _, port = record.addresses[0].rpartition(":") if record.addresses else ("", "", "")
        super().__init__(_identifier(record.public_key), host, port)
        self.record = record
        self.failures = 0
        self.subnet = subnet_of(host)


class Bucket(KBucket):  # type: ignore[misc]  # the package is not typed
    """Contacts with ``range[0] <= id < range[1]``, least recently heard first, and candidates to replace them. ``subnets``: how many
    of the contacts are in each."""

    def __init__(self, low: int, high: int, ksize: int) -> None:
        self.last_updated = 0
        self.subnets: dict[str, int] = {}
        super().__init__(low, high, ksize)

    def touch_last_updated(self) -> None:
        """The package reads the clock here; ``Routing`` sets ``last_updated`` itself."""

    def add_node(self, node: Node) -> bool:
        before = self.nodes.get(node.id)
        is_in = bool(super().add_node(node))
        if is_in:
            self._count(before, -1)
            self._count(node, 1)
        return is_in

    def remove_node(self, node: Node) -> None:
        before, length = self.nodes.get(node.id), len(self.nodes)
        super().remove_node(node)
        self._count(before, -1)
        if before is not None and len(self.nodes) == length:  # a candidate took its place
            self._count(self.nodes[next(reversed(self.nodes))], 1)

    def _count(self, node: Node | None, change: int) -> None:
        subnet = getattr(node, "subnet", None)
        if subnet is not None:
            self.subnets[subnet] = self.subnets.get(subnet, 0) + change
            if not self.subnets[subnet]:
                del self.subnets[subnet]

    def has_in_range(self, node: Node) -> bool:
        return bool(self.range[0] <= node.long_id < self.range[1])

    def depth(self) -> int:
        """Leading bits that all ids of the range share."""
        width: int = self.range[1] - self.range[0]
        return ID_BITS - width.bit_length() + 1

    def split(self) -> tuple[Bucket, Bucket]:
        middle = (self.range[0] + self.range[1]) // 2
        halves = Bucket(self.range[0], middle, self.ksize), Bucket(middle, self.range[1], self.ksize)
        for node in (*self.nodes.values(), *self.replacement_nodes.values()):
            halves[node.long_id >= middle].add_node(node)
        for half in halves:
            half.last_updated = self.last_updated
        return halves

    def distance(self, wanted: int) -> int:
        """The least that an id of the range can have to ``wanted``: leading bits are shared, so ranges are as far apart as ids."""
        width: int = self.range[1] - self.range[0]
        return int(self.range[0] ^ wanted) & -width


class Table(RoutingTable):  # type: ignore[misc]  # the package is not typed
    """Buckets around ``node``, which is not in them."""

    def __init__(self, node: Node, ksize: int = K) -> None:
        super().__init__(None, ksize, node)

    def flush(self) -> None:
        self.buckets: list[Bucket] = [Bucket(0, 1 << ID_BITS, self.ksize)]
        self._lows = [0]  # where each begins

    def get_bucket_for(self, node: Node) -> int:
        return bisect_right(self._lows, node.long_id) - 1

    def split_bucket(self, index: int) -> None:
        super().split_bucket(index)
        self._lows.insert(index + 1, self.buckets[index + 1].range[0])

    def add_contact(self, node: Node) -> Node | None:
        """Put ``node`` in, or among the replacements of a full bucket; then the contact to ping is returned."""
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.add_node(node):
                return None
            if not bucket.has_in_range(self.node) and bucket.depth() % 5 == 0:
                return bucket.head()
            del bucket.replacement_nodes[node.id]
            self.split_bucket(index)

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Any]:
        """The ``k`` contacts closest to ``node`` by XOR, closest first, without itself and without ``exclude``'s address."""
        everybody = (contact for bucket in self.buckets for contact in bucket.nodes.values())
        wanted = (c for c in everybody if c.id != node.id and (exclude is None or not c.same_home_as(exclude)))
        return nsmallest(k or self.ksize, wanted, key=node.distance_to)

    def lonely_buckets(self, before_ns: int = 0) -> list[Bucket]:
        """Buckets last updated before then."""
        return [bucket for bucket in self.buckets if bucket.last_updated < before_ns]


class Routing:
    """The table of the node with public key ``own``."""

    def __init__(self, own: bytes, k: int = K) -> None:
        self._own = own
        self._table = Table(Node(NodeId.of(own).digest), k)

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._table.buckets)

    def __contains__(self, public_key: object) -> bool:
        return isinstance(public_key, bytes) and self._contact(public_key) is not None

    def contacted(self, record: NodeRecord, now_ns: int) -> NodeRecord | None:
        """We have talked to the node of ``record`` over an authenticated connection.

        Returns a contact that should be pinged: if it is silent (``failed``), this node or another takes its place.
        """
        if record.public_key == self._own:
            return None
        node = Node(_identifier(record.public_key))
        bucket = self._bucket(node)
        known: Contact | None = bucket.nodes.get(node.id) or bucket.replacement_nodes.get(node.id)
        if known is not None and known.record.incarnation >= record.incarnation:
            contact = known
            contact.failures = 0
        else:
            contact = Contact(record)
        if (known is None or known.subnet != contact.subnet) and self._is_crowded(bucket, contact.subnet):
            return None
        to_ping = self._table.add_contact(contact)
        self._bucket(contact).last_updated = now_ns
        return to_ping.record if to_ping is not None else None

    def failed(self, public_key: bytes) -> None:
        """The node did not answer, or could not be dialled. After ``FAILURES_MAX`` times it is dropped for a replacement."""
        contact = self._contact(public_key)
        if contact is not None:
            contact.failures += 1
            if contact.failures >= FAILURES_MAX:
                self._table.remove_contact(contact)

    def remove(self, public_key: bytes) -> None:
        """The node is no member any more."""
        self._table.remove_contact(Node(_identifier(public_key)))

    def closest(self, target: bytes, count: int = K, *, exclude: bytes = b"") -> list[NodeRecord]:
        """The ``count`` nodes closest to ``target`` (20 bytes), closest first, without the one with key ``exclude``."""
        wanted = int.from_bytes(target, "big")
        found: list[NodeRecord] = []
        for bucket in sorted(self._table.buckets, key=lambda bucket: bucket.distance(wanted)):
            if len(found) >= count:
                break
            contacts = sorted(bucket.nodes.values(), key=lambda contact: contact.long_id ^ wanted)
            found += [contact.record for contact in contacts if contact.record.public_key != exclude]
        return found[:count]

    def looked_up(self, target: bytes, now_ns: int) -> None:
        """A lookup went through the bucket of ``target``: it needs no refresh."""
        self._bucket(Node(target)).last_updated = now_ns

    def stale(self, now_ns: int) -> list[tuple[int, int]]:
        """Ranges of ids in which nothing was heard for an hour: look up some id of each."""
        return [bucket.range for bucket in self._table.lonely_buckets(now_ns - REFRESH_NS)]

    def next_stale_ns(self) -> int:
        """When the first bucket will be stale."""
        oldest_ns: int = min(bucket.last_updated for bucket in self._table.buckets)
        return oldest_ns + REFRESH_NS + 1

    def _bucket(self, node: Node) -> Bucket:
        return self._table.buckets[self._table.get_bucket_for(node)]

    def _contact(self, public_key: bytes) -> Contact | None:
        node = Node(_identifier(public_key))
        contact: Contact | None = self._bucket(node).nodes.get(node.id)
        return contact

    def _is_crowded(self, bucket: Bucket, subnet: str | None) -> bool:
        if subnet is None:
            return False
        waiting = [contact for contact in bucket.replacement_nodes.values() if contact.subnet == subnet]
        if bucket.subnets.get(subnet, 0) + len(waiting) >= SUBNET_PER_BUCKET:
            return True
        return sum([other.subnets.get(subnet, 0) for other in self._table.buckets]) >= SUBNET_PER_TABLE


@lru_cache(maxsize=HOSTS_MAX)
def _identifier(public_key: bytes) -> bytes:
    return NodeId.of(public_key).digest


@lru_cache(maxsize=HOSTS_MAX)
def subnet_of(host: str) -> str | None:
    """The /24 or /48 of an address; ``None`` if it is private, or a name."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    if not address.is_global:
        return None
    return str(ip_network(f"{address}/{24 if address.version == 4 else 48}", strict=False))
