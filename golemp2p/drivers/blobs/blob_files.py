"""Where the bytes of a blob gather while they come, and blobs as files: what a node does with its disk for ``drivers.blobs.blobs``.

    MemorySink   the whole blob in memory, then ``storage.put_blob``: small ones, and storages without files
    FileSink     ``<name>.<size>.partial`` beside where the blob will lie; fsync, rename, fsync of the folders: it appears whole
                 or not at all

A partial file that a crash leaves behind is removed when storage opens. Nothing here knows peers. Files are touched in threads, under
the limiter of the caller; their errors are ``StorageFull`` and ``StorageFailed``.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import trio

from golemp2p.errors import StorageFailed, StorageFull
from golemp2p.ports import Storage

PIECE_BYTES = 256 << 10
"""Read, written and hashed at once: some 300 us of a thread, and all the memory that a transfer of a file takes."""

T = TypeVar("T")


class Sink(Protocol):
    """Bytes of one blob, in order. ``aclose`` gives everything back that ``keep`` has not made a blob."""

    async def cut(self, offset: int) -> None:
        """Only the first ``offset`` bytes stay."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def sha256(self) -> bytes: ...

    def bytes(self) -> bytes | None:
        """All of it, if it is in memory."""
        ...

    async def keep(self) -> None:
        """The blob is in storage, durably, on return. At most once."""
        ...

    async def aclose(self) -> None: ...


class MemorySink:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._data = bytearray()

    async def cut(self, offset: int) -> None:
        del self._data[offset:]

    async def write(self, data: bytes) -> None:
        self._data += data

    async def sha256(self) -> bytes:
        hasher = hashlib.sha256()
        with memoryview(self._data) as view:
            for start in range(0, len(view), PIECE_BYTES):
                hasher.update(view[start : start + PIECE_BYTES])
                await trio.lowlevel.checkpoint()
        return hasher.digest()

    def bytes(self) -> bytes:
        return bytes(self._data)

    async def keep(self) -> None:
        await self._storage.put_blob(bytes(self._data))

    async def aclose(self) -> None:
        self._data = bytearray()


class FileSink:
    """``path``: where the blob will lie; ``size``: its bytes. No two of one path and size at once."""

    def __init__(self, path: Path, size: int, limiter: trio.CapacityLimiter) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.{size}.partial")
        self._limiter = limiter
        self._file: BinaryIO | None = None
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0

    async def cut(self, offset: int) -> None:
        await self._flush()
        await self._run(lambda: self._opened().truncate(offset))

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._pieces_bytes += len(data)
        if self._pieces_bytes >= PIECE_BYTES:
            await self._flush()

    async def sha256(self) -> bytes:
        """Of what the file holds, not of what was written."""
        await self._flush()
        return await self._run(lambda: _hash(self._partial))

    def bytes(self) -> None:
        return None

    async def keep(self) -> None:
        def keep() -> None:
            file = self._opened()
            os.fsync(file.fileno())
            file.close()
            os.rename(self._partial, self._path)
            _sync_folders(self._path)

        await self._flush()
        await self._run(keep)

    async def aclose(self) -> None:
        """Also when cancelled: it takes no longer than removing a file does."""

        def remove() -> None:
            if self._file is not None:
                self._file.close()
                self._partial.unlink(missing_ok=True)

        with trio.CancelScope(shield=True):
            await self._run(remove)

    async def _flush(self) -> None:
        data, self._pieces, self._pieces_bytes = b"".join(self._pieces), [], 0

        def write() -> None:
            file = self._opened()
            file.seek(0, os.SEEK_END)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]

        if data:
            await self._run(write)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open(self._partial, "w+b", buffering=0)  # noqa: SIM115  # closed by keep or aclose
        return self._file

    async def _run(self, work: Callable[[], T]) -> T:
        with translated(self._path):
            return await trio.to_thread.run_sync(work, limiter=self._limiter)


def is_blob(path: Path, sha256: bytes, size: int) -> bool:
    """Whether ``path`` holds the blob, every byte of it, durably. Blocks; raises ``StorageFailed``."""
    with translated(path):
        try:
            if path.stat().st_size != size or _hash(path) != sha256:
                return False
        except FileNotFoundError:
            return False
        _sync_folders(path)  # whoever renamed it may not have come to this
        return True


def has_size(path: Path, size: int) -> bool:
    """Blocks for as long as a look at the file's length takes."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def read_piece(file: BinaryIO, offset: int) -> bytes:
    """Up to ``PIECE_BYTES`` from ``offset`` on. Blocks; raises ``StorageFailed``."""
    with translated(Path(file.name)):
        file.seek(offset)
        return file.read(PIECE_BYTES)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """What the disk refuses, as our errors."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (StorageFull if full else StorageFailed)(f"{path}: {error.strerror or error}") from error


def _hash(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _sync_folders(path: Path) -> None:
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
