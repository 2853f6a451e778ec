"""What a ``ReplicaWrite`` does to the rows: the meaning is that of ``core.replica_durable``, step by step.

The usual write (a record, entries) only adds rows, which wait in ``Rows`` for their group. The seldom ones (truncate, compact,
install, repair, forget) write what waits, and change the tables at once; all within the writer's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from golemp2p.errors import StorageFailed
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaWrite
from golemp2p.model.replication import Base, Branch, Configuration, Deletion, Election, Entry, Head, LogSegment
from golemp2p.ports import LogHead
from golemp2p.storage.database import DELETION, OTHER, SEGMENT, fetch
from golemp2p.storage.ends import End
from golemp2p.storage.rows import Marks, Rows
from golemp2p.wire.replica import encode_base, encode_content, encode_entry, encode_member
from golemp2p.wire.segment import START_BYTES, hash_of_start

MILESTONES = (Election, Configuration, Branch)

NEWEST = "SELECT life, first, position, id FROM segments WHERE log = ? ORDER BY life DESC, first DESC"
LAST_OF_LOG = "SELECT kind, id, content FROM entries WHERE shard = ? AND log = ? ORDER BY position DESC LIMIT 1"
DELETIONS = f"SELECT log, position FROM entries WHERE kind = {DELETION} AND shard = ? AND position <= ? ORDER BY position"
# what was fetched becomes the log; a segment's place is the base it was fetched for
_MOVE = "INSERT INTO segments SELECT log, 0, first, count, term, ?1, id FROM staged"


class ReplicaRows:
    """Applies writes to ``connection``, inside a transaction of the caller's."""

    def __init__(self, connection: apsw.Connection, marks: Marks) -> None:
        self._connection = connection
        self._marks = marks
        self.rows = Rows(connection, marks)

    def apply(self, write: ReplicaWrite) -> None:
        """Raises ``StorageFailed`` for entries that do not come after those that are there."""
        shard, record = write.shard, write.record
        voted_for = None if record.voted_for is None else encode_member(record.voted_for)
        self.rows.put_replica(
            (shard, record.term, voted_for, record.commit, *record.high_water, 1 if record.belonged else 0)
        )  # fmt: skip
        if write.truncate_from is not None:
            self._truncate(shard, write.truncate_from)
        if write.refetch:
            self._drop_staged(shard, write.refetch)
        for segment in write.fetched:
            self._stage(shard, segment)
        if write.repaired:
            self._repair(shard, write.repaired)
        if write.base is not None:
            if write.is_install:
                self._install(shard, write.base, write.kept_position, write.heads)
            else:
                self._compact(shard, write.base, write.heads)
        for entry in write.entries:
            self._add(shard, entry)
        if write.is_forgotten:
            self._forget(shard)

    def describe(self, head: LogHead) -> None:
        """Rewrite what is said of a log, if it still ends there."""
        self.rows.flush()
        run = self._connection.execute
        digest, open_work = head.key.digest, 1 if head.has_open_work else 0
        if self._marks.has_undescribed:
            there = "FROM undescribed WHERE key = ?1 AND tail = ?2 AND head_hash = ?3"
            run(
                "INSERT INTO heads(key, kind, identity, shard, tail, head_hash, has_open_work, wake_ns, summary)"
                f" SELECT key, ?4, ?5, shard, tail, head_hash, ?6, ?7, ?8 {there}",
                (digest, head.tail, head.head_hash, head.kind, head.identity, open_work, head.wake_ns, head.summary),
            )
            run(f"DELETE {there}", (digest, head.tail, head.head_hash))
        run(
            "UPDATE heads SET has_open_work = ?4, wake_ns = ?5, summary = ?6 WHERE key = ?1 AND tail = ?2 AND head_hash = ?3",
            (digest, head.tail, head.head_hash, open_work, head.wake_ns, head.summary),
        )

    # --------------------------------------------------------------------------------------------------------- entries

    def _add(self, shard: int, entry: Entry) -> None:
        marks, rows = self._marks, self.rows
        position, content = entry.position, entry.content
        if position != marks.last.get(shard, 0) + 1:
            raise StorageFailed(
                f"shard {shard}: position {position} exists already, or does not follow {marks.last.get(shard, 0)}, the last one"
            )
        marks.last[shard] = position
        number = self._new_id()
        facts = (number, shard, position, entry.term)
        if content.__class__ is LogSegment:
            log = content.log
            digest = log.digest
            author = b"" if entry.author == content.author else entry.author
            rows.add("entries", (*facts, SEGMENT, digest, author, content.description, entry.signature, entry.hash))
            first, count = content.first, content.count
            rows.add("segments", (digest, marks.life(digest), first, count, content.term, position, number))
            rows.add("payloads", (number, content.data))
            rows.put_end(digest, End(shard, log, first + count, content.hash, content.description))
        elif content.__class__ is Deletion:
            digest = content.log.digest
            rows.add("entries", (*facts, DELETION, digest, entry.author, b"", entry.signature, entry.hash))
            rows.add("segments", (digest, position, 0, 0, entry.term, position, number))
            marks.lives.setdefault(digest, []).append(position)
            rows.put_end(digest, None)
        else:
            rows.add("entries", (*facts, OTHER, None, entry.author, encode_content(content), entry.signature, entry.hash))
            if content.__class__ in MILESTONES:
                rows.add("milestones", (shard, position, encode_entry(entry)))

    def _new_id(self) -> int:
        number = self._marks.next_id
        self._marks.next_id = number + 1
        return number

    def _truncate(self, shard: int, first: int) -> None:
        self.rows.flush()
        run, marks = self._connection.execute, self._marks
        logs = self._logs("position >= ?2", shard, first)
        for log in logs:
            self._cut(log, first)
            marks.end_lives(log, after=first - 1)
        run("DELETE FROM entries WHERE shard = ? AND position >= ?", (shard, first))
        run("DELETE FROM milestones WHERE shard = ? AND position >= ?", (shard, first))
        marks.last[shard] = min(marks.last.get(shard, 0), max(first - 1, marks.bases.get(shard, 0)))
        for log in logs:
            self.rows.put_end(log, self._end_of(shard, log))

    def _cut(self, log: bytes, position: int) -> None:
        """The rows of ``log`` at ``position`` and after are its last ones."""
        run = self._connection.execute
        doomed: list[tuple[bytes, int, int]] = []
        payloads: list[tuple[int]] = []
        cursor = run(NEWEST, (log,))
        for life, index, at, number in cursor:
            if at < position:
                break
            doomed.append((log, life, index))
            payloads.append((number,))
        cursor.close()
        self._connection.executemany("DELETE FROM segments WHERE log = ? AND life = ? AND first = ?", doomed)
        self._connection.executemany("DELETE FROM payloads WHERE id = ?", payloads)

    def _end_of(self, shard: int, log: bytes) -> End | None:
        """Where ``log`` ends, from its last entry, or else from the base."""
        run = self._connection.execute
        entry: Any = run(LAST_OF_LOG, (shard, log)).get
        if entry is None:
            head: Any = run("SELECT tail, hash FROM base_heads WHERE shard = ? AND log = ?", (shard, log)).get
            return None if head is None else End(shard, Key(log), head[0], head[1], b"")
        kind, number, description = entry
        if kind == DELETION:
            return None
        tail = run("SELECT first + count FROM segments WHERE log = ? ORDER BY life DESC, first DESC LIMIT 1", (log,)).get
        start = run(f"SELECT substr(data, 1, {START_BYTES}) FROM payloads WHERE id = ?", (number,)).get
        return End(shard, Key(log), tail, hash_of_start(start), description)

    # ------------------------------------------------------------------------------------------------------ compaction

    def _compact(self, shard: int, base: Base, heads: Iterable[tuple[Key, Head | None]]) -> None:
        self.rows.flush()
        run, position = self._connection.execute, base.position
        last_lives: dict[bytes, int] = dict(fetch(self._connection, DELETIONS, (shard, position)))
        for digest, life in last_lives.items():
            run("DELETE FROM payloads WHERE id IN (SELECT id FROM segments WHERE log = ? AND life < ?)", (digest, life))
            run("DELETE FROM segments WHERE log = ? AND life < ?", (digest, life))
            run("DELETE FROM segments WHERE log = ? AND life = ? AND first = 0", (digest, life))
            run("UPDATE segments SET life = 0 WHERE log = ? AND life = ?", (digest, life))
            self._marks.end_lives(digest, upto=position)
        run("DELETE FROM entries WHERE shard = ? AND position <= ?", (shard, position))
        for log, head in heads:
            if head is None:
                run("DELETE FROM base_heads WHERE shard = ? AND log = ?", (shard, log.digest))
            else:
                self.rows.add("base_heads", (shard, log.digest, *head))
        self._put_base(shard, base)

    def _put_base(self, shard: int, base: Base) -> None:
        marks = self._marks
        self.rows.add("bases", (shard, base.position, encode_base(base)))
        marks.bases[shard] = base.position
        marks.last[shard] = max(marks.last.get(shard, 0), base.position)

    # -------------------------------------------------------------------------------------------------------- fetching

    def _stage(self, shard: int, segment: LogSegment) -> None:
        number = self._new_id()
        self.rows.add("staged", (shard, segment.log.digest, segment.first, segment.count, segment.term, number))
        self.rows.add("payloads", (number, segment.data))

    def _drop_staged(self, shard: int, logs: Iterable[Key]) -> None:
        self.rows.flush()
        run = self._connection.execute
        for log in logs:
            staged = "FROM staged WHERE shard = ? AND log = ?"
            run(f"DELETE FROM payloads WHERE id IN (SELECT id {staged})", (shard, log.digest))
            run(f"DELETE {staged}", (shard, log.digest))

    def _repair(self, shard: int, logs: Iterable[Key]) -> None:
        """The part up to the base comes from what was fetched; what entries hold stays."""
        self.rows.flush()
        run, base = self._connection.execute, self._marks.bases.get(shard, 0)
        for log in logs:
            name = (shard, log.digest)
            if run("SELECT 1 FROM base_heads WHERE shard = ? AND log = ?", name).get is not None:
                old = "FROM segments WHERE log = ? AND life = 0 AND position <= ?"
                run(f"DELETE FROM payloads WHERE id IN (SELECT id {old})", (log.digest, base))
                run(f"DELETE {old}", (log.digest, base))
                run(f"{_MOVE} WHERE shard = ?2 AND log = ?3", (base, *name))
                run("DELETE FROM staged WHERE shard = ? AND log = ?", name)
            else:
                self._drop_staged(shard, (log,))
            run("DELETE FROM damaged WHERE shard = ? AND log = ?", name)

    def _install(self, shard: int, base: Base, kept: int, heads: Iterable[tuple[Key, Head | None]]) -> None:
        self.rows.flush()
        run, marks = self._connection.execute, self._marks
        new = {log.digest: head for log, head in heads if head is not None}
        old, written = self._base_logs(shard), self._logs("true", shard)
        starts = "SELECT log, min(first) FROM staged WHERE shard = ? GROUP BY log"
        staged: dict[bytes, int] = dict(fetch(self._connection, starts, (shard,)))
        for log in written | (old - new.keys()) | (old & staged.keys()):  # of all others nothing is there, or all of it stays
            head = new.get(log)
            if head is None:
                self._drop_log(log)
            else:
                self._keep(log, life=marks.life(log, at=kept), kept=kept, start=staged.get(log, head.tail))
            marks.lives.pop(log, None)
        self._drop_staged(shard, [Key(log) for log in staged if log not in new])
        run(f"{_MOVE} WHERE shard = ?2", (base.position, shard))
        for table in ("staged", "entries", "base_heads", "damaged"):
            run(f"DELETE FROM {table} WHERE shard = ?", (shard,))
        run("DELETE FROM milestones WHERE shard = ? AND position > ?", (shard, kept))
        marks.last.pop(shard, None)
        self._put_base(shard, base)
        self.rows.add_all("milestones", [(shard, entry.position, encode_entry(entry)) for entry in base.milestones])
        self.rows.add_all("base_heads", [(shard, log, *head) for log, head in new.items()])
        self.rows.flush()
        self.rows.delete_keys("heads", list((old | written) - new.keys()))
        self.rows.delete_keys("undescribed", list((old | written) - new.keys()))
        self._undescribe(shard)

    def _keep(self, log: bytes, *, life: int, kept: int, start: int) -> None:
        """Of ``log`` keep what it was at position ``kept``, up to index ``start``."""
        run = self._connection.execute
        others = "FROM segments WHERE log = ?1 AND NOT (life = ?2 AND first >= 1 AND first < ?3 AND position <= ?4)"
        run(f"DELETE FROM payloads WHERE id IN (SELECT id {others})", (log, life, start, kept))
        run(f"DELETE {others}", (log, life, start, kept))
        if life:
            run("UPDATE segments SET life = 0 WHERE log = ? AND life = ?", (log, life))

    def _undescribe(self, shard: int) -> None:
        """The logs whose heads are not those of the base, of whose entries none is left."""
        run = self._connection.execute
        run(
            "INSERT INTO undescribed SELECT log, shard, tail, hash FROM base_heads WHERE shard = ? AND NOT EXISTS("
            " SELECT 1 FROM heads WHERE key = log AND heads.tail = base_heads.tail AND head_hash = hash)"
            " ON CONFLICT(key) DO UPDATE SET tail = excluded.tail, head_hash = excluded.head_hash",
            (shard,),
        )
        run("DELETE FROM heads WHERE key IN (SELECT key FROM undescribed WHERE shard = ?)", (shard,))
        self._marks.has_undescribed = bool(run("SELECT EXISTS(SELECT 1 FROM undescribed)").get)

    # ------------------------------------------------------------------------------------------------------ forgetting

    def _forget(self, shard: int) -> None:
        self.rows.flush()
        run, marks = self._connection.execute, self._marks
        logs = self._base_logs(shard) | self._logs("true", shard)
        for log in logs:
            self._drop_log(log)
            marks.lives.pop(log, None)
        for table in ("heads", "undescribed"):
            self.rows.delete_keys(table, list(logs))
        run("DELETE FROM payloads WHERE id IN (SELECT id FROM staged WHERE shard = ?)", (shard,))
        for table in ("staged", "entries", "base_heads", "damaged", "milestones", "bases"):
            run(f"DELETE FROM {table} WHERE shard = ?", (shard,))
        marks.bases.pop(shard, None)
        marks.last.pop(shard, None)

    def _base_logs(self, shard: int) -> set[bytes]:
        return {log for (log,) in fetch(self._connection, "SELECT log FROM base_heads WHERE shard = ?", (shard,))}

    def _logs(self, where: str, *args: int) -> set[bytes]:
        """Of the entries of shard ``?1`` for which ``where`` holds."""
        sql = f"SELECT DISTINCT log FROM entries WHERE shard = ?1 AND log IS NOT NULL AND {where}"
        return {log for (log,) in fetch(self._connection, sql, args)}

    def _drop_log(self, log: bytes) -> None:
        run = self._connection.execute
        run("DELETE FROM payloads WHERE id IN (SELECT id FROM segments WHERE log = ?)", (log,))
        run("DELETE FROM segments WHERE log = ?", (log,))
