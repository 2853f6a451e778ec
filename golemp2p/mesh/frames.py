"""What two nodes say to each other inside the records: frames, each a length and CBOR.

    frame    length (4 bytes) | [kind, [fields]]                              frames and records have borders of their own

    Hello    first, from both: versions, limits                               (``hello`` settles them)
    Message ───────────>                          one-way, may be lost
    Request ───────────>  <─────────── Answer     or Failure; numbers are the asker's, rising
            Cancel ────>                          nobody waits any more
    Request ───────────>  <─── Chunk*, Answer     bulk: an answer in pieces, as many bytes as there is credit
            Credit ────>                          so many bytes more
    Ping ──────────────>  <─────────── Pong       are you there?
    Goodbye ───────────>                          the sender closes now, and why

A bulk transfer is an answer in chunks, so it has what requests have: a number, a deadline, failure, and cancellation; whoever wants
bytes asks for them, says how many it can take, and where to go on after a break stands in the payload. What payloads mean is for
others. Hostile bytes: lengths are checked before anything is kept, and every field before a frame is made.
"""

from __future__ import annotations

from collections.abc import Iterator

from golemp2p.errors import DataDamaged, FrameMalformed
from golemp2p.model.light import light_dataclass
from golemp2p.wire import schema as s

FRAME_BYTES_MAX = 8 << 20
"""The largest message is an append of at most 6.3 MiB (``wire.messages_shard``)."""
FRAME_BYTES_MIN = 64 << 10
"""Every peer takes frames so long at least: all but large messages fit, so that no answer to a peer can fail for its length."""
HELLO_BYTES_MAX = 256
"""Until the hello has come, no frame is longer."""
CHUNK_BYTES_MAX = 48 << 10
"""Fits into one record with room for what else was queued; small enough that others do not wait long behind it."""
CREDIT_MAX = 1 << 30
NUMBER_MAX = (1 << 53) - 1
DEADLINE_MS_MAX = 24 * 3600 * 1_000
KIND_MAX = (1 << 16) - 1
VERSION_MAX = (1 << 16) - 1
LIFE_BYTES = 16
CODE_BYTES_MAX = 64
TEXT_BYTES_MAX = 1_024
REASON_BYTES_MAX = 64
LENGTH_BYTES = 4
EXTRA_BYTES_MAX = 64
"""A frame is longer than its payload by at most so much, length included."""


@light_dataclass(frozen=True, slots=True)
class Hello:
    """``lowest``, ``highest``: versions of the protocol that the sender speaks. ``frame_bytes_max``, ``requests_max``: the longest
    frame and the most unanswered requests that it takes. ``life``: 16 random bytes, new with every start of the node."""

    lowest: int
    highest: int
    frame_bytes_max: int
    requests_max: int
    life: bytes


@light_dataclass(frozen=True, slots=True)
class Message:
    kind: int
    payload: bytes


@light_dataclass(frozen=True, slots=True)
class Request:
    """``deadline_ms``: how long the asker still waits (clocks differ, so never a point in time). ``credit``: how many bytes of
    chunks it takes before it grants more; 0 when it wants one answer."""

    number: int
    kind: int
    deadline_ms: int
    credit: int
    payload: bytes


@light_dataclass(frozen=True, slots=True)
class Answer:
    number: int
    payload: bytes


@light_dataclass(frozen=True, slots=True)
class Failure:
    """``code``: stable name of the error. ``retry_after_ms``: ``None`` if unknown."""

    number: int
    code: str
    text: str
    retry_after_ms: int | None


@light_dataclass(frozen=True, slots=True)
class Cancel:
    number: int


@light_dataclass(frozen=True, slots=True)
class Chunk:
    """``payload``: 1 to ``CHUNK_BYTES_MAX`` bytes."""

    number: int
    payload: bytes


@light_dataclass(frozen=True, slots=True)
class Credit:
    number: int
    count: int


@light_dataclass(frozen=True, slots=True)
class Ping:
    number: int


@light_dataclass(frozen=True, slots=True)
class Pong:
    number: int


@light_dataclass(frozen=True, slots=True)
class Goodbye:
    """``reason``: a stable name."""

    reason: str


Frame = Hello | Message | Request | Answer | Failure | Cancel | Chunk | Credit | Ping | Pong | Goodbye

_NUMBER = s.natural(NUMBER_MAX)
_KIND = s.natural(KIND_MAX)
_VERSION = s.natural(VERSION_MAX, 1)
_PAYLOAD = s.short_bytes(FRAME_BYTES_MAX)
_MS = s.natural(DEADLINE_MS_MAX)

_FRAME = s.union(
    (0, Hello, s.record(Hello, _VERSION, _VERSION, s.natural(lowest=1), s.natural(), s.exact_bytes(LIFE_BYTES))),
    (1, Message, s.record(Message, _KIND, _PAYLOAD)),
    (2, Request, s.record(Request, _NUMBER, _KIND, _MS, s.natural(CREDIT_MAX), _PAYLOAD)),
    (3, Answer, s.record(Answer, _NUMBER, _PAYLOAD)),
    (4, Failure, s.record(Failure, _NUMBER, s.short_text(CODE_BYTES_MAX), s.short_text(TEXT_BYTES_MAX), s.optional(_MS))),
    (5, Cancel, s.record(Cancel, _NUMBER)),
    (6, Chunk, s.record(Chunk, _NUMBER, s.short_bytes(CHUNK_BYTES_MAX))),
    (7, Credit, s.record(Credit, _NUMBER, s.natural(CREDIT_MAX, 1))),
    (8, Ping, s.record(Ping, _NUMBER)),
    (9, Pong, s.record(Pong, _NUMBER)),
    (10, Goodbye, s.record(Goodbye, s.short_text(REASON_BYTES_MAX))),
)


def encode_frame(frame: Frame, *, bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """The frame with its length. Raises ``PayloadTooLarge`` above ``bytes_max``, which does not count the length itself."""
    body = s.encode(_FRAME, frame, bytes_max=bytes_max)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def short(text: str, bytes_max: int) -> str:
    """``text``, cut so that it has at most ``bytes_max`` bytes of UTF-8."""
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")


class FrameReader:
    """Payloads of records to frames. ``bytes_max``: longest frame; may be raised between two frames."""

    def __init__(self, *, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._buffer = bytearray()
        self._at = 0

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) - self._at

    def feed(self, payload: bytes) -> None:
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += payload

    def next_frame(self) -> tuple[Frame, int] | None:
        """The next whole frame and its length, or ``None``. Raises ``FrameMalformed``, after which nothing makes sense any more."""
        body_at = self._at + LENGTH_BYTES
        if len(self._buffer) < body_at:
            return None
        length = int.from_bytes(self._buffer[self._at : body_at], "big")
        if length > self.bytes_max:
            raise FrameMalformed(f"a frame of {length} bytes, at most {self.bytes_max}")
        end = body_at + length
        if len(self._buffer) < end:
            return None
        frame = decode_frame(bytes(memoryview(self._buffer)[body_at:end]))
        self._at = end
        return frame, LENGTH_BYTES + length

    def __iter__(self) -> Iterator[tuple[Frame, int]]:
        while (item := self.next_frame()) is not None:
            yield item


def decode_frame(body: bytes) -> Frame:
    """Raises ``FrameMalformed``."""
    try:
        frame: Frame = s.decode(_FRAME, body, what="frame", bytes_max=FRAME_BYTES_MAX)
    except DataDamaged as error:
        raise FrameMalformed(error.reason) from None
    if isinstance(frame, Chunk) and not frame.payload:
        raise FrameMalformed("an empty chunk")
    return frame
