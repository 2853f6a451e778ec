"""What is read of replicas: all of them for the start of a node, and parts of one for the other nodes.

Each function takes a connection that it may keep for as long as it reads, in a thread, and reads one moment of the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apsw

from golemp2p.errors import DataDamaged, Golemp2pError
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord
from golemp2p.model.replication import (
    BLANK_BASE,
    HASH_BYTES,
    NO_HASH,
    Base,
    Branch,
    Configuration,
    Content,
    Deletion,
    Entry,
    Head,
    LogSegment,
    NoOp,
)
from golemp2p.ports import StoredReplica
from golemp2p.storage.database import DELETION, SEGMENT, fetch
from golemp2p.storage.readers import integers
from golemp2p.wire.messages_shard import read_segment
from golemp2p.wire.replica import decode_base, decode_content, decode_entry, decode_member
from golemp2p.wire.segment import START_BYTES, open_start

REPLICAS = "SELECT shard, term, voted_for, committed, high_term, high_position, belonged FROM replicas ORDER BY shard"
BASES = "SELECT shard, position, base FROM bases"
BASE_HEADS = "SELECT shard, log, tail, hash FROM base_heads"
# in the order of ids, in which entries and payloads were written, and lie
ENTRIES = """SELECT e.shard, e.position, e.term, e.kind, e.log, e.author, e.content, e.signature, e.hash, p.data
    FROM entries AS e NOT INDEXED LEFT JOIN payloads AS p ON p.id = e.id ORDER BY e.id"""
STAGED = f"""SELECT t.shard, t.log, t.first, t.count, t.term, substr(p.data, 1, {START_BYTES})
    FROM (SELECT shard, log, min(first) AS least, max(first) AS most FROM staged GROUP BY shard, log) AS ends
    JOIN staged AS t ON t.shard = ends.shard AND t.log = ends.log AND t.first IN (ends.least, ends.most)
    LEFT JOIN payloads AS p ON p.id = t.id ORDER BY t.shard, t.log, t.first"""
DAMAGED = "SELECT shard, log FROM damaged ORDER BY shard, log"
MILESTONES = "SELECT position, entry FROM milestones WHERE shard = ? ORDER BY position"
_LIFE = "(SELECT max(life) FROM segments WHERE log = ?1)"
_PIECES = """SELECT s.position, p.data FROM segments AS s LEFT JOIN payloads AS p ON p.id = s.id
    WHERE s.log = ?1 AND s.life = {life} AND s.first + s.count > ?2 AND s.first < ?3 AND s.first >= coalesce(
        (SELECT max(first) FROM segments WHERE log = ?1 AND life = {life} AND first <= ?2), 0)
    ORDER BY s.first"""
PIECES = _PIECES.format(life=_LIFE)
PIECES_AT_BASE = _PIECES.format(life=0)
IS_HERE = """SELECT EXISTS(SELECT 1 FROM heads WHERE key = ?1 AND shard = ?2)
    OR EXISTS(SELECT 1 FROM undescribed WHERE key = ?1 AND shard = ?2)"""


def read_replicas(connection: apsw.Connection) -> dict[int, StoredReplica]:
    """All, each table in one pass. Raises ``DataDamaged`` for a record, a base or a head of one that cannot be read.

    A segment that is damaged after its signature costs its entry, and all after it, where other members can give them again. A group of
    one would lose what nobody else has: there the entry stands, and who reads that log finds the damage."""
    with _one_moment(connection):
        records = dict(map(_record_of, connection.execute(REPLICAS)))
        bases = dict(map(_base_of, connection.execute(BASES)))
        heads: dict[int, dict[Key, Head]] = {shard: {} for shard in records}
        for shard, log, tail, head_hash in connection.execute(BASE_HEADS):
            if not (integers(shard, tail) and type(head_hash) is bytes and len(head_hash) == HASH_BYTES):
                raise DataDamaged(f"shard:{shard}", "a head of its base has wrong types")
            _of(heads, shard)[_key(log)] = Head(tail, head_hash)
        entries: dict[int, list[Entry]] = {shard: [] for shard in records}
        unsound: set[tuple[int, int]] = set()
        for row in connection.execute(ENTRIES):
            entry, is_sound = _entry_of(row)
            _of(entries, row[0]).append(entry)
            if not is_sound:
                unsound.add((row[0], entry.position))
        staged: dict[int, dict[Key, list[LogSegment]]] = {shard: {} for shard in records}
        for shard, *row in connection.execute(STAGED):
            segment = _start_of(row)
            _of(staged, shard).setdefault(segment.log, []).append(segment)
        damaged: dict[int, list[Key]] = {shard: [] for shard in records}
        for shard, log in connection.execute(DAMAGED):
            _of(damaged, shard).append(_key(log))
    for shard in {shard for shard, _ in unsound}:
        if has_others(bases.get(shard, BLANK_BASE), entries[shard]):
            entries[shard] = [_lost(e.position) if (shard, e.position) in unsound else e for e in entries[shard]]
    return {
        shard: StoredReplica(
            record,
            bases.get(shard, BLANK_BASE),
            heads[shard],
            _chained(bases.get(shard, BLANK_BASE), entries[shard]),
            staged[shard],
            tuple(damaged[shard]),
        )
        for shard, record in records.items()
    }


@dataclass(frozen=True, slots=True)
class Most:
    """Of segments that are read together: none too many, and the first in any case."""

    count: int
    size: int


def read_pieces(
    connection: apsw.Connection, shard: int, log: Key, indexes: range, *, position: int, most: Most
) -> list[LogSegment]:
    """See ``ports.Storage.replica_segments``."""
    name = (shard, log.digest)
    with _one_moment(connection):
        run = connection.execute
        if run("SELECT 1 FROM damaged WHERE shard = ? AND log = ?", name).get is not None:
            return []
        base = run("SELECT position FROM bases WHERE shard = ?", (shard,)).get or 0
        if position not in (0, base):
            return []
        if position:
            is_here, sql, last = run("SELECT 1 FROM base_heads WHERE shard = ? AND log = ?", name).get, PIECES_AT_BASE, base
        else:
            is_here, sql, last = run(IS_HERE, (log.digest, shard)).get, PIECES, None
        return _pieces(run(sql, (log.digest, indexes.start, indexes.stop)), log, last, most) if is_here else []


def _pieces(rows: apsw.Cursor, log: Key, last: int | None, most: Most) -> list[LogSegment]:
    found: list[LogSegment] = []
    held = 0
    for position, data in rows:
        if (last is not None and position > last) or len(found) == most.count:
            break
        held += len(data or b"")
        if found and held > most.size:
            break
        try:
            if type(data) is not bytes:
                raise DataDamaged(str(log), f"the bytes of a segment at position {position} are missing")
            found.append(read_segment(data))
        except DataDamaged:
            if not found:
                raise
            break
    rows.close()
    return found


def read_milestones(connection: apsw.Connection, shard: int) -> list[Entry]:
    found = []
    for position, data in fetch(connection, MILESTONES, (shard,)):
        entry = decode_entry(data)
        if entry.position != position:
            raise DataDamaged(f"shard:{shard}", f"its milestone at position {position} says that it is at {entry.position}")
        found.append(entry)
    return found


@contextmanager
def _one_moment(connection: apsw.Connection) -> Iterator[None]:
    if connection.in_transaction:
        yield  # the caller's moment
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")  # nothing was written


def _of(parts: dict[int, Any], shard: int) -> Any:
    try:
        return parts[shard]
    except KeyError:
        raise DataDamaged(f"shard:{shard}", "has no record, though something else of it is there") from None


def _key(digest: object) -> Key:
    try:
        return Key(digest)  # type: ignore[arg-type]  # what is stored may be anything
    except (Golemp2pError, TypeError) as error:
        raise DataDamaged(f"key:{digest!r}", "is no key") from error


def _record_of(row: tuple[Any, ...]) -> tuple[int, ReplicaRecord]:
    shard, term, voted_for, committed, high_term, high_position, belonged = row
    if not (integers(shard, term, committed, high_term, high_position, belonged) and type(voted_for) in (bytes, type(None))):
        raise DataDamaged(f"shard:{shard}", "its record has wrong types")
    voted = None if voted_for is None else decode_member(voted_for)
    return shard, ReplicaRecord(term, voted, committed, (high_term, high_position), bool(belonged))


def _base_of(row: tuple[Any, ...]) -> tuple[int, Base]:
    shard, position, data = row
    try:
        base = decode_base(data)
    except (DataDamaged, TypeError) as error:
        raise DataDamaged(f"shard:{shard}", f"its base cannot be read ({error})") from error
    if base.position != position:
        raise DataDamaged(f"shard:{shard}", "its base says another position than its row")
    return shard, base


def _entry_of(row: tuple[Any, ...]) -> tuple[Entry, bool]:
    """Its previous hash is still to be filled in. And whether it is sound: a segment's bytes after its signature, which the shard's
    hashes do not cover, may be damaged though the entry stands."""
    _, position, term, kind, log, author, content, signature, entry_hash, data = row
    is_sound = True
    try:
        read: Content
        if kind == SEGMENT:
            read, is_sound = _segment_of(data, content)
            author = author or read.author
        elif kind == DELETION:
            read = Deletion(_key(log))
        else:
            read = decode_content(content)
        if not (integers(position, term) and {type(author), type(signature), type(entry_hash)} == {bytes}):
            raise DataDamaged("entry", "its row has wrong types")
    except (DataDamaged, TypeError):
        return _lost(position), False
    return Entry(position, term, NO_HASH, author, read, signature, entry_hash), is_sound


def _segment_of(data: bytes, description: bytes) -> tuple[LogSegment, bool]:
    try:
        return read_segment(data, description), True
    except DataDamaged:
        s = open_start(data)
        return LogSegment(s.log, s.term, s.first, s.count, s.previous_hash, s.author, s.hash, data, description), False


def _lost(position: int) -> Entry:
    """An entry that follows from none."""
    return Entry(position, 0, NO_HASH, b"", NoOp(), b"", NO_HASH)


def has_others(base: Base, entries: Iterable[Entry]) -> bool:
    """Whether the newest configuration that can be read has more than one member."""
    configuration = base.configuration
    for entry in entries:
        configuration = configuration_after(entry.content, configuration)
    return len(configuration.members) > 1


def configuration_after(content: Content, before: Configuration) -> Configuration:
    if isinstance(content, Configuration):
        return content
    return Configuration((content.survivor,)) if isinstance(content, Branch) else before


def _start_of(row: list[Any]) -> LogSegment:
    log, first, count, term, start = row
    try:
        segment = open_start(start or b"")
    except DataDamaged:  # then nothing continues it, and it is fetched anew
        return LogSegment(_key(log), term, first, count, NO_HASH, b"", NO_HASH, b"")
    return LogSegment(
        _key(log), term, first, count, segment.previous_hash, segment.author, segment.hash, b""
    )  # fmt: skip


def _chained(base: Base, entries: list[Entry]) -> list[Entry]:
    """In order, each with the hash of the one before it."""
    entries.sort(key=lambda entry: entry.position)
    last_hash = base.hash
    for place, entry in enumerate(entries):
        entries[place] = Entry(
            entry.position, entry.term, last_hash, entry.author, entry.content, entry.signature, entry.hash
        )  # fmt: skip
        last_hash = entry.hash
    return entries
