"""Who is in the mesh, as nodes tell each other: signed node records, statuses, claims about others.

    NodeRecord   a node about itself, signed by it        alive (or left) under incarnation i; also its address record in the DHT
    Claim        a member about another, not signed       suspect or dead, as of incarnation i
    Removal      the operator about a node, signed        it is no member any more, and never will be again

A status is worth what its author may say. Only a node itself raises its incarnation, since only it can sign; so nobody can revive a
dead node, invent one, or make one leave. A claim may be wrong, and costs at most a refutation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from golemp2p.model.light import light_dataclass

PUBLIC_KEY_BYTES = 32
STORE_ID_BYTES = 16
SIGNATURE_BYTES = 64
ADDRESSES_MAX = 8
ADDRESS_BYTES_MAX = 64
"""``host:port`` with an IPv6 address in brackets takes 47; names are for bootstrap settings, not for records."""
DOMAIN_BYTES_MAX = 64
ADMISSION_BYTES_MAX = 256
"""What proves that the node may be here: a keyed hash under the mesh key, or the operator's signature with its limits."""
WEIGHT_MAX = 1 << 16
INCARNATION_MAX = (1 << 63) - 1
RECORD_BYTES_MAX = 1_200
"""Encoded size of a record: one unfragmented datagram, should records ever travel in datagrams. The limits above give 1,052."""


class Status(IntEnum):
    """Of two statuses under one incarnation the higher one wins. ``REMOVED`` wins over everything, for ever."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3
    REMOVED = 4


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node's word about itself. A higher ``incarnation`` replaces a lower one.

    ``public_key``: 32 bytes; ``store_id``: 16 bytes, new when a store lost data (S9); ``addresses``: ``host:port``, best first;
    ``weight``: capacity relative to others, up to ``WEIGHT_MAX``, 0 while it is draining: it takes no replicas, and gives its own
    away; ``domain``: failure domain, "" if none is known (then the node is
    one by itself); ``left``: the node's farewell; ``admission``: why it may be here, up to ``ADMISSION_BYTES_MAX``; ``signature``:
    the node's own, over everything before it (``wire.messages_membership.record_bytes``), empty while unsigned.
    """

    public_key: bytes
    store_id: bytes
    addresses: tuple[str, ...]
    weight: int
    domain: str
    incarnation: int
    left: bool = False
    admission: bytes = b""
    signature: bytes = b""


@light_dataclass(frozen=True, slots=True)
class Claim:
    """``accuser`` says that ``subject`` (both public keys) is suspect or dead, as of the subject's ``incarnation``."""

    subject: bytes
    incarnation: int
    status: Status
    accuser: bytes


@dataclass(frozen=True, slots=True)
class Removal:
    """The operator ends the membership of ``subject`` (a public key). A node that should come back makes a new key."""

    subject: bytes
    signature: bytes


Update = NodeRecord | Claim | Removal
"""What gossip carries."""


@light_dataclass(frozen=True, slots=True)
class Member:
    """A node as one member sees it. ``since_ns``: when that member gave it this status (its own monotonic clock)."""

    record: NodeRecord
    status: Status
    since_ns: int

    @property
    def public_key(self) -> bytes:
        return self.record.public_key

    @property
    def is_present(self) -> bool:
        """Alive as far as anybody has proved: a suspect still counts."""
        return self.status <= Status.SUSPECT
