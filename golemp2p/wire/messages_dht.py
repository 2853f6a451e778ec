"""DHT messages as CBOR, and what a provider signs.

provider record   sign(tag, mesh id, blob, provider, sequence)      by the provider
"""

from __future__ import annotations

from dataclasses import replace

from golemp2p.errors import DataDamaged
from golemp2p.model import dht, membership
from golemp2p.model import messages_dht as msg
from golemp2p.model.ids import KEY_BYTES
from golemp2p.values import cbor
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import SHARDS_MAX, TERM_MAX, Genesis, load_certificate, verify_certificate
from golemp2p.wire.identity import Signer, is_signed
from golemp2p.wire.messages_membership import NODE_RECORD, PUBLIC_KEY

MESSAGE_BYTES_MAX = 64 << 10
"""``CLOSER_MAX`` and ``RECORDS_MAX`` records of ``DHT_RECORD_BYTES_MAX`` take 48 KB."""

_PROVIDER_TAG = "golemp2p/provider/1"

_RECORD = s.union(
    (0, membership.NodeRecord, NODE_RECORD),
    (
        1,
        dht.ShardHint,
        s.record(
            dht.ShardHint,
            s.natural(SHARDS_MAX - 1),
            s.natural(TERM_MAX),
            PUBLIC_KEY,
            s.short_bytes(dht.CERTIFICATE_BYTES_MAX),
        ),
    ),
    (
        2,
        dht.ProviderRecord,
        s.record(
            dht.ProviderRecord,
            s.exact_bytes(dht.BLOB_HASH_BYTES),
            PUBLIC_KEY,
            s.natural(),
            s.exact_bytes(membership.SIGNATURE_BYTES),
        ),
    ),
)
_NUMBER = s.natural()
_KEY = s.exact_bytes(KEY_BYTES)

_MESSAGE = s.union(
    (0, msg.FindNode, s.record(msg.FindNode, _NUMBER, _KEY)),
    (1, msg.FindRecords, s.record(msg.FindRecords, _NUMBER, _KEY)),
    (2, msg.Found, s.record(msg.Found, _NUMBER, s.array(_RECORD, msg.RECORDS_MAX), s.array(NODE_RECORD, msg.CLOSER_MAX))),
    (3, msg.Put, s.record(msg.Put, _NUMBER, _RECORD, s.natural(msg.LIFETIME_S_MAX))),
    (4, msg.Stored, s.record(msg.Stored, _NUMBER, s.flag())),
    (5, msg.PingNode, s.record(msg.PingNode, _NUMBER)),
    (6, msg.Pong, s.record(msg.Pong, _NUMBER)),
)


def encode_dht(message: msg.DhtMessage) -> bytes:
    """CBOR of one message. Raises ``PayloadTooLarge``."""
    return s.encode(_MESSAGE, message, bytes_max=MESSAGE_BYTES_MAX)


def decode_dht(data: bytes) -> msg.DhtMessage:
    """The message in ``data``; no signature is checked. Raises ``DataDamaged``."""
    message: msg.DhtMessage = s.decode(_MESSAGE, data, what="DHT message", bytes_max=MESSAGE_BYTES_MAX)
    return message


def encode_dht_record(record: dht.DhtRecord) -> bytes:
    """CBOR of one record. Raises ``PayloadTooLarge`` above ``DHT_RECORD_BYTES_MAX``."""
    return s.encode(_RECORD, record, bytes_max=dht.DHT_RECORD_BYTES_MAX)


def sign_provider(record: dht.ProviderRecord, mesh_id: bytes, signer: Signer) -> dht.ProviderRecord:
    """``record`` with the provider's signature. ``signer`` is the provider itself."""
    assert signer.public_key == record.provider, "a provider signs for itself"
    return replace(record, signature=signer.sign(_provider_bytes(record, mesh_id)))


def is_provider_genuine(record: dht.ProviderRecord, mesh_id: bytes) -> bool:
    return is_signed(_provider_bytes(record, mesh_id), record.signature, record.provider)


def is_hint_genuine(hint: dht.ShardHint, genesis: Genesis) -> bool:
    """Whether the certificate says what the hint says, and a majority of the voters *it names* signed it.

    Whether those were the shard's voters only the shard's log can tell: it stays a hint.
    """
    try:
        certificate = load_certificate(hint.certificate)
        verify_certificate(certificate, genesis, voters=certificate.voters)
    except DataDamaged:
        return False
    return (certificate.shard, certificate.term, certificate.primary) == (hint.shard, hint.term, hint.primary)


def _provider_bytes(record: dht.ProviderRecord, mesh_id: bytes) -> bytes:
    return cbor.dumps((_PROVIDER_TAG, mesh_id, record.blob, record.provider, record.sequence))
