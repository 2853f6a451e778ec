"""The SQLite file: schema, pragmas, and its errors in our words. The only files that import apsw are here and beside
it.

    replicas     one row per shard: what its replica promised               bases        what stands below its entries
    entries      the entries after the base, committed or not               base_heads   where each log ended at the base
    segments     one row per segment of a log, in the order of the log      payloads     their bytes, by the segment's id
    staged       segments fetched for a base that is not complete           damaged      logs that are to be fetched again
    milestones   elections, configurations and branches, for good           meta         a few named values
    heads        one row per log that is described                          undescribed  one per log that is not

An entry and its segment have one id, so an entry points to its bytes and nothing is stored twice. The bytes lie by
themselves: what is fetched, installed, or renamed moves small rows only.

A log has *lives*: life 0 is the log as of the base, and a ``Deletion`` at position p begins life p, with a row of its own
(first 0, count 0), its tombstone. What counts is the last life. Truncation takes the tombstone away again, and the life
before it is back; compaction takes the lives before it, and life p becomes 0.

Durability: WAL with synchronous=FULL, so that COMMIT returns after fsync of the log. SQLite >= 3.51.3 is required:
before, two connections could damage the WAL when it was reset.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from golemp2p.errors import DataDamaged, StorageFailed, StorageFull

FORMAT_VERSION = 2
APPLICATION_ID = 0x676F6C32  # "gol2", in the file's header

WAL_PAGES_MAX = 4000  # checkpoint after some 16 MB: rare enough not to show, small enough to recover in a moment
WAL_BYTES_KEPT_MAX = 64 << 20  # a WAL grown by a long read is cut back to this
WRITER_CACHE_KIB = 16 << 10
READER_CACHE_KIB = 4 << 10
BUSY_TIMEOUT_MS = 5_000  # another process may hold the file for moments: a backup, a verify
STATEMENTS_CACHED_MAX = 256  # six tables with a statement per number of rows, and the others

DATABASE = "storage.sqlite"

# of entries.kind, as the classes of the entries' contents are numbered on the wire
SEGMENT, DELETION = 0, 3
OTHER = 1  # its content says what it is

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS replicas(
        shard INTEGER PRIMARY KEY, term INTEGER NOT NULL, voted_for BLOB, committed INTEGER NOT NULL,
        high_term INTEGER NOT NULL, high_position INTEGER NOT NULL, belonged INTEGER NOT NULL) STRICT""",
    "CREATE TABLE IF NOT EXISTS bases(shard INTEGER PRIMARY KEY, position INTEGER NOT NULL, base BLOB NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS base_heads(
        shard INTEGER NOT NULL, log BLOB NOT NULL, tail INTEGER NOT NULL, hash BLOB NOT NULL,
        PRIMARY KEY(shard, log)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS entries(
        id INTEGER PRIMARY KEY, shard INTEGER NOT NULL, position INTEGER NOT NULL, term INTEGER NOT NULL,
        kind INTEGER NOT NULL, log BLOB, author BLOB NOT NULL, content BLOB NOT NULL, signature BLOB NOT NULL,
        hash BLOB NOT NULL) STRICT""",
    "CREATE UNIQUE INDEX IF NOT EXISTS entries_by_position ON entries(shard, position)",
    f"CREATE INDEX IF NOT EXISTS entries_deleting ON entries(shard, position) WHERE kind = {DELETION}",
    """CREATE TABLE IF NOT EXISTS segments(
        log BLOB NOT NULL, life INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, term INTEGER NOT NULL,
        position INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(log, life, first)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS payloads(id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS staged(
        shard INTEGER NOT NULL, log BLOB NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, term INTEGER NOT NULL,
        id INTEGER NOT NULL, PRIMARY KEY(shard, log, first)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS milestones(
        shard INTEGER NOT NULL, position INTEGER NOT NULL, entry BLOB NOT NULL,
        PRIMARY KEY(shard, position)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS damaged(
        shard INTEGER NOT NULL, log BLOB NOT NULL, PRIMARY KEY(shard, log)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS heads(
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, identity TEXT NOT NULL,
        shard INTEGER NOT NULL, tail INTEGER NOT NULL, head_hash BLOB NOT NULL, has_open_work INTEGER NOT NULL,
        wake_ns INTEGER, summary BLOB NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS heads_by_identity ON heads(kind, identity)",
    "CREATE INDEX IF NOT EXISTS heads_open ON heads(shard) WHERE has_open_work",
    "CREATE INDEX IF NOT EXISTS heads_waking ON heads(wake_ns, shard) WHERE wake_ns IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS undescribed(
        key BLOB PRIMARY KEY, shard INTEGER NOT NULL, tail INTEGER NOT NULL, head_hash BLOB NOT NULL) STRICT, WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
)


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open or create, recover, bring up to the newest schema. ``vfs``: SQLite's own, or a simulated disk. Blocks. Raises
    ``StorageFailed`` or ``DataDamaged``."""
    with translated(str(path)):
        connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=STATEMENTS_CACHED_MAX)
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
    if 0 < version < FORMAT_VERSION:
        raise StorageFailed(
            f"{path} has format {version}, made by an older golemp2p; this one keeps format {FORMAT_VERSION} and converts none:"
            " use the older one, or start with an empty data directory"
        )
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


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A connection that cannot write. Sees what is committed when a statement starts."""
    with translated(str(path)):
        flags = apsw.SQLITE_OPEN_READONLY
        connection = apsw.Connection(str(path), flags=flags, vfs=vfs, statementcachesize=STATEMENTS_CACHED_MAX)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("query_only", value=True)
        connection.pragma("cache_size", -READER_CACHE_KIB)
    return connection


def fetch(connection: apsw.Connection, sql: str, args: Sequence[Any] = ()) -> list[Any]:
    """All rows, as tuples whose types nobody has checked."""
    return connection.execute(sql, args).fetchall()


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
        raise StorageFailed(f"{path}: exists already ({error})") from error  # a position, or the first index of a segment
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
