"""A worker's history as one file: all that is needed to check it, far from any node, and to run it again.

    file        magic (8 bytes), then frames: length (4 bytes, big-endian), CBOR [kind, fields]
    frames      Opening                                          which mesh, which worker
                LogOpening Milestone* (Segment Blob*)* Seal      the worker's log, with the elections of its shard
                LogOpening Milestone* (Segment Blob*)* Seal      the log of its component, likewise; may be left out
                Blob                                             the component's bytes; may be left out
                Closing                                          BLAKE2b-256 of everything before this frame
    blob        BlobOpening, then BlobPiece after BlobPiece, until it has its size

A ``Seal`` is signed by the node that gave this part away, over the BLAKE2b-256 of the part's frames: that node says that the log
ended there, when so much of the shard's log was committed. All else proves itself (``core.lineage``, ``wire.segment``) or does not.

A file is read frame by frame and comes from anybody: a length is checked before its bytes are taken, every frame against its shape,
and their order against the above. It names the mesh by its birth, not by its key, so it may be shown to strangers; but it holds what
the worker was told and what it answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256
from typing import Any, NamedTuple, TypeAlias

from golemp2p.errors import DataDamaged
from golemp2p.model.ids import WORKER_NAME_BYTES_MAX
from golemp2p.model.light import light_dataclass
from golemp2p.model.replication import HASH_BYTES, Entry
from golemp2p.values import cbor
from golemp2p.wire import schema as s
from golemp2p.wire.certificate import ENCODED_BYTES_MAX, SHARDS_MAX
from golemp2p.wire.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, is_signed
from golemp2p.wire.messages_shard import ENTRY
from golemp2p.wire.segment import NUMBER_MAX, SEGMENT_BYTES_MAX

MAGIC = b"g2p-his\x01"

FRAME_BYTES_MAX = SEGMENT_BYTES_MAX + 64
"""A segment is the largest thing in a frame, and so decides what a reader must be ready to hold."""

PIECE_BYTES_MAX = 256 << 10
"""Of a blob, in one frame."""

BLOB_BYTES_MAX = 1 << 30
"""As storage has it."""

MILESTONES_MAX = 1 << 16
"""Of one shard: some 20 MB. Who has more gives away the newest; that is three elections a day for sixty years."""

KINDS = ("worker", "component")
"""Of the logs, in their order in the file."""

_LENGTH_BYTES = 4
_IDENTITY_BYTES_MAX = 40 + WORKER_NAME_BYTES_MAX
_DEPTH_MAX = 12
_SEAL_TAG = "golemp2p/history-seal/1"


class Opening(NamedTuple):
    """``birth``: encoded (``wire.certificate.Birth``); ``component``: the component's id."""

    birth: bytes
    component: str
    worker: str


class LogOpening(NamedTuple):
    kind: str
    identity: str
    shard: int


class Milestone(NamedTuple):
    entry: Entry


class SegmentFrame(NamedTuple):
    """``data``: the signed bytes; not looked at here."""

    data: bytes


class BlobOpening(NamedTuple):
    sha256: bytes
    size: int


class BlobPiece(NamedTuple):
    data: bytes


@light_dataclass(frozen=True, slots=True)
class SealFrame:
    """``tail``: index after the log's last entry; ``head_hash``: hash of its last segment; ``position``: up to where the shard's log
    was committed as far as ``author`` (public key) knew, at wall time ``time_ns``."""

    tail: int
    head_hash: bytes
    position: int
    time_ns: int
    author: bytes
    signature: bytes


class Closing(NamedTuple):
    digest: bytes


Frame: TypeAlias = Opening | LogOpening | Milestone | SegmentFrame | BlobOpening | BlobPiece | SealFrame | Closing

_HASH = s.exact_bytes(HASH_BYTES)
_NUMBER = s.natural(NUMBER_MAX)
_SHAPES: dict[type, tuple[int, s.Shape]] = {
    Opening: (0, s.row(s.short_bytes(ENCODED_BYTES_MAX), s.short_text(64), s.short_text(WORKER_NAME_BYTES_MAX))),
    LogOpening: (1, s.row(s.short_text(16), s.short_text(_IDENTITY_BYTES_MAX), s.natural(SHARDS_MAX - 1))),
    Milestone: (2, s.row(ENTRY)),
    SegmentFrame: (3, s.row(s.short_bytes(SEGMENT_BYTES_MAX))),
    BlobOpening: (4, s.row(_HASH, s.natural(BLOB_BYTES_MAX, 1))),
    BlobPiece: (5, s.row(s.short_bytes(PIECE_BYTES_MAX))),
    SealFrame: (
        6,
        s.record(SealFrame, _NUMBER, _HASH, _NUMBER, _NUMBER, s.exact_bytes(PUBLIC_KEY_BYTES), s.exact_bytes(SIGNATURE_BYTES)),
    ),
    Closing: (7, s.row(_HASH)),
}
_BY_NUMBER = {number: (kind, shape) for kind, (number, shape) in _SHAPES.items()}
_FRAME = s.row(s.natural(7), s.Shape(lambda value: value, lambda value: value))


def encode_frame(frame: Frame) -> bytes:
    """With its length before it."""
    number, shape = _SHAPES[type(frame)]
    data = cbor.dumps((number, shape.write(frame)))
    assert len(data) <= FRAME_BYTES_MAX, "no part of a history is larger than a segment"
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def decode_frame(data: bytes) -> Frame:
    """The frame whose bytes these are, without the length. Raises ``DataDamaged``."""
    number, fields = s.decode(_FRAME, data, what="history", bytes_max=FRAME_BYTES_MAX, depth_max=_DEPTH_MAX)
    kind, shape = _BY_NUMBER[number]
    read: Any = s.read(shape, fields, what="history")
    return read if kind is SealFrame else kind(*read)  # type: ignore[no-any-return]


class FrameSplitter:
    """Bytes as they come, cut into frames. Holds at most one frame, and what was fed last."""

    __slots__ = ("_buffer", "_has_begun")

    def __init__(self, *, is_part: bool = False) -> None:
        """``is_part``: the frames of one log alone, without the file's magic."""
        self._buffer = bytearray()
        self._has_begun = is_part

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete by now, each with its length before it. Raises ``DataDamaged``."""
        buffer = self._buffer
        buffer += data
        at = 0
        if not self._has_begun:
            if len(buffer) < len(MAGIC):
                return
            if buffer[: len(MAGIC)] != MAGIC:
                raise DataDamaged("history", "not the history of a worker, or of a format that this release does not know")
            self._has_begun, at = True, len(MAGIC)
        while len(buffer) - at >= _LENGTH_BYTES:
            end = at + frame_bytes(buffer[at : at + _LENGTH_BYTES])
            if len(buffer) < end:
                break
            yield bytes(buffer[at:end])
            at = end
        del buffer[:at]

    def end(self) -> None:
        """There is no more. Raises ``DataDamaged`` if something is missing."""
        if self._buffer or not self._has_begun:
            raise DataDamaged("history", "the file is cut off in the middle of a frame")


def frame_bytes(length: bytes | bytearray) -> int:
    """Of the frame that starts with these ``_LENGTH_BYTES``, with them. Raises ``DataDamaged`` before anything of it is read."""
    count = int.from_bytes(length, "big")
    if not 1 <= count <= FRAME_BYTES_MAX:
        raise DataDamaged("history", f"a frame of {count} bytes: a frame has 1 to {FRAME_BYTES_MAX}")
    return _LENGTH_BYTES + count


def opened(frame: bytes) -> Frame:
    """What is in a frame as ``FrameSplitter`` gives them. Raises ``DataDamaged``."""
    return decode_frame(frame[_LENGTH_BYTES:])


# ------------------------------------------------------------------------------------------------------------------ seals


class Sealing:
    """The digest of one part, from its ``LogOpening`` on."""

    __slots__ = ("_hash", "_mesh_id")

    def __init__(self, mesh_id: bytes) -> None:
        self._mesh_id = mesh_id
        self._hash = blake2b(digest_size=HASH_BYTES)

    def add(self, frame: bytes) -> bytes:
        """``frame``, which is of the part."""
        self._hash.update(frame)
        return frame

    def sealed(self, signer: Signer, *, tail: int, head_hash: bytes, position: int, time_ns: int) -> bytes:
        """The frame that ends the part."""
        seal = SealFrame(tail, head_hash, position, time_ns, signer.public_key, b"")
        return encode_frame(replace(seal, signature=signer.sign(self._record(seal))))

    def is_genuine(self, seal: SealFrame) -> bool:
        return is_signed(self._record(seal), seal.signature, seal.author)

    def _record(self, seal: SealFrame) -> bytes:
        facts = (seal.tail, seal.head_hash, seal.position, seal.time_ns, seal.author)
        return cbor.dumps((_SEAL_TAG, self._mesh_id, *facts, self._hash.digest()))


# ------------------------------------------------------------------------------------------------------------------ order


@dataclass(slots=True)
class _Blob:
    opening: BlobOpening
    read: int
    hash: Any


class Order:
    """Whether frames come in the order of a history; blobs are hashed on the way. ``take`` every frame, then ``end``.

    ``blob``: the SHA-256 and size of a blob that the frame taken last completed; else ``None``.
    """

    __slots__ = ("_blob", "_digest", "_logs", "_milestones", "_stage", "blob")

    def __init__(self, part: str | None = None) -> None:
        """``part``: kind of the one log whose frames are to come; ``None``: a whole file."""
        self._digest = blake2b(MAGIC, digest_size=HASH_BYTES)
        self._stage = "start" if part is None else "between"  # then: milestones, segments, between, ..., closed
        self._logs = 0 if part is None else KINDS.index(part)
        self._milestones = 0
        self._blob: _Blob | None = None
        self.blob: tuple[bytes, int] | None = None

    def take(self, data: bytes, frame: Frame) -> None:
        """``data``: the frame's bytes, with its length. Raises ``DataDamaged``."""
        self.blob = None
        if self._blob is not None and not isinstance(frame, BlobPiece):
            raise _disorder(f"a {type(frame).__name__} in the middle of a blob")
        match frame:
            case Opening():
                self._expect("start")
                self._stage = "between"
            case LogOpening():
                self._expect("between")
                if self._logs == len(KINDS) or frame.kind != KINDS[self._logs]:
                    raise _disorder(f"the log of a {frame.kind!r} as number {self._logs + 1}")
                self._logs += 1
                self._milestones = 0
                self._stage = "milestones"
            case Milestone():
                self._expect("milestones")
                self._milestones += 1
                if self._milestones > MILESTONES_MAX:
                    raise _disorder(f"more than {MILESTONES_MAX} milestones of a shard")
            case SegmentFrame():
                self._expect("milestones", "segments")
                self._stage = "segments"
            case SealFrame():
                self._expect("milestones", "segments")
                self._stage = "between"
            case BlobOpening():
                self._expect("segments", "between")
                self._blob = _Blob(frame, 0, sha256())
            case BlobPiece():
                self._piece(frame.data)
            case Closing():
                self._expect("between")
                if not self._logs:
                    raise _disorder("no log at all")
                if frame.digest != self._digest.digest():
                    raise DataDamaged("history", "the file was changed: its digest is another than it says")
                self._stage = "closed"
        self._digest.update(data)

    def end(self) -> None:
        """Raises ``DataDamaged`` if frames are missing."""
        if self._stage != "closed":
            raise DataDamaged("history", "the file is cut off: its closing frame is missing")

    def _expect(self, *stages: str) -> None:
        if self._stage not in stages:
            raise _disorder("a frame out of its order" if self._stage != "closed" else "something after the closing frame")

    def _piece(self, data: bytes) -> None:
        blob = self._blob
        if blob is None or not data or blob.read + len(data) > blob.opening.size:
            raise _disorder("a piece of no blob, or more than the blob has")
        blob.hash.update(data)
        blob.read += len(data)
        if blob.read == blob.opening.size:
            if blob.hash.digest() != blob.opening.sha256:
                raise DataDamaged("history", f"blob {blob.opening.sha256.hex()} does not match its hash")
            self.blob, self._blob = (blob.opening.sha256, blob.opening.size), None

    def closing(self) -> bytes:
        """The frame that ends the file, for who writes it."""
        return encode_frame(Closing(self._digest.digest()))


def _disorder(reason: str) -> DataDamaged:
    return DataDamaged("history", f"not in the order of a history: {reason}")
