"""A history in a file: read from the front for the check, again for the entries of a re-execution, and here and there for blobs.

Nothing is held but the frame at hand. The second reading trusts what the first one checked: the file must not change between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from golemp2p.drivers.histories.history_check import HistoryCheck
from golemp2p.errors import DataDamaged
from golemp2p.model import entries as e
from golemp2p.wire.entry import decode_payload
from golemp2p.wire.history import (
    BLOB_BYTES_MAX,
    MAGIC,
    BlobPiece,
    LogOpening,
    SealFrame,
    SegmentFrame,
    frame_bytes,
    opened,
)
from golemp2p.wire.segment import open_segment

LENGTH_BYTES = 4

Progress = Callable[[int], None]
"""Told how many bytes of the file were read so far."""


def is_history(path: Path) -> bool:
    """Whether the file begins as one. Raises ``OSError``."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def check_file(path: Path, mesh_id: bytes | None = None, progress: Progress = lambda count: None) -> HistoryCheck:
    """Everything but the re-execution. Damage of any kind is in the report. Raises ``OSError``."""
    check = HistoryCheck(mesh_id)
    with path.open("rb") as file:
        try:
            for at, data in frames(file):
                check.frame(data, at)
                progress(at + len(data))
        except DataDamaged as error:
            check.break_off(error)
    check.end()
    return check


def frames(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset, frame with its length) from the front to the end of the file. Raises ``DataDamaged`` for what is no frame."""
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise DataDamaged("history", "not the history of a worker, or of a format that this release does not know")
    at = len(MAGIC)
    while data := _frame(file):
        yield at, data
        at += len(data)


def _frame(file: BinaryIO) -> bytes:
    length = file.read(LENGTH_BYTES)
    if not length:
        return b""
    if len(length) == LENGTH_BYTES:
        data = length + file.read(frame_bytes(length) - LENGTH_BYTES)
        if len(data) == frame_bytes(length):
            return data
    raise DataDamaged("history", "the file is cut off in the middle of a frame")


class HistoryFile:
    """A file that ``check_file`` found sound, open for a re-execution. ``blobs`` as in ``history_check.Plan``."""

    def __init__(self, file: BinaryIO, blobs: dict[bytes, tuple[int, int]]) -> None:
        self._file = file
        self._blobs = blobs

    def entries(self, progress: Progress = lambda count: None) -> Iterator[tuple[int, e.Entry]]:
        """(index, entry) of the worker's log. Reading blobs meanwhile is fine."""
        at, index = len(MAGIC), 1
        is_worker = False
        while True:
            self._file.seek(at)
            data = _frame(self._file)
            frame = opened(data)
            at += len(data)
            if isinstance(frame, LogOpening):
                is_worker = frame.kind == "worker"
            elif isinstance(frame, SegmentFrame) and is_worker:
                segment = open_segment(frame.data)
                for entry in decode_payload(segment.payload, segment.count):
                    yield index, entry
                    index += 1
                progress(at)
            elif isinstance(frame, SealFrame):
                return

    def blob(self, sha256: bytes) -> bytes:
        """The bytes of a blob. Raises ``DataDamaged`` when it was left out."""
        return b"".join(self.pieces(sha256))

    def pieces(self, sha256: bytes) -> Iterator[bytes]:
        """The same, piece by piece. Other reading meanwhile is fine."""
        place = self._blobs.get(sha256)
        if place is None:
            raise DataDamaged(f"blob {sha256.hex()}", "was left out of the history")
        at, size = place
        assert size <= BLOB_BYTES_MAX, "checked when it was read"
        self._file.seek(at)
        at += len(_frame(self._file))
        while size > 0:
            self._file.seek(at)
            data = _frame(self._file)
            piece = opened(data)
            assert isinstance(piece, BlobPiece), "the order was checked"
            yield piece.data
            at, size = at + len(data), size - len(piece.data)
