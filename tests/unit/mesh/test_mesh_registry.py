"""Every message of every core has a kind, comes back as it was, and hostile payloads are refused."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golemp2p.errors import FrameMalformed
from golemp2p.mesh.frames import EXTRA_BYTES_MAX, FRAME_BYTES_MAX
from golemp2p.mesh.registry import FAMILIES, Registry
from golemp2p.model.messages_dht import DhtMessage, PingNode
from golemp2p.model.messages_membership import Ack, Heartbeat, LivenessMessage, MembershipMessage
from golemp2p.model.messages_requests import Answer, RequestMessage
from golemp2p.model.messages_shard import AskPrimary, ShardMessage
from golemp2p.wire import messages_dht, messages_membership, messages_requests, messages_shard

REGISTRY = Registry()


@pytest.mark.parametrize(
    "message",
    [Ack(1), Heartbeat(True), ShardMessage(1, bytes(16), 2, bytes(16), AskPrimary()), Answer(3, b"x"), PingNode(4)],
    ids=lambda message: type(message).__name__,
)
def test_round_trip(message: object) -> None:
    assert REGISTRY.decode(*REGISTRY.encode(message)) == message


def test_every_message_has_a_kind() -> None:
    known = {each for family in FAMILIES for each in family.classes}
    spoken = [each for union in (MembershipMessage, LivenessMessage, RequestMessage, DhtMessage) for each in get_args(union)]
    assert {*spoken, ShardMessage} == known


def test_every_message_fits_into_a_frame() -> None:
    modules = (messages_dht, messages_membership, messages_requests, messages_shard)
    assert max(module.MESSAGE_BYTES_MAX for module in modules) + EXTRA_BYTES_MAX <= FRAME_BYTES_MAX


@given(st.integers(0, 9), st.binary(max_size=100))
def test_hostile_payloads(number: int, payload: bytes) -> None:
    try:
        message = REGISTRY.decode(number, payload)
    except FrameMalformed:
        return
    assert REGISTRY.decode(*REGISTRY.encode(message)) == message
