"""Kinds of one-way messages: a number on the wire, the classes of one core, how they become bytes.

    1 membership, liveness     2 replicas of a shard     3 requests to a primary     4 the DHT

Numbers are part of the protocol and never used again for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from golemp2p.errors import DataDamaged, FrameMalformed
from golemp2p.model.messages_dht import DhtMessage
from golemp2p.model.messages_membership import LivenessMessage, MembershipMessage
from golemp2p.model.messages_requests import RequestMessage
from golemp2p.model.messages_shard import ShardMessage
from golemp2p.wire.messages_dht import decode_dht, encode_dht
from golemp2p.wire.messages_membership import decode_membership, encode_membership
from golemp2p.wire.messages_requests import decode_request, encode_request
from golemp2p.wire.messages_shard import decode_shard_message, encode_shard_message


@dataclass(frozen=True, slots=True)
class Family:
    """``encode`` raises ``PayloadTooLarge``, ``decode`` takes hostile bytes and raises ``DataDamaged``."""

    number: int
    classes: tuple[type, ...]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


FAMILIES = (
    Family(1, (*get_args(MembershipMessage), *get_args(LivenessMessage)), encode_membership, decode_membership),
    Family(2, (ShardMessage,), encode_shard_message, decode_shard_message),
    Family(3, get_args(RequestMessage), encode_request, decode_request),
    Family(4, get_args(DhtMessage), encode_dht, decode_dht),
)


class Registry:
    """All families that a node speaks."""

    def __init__(self, families: Sequence[Family] = FAMILIES) -> None:
        self._by_class = {each: family for family in families for each in family.classes}
        self._by_number = {family.number: family for family in families}
        assert len(self._by_number) == len(families), "numbers are different"
        assert len(self._by_class) == sum(len(family.classes) for family in families), "a class has one family"

    def encode(self, message: Any) -> tuple[int, bytes]:
        """(number, bytes). ``KeyError`` for a class of no family is the caller's bug. Raises ``PayloadTooLarge``."""
        family = self._by_class[message.__class__]
        return family.number, family.encode(message)

    def decode(self, number: int, payload: bytes) -> Any:
        """Raises ``FrameMalformed``."""
        family = self._by_number.get(number)
        if family is None:
            raise FrameMalformed(f"a message of kind {number}, which is none")
        try:
            return family.decode(payload)
        except DataDamaged as error:
            raise FrameMalformed(str(error)) from None
