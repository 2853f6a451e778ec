"""DHT messages: round trips, hostile bytes, and what proves a record."""

from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged
from golemp2p.model import dht
from golemp2p.model import messages_dht as msg
from golemp2p.model.membership import NodeRecord
from golemp2p.wire import messages_dht as wire
from golemp2p.wire.certificate import Voter, birth_certificate, cast_vote, found_mesh, make_certificate
from golemp2p.wire.identity import SigningKey

KEYS = st.binary(min_size=32, max_size=32)
TARGETS = st.binary(min_size=20, max_size=20)
SIGNATURES = st.binary(min_size=64, max_size=64)
NUMBERS = st.integers(0, (1 << 63) - 1)
NODES = st.builds(
    NodeRecord,
    KEYS,
    st.binary(min_size=16, max_size=16),
    st.lists(st.text(max_size=16), max_size=3).map(tuple),
    st.integers(1, 100),
    st.text(max_size=16),
    NUMBERS,
    st.booleans(),
    st.binary(max_size=64),
    SIGNATURES,
)
RECORDS = st.one_of(
    NODES,
    st.builds(dht.ShardHint, st.integers(0, 65_535), NUMBERS, KEYS, st.binary(max_size=200)),
    st.builds(dht.ProviderRecord, KEYS, KEYS, NUMBERS, SIGNATURES),
)
MESSAGES = st.one_of(
    st.builds(msg.FindNode, NUMBERS, TARGETS),
    st.builds(msg.FindRecords, NUMBERS, TARGETS),
    st.builds(msg.Found, NUMBERS, st.lists(RECORDS, max_size=3).map(tuple), st.lists(NODES, max_size=3).map(tuple)),
    st.builds(msg.Put, NUMBERS, RECORDS, st.integers(0, msg.LIFETIME_S_MAX)),
    st.builds(msg.Stored, NUMBERS, st.booleans()),
    st.builds(msg.PingNode, NUMBERS),
    st.builds(msg.Pong, NUMBERS),
)


@given(MESSAGES)
def test_round_trip(message: msg.DhtMessage):
    assert wire.decode_dht(wire.encode_dht(message)) == message


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes):
    with pytest.raises(DataDamaged):
        wire.decode_dht(data)


@given(MESSAGES, st.data())
def test_changed_bytes_are_refused_or_another_message(message: msg.DhtMessage, data: st.DataObject):
    encoded = bytearray(wire.encode_dht(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_dht(bytes(encoded))
    except DataDamaged:
        return
    assert wire.decode_dht(wire.encode_dht(other)) == other


@pytest.mark.parametrize(
    "hostile",
    [
        [0, [1, bytes(21)]],
        [0, [-1, bytes(20)]],
        [2, [1, [], [[0]]]],
        [3, [1, [9, []], 5]],
        [3, [1, [2, []], 86_401]],
        [7, [1]],
        [],
        5,
    ],
)
def test_nonsense_is_refused(hostile: object):
    with pytest.raises(DataDamaged):
        wire.decode_dht(cbor2.dumps(hostile))


def test_the_largest_answer_fits_and_no_larger_one_is_read():
    node = NodeRecord(bytes(32), bytes(16), ("a" * 64,) * 8, 1, "d" * 64, 1, False, bytes(256), bytes(64))
    wire.encode_dht(msg.Found(1, (node,) * msg.RECORDS_MAX, (node,) * msg.CLOSER_MAX))
    hint = dht.ShardHint(65_535, 1 << 62, bytes(32), bytes(dht.CERTIFICATE_BYTES_MAX))
    assert len(wire.encode_dht_record(hint)) <= dht.DHT_RECORD_BYTES_MAX
    with pytest.raises(DataDamaged, match="more than"):
        wire.decode_dht(bytes(wire.MESSAGE_BYTES_MAX + 1))


def test_a_provider_signs_for_itself_in_one_mesh():
    key = SigningKey(bytes(32))
    record = wire.sign_provider(dht.ProviderRecord(b"b" * 32, key.public_key, 4), bytes(32), key)
    assert wire.is_provider_genuine(record, bytes(32))
    assert not wire.is_provider_genuine(record, b"1" * 32)
    for changed in (
        replace(record, blob=b"c" * 32),
        replace(record, sequence=5),
        replace(record, provider=SigningKey(b"1" * 32).public_key),
    ):
        assert not wire.is_provider_genuine(changed, bytes(32))


def test_a_hint_says_what_its_certificate_says():
    keys = [SigningKey(bytes([n]) * 32) for n in range(3)]
    genesis = found_mesh(keys[0], mesh_key=bytes(32), shards_count=16, created_ns=0)
    born = birth_certificate(keys[0], genesis, shard=3, store_id=bytes(16))
    hint = dht.ShardHint(3, 1, keys[0].public_key, born.encoded())
    assert wire.is_hint_genuine(hint, genesis)
    for changed in (replace(hint, shard=4), replace(hint, term=2), replace(hint, primary=keys[1].public_key)):
        assert not wire.is_hint_genuine(changed, genesis)
    assert not wire.is_hint_genuine(replace(hint, certificate=b"x"), genesis)
    voters = [Voter(key.public_key, bytes(16)) for key in keys]
    votes = [cast_vote(key, mesh_id=genesis.mesh_id, shard=3, term=2, primary=keys[1].public_key) for key in keys]

    def elected(count: int) -> dht.ShardHint:
        certificate = make_certificate(
            mesh_id=genesis.mesh_id, shard=3, term=2, primary=keys[1].public_key, voters=voters, votes=votes[:count]
        )
        return dht.ShardHint(3, 2, keys[1].public_key, certificate.encoded())

    assert wire.is_hint_genuine(elected(2), genesis)
    assert not wire.is_hint_genuine(elected(1), genesis)
