"""Membership messages as CBOR, and what is signed in them: node records and removals.

    record   sign(tag, mesh id, public key, store id, addresses, weight, domain, incarnation, left, admission)   by the node
    removal  sign(tag, mesh id, subject)                                                                          by the operator

The mesh id is in what is signed, so that a record of one mesh is nothing in another.
"""

from __future__ import annotations

from dataclasses import replace

from golemp2p.model import membership as m
from golemp2p.model import messages_membership as msg
from golemp2p.values import cbor
from golemp2p.wire import schema as s
from golemp2p.wire.identity import Signer, is_signed

MESSAGE_BYTES_MAX = 64 << 10
"""``UPDATES_MAX`` records of ``RECORD_BYTES_MAX`` take 38 KB, ``ENTRIES_MAX`` entries 12 KB."""

_RECORD_TAG = "golemp2p/node-record/1"
_REMOVAL_TAG = "golemp2p/removal/1"

PUBLIC_KEY = s.exact_bytes(m.PUBLIC_KEY_BYTES)
INCARNATION = s.natural(m.INCARNATION_MAX)

NODE_RECORD = s.record(
    m.NodeRecord,
    PUBLIC_KEY,
    s.exact_bytes(m.STORE_ID_BYTES),
    s.array(s.short_text(m.ADDRESS_BYTES_MAX), m.ADDRESSES_MAX),
    s.natural(m.WEIGHT_MAX),
    s.short_text(m.DOMAIN_BYTES_MAX),
    INCARNATION,
    s.flag(),
    s.short_bytes(m.ADMISSION_BYTES_MAX),
    s.exact_bytes(m.SIGNATURE_BYTES),
)

_STATUS = s.choice(m.Status)
_UPDATE = s.union(
    (0, m.NodeRecord, NODE_RECORD),
    (1, m.Claim, s.record(m.Claim, PUBLIC_KEY, INCARNATION, _STATUS, PUBLIC_KEY)),
    (2, m.Removal, s.record(m.Removal, PUBLIC_KEY, s.exact_bytes(m.SIGNATURE_BYTES))),
)
_UPDATES = s.array(_UPDATE, msg.UPDATES_MAX)
_SEQUENCE = s.natural()
_BOUND = s.exact_bytes(0, m.PUBLIC_KEY_BYTES)

_MESSAGE = s.union(
    (0, msg.Ping, s.record(msg.Ping, _SEQUENCE, _UPDATES)),
    (1, msg.PingRequest, s.record(msg.PingRequest, _SEQUENCE, PUBLIC_KEY, _UPDATES)),
    (2, msg.Ack, s.record(msg.Ack, _SEQUENCE, _UPDATES)),
    (3, msg.Nack, s.record(msg.Nack, _SEQUENCE)),
    (4, msg.Gossip, s.record(msg.Gossip, _UPDATES)),
    (5, msg.Join, s.record(msg.Join, NODE_RECORD)),
    (6, msg.Refused, s.record(msg.Refused, s.short_text(64))),
    (7, msg.Stranger, s.record(msg.Stranger)),
    (8, msg.SyncStart, s.record(msg.SyncStart, s.exact_bytes(msg.DIGEST_BYTES))),
    (
        9,
        msg.SyncPage,
        s.record(msg.SyncPage, _BOUND, _BOUND, s.array(s.row(PUBLIC_KEY, INCARNATION, _STATUS), msg.ENTRIES_MAX)),
    ),
    (10, msg.SyncUpdates, s.record(msg.SyncUpdates, _UPDATES, s.array(PUBLIC_KEY, msg.ENTRIES_MAX))),
    (11, msg.Heartbeat, s.record(msg.Heartbeat, s.flag())),
    (12, msg.HeartbeatAsked, s.record(msg.HeartbeatAsked)),
)


def encode_membership(message: msg.MembershipMessage | msg.LivenessMessage) -> bytes:
    """CBOR of one message. Raises ``PayloadTooLarge``."""
    return s.encode(_MESSAGE, message, bytes_max=MESSAGE_BYTES_MAX)


def decode_membership(data: bytes) -> msg.MembershipMessage | msg.LivenessMessage:
    """The message in ``data``; no signature is checked. Raises ``DataDamaged``."""
    message: msg.MembershipMessage | msg.LivenessMessage = s.decode(
        _MESSAGE, data, what="membership message", bytes_max=MESSAGE_BYTES_MAX
    )
    return message


def encode_node_record(record: m.NodeRecord) -> bytes:
    """CBOR of a signed record, for storing. Raises ``PayloadTooLarge``."""
    return s.encode(NODE_RECORD, record, bytes_max=m.RECORD_BYTES_MAX)


def decode_node_record(data: bytes) -> m.NodeRecord:
    """The record in ``data``; its signature is not checked. Raises ``DataDamaged``."""
    record: m.NodeRecord = s.decode(NODE_RECORD, data, what="node record", bytes_max=m.RECORD_BYTES_MAX)
    return record


def record_bytes(record: m.NodeRecord, mesh_id: bytes) -> bytes:
    """What the node signs: everything but the signature."""
    plain = NODE_RECORD.write(record)[:-1]
    return cbor.dumps((_RECORD_TAG, mesh_id, *plain))


def sign_record(record: m.NodeRecord, mesh_id: bytes, signer: Signer) -> m.NodeRecord:
    """``record`` with the node's signature. ``signer`` is the node itself."""
    assert signer.public_key == record.public_key, "a node signs for itself"
    return replace(record, signature=signer.sign(record_bytes(record, mesh_id)))


def is_record_genuine(record: m.NodeRecord, mesh_id: bytes) -> bool:
    """Whether the node that ``record`` describes signed it, for this mesh."""
    return is_signed(record_bytes(record, mesh_id), record.signature, record.public_key)


def sign_removal(subject: bytes, mesh_id: bytes, operator: Signer) -> m.Removal:
    return m.Removal(subject, operator.sign(cbor.dumps((_REMOVAL_TAG, mesh_id, subject))))


def is_removal_genuine(removal: m.Removal, mesh_id: bytes, operator_key: bytes) -> bool:
    """Whether the operator with ``operator_key`` (32 bytes) signed it, for this mesh."""
    return is_signed(cbor.dumps((_REMOVAL_TAG, mesh_id, removal.subject)), removal.signature, operator_key)
