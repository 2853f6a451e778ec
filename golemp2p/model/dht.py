"""What the DHT holds: small records that prove themselves. Hints, all of them: being wrong costs a detour, never safety.

NodeRecord       key: the node's id             where a node is; signed by it                newest: incarnation
ShardHint        key: of the shard's number     its newest election certificate, with votes  newest: term
ProviderRecord   key: of the blob's hash        who has a blob; signed by the provider       newest: sequence, per provider
"""

from __future__ import annotations

from dataclasses import dataclass

from golemp2p.model.ids import Key, NodeId
from golemp2p.model.membership import RECORD_BYTES_MAX, NodeRecord

DHT_RECORD_BYTES_MAX = RECORD_BYTES_MAX
BLOB_HASH_BYTES = 32
CERTIFICATE_BYTES_MAX = 1_100
"""Five voters with their votes take under 1 KiB (``wire.certificate``)."""


@dataclass(frozen=True, slots=True)
class ShardHint:
    """``primary`` (a public key) was elected for ``shard`` in ``term``; ``certificate`` is the evidence, as ``wire`` encodes it."""

    shard: int
    term: int
    primary: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """``provider`` (a public key) has the blob with this SHA-256. A provider's later ``sequence`` replaces the earlier."""

    blob: bytes
    provider: bytes
    sequence: int
    signature: bytes = b""


DhtRecord = NodeRecord | ShardHint | ProviderRecord


def shard_hint_key(shard: int) -> bytes:
    return Key.of("shard-hint", str(shard)).digest


def provider_key(blob: bytes) -> bytes:
    return Key.of("provider", blob.hex()).digest


def record_key(record: DhtRecord) -> bytes:
    """Where the record lives: 20 bytes."""
    match record:
        case NodeRecord():
            return NodeId.of(record.public_key).digest
        case ShardHint():
            return shard_hint_key(record.shard)
        case ProviderRecord():
            return provider_key(record.blob)


def record_author(record: DhtRecord) -> bytes:
    """The public key that answers for it: caps are per author."""
    match record:
        case NodeRecord():
            return record.public_key
        case ShardHint():
            return record.primary
        case ProviderRecord():
            return record.provider


def record_sequence(record: DhtRecord) -> int:
    """Of two records with the same slot the one with the higher number is newer."""
    match record:
        case NodeRecord():
            return record.incarnation
        case ShardHint():
            return record.term
        case ProviderRecord():
            return record.sequence


def record_slot(record: DhtRecord) -> tuple[bytes, bytes]:
    """Records with the same slot replace each other. A key has one node or one hint, but many providers."""
    return record_key(record), record.provider if isinstance(record, ProviderRecord) else b""
