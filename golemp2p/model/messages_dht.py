"""What nodes ask each other about keys (Kademlia, section 2.3). ``number`` is the asker's own; answers carry it back.

    FindNode --> Found          the closest nodes the answerer knows
    FindRecords --> Found       its records under the key, and the closest nodes as well
    Put --> Stored
    PingNode --> Pong           "are you still there?", before a contact is replaced

Keys have 20 bytes.
"""

from __future__ import annotations

from golemp2p.model.dht import DhtRecord
from golemp2p.model.light import light_dataclass
from golemp2p.model.membership import NodeRecord

CLOSER_MAX = 20
"""k: nodes in one answer; 6 KB in practice."""
RECORDS_MAX = 20
"""Records in one answer: more providers than anybody asks."""
LIFETIME_S_MAX = 24 * 3600


@light_dataclass(frozen=True, slots=True)
class FindNode:
    number: int
    target: bytes


@light_dataclass(frozen=True, slots=True)
class FindRecords:
    number: int
    key: bytes


@light_dataclass(frozen=True, slots=True)
class Found:
    number: int
    records: tuple[DhtRecord, ...]
    closer: tuple[NodeRecord, ...]


@light_dataclass(frozen=True, slots=True)
class Put:
    """Keep ``record`` for ``lifetime_s`` seconds. Only who publishes it says so anew: it does not live on by being passed around."""

    number: int
    record: DhtRecord
    lifetime_s: int


@light_dataclass(frozen=True, slots=True)
class Stored:
    number: int
    accepted: bool


@light_dataclass(frozen=True, slots=True)
class PingNode:
    number: int


@light_dataclass(frozen=True, slots=True)
class Pong:
    number: int


DhtMessage = FindNode | FindRecords | Found | Put | Stored | PingNode | Pong
