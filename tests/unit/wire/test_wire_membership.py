"""Membership messages: round trips, hostile bytes, signatures."""

from dataclasses import fields, replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, PayloadTooLarge
from golemp2p.model import membership as m
from golemp2p.model import messages_membership as msg
from golemp2p.wire import messages_membership as wire
from golemp2p.wire.identity import SigningKey

MESH = bytes(32)
KEYS = st.binary(min_size=32, max_size=32)
SIGNATURES = st.binary(min_size=64, max_size=64)
SEQUENCES = st.integers(0, (1 << 63) - 1)
STATUSES = st.sampled_from(m.Status)
RECORDS = st.builds(
    m.NodeRecord,
    KEYS,
    st.binary(min_size=16, max_size=16),
    st.lists(st.text(max_size=16), max_size=8).map(tuple),
    st.integers(0, m.WEIGHT_MAX),
    st.text(max_size=16),
    SEQUENCES,
    st.booleans(),
    st.binary(max_size=m.ADMISSION_BYTES_MAX),
    SIGNATURES,
)
UPDATES = st.lists(
    RECORDS | st.builds(m.Claim, KEYS, SEQUENCES, STATUSES, KEYS) | st.builds(m.Removal, KEYS, SIGNATURES), max_size=4
).map(tuple)
BOUNDS = KEYS | st.just(b"")
MESSAGES = st.one_of(
    st.builds(msg.Ping, SEQUENCES, UPDATES),
    st.builds(msg.PingRequest, SEQUENCES, KEYS, UPDATES),
    st.builds(msg.Ack, SEQUENCES, UPDATES),
    st.builds(msg.Nack, SEQUENCES),
    st.builds(msg.Gossip, UPDATES),
    st.builds(msg.Join, RECORDS),
    st.builds(msg.Refused, st.text(max_size=16)),
    st.just(msg.Stranger()),
    st.builds(msg.SyncStart, st.binary(min_size=16, max_size=16)),
    st.builds(msg.SyncPage, BOUNDS, BOUNDS, st.lists(st.tuples(KEYS, SEQUENCES, STATUSES), max_size=4).map(tuple)),
    st.builds(msg.Heartbeat, st.booleans()),
    st.just(msg.HeartbeatAsked()),
    st.builds(msg.SyncUpdates, UPDATES, st.lists(KEYS, max_size=4).map(tuple)),
)


@given(MESSAGES)
def test_round_trip(message: msg.MembershipMessage):
    decoded = wire.decode_membership(wire.encode_membership(message))
    assert decoded == message
    assert type(decoded) is type(message)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes):
    with pytest.raises(DataDamaged):
        wire.decode_membership(data)


@given(MESSAGES, st.data())
def test_changed_bytes_are_refused_or_another_message(message: msg.MembershipMessage, data: st.DataObject):
    encoded = bytearray(wire.encode_membership(message))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_membership(bytes(encoded))
    except DataDamaged:
        return
    assert wire.decode_membership(wire.encode_membership(other)) == other


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.binary(max_size=33) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=12,
)


@given(st.integers(0, 13), NESTED)
def test_well_formed_nonsense_is_refused(number: int, nonsense: object):
    data = cbor2.dumps([number, nonsense])
    try:
        message = wire.decode_membership(data)
    except DataDamaged:
        return
    assert wire.encode_membership(message) == data


def test_what_is_too_much_is_refused_before_it_is_decoded():
    with pytest.raises(DataDamaged, match="more than"):
        wire.decode_membership(bytes(wire.MESSAGE_BYTES_MAX + 1))
    nack = cbor2.dumps([3, [1]])
    assert wire.decode_membership(nack) == msg.Nack(1)
    for hostile in ([3, [True]], [3, [1.0]], [3, [-1]], [3, [1 << 63]], [3, [1, 2]], [True, [1]], [99, []], [7, [0]]):
        with pytest.raises(DataDamaged):
            wire.decode_membership(cbor2.dumps(hostile))
    entries = [[bytes(32), 0, 0]] * (msg.ENTRIES_MAX + 1)
    with pytest.raises(DataDamaged, match="at most"):
        wire.decode_membership(cbor2.dumps([9, [b"", b"", entries]]))


def largest_record() -> m.NodeRecord:
    return m.NodeRecord(
        bytes(32),
        bytes(16),
        ("a" * m.ADDRESS_BYTES_MAX,) * m.ADDRESSES_MAX,
        m.WEIGHT_MAX,
        "d" * m.DOMAIN_BYTES_MAX,
        m.INCARNATION_MAX,
        True,
        bytes(m.ADMISSION_BYTES_MAX),
        bytes(64),
    )


def test_the_largest_messages_fit():
    record = largest_record()
    assert wire.decode_node_record(wire.encode_node_record(record)) == record
    updates = (record,) * msg.UPDATES_MAX
    wire.encode_membership(msg.SyncUpdates(updates, (bytes(32),) * msg.ENTRIES_MAX))
    wire.encode_membership(msg.SyncPage(b"", bytes(32), ((bytes(32), m.INCARNATION_MAX, m.Status.DEAD),) * msg.ENTRIES_MAX))
    with pytest.raises(PayloadTooLarge):
        wire.encode_node_record(replace(record, domain="d" * 1_200))


def test_every_field_of_a_record_is_signed():
    key, other = SigningKey(bytes(32)), SigningKey(b"1" * 32)
    unsigned = m.NodeRecord(key.public_key, bytes(16), ("h:1",), 1, "rack", 3)
    record = wire.sign_record(unsigned, MESH, key)
    assert wire.is_record_genuine(record, MESH)
    changed = {
        "public_key": other.public_key, "store_id": b"1" * 16, "addresses": ("h:2",), "weight": 2, "domain": "", "incarnation": 4,
        "left": True, "admission": b"x", "signature": other.sign(wire.record_bytes(record, MESH)),
    }  # fmt: skip
    assert set(changed) == {field.name for field in fields(m.NodeRecord)}
    for name, value in changed.items():
        assert not wire.is_record_genuine(replace(record, **{name: value}), MESH), name
    assert not wire.is_record_genuine(record, b"1" * 32)


def test_a_removal_is_the_operators_in_this_mesh():
    operator, other = SigningKey(bytes(32)), SigningKey(b"1" * 32)
    removal = wire.sign_removal(other.public_key, MESH, operator)
    assert wire.is_removal_genuine(removal, MESH, operator.public_key)
    assert not wire.is_removal_genuine(removal, b"1" * 32, operator.public_key)
    assert not wire.is_removal_genuine(removal, MESH, other.public_key)
    assert not wire.is_removal_genuine(replace(removal, subject=operator.public_key), MESH, operator.public_key)
