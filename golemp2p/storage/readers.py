"""Read-only connections to the database, and the queries.

Which thread reads: the event loop itself may touch *a few* pages, which are cached nearly always (some 10 us, and a
random read of the disk at worst): one head, one meta value, and a log of at most ``INLINE_SEGMENTS_MAX`` small
segments. Everything else goes to a thread under a limiter of ours. A statement is read
to its end before anything else happens, so that no read transaction stays open and holds the WAL.

No row is believed to have the right types: a flipped bit in a row's header changes them. A damaged row of a single log
raises ``DataDamaged``; in listings it is logged and left out, so that one damaged worker does not stop all others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
import trio

from golemp2p.errors import DataDamaged, Golemp2pError
from golemp2p.model.ids import Key
from golemp2p.ports import LogHead, StoredSegment
from golemp2p.storage.database import open_reader, translated
from golemp2p.storage.limits import HASH_BYTES

READERS_MAX = 4  # threads and connections; more would only queue for the same two or three cores
INLINE_SEGMENTS_MAX = 8
INLINE_SEGMENT_BYTES_MAX = 8 << 10
ALL_SEGMENTS = (1 << 63) - 1

T = TypeVar("T")
log = logging.getLogger(__name__)

# a log is its last life, in which a tombstone (count 0) is no segment; ?2 is at least 1
_LIFE = "(SELECT max(life) FROM segments WHERE log = ?1)"
_SEGMENTS = f""" FROM segments AS s LEFT JOIN payloads AS p ON p.id = s.id
    WHERE s.log = ?1 AND s.life = {_LIFE} AND s.first + s.count > ?2 AND s.first >= coalesce(
        (SELECT max(first) FROM segments WHERE log = ?1 AND life = {_LIFE} AND first <= ?2), 0)
    ORDER BY s.first"""
SEGMENTS = "SELECT s.first, s.count, s.term, s.position, p.data" + _SEGMENTS + " LIMIT ?3"
SEGMENTS_SMALL = (
    "SELECT s.first, s.count, s.term, s.position,"
    f" CASE WHEN length(p.data) <= {INLINE_SEGMENT_BYTES_MAX} THEN p.data END"
    f"{_SEGMENTS} LIMIT min(?3, {INLINE_SEGMENTS_MAX + 1})"
)
# identities as bytes: damaged text must not fail inside SQLite's row conversion
_HEAD = """SELECT key, CAST(kind AS BLOB), CAST(identity AS BLOB), shard, tail, head_hash, has_open_work, wake_ns,
    summary FROM heads"""
_UNDESCRIBED = "SELECT key, x'', x'', shard, tail, head_hash, 0, NULL, x'' FROM undescribed"
HEAD = f"{_HEAD} WHERE key = ?1 UNION ALL {_UNDESCRIBED} WHERE key = ?1"
HEADS_UNDESCRIBED = _UNDESCRIBED + " ORDER BY key"
# shards as a JSON array
_IN_SHARDS = "shard IN (SELECT value FROM json_each(?1))"
HEADS = f"{_HEAD} WHERE kind = ?2 AND identity > ?3 AND identity >= ?4 AND {_IN_SHARDS} ORDER BY identity LIMIT ?5"
HEADS_BELOW = (
    f"{_HEAD} WHERE kind = ?2 AND identity > ?3 AND identity >= ?4 AND identity < ?6 AND {_IN_SHARDS}"
    " ORDER BY identity LIMIT ?5"
)
HEADS_ALL = _HEAD + " NOT INDEXED ORDER BY id"  # from the table itself: an index may be damaged
HEADS_OPEN = _HEAD + " WHERE has_open_work AND shard = ? ORDER BY id"
HEADS_DUE = f"{_HEAD} WHERE wake_ns IS NOT NULL AND wake_ns <= ?2 AND {_IN_SHARDS} ORDER BY wake_ns LIMIT ?3"
NEXT_WAKE = f"SELECT wake_ns FROM heads WHERE wake_ns IS NOT NULL AND {_IN_SHARDS} ORDER BY wake_ns LIMIT 1"
META = "SELECT value FROM meta WHERE name = ?"


class Readers:
    """``here`` runs on the event loop's thread, ``elsewhere`` in a thread. Both translate SQLite's errors."""

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self._path, self._vfs = path, vfs
        self._inline = open_reader(path, vfs)
        self._idle: list[apsw.Connection] = []
        self._limiter = trio.CapacityLimiter(READERS_MAX)

    def here(self, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        with translated(str(self._path)):
            return self._inline.execute(sql, args).fetchall()

    async def elsewhere(self, read: Callable[[apsw.Connection], T]) -> T:
        return await trio.to_thread.run_sync(self._read, read, limiter=self._limiter)

    def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        with translated(str(self._path)):
            try:
                connection = self._idle.pop()  # a list's pop and append are atomic
            except IndexError:
                connection = open_reader(self._path, self._vfs)
            try:
                return read(connection)
            finally:
                self._idle.append(connection)

    def close(self) -> None:
        """Only when no read is under way."""
        for connection in (self._inline, *self._idle):
            connection.close()


def read_segments(connection: apsw.Connection, key: Key, first: int, count: int) -> list[StoredSegment]:
    return [segment_of(key, row) for row in connection.execute(SEGMENTS, (key.digest, first, count)).fetchall()]


def read_heads(connection: apsw.Connection, sql: str, args: Sequence[Any] = ()) -> list[LogHead]:
    """Damaged rows are left out, and logged."""
    heads: list[LogHead] = []
    for row in connection.execute(sql, args).fetchall():
        try:
            heads.append(head_of(row))
        except DataDamaged as error:
            log.error("head_damaged", extra={"log": error.log, "reason": error.reason})  # noqa: TRY400 - no traceback wanted
    return heads


def listing(kind: str, shards: Collection[int], prefix: str, after: str, count: int) -> tuple[str, Sequence[Any]]:
    """The query of ``Storage.heads``. SQLite compares UTF-8 bytes, which is the order of code points, as Python's."""
    end = prefix_end(prefix)
    args = (shards_text(shards), kind, after, prefix, count)
    return (HEADS, args) if end is None else (HEADS_BELOW, (*args, end))


def shards_text(shards: Collection[int]) -> str:
    return "[" + ",".join(map(str, shards)) + "]"


def prefix_end(prefix: str) -> str | None:
    """The least text greater than all that start with ``prefix``; ``None`` when there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)  # over the surrogates, which UTF-8 cannot hold


def read_next_wake(connection: apsw.Connection, shards: str) -> int | None:
    wake_ns = connection.execute(NEXT_WAKE, (shards,)).get
    if not isinstance(wake_ns, int | None):
        raise DataDamaged("heads", "a wake time has a wrong type")
    return wake_ns


def segment_of(key: Key, row: tuple[Any, ...]) -> StoredSegment:
    first, count, term, position, data = row
    if not (integers(first, count, term, position) and isinstance(data, bytes)):
        raise DataDamaged(str(key), f"the row of the segment at {first!r} has wrong types")
    return StoredSegment(key, first, count, term, position, data)


def head_of(row: tuple[Any, ...]) -> LogHead:
    digest, kind, identity, shard, tail, head_hash, has_open_work, wake_ns, summary = row
    try:
        key = Key(digest)
        head = LogHead(
            key, kind.decode(), identity.decode(), shard, tail, head_hash, bool(has_open_work), wake_ns, summary
        )  # fmt: skip
    except (Golemp2pError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DataDamaged(f"head:{digest!r}", f"its row cannot be read ({error})") from error
    if not (integers(shard, tail, has_open_work) and (wake_ns is None or integers(wake_ns))):
        raise DataDamaged(str(key), "a number of its head has a wrong type")
    if not (isinstance(head_hash, bytes) and len(head_hash) == HASH_BYTES and isinstance(summary, bytes)):
        raise DataDamaged(str(key), "hash or summary of its head have a wrong type")
    return head


def integers(*values: object) -> bool:
    return all(type(value) is int for value in values)
