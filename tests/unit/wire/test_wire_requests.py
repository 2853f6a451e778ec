"""Requests on the wire: round trips and hostile bytes."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import DataDamaged, PayloadTooLarge
from golemp2p.model import messages_requests as msg
from golemp2p.wire import messages_requests as wire

NUMBERS = st.integers(0, (1 << 63) - 1)
SHARDS = st.integers(0, 65_535)
MESSAGES = st.one_of(
    st.builds(msg.Forward, NUMBERS, SHARDS, st.text(max_size=50), st.integers(0, 10**6), st.binary(max_size=50)),
    st.builds(msg.Answer, NUMBERS, st.binary(max_size=50)),
    st.builds(msg.NotPrimary, NUMBERS, SHARDS, NUMBERS, st.none() | st.binary(min_size=32, max_size=32)),
    st.builds(msg.Busy, NUMBERS, st.integers(0, 10**6)),
)


@given(MESSAGES)
def test_round_trip(message: msg.RequestMessage):
    assert wire.decode_request(wire.encode_request(message)) == message


@given(MESSAGES, st.data())
def test_changed_bytes_are_refused_or_another_message(message: msg.RequestMessage, data: st.DataObject):
    encoded = bytearray(wire.encode_request(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = wire.decode_request(bytes(encoded))
    except DataDamaged:
        return
    assert wire.decode_request(wire.encode_request(other)) == other


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data: bytes):
    with pytest.raises(DataDamaged):
        wire.decode_request(data)


@pytest.mark.parametrize("hostile", [[0, [1, 65_536, "k", 1, b""]], [1, [1, "text"]], [2, [1, 1, 1, b"short"]], [3, [1, -1]]])
def test_nonsense_is_refused(hostile: object):
    with pytest.raises(DataDamaged):
        wire.decode_request(cbor2.dumps(hostile))


def test_a_payload_has_a_limit():
    largest = msg.Forward(1, 1, "k" * msg.KEY_BYTES_MAX, 1, bytes(msg.REQUEST_BYTES_MAX))
    assert wire.decode_request(wire.encode_request(largest)) == largest
    with pytest.raises(PayloadTooLarge):
        wire.encode_request(msg.Answer(1, bytes(msg.REQUEST_BYTES_MAX + 4_096)))
    with pytest.raises(DataDamaged):
        wire.decode_request(cbor2.dumps([1, [1, bytes(msg.REQUEST_BYTES_MAX + 1)]]))
