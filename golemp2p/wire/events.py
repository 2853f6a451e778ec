"""A worker's events from one node to another, as a stream of bytes that may be cut anywhere.

    asked    CBOR [component, worker name]
    stream   item item ...      item = length (4 bytes, big-endian), CBOR [kind, time, level, context, message, function, key]

An item of length zero says that the stream is alive and nothing has happened. What is too long is cut: people read it.
"""

from __future__ import annotations

from collections.abc import Iterator

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import IDEMPOTENCY_KEY_BYTES_MAX, WorkerId
from golemp2p.model.worker import WorkerEvent
from golemp2p.wire import schema as s
from golemp2p.wire.operations import FUNCTION_BYTES_MAX, WORKER

KINDS = ("stdout", "stderr", "log", "invocation-start", "invocation-finished", "close")
TEXT_BYTES_MAX = 64 << 10
"""Of a message or its context: 16 Ki characters (``drivers.worker``)."""
ITEM_BYTES_MAX = 2 * TEXT_BYTES_MAX + FUNCTION_BYTES_MAX + (4 << 10)
ASKED_BYTES_MAX = 1 << 10
LENGTH_BYTES = 4

ALIVE = bytes(LENGTH_BYTES)
"""The item that says nothing."""


def _kind(text: str) -> str:
    if text not in KINDS:
        raise ValueError("a kind of event")
    return text


def _text(bytes_max: int) -> s.Shape:
    return s.converted(s.short_text(bytes_max), lambda text: s.short(text, bytes_max), str)


_LONG = _text(TEXT_BYTES_MAX)
_EVENT = s.converted(
    s.row(
        s.converted(s.short_text(32), _kind, _kind), s.natural(s.INT_MAX, -s.INT_MAX), _text(128), _LONG, _LONG,
        _text(FUNCTION_BYTES_MAX), _text(IDEMPOTENCY_KEY_BYTES_MAX),
    ),
    tuple,
    lambda row: WorkerEvent(*row),
)  # fmt: skip


def encode_asked(worker: WorkerId) -> bytes:
    return s.encode(WORKER, worker, bytes_max=ASKED_BYTES_MAX)


def decode_asked(data: bytes) -> WorkerId:
    """Raises ``DataDamaged``."""
    worker: WorkerId = s.decode(WORKER, data, what="request for events", bytes_max=ASKED_BYTES_MAX)
    return worker


def encode_item(event: WorkerEvent) -> bytes:
    data = s.encode(_EVENT, event, bytes_max=ITEM_BYTES_MAX)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


class EventReader:
    """Bytes as they come to events. Holds one item at most, beside what it is fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[WorkerEvent]:
        """The events that are complete now. Raises ``DataDamaged``; then nothing can be read any more."""
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if length > ITEM_BYTES_MAX:
                raise DataDamaged("event", f"{length} bytes, at most {ITEM_BYTES_MAX}")
            end = LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            item = bytes(self._buffer[LENGTH_BYTES:end])
            del self._buffer[:end]
            if item:
                yield s.decode(_EVENT, item, what="event", bytes_max=ITEM_BYTES_MAX)
