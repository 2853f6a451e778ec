"""The SQLite file: schema, pragmas, and its errors in our words. The only files that import apsw are here and beside
it.

Tables: one row per segment under a unique index (log, first); one row per log in ``heads``, with partial indexes over
the few that have open work or want to be woken; ``shards``; ``meta``. The segments of one shard are neighbours in the
index, because a shard is the leading bits of the key: no column is needed for it.

Durability: WAL with synchronous=FULL, so that COMMIT returns after fsync of the log. SQLite >= 3.51.3 is required:
before, two connections could damage the WAL when it was reset.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from golemp2p.errors import DataDamaged, StorageFailed, StorageFull

FORMAT_VERSION = 1
APPLICATION_ID = 0x676F6C32  # "gol2", in the file's header

WAL_PAGES_MAX = 4000  # checkpoint after some 16 MB: rare enough not to show, small enough to recover in a moment
WAL_BYTES_KEPT_MAX = 64 << 20  # a WAL grown by a long read is cut back to this
WRITER_CACHE_KIB = 16 << 10
READER_CACHE_KIB = 4 << 10
BUSY_TIMEOUT_MS = 5_000  # another process may hold the file for moments: a backup, a verify
STATEMENTS_CACHED_MAX = 128

DATABASE = "storage.sqlite"

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS segments(
        id INTEGER PRIMARY KEY, log BLOB NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
        term INTEGER NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL) STRICT""",
    "CREATE UNIQUE INDEX IF NOT EXISTS segments_by_index ON segments(log, first)",
    """CREATE TABLE IF NOT EXISTS heads(
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, identity TEXT NOT NULL,
        shard INTEGER NOT NULL, tail INTEGER NOT NULL, head_hash BLOB NOT NULL, has_open_work INTEGER NOT NULL,
        wake_ns INTEGER, summary BLOB NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS heads_by_identity ON heads(kind, identity)",
    "CREATE INDEX IF NOT EXISTS heads_open ON heads(has_open_work) WHERE has_open_work",
    "CREATE INDEX IF NOT EXISTS heads_waking ON heads(wake_ns) WHERE wake_ns IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS shards(
        shard INTEGER PRIMARY KEY, term INTEGER NOT NULL, voted_for BLOB, next_position INTEGER NOT NULL,
        certificate BLOB NOT NULL) STRICT""",
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
)


def open_writer(path: Path) -> apsw.Connection:
    """Open or create, recover, bring up to the newest schema. Blocks. Raises ``StorageFailed`` or ``DataDamaged``."""
    with translated(str(path)):
        connection = apsw.Connection(str(path), statementcachesize=STATEMENTS_CACHED_MAX)
        try:
            _prepare_writer(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare_writer(connection: apsw.Connection, path: Path) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    version = connection.pragma("user_version")
    if version > FORMAT_VERSION:
        raise StorageFailed(f"{path} has format {version}; this program knows up to {FORMAT_VERSION}: use a newer one")
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise StorageFailed(f"{path} is an SQLite file of another program")
    if connection.pragma("journal_mode", "wal") != "wal":
        raise StorageFailed(f"{path}: the file system cannot do a write-ahead log (shared memory is missing)")
    for name, value in (
        ("synchronous", "full"),
        ("secure_delete", "off"),
        ("wal_autocheckpoint", WAL_PAGES_MAX),
        ("journal_size_limit", WAL_BYTES_KEPT_MAX),
        ("cache_size", -WRITER_CACHE_KIB),
        ("temp_store", "memory"),
    ):
        connection.pragma(name, value)
    if version < FORMAT_VERSION:
        with connection:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", FORMAT_VERSION)


def open_reader(path: Path) -> apsw.Connection:
    """A connection that cannot write. Sees what is committed when a statement starts."""
    with translated(str(path)):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=STATEMENTS_CACHED_MAX)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("query_only", value=True)
        connection.pragma("cache_size", -READER_CACHE_KIB)
    return connection


@contextmanager
def translated(path: str) -> Iterator[None]:
    """SQLite's errors in our words. What is not listed here is a mistake of ours and passes unchanged."""
    try:
        yield
    except apsw.FullError as error:
        raise StorageFull(f"{path}: no space left on the device") from error
    except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError) as error:
        raise DataDamaged(path, f"the database file is damaged ({error})") from error
    except apsw.ConstraintError as error:
        raise StorageFailed(f"{path}: exists already ({error})") from error
    except (
        apsw.IOError, apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError, apsw.BusyError, apsw.LockedError,
        apsw.NoMemError, apsw.NoLFSError, apsw.ProtocolError, apsw.AuthError, apsw.TooBigError,
    ) as error:  # fmt: skip
        raise StorageFailed(f"{path}: {error}") from error


NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def storage_error(path: str | Path, error: OSError) -> StorageFailed:
    """The same for errors of the operating system, on files of ours other than the database."""
    if error.errno in NO_SPACE:
        return StorageFull(f"{path}: {error.strerror}")
    return StorageFailed(f"{path}: {error.strerror or error}")
