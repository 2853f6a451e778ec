"""What members say to each other (SWIM, section 4; Lifeguard's nack; push-pull in pages).

    Ping ----------> Ack                     direct probe
    PingRequest ---> Ping ---> Ack ---> Ack  indirect probe; Nack when the target did not answer the relay in time
    Join ----------> SyncPage* or Refused    a newcomer with its admission
    SyncStart -----> SyncPage* -> SyncUpdates    only where the lists differ
    Stranger                                 "I do not know you": the receiver joins anew

``updates`` ride on every probe, a bounded number at a time. Public keys are 32 bytes; sequence numbers are the sender's own.
"""

from __future__ import annotations

from golemp2p.model.light import light_dataclass
from golemp2p.model.membership import NodeRecord, Status, Update

UPDATES_MAX = 32
"""Updates in one message: some 9 KB of records. Probes carry fewer (``Parameters.piggyback_max``)."""
ENTRIES_MAX = 256
"""Members in one page of a list: 12 KB."""
DIGEST_BYTES = 16


@light_dataclass(frozen=True, slots=True)
class Ping:
    sequence: int
    updates: tuple[Update, ...] = ()


@light_dataclass(frozen=True, slots=True)
class PingRequest:
    """Please ping ``target`` for me, and pass its answer on under my ``sequence``."""

    sequence: int
    target: bytes
    updates: tuple[Update, ...] = ()


@light_dataclass(frozen=True, slots=True)
class Ack:
    """Answer to the ``Ping`` or ``PingRequest`` with that ``sequence`` of the receiver."""

    sequence: int
    updates: tuple[Update, ...] = ()


@light_dataclass(frozen=True, slots=True)
class Nack:
    """The relay is well, but the target has not answered it yet (Lifeguard, section IV-A)."""

    sequence: int


@light_dataclass(frozen=True, slots=True)
class Gossip:
    """News for a member that was not about to be probed."""

    updates: tuple[Update, ...]


@light_dataclass(frozen=True, slots=True)
class Join:
    record: NodeRecord


@light_dataclass(frozen=True, slots=True)
class Refused:
    """The receiver's record does not admit it, or the list is full. ``reason`` is a stable name."""

    reason: str


@light_dataclass(frozen=True, slots=True)
class Stranger:
    """The receiver is not in the sender's list."""


@light_dataclass(frozen=True, slots=True)
class SyncStart:
    """``digest``: of the sender's whole list. Equal lists have nothing more to say."""

    digest: bytes


@light_dataclass(frozen=True, slots=True)
class SyncPage:
    """All members of the sender with ``low <= public_key < high`` (``high`` empty: no end), in order of their keys."""

    low: bytes
    high: bytes
    entries: tuple[tuple[bytes, int, Status], ...]


@light_dataclass(frozen=True, slots=True)
class SyncUpdates:
    """``updates`` are what the receiver lacks, ``wanted`` the public keys about which the sender lacks something."""

    updates: tuple[Update, ...]
    wanted: tuple[bytes, ...]


@light_dataclass(frozen=True, slots=True)
class Heartbeat:
    """I am well; ``working``: and primary of a shard that has work and a replica with you (``core.liveness``)."""

    working: bool


@light_dataclass(frozen=True, slots=True)
class HeartbeatAsked:
    """I have not heard you for a while: send a heartbeat."""


LivenessMessage = Heartbeat | HeartbeatAsked
MembershipMessage = Ping | PingRequest | Ack | Nack | Gossip | Join | Refused | Stranger | SyncStart | SyncPage | SyncUpdates
