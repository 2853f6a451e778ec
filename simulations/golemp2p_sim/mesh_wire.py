"""What whole nodes say in the simulation: packets of real messages, signatures that are hashes, sizes, one-liners.

    Packet: everything that one event of a node had for one peer (the transport's one write per turn)

**Infidelity:** signatures are keyed hashes that anybody could make; a liar of the simulation does not, so they prove what they should.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import Any

from golemp2p.core.effects import Send
from golemp2p.model.dht import DhtRecord
from golemp2p.model.light import light_dataclass
from golemp2p.model.membership import NodeRecord, Removal
from golemp2p.model.messages_dht import Found
from golemp2p.model.messages_membership import Gossip, SyncPage, SyncUpdates
from golemp2p.model.messages_requests import Answer, Busy, Forward, NotPrimary
from golemp2p.model.messages_shard import ShardMessage, Voted
from golemp2p_sim.shard_lies import lie as replica_lie
from golemp2p_sim.shard_wire import describe as describe_shard
from golemp2p_sim.shard_wire import message_bytes as shard_bytes

PACKET_BYTES, RECORD_BYTES, CLAIM_BYTES = 40, 200, 80
"""Of a packet itself (a record of the transport with its frames), a signed node record, a claim."""


@light_dataclass(frozen=True, slots=True)
class Packet:
    messages: tuple[Any, ...]


@lru_cache(maxsize=50_000)
def _signature(public_key: bytes, record: NodeRecord) -> bytes:
    return blake2b(repr(record).encode(), key=public_key, digest_size=32).digest() * 2


@lru_cache(maxsize=50_000)
def _admits(record: NodeRecord) -> bool:
    return record.signature == _signature(record.public_key, replace(record, signature=b""))


class Trust:
    """The cryptography of membership and DHT: a record is genuine if its node made its signature."""

    def sign(self, record: NodeRecord) -> NodeRecord:
        bare = replace(record, signature=b"")
        return replace(record, signature=_signature(record.public_key, bare))

    def admits(self, record: NodeRecord) -> bool:
        return _admits(record)

    def ordered(self, removal: Removal) -> bool:
        return False  # nobody has the operator's key

    def is_genuine(self, record: DhtRecord) -> bool:
        return not isinstance(record, NodeRecord) or self.admits(record)


@lru_cache(maxsize=20_000)
def pack(value: Any) -> bytes:
    """Invocations and results as payloads of requests."""
    return json.dumps(value).encode()


@lru_cache(maxsize=20_000)
def unpack(payload: bytes) -> Any:
    return _tuples(json.loads(payload))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _updates_bytes(updates: tuple[Any, ...]) -> int:
    return sum(RECORD_BYTES if type(update) is NodeRecord else CLAIM_BYTES for update in updates)


def bundled(sends: Sequence[Send], behind: Mapping[bytes, Sequence[Any]]) -> list[Any]:
    """One packet for each peer, and what it promises ``behind`` it."""
    packets: dict[bytes, list[Any]] = {}
    for send in sends:
        packets.setdefault(send.peer, []).append(send.message)
    if not behind:
        return [Send(peer, Packet(tuple(messages))) for peer, messages in packets.items()]
    packed: list[Any] = []
    for peer, messages in packets.items():
        packed.append(Send(peer, Packet(tuple(messages))))
        packed += behind.get(peer, ())
    return packed


def is_vote(message: Any) -> bool:
    """A vote given, not a trial's."""
    return (
        type(message) is ShardMessage
        and type(message.body) is Voted
        and not message.body.trial
        and message.body.refusal is None
    )


def packet_bytes(packet: Packet) -> int:
    """About what CBOR would take."""
    return PACKET_BYTES + sum(map(_message_bytes, packet.messages))


def _message_bytes(message: Any) -> int:
    kind = type(message)
    if kind is ShardMessage:
        return shard_bytes(message)
    if kind is Forward or kind is Answer:
        return 120
    if kind is NotPrimary or kind is Busy:
        return 60
    if kind is SyncPage:
        return 40 + 48 * len(message.entries)
    if kind is SyncUpdates:
        return 20 + _updates_bytes(message.updates) + 36 * len(message.wanted)
    if kind is Found:
        return 20 + RECORD_BYTES * (len(message.closer) + len(message.records))
    updates = getattr(message, "updates", ())
    return 24 + (_updates_bytes(updates) if updates else 0)


def describe(packet: Packet) -> str:
    return " | ".join(map(_describe, packet.messages[:4])) + (" ..." if len(packet.messages) > 4 else "")


def _describe(message: Any) -> str:
    match message:
        case ShardMessage():
            return describe_shard(message)
        case Forward(number, shard, key, _, payload):
            return f"forward {number} {key} to shard {shard}: {payload.decode()}"
        case Answer(number, payload):
            return f"answer {number}: {payload.decode()}"
        case NotPrimary(number, shard, term, primary):
            return f"not-primary {number} shard {shard} term {term} try {primary.hex()[:6] if primary else 'nobody known'}"
        case Gossip(updates) | SyncUpdates(updates, _):
            return f"{type(message).__name__} {len(updates)}"
    return type(message).__name__


def lie(packet: Packet, dice: Random, behaviour: str, keys: tuple[bytes, ...]) -> Packet | None:
    """The same with one message that says something else; ``None``: nothing in it to lie about."""
    messages = list(packet.messages)
    for place, message in enumerate(messages):
        said = _lie(message, dice, behaviour, keys)
        if said is not None:
            messages[place] = said
            return Packet(tuple(messages))
    return None


def _lie(message: Any, dice: Random, behaviour: str, keys: tuple[bytes, ...]) -> Any | None:
    if behaviour == "forge-hints" and isinstance(message, NotPrimary):
        return replace(message, term=message.term + dice.randrange(1_000), primary=dice.choice(keys))
    return replica_lie(message, dice, behaviour, len(keys))
