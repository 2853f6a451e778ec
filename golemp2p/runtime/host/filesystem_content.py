"""What is in a worker's files: reads, writes, sizes, and the streams over them.

All of it is executed again by replay, against a directory that starts empty; so content needs no journal, and no fsync either:
the journal is what survives a crash, the files are made from it again.

Calls run on the event loop. What one may read or write is therefore bounded, and counts as a short read or write, which callers
of POSIX-like files must expect anyway. Growth is charged before a byte is written (``FileTree.grow``); a hole counts as bytes.
"""

from __future__ import annotations

import os

from golemp2p.runtime.host.filesystem_errors import FilesystemError, Refused, world_error
from golemp2p.runtime.host.filesystem_tree import FileTree, OpenFile
from golemp2p.runtime.host.streams import READ_BYTES_MAX, InputStream, OutputStream, StreamClosed, StreamFailed

WRITE_BYTES_MAX = 4 << 20
"""Of one ``descriptor.write``: some milliseconds into the page cache."""

OFFSET_MAX = (1 << 63) - 1
"""The kernel's own limit; offsets and sizes of WASI have 64 bits without sign."""


def read_at(file: OpenFile, length: int, offset: int) -> tuple[bytes, bool]:
    """Up to ``length`` bytes (at most ``READ_BYTES_MAX``) from ``offset``, and whether they reach the end of the file."""
    size = os.fstat(file.fd).st_size
    if offset >= size:
        return (b"", True)
    data = os.pread(file.fd, min(length, READ_BYTES_MAX, size - offset), offset)
    return (data, offset + len(data) >= size)


def write_at(file: OpenFile, data: bytes, offset: int) -> int:
    """Write ``data`` (at most ``WRITE_BYTES_MAX`` of it) at ``offset``; how much. A gap before it reads as zeroes.

    ``Refused``: quota, file-too-large; then nothing was written.
    """
    view = memoryview(data)[:WRITE_BYTES_MAX]
    count = len(view)
    if count == 0:
        return 0
    if offset + count > OFFSET_MAX:
        raise Refused("file-too-large")
    file.tree.grow(max(0, offset + count - os.fstat(file.fd).st_size))
    while view:
        written = os.pwrite(file.fd, view, offset)
        view, offset = view[written:], offset + written
    return count


def set_size(file: OpenFile, size: int) -> None:
    """Cut the file, or extend it by a hole. ``Refused``: quota, file-too-large."""
    if size > OFFSET_MAX:
        raise Refused("file-too-large")
    resize(file.tree, os.fstat(file.fd).st_size, size)
    os.ftruncate(file.fd, size)


def resize(tree: FileTree, old: int, new: int) -> None:
    if new > old:
        tree.grow(new - old)
    else:
        tree.shrink(old - new)


class FileInputStream(InputStream):
    """Reads on from ``offset``; ends where the file ends at the time of the read."""

    def __init__(self, file: OpenFile, offset: int) -> None:
        self.file, self.offset = file.hold(), offset

    def read(self, count: int) -> bytes:
        try:
            data, _ = read_at(self.file, count, self.offset)
        except OSError as error:
            raise world_error(error) from error
        if count and not data:
            raise StreamClosed
        self.offset += len(data)
        return data

    def close(self) -> None:
        self.file.release()


class FileOutputStream(OutputStream):
    """Writes on from ``offset``; ``None``: always at the end. A refused write is told at once and ends the stream."""

    def __init__(self, file: OpenFile, offset: int | None) -> None:
        self.file, self.offset = file.hold(), offset
        self.ended = False

    def check_write(self) -> int:
        if self.ended:
            raise StreamClosed
        return super().check_write()

    def write(self, data: bytes) -> None:
        if self.ended:
            raise StreamClosed
        try:
            offset = os.fstat(self.file.fd).st_size if self.offset is None else self.offset
            assert write_at(self.file, data, offset) == len(data), "a stream permits less than one write can do"
        except Refused as refused:
            self.ended = True
            raise StreamFailed(FilesystemError(refused.code)) from refused
        except OSError as error:
            raise world_error(error) from error
        if self.offset is not None:
            self.offset += len(data)

    def close(self) -> None:
        self.file.release()
