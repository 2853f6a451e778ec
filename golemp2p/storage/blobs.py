"""Content-addressed files: ``blobs/ab/abcd...`` named by the SHA-256 of their bytes, in lower-case hex.

A blob appears whole or not at all: bytes go to a temporary file, fsync, rename, fsync of the directories. What a crash
leaves behind is a ``*.partial`` file that nobody reads; ``remove_partial`` clears them at start. Every read verifies.
All functions block and are safe from several threads, also for the same blob.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from golemp2p.errors import DataDamaged, UsageError
from golemp2p.storage.database import storage_error
from golemp2p.storage.limits import BLOB_BYTES_MAX, check_sha256

CHUNK_BYTES = 1 << 20  # written and hashed piece by piece: each piece gives other threads a turn
PARTIAL = ".partial"


class BlobFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def path_of(self, sha256: bytes) -> Path:
        check_sha256(sha256)
        name = sha256.hex()
        return self.path / name[:2] / name

    def put(self, data: bytes) -> bytes:
        """Durable on return. A blob that lies there damaged is replaced. Raises ``StorageFull``, ``StorageFailed``."""
        if len(data) > BLOB_BYTES_MAX:
            raise UsageError(f"a blob has at most {BLOB_BYTES_MAX} bytes, got {len(data)}")
        digest = _sha256(data)
        target = self.path_of(digest)
        try:
            if not _holds(target, data):
                self._write(target, data)
            # also when it was there: whoever renamed it may have died before this
            sync_directory(target.parent)
            sync_directory(self.path)
        except OSError as error:
            raise storage_error(target, error) from error
        return digest

    def _write(self, target: Path, data: bytes) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL}")
        view = memoryview(data)
        try:
            with open(partial, "xb", buffering=0) as file:
                written = 0
                while written < len(view):
                    written += file.write(view[written : written + CHUNK_BYTES])
                os.fsync(file.fileno())
            os.rename(partial, target)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise

    def get(self, sha256: bytes) -> bytes:
        """Raises ``DataDamaged`` when missing or wrong, ``StorageFailed`` when the disk refuses."""
        path = self.path_of(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise DataDamaged(f"blob:{sha256.hex()}", "missing") from None
        except OSError as error:
            raise storage_error(path, error) from error
        if _sha256(data) != sha256:
            raise DataDamaged(f"blob:{sha256.hex()}", "its bytes do not match its hash")
        return data

    def files(self) -> Iterator[Path]:
        """Every file that is named like a blob, and lies where it should, in order."""
        for folder in sorted(self.path.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                name = path.name
                if len(name) == 64 and name[:2] == folder.name and not set(name) - set("0123456789abcdef"):
                    yield path

    def remove_partial(self) -> None:
        """Only while no other process uses the folder."""
        try:
            for path in self.path.glob(f"[0-9a-f][0-9a-f]/*{PARTIAL}"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(self.path, error) from error


def _sha256(data: bytes) -> bytes:
    hasher = hashlib.sha256()
    view = memoryview(data)
    for start in range(0, len(view), CHUNK_BYTES):
        hasher.update(view[start : start + CHUNK_BYTES])
    return hasher.digest()


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def sync_directory(path: Path) -> None:
    """Make names created in ``path`` durable. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
