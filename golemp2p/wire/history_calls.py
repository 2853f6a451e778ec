"""HISTORY calls between nodes: one log with its milestones, as frames of ``wire.history`` from the opening to the seal.

request   CBOR [kind, identity]
chunks    the frames, cut anywhere
answer    [whether the node has such a log]; without it there are no chunks
"""

from __future__ import annotations

from typing import NamedTuple

from golemp2p.errors import DataDamaged, MalformedRequest
from golemp2p.wire import schema as s
from golemp2p.wire.history import KINDS

REQUEST_BYTES_MAX = 1024
_ASK = s.row(s.short_text(16), s.short_text(640))
_ANSWER = s.row(s.flag())


class HistoryAsk(NamedTuple):
    kind: str
    identity: str


def encode_history_ask(ask: HistoryAsk) -> bytes:
    return s.encode(_ASK, ask, bytes_max=REQUEST_BYTES_MAX)


def decode_history_ask(data: bytes) -> HistoryAsk:
    """Raises ``MalformedRequest``."""
    try:
        ask = HistoryAsk(*s.decode(_ASK, data, what="history request", bytes_max=REQUEST_BYTES_MAX))
    except DataDamaged as error:
        raise MalformedRequest(str(error)) from error
    if ask.kind not in KINDS:
        raise MalformedRequest(f"there is no history of a {ask.kind!r}")
    return ask


def encode_history_held(*, held: bool) -> bytes:
    return s.encode(_ANSWER, (held,), bytes_max=16)


def decode_history_held(data: bytes) -> bool:
    """Raises ``DataDamaged``."""
    (held,) = s.decode(_ANSWER, data, what="history answer", bytes_max=16)
    return bool(held)
