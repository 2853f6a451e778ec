"""Rows on their way into the database: collected over many batches, written by few fat statements.

SQLite gives up and re-takes the interpreter's lock around every step, and beside a busy event loop each re-take may cost a whole
switch interval: so rows go into multi-row statements, and a group of batches takes a handful of steps. Of several heads of one log, or
records of one shard, only the last is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import apsw

from golemp2p.storage.database import DELETION, fetch
from golemp2p.storage.ends import End

ROWS_PER_STATEMENT = 16  # one step each; every length below is a prepared statement of its own


@dataclass(slots=True)
class Marks:
    """What the writer knows of the rows without asking. Read when it starts, and after every transaction that failed.

    * ``next_id``: of the next entry or segment.
    * ``bases``, ``last``: per shard, the positions of its base and of its last entry (that of the base without one).
    * ``lives``: per log, the positions of its deletions after the base, oldest first: the last one is its present life.
    """

    next_id: int = 1
    bases: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    lives: dict[bytes, list[int]] = field(default_factory=dict)
    has_undescribed: bool = False

    @classmethod
    def read(cls, connection: apsw.Connection) -> Marks:
        marks = cls()
        marks.next_id = 1 + max(
            connection.execute("SELECT coalesce(max(id), 0) FROM entries").get,
            connection.execute("SELECT coalesce(max(id), 0) FROM payloads").get,
        )
        marks.bases = dict(fetch(connection, "SELECT shard, position FROM bases"))
        marks.last = dict(marks.bases)
        marks.last.update(fetch(connection, "SELECT shard, max(position) FROM entries GROUP BY shard"))
        deletions = f"SELECT log, position FROM entries WHERE kind = {DELETION} ORDER BY shard, position"
        for log, position in fetch(connection, deletions):
            marks.lives.setdefault(log, []).append(position)
        marks.has_undescribed = bool(connection.execute("SELECT EXISTS(SELECT 1 FROM undescribed)").get)
        return marks

    def life(self, log: bytes, *, at: int | None = None) -> int:
        """The log's life after the entry at position ``at`` (``None``: now)."""
        lives = self.lives.get(log)
        if not lives:
            return 0
        return lives[-1] if at is None else max((life for life in lives if life <= at), default=0)

    def end_lives(self, log: bytes, *, after: int = -1, upto: int | None = None) -> None:
        """Forget the deletions of ``log`` at positions > ``after`` (or, given it, <= ``upto``)."""
        kept = [life for life in self.lives.pop(log, ()) if (life <= after if upto is None else life > upto)]
        if kept:
            self.lives[log] = kept


class Rows:
    """Rows of a run of batches. Whoever reads or deletes rows calls ``flush`` first."""

    def __init__(self, connection: apsw.Connection, marks: Marks) -> None:
        self._connection = connection
        self._marks = marks
        self._lists: dict[str, list[tuple[Any, ...]]] = {}
        self._replicas: dict[int, tuple[Any, ...]] = {}
        self._meta: dict[str, tuple[Any, ...]] = {}
        self._ends: dict[bytes, End | None] = {}

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """A row of a table that has ``_INSERT`` below."""
        self._lists.setdefault(table, []).append(row)

    def add_all(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        self._lists.setdefault(table, []).extend(rows)

    def put_replica(self, row: tuple[Any, ...]) -> None:
        self._replicas[row[0]] = row

    def put_meta(self, row: tuple[str, bytes]) -> None:
        self._meta[row[0]] = row

    def put_end(self, log: bytes, end: End | None) -> None:
        """``None``: the log is gone."""
        self._ends[log] = end

    def flush(self) -> None:
        self._insert("replicas", list(self._replicas.values()))
        self._replicas.clear()
        for table, rows in self._lists.items():
            self._insert(table, rows)
        self._lists.clear()
        if self._ends:
            self._write_ends()
            self._ends.clear()
        self._insert("meta", list(self._meta.values()))
        self._meta.clear()

    def _write_ends(self) -> None:
        described: list[tuple[Any, ...]] = []
        undescribed: list[tuple[Any, ...]] = []
        gone: list[bytes] = []
        for digest, end in self._ends.items():
            if end is None:
                gone.append(digest)
            elif (said := end.described()) is None:
                undescribed.append((digest, end.shard, end.tail, end.hash))
            else:
                kind, identity, has_open_work, wake_ns, summary = said
                open_work = 1 if has_open_work else 0
                described.append((digest, kind, identity, end.shard, end.tail, end.hash, open_work, wake_ns, summary))
        self.delete_keys("heads", gone + [row[0] for row in undescribed])
        if self._marks.has_undescribed:
            self.delete_keys("undescribed", gone + [row[0] for row in described])
            self._marks.has_undescribed = bool(self._connection.execute("SELECT EXISTS(SELECT 1 FROM undescribed)").get)
        self._insert("heads", described)
        if undescribed:
            self._insert("undescribed", undescribed)
            self._marks.has_undescribed = True

    def delete_keys(self, table: str, keys: list[bytes]) -> None:
        """Rows of ``heads`` or ``undescribed``; at once."""
        for start in range(0, len(keys), ROWS_PER_STATEMENT):
            some = keys[start : start + ROWS_PER_STATEMENT]
            self._connection.execute(_deletion(table, len(some)), some)

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            some = rows[start : start + ROWS_PER_STATEMENT]
            self._connection.execute(_statement(table, len(some)), [value for row in some for value in row])


_INSERT: dict[str, tuple[str, int, str]] = {  # table and columns, their number, on conflict
    "replicas": (
        "replicas(shard, term, voted_for, committed, high_term, high_position, belonged)",
        7,
        " ON CONFLICT(shard) DO UPDATE SET term = excluded.term, voted_for = excluded.voted_for, committed = excluded.committed,"
        " high_term = excluded.high_term, high_position = excluded.high_position, belonged = excluded.belonged",
    ),
    "bases": (
        "bases(shard, position, base)",
        3,
        " ON CONFLICT(shard) DO UPDATE SET position = excluded.position, base = excluded.base",
    ),
    "base_heads": (
        "base_heads(shard, log, tail, hash)",
        4,
        " ON CONFLICT(shard, log) DO UPDATE SET tail = excluded.tail, hash = excluded.hash",
    ),
    "entries": ("entries(id, shard, position, term, kind, log, author, content, signature, hash)", 10, ""),
    "segments": ("segments(log, life, first, count, term, position, id)", 7, ""),
    "payloads": ("payloads(id, data)", 2, ""),
    "staged": ("staged(shard, log, first, count, term, id)", 6, ""),
    "milestones": (
        "milestones(shard, position, entry)",
        3,
        " ON CONFLICT(shard, position) DO UPDATE SET entry = excluded.entry",
    ),
    "damaged": ("damaged(shard, log)", 2, " ON CONFLICT DO NOTHING"),
    # key, kind, identity and shard never change (the key is their hash); naming only what does spares their indexes
    "heads": (
        "heads(key, kind, identity, shard, tail, head_hash, has_open_work, wake_ns, summary)",
        9,
        " ON CONFLICT(key) DO UPDATE SET tail = excluded.tail, head_hash = excluded.head_hash,"
        " has_open_work = excluded.has_open_work, wake_ns = excluded.wake_ns, summary = excluded.summary",
    ),
    "undescribed": (
        "undescribed(key, shard, tail, head_hash)",
        4,
        " ON CONFLICT(key) DO UPDATE SET tail = excluded.tail, head_hash = excluded.head_hash",
    ),
    "meta": ("meta(name, value)", 2, " ON CONFLICT(name) DO UPDATE SET value = excluded.value"),
}


@cache
def _statement(table: str, rows_count: int) -> str:
    target, columns, conflict = _INSERT[table]
    row = "(" + ",".join("?" * columns) + ")"
    return f"INSERT INTO {target} VALUES" + ",".join([row] * rows_count) + conflict


@cache
def _deletion(table: str, keys_count: int) -> str:
    return f"DELETE FROM {table} WHERE key IN (" + ",".join("?" * keys_count) + ")"
