"""Requests and their answers as CBOR."""

from __future__ import annotations

from golemp2p.model import messages_requests as msg
from golemp2p.model.membership import PUBLIC_KEY_BYTES
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import SHARDS_MAX, TERM_MAX

MESSAGE_BYTES_MAX = msg.REQUEST_BYTES_MAX + 2_048

_NUMBER = s.natural()
_SHARD = s.natural(SHARDS_MAX - 1)
_MILLISECONDS = s.natural(24 * 3600 * 1_000)
_PAYLOAD = s.short_bytes(msg.REQUEST_BYTES_MAX)

_MESSAGE = s.union(
    (0, msg.Forward, s.record(msg.Forward, _NUMBER, _SHARD, s.short_text(msg.KEY_BYTES_MAX), _MILLISECONDS, _PAYLOAD)),
    (1, msg.Answer, s.record(msg.Answer, _NUMBER, _PAYLOAD)),
    (
        2,
        msg.NotPrimary,
        s.record(msg.NotPrimary, _NUMBER, _SHARD, s.natural(TERM_MAX), s.optional(s.exact_bytes(PUBLIC_KEY_BYTES))),
    ),
    (3, msg.Busy, s.record(msg.Busy, _NUMBER, _MILLISECONDS)),
)


def encode_request(message: msg.RequestMessage) -> bytes:
    """CBOR of one message. Raises ``PayloadTooLarge``."""
    return s.encode(_MESSAGE, message, bytes_max=MESSAGE_BYTES_MAX)


def decode_request(data: bytes) -> msg.RequestMessage:
    """The message in ``data``. Raises ``DataDamaged``."""
    message: msg.RequestMessage = s.decode(_MESSAGE, data, what="request", bytes_max=MESSAGE_BYTES_MAX)
    return message
