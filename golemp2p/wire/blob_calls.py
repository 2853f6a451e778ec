"""Calls between nodes about blobs, as CBOR arrays.

    BLOB          BlobAsk     [sha256, size, offset]    answered by the bytes from ``offset`` on, as chunks, then [held]
    BLOB_OFFER    BlobOffer   [sha256, size, shard]     answered by nothing, once the blob is durable there

``size`` is of the whole blob, as the asker knows it: a blob of another size is another blob, and the other says that it has none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from golemp2p.errors import DataDamaged, MalformedRequest
from golemp2p.wire import schema as s

CALL_BYTES_MAX = 128
SHA256_BYTES = 32

_ASK = s.row(s.exact_bytes(SHA256_BYTES), s.natural(), s.natural())
_OFFER = s.row(s.exact_bytes(SHA256_BYTES), s.natural(), s.natural())
_ANSWER = s.row(s.flag())


class BlobAsk(NamedTuple):
    """``offset`` <= ``size``, both in bytes."""

    sha256: bytes
    size: int
    offset: int


class BlobOffer(NamedTuple):
    """The sender has the blob, which a log of ``shard`` is about to name."""

    sha256: bytes
    size: int
    shard: int


def encode_ask(ask: BlobAsk) -> bytes:
    return s.encode(_ASK, ask, bytes_max=CALL_BYTES_MAX)


def decode_ask(data: bytes) -> BlobAsk:
    """Raises ``MalformedRequest``."""
    ask = BlobAsk(*_asked(_ASK, data))
    if ask.offset > ask.size:
        raise MalformedRequest("an offset beyond the blob's end")
    return ask


def encode_offer(offer: BlobOffer) -> bytes:
    return s.encode(_OFFER, offer, bytes_max=CALL_BYTES_MAX)


def decode_offer(data: bytes) -> BlobOffer:
    """Raises ``MalformedRequest``."""
    return BlobOffer(*_asked(_OFFER, data))


def encode_held(*, held: bool) -> bytes:
    return s.encode(_ANSWER, (held,), bytes_max=CALL_BYTES_MAX)


def decode_held(data: bytes) -> bool:
    """Whether the peer has the blob. Raises ``DataDamaged``."""
    (held,) = s.decode(_ANSWER, data, what="answer about a blob", bytes_max=CALL_BYTES_MAX)
    return bool(held)


def _asked(shape: s.Shape, data: bytes) -> Any:
    try:
        return s.decode(shape, data, what="a call about a blob", bytes_max=CALL_BYTES_MAX)
    except DataDamaged as error:
        raise MalformedRequest(str(error)) from error
