"""The data directory of one node.

    node.key         Ed25519 seed, 64 hex digits and a newline, mode 0600: who this node is
    operator.key     the same for the operator of a mesh: with the founder, and wherever it was copied to
    storage.sqlite   logs, heads, shards, meta (and its -wal and -shm)
    blobs/           content-addressed files
    cache/           compiled components: may be deleted at any time
    workers/         file systems of workers: rebuilt by replay
    lock             held by the process that uses the directory; holds its pid

The lock is the kernel's (flock): it ends with its process, however that ends, so a left-over file means nothing. A
voter is (node key, store id): the store id is made with the database, so one that lost its data and was made anew is
another member.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from golemp2p.errors import DataDamaged, StorageFailed, UsageError
from golemp2p.ports import RandomBytes, Storage
from golemp2p.storage.blobs import sync_directory
from golemp2p.storage.database import DATABASE, storage_error

KEY_FILE = "node.key"
OPERATOR_FILE = "operator.key"
LOCK_FILE = "lock"
FOLDERS = ("blobs", "cache", "workers")
SEED_BYTES = 32
STORE_ID_BYTES = 16
STORE_ID_META = "store-id"
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class DataDirectory:
    """A locked data directory: ``with DataDirectory.open(path) as directory: ...``. Everything here blocks, for
    moments."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.cache = path / "cache"
        self.workers = path / "workers"
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path) -> DataDirectory:
        """Create what is missing and lock it. Raises ``UsageError`` when another process uses it, ``StorageFailed``
        when the disk or its permissions refuse; both are one line for a person."""
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            _lock(path, lock)
            for name in FOLDERS:
                (path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            os.close(lock)
            raise _unusable(path, error) from error
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    def node_seed(self, random_bytes: RandomBytes) -> bytes:
        """The seed of this node's Ed25519 key, 32 bytes; made at first call. Raises ``DataDamaged`` when it is
        unreadable, or missing beside a database that an earlier key signed; ``UsageError`` when others may read it."""
        seed = self._read_seed(self.path / KEY_FILE)
        if seed is not None:
            return seed
        if (self.path / DATABASE).exists():
            raise DataDamaged(
                KEY_FILE, f"missing in {self.path}, though {DATABASE} is there: restore the key, or move the data away"
            )
        return self._make_seed(self.path / KEY_FILE, random_bytes)

    def operator_seed(self) -> bytes | None:
        """The seed of the mesh's operator key, if it is kept here; read anew at every call, since it may be copied here while the node
        runs. Raises as ``node_seed``."""
        return self._read_seed(self.path / OPERATOR_FILE)

    def make_operator_seed(self, random_bytes: RandomBytes) -> bytes:
        """For a mesh that is about to be founded; one that is here already is taken (a founding that was interrupted)."""
        return self.operator_seed() or self._make_seed(self.path / OPERATOR_FILE, random_bytes)

    def _read_seed(self, path: Path) -> bytes | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from error
        with open(descriptor, "rb") as file:
            if os.fstat(descriptor).st_mode & OTHERS:
                raise UsageError(f"{path} may be used by others than its owner; run: chmod 600 {path}")
            return _parse_seed(path, file.read(4 * SEED_BYTES))

    def _make_seed(self, path: Path, random_bytes: RandomBytes) -> bytes:
        seed = random_bytes(SEED_BYTES)
        try:
            write_durably(path, seed.hex().encode() + b"\n")
        except OSError as error:
            raise _unusable(path, error) from error
        return seed

    def close(self) -> None:
        """Release the lock. May be called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def store_id(storage: Storage, random_bytes: RandomBytes) -> bytes:
    """The id of this store, 16 bytes; made at first call."""
    known = await storage.get_meta(STORE_ID_META)
    if known is None:
        known = random_bytes(STORE_ID_BYTES)
        await storage.put_meta(STORE_ID_META, known)
    if len(known) != STORE_ID_BYTES:
        raise DataDamaged(f"meta:{STORE_ID_META}", f"has {len(known)} bytes instead of {STORE_ID_BYTES}")
    return known


def write_durably(path: Path, data: bytes) -> None:
    """A new file of mode 0600 appears whole or not at all. Raises ``OSError``."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(partial, path)
    sync_directory(path.parent)


def _lock(path: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise UsageError(
            f"data directory {path} is in use by process {pid}; stop that node, or choose another --data-dir"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _parse_seed(path: Path, text: bytes) -> bytes:
    try:
        seed = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise DataDamaged(path.name, f"{path} does not hold {2 * SEED_BYTES} hex digits: restore it from a backup")
    return seed


def _unusable(path: Path, error: OSError) -> StorageFailed:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageFailed(f"data directory {path} is not writable for this user ({error.strerror}): {error.filename}")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StorageFailed(f"data directory {path} cannot be made: there is a file where a directory should be")
    return storage_error(f"data directory {path} cannot be used: {error.filename or path}", error)
