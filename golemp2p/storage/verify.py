"""Reads a whole data directory and says what is damaged. Never modifies anything; may run beside a live node.

    storage.sqlite   SQLite's own integrity check
        shards       every entry's place, hash, signature, author; every election's votes; what the record promises is there
        logs         every segment's hash, link, signature, columns, author, and entries; where the base and the head say they end;
                     heads whose key is not their identity's, segments without a head, bytes without a segment
        fetched      what waits for a base: every segment by itself
    blobs/           every file against its name; every blob that an entry names is there, unless other nodes have it

All reads of the database are one read transaction: one moment of a live node. It holds the write-ahead log from being
reset meanwhile. Of one log, or one shard, only the first damage is reported, since nothing after it is proved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from golemp2p.errors import DataDamaged, UsageError
from golemp2p.model.ids import Key
from golemp2p.model.replication import Deletion, Head, LogSegment
from golemp2p.ports import LogHead
from golemp2p.storage import readers
from golemp2p.storage.blobs import BlobFolder
from golemp2p.storage.database import DATABASE, FORMAT_VERSION, fetch, open_reader, translated
from golemp2p.storage.replica_reading import read_milestones, read_replicas
from golemp2p.storage.verify_log import Log, Mention
from golemp2p.storage.verify_shard import Shard
from golemp2p.wire.certificate import Genesis, load_genesis
from golemp2p.wire.segment import open_segment, verify_segment

DAMAGES_MAX = 1000  # listed; all are counted
INTEGRITY_LINES_MAX = 100
GENESIS_META = "genesis"  # the meta value that holds the mesh's genesis record

LIVES = """SELECT s.life, s.first, s.count, s.term, s.position, p.data FROM segments AS s
    LEFT JOIN payloads AS p ON p.id = s.id WHERE s.log = ? ORDER BY s.life, s.first"""
HEADLESS = """SELECT log, count(*), min(first) FROM segments
    WHERE log NOT IN (SELECT key FROM heads UNION ALL SELECT key FROM undescribed) GROUP BY log"""
FETCHED = "SELECT t.log, t.first, p.data FROM staged AS t LEFT JOIN payloads AS p ON p.id = t.id"
ORPHANS = "SELECT count(*) FROM payloads WHERE id NOT IN (SELECT id FROM segments UNION ALL SELECT id FROM staged)"
DAMAGED = "SELECT shard, log FROM damaged"


@dataclass(frozen=True, slots=True)
class Damage:
    """``kind``: of a log (``worker``, ``component``; ``log`` for one that is not described), or ``database``, ``head``,
    ``segments``, ``shard``, ``fetched``, ``blob``. ``identity``: of the log, or what names the thing. ``index``: the oplog index
    up to which the log is sound, plus one; ``None`` where there is none."""

    kind: str
    identity: str
    index: int | None
    reason: str

    def __str__(self) -> str:
        place = "" if self.index is None else f" at index {self.index}"
        return f"{self.kind} {self.identity}{place}: {self.reason}"


@dataclass(slots=True)
class StorageReport:
    """What was read, and what is wrong with it. ``damages`` holds the first ``DAMAGES_MAX`` of ``damages_count``."""

    logs: int = 0
    segments: int = 0
    entries: int = 0
    segment_bytes: int = 0
    shards: int = 0
    positions: int = 0  # entries of shards that are not compacted
    elections: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    blobs_elsewhere: int = 0  # named by logs that other nodes keep as well, and not here
    damages_count: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.damages_count

    def add(self, kind: str, identity: str, index: int | None, reason: str) -> None:
        self.damages_count += 1
        if len(self.damages) < DAMAGES_MAX:
            self.damages.append(Damage(kind, identity, index, reason))


def verify_storage(path: Path) -> StorageReport:
    """Check data directory ``path``. Blocks, for as long as reading everything and some 100 us per segment take.

    Raises ``UsageError`` when ``path`` is no data directory, ``StorageFailed`` when it cannot be read at all; damage is in
    the report. Without a genesis record (no mesh was founded yet) the hashes of shards and the votes are not checked.
    """
    if not (path / DATABASE).is_file():
        raise UsageError(f"{path} is no data directory: it has no {DATABASE}")
    report = StorageReport()
    blobs = BlobFolder(path / "blobs")
    named: dict[bytes, Mention] = {}
    try:
        connection = open_reader(path / DATABASE)
    except DataDamaged as error:
        report.add("database", error.log, None, error.reason)
    else:
        try:
            _Database(connection, path / DATABASE, report, named).check()
        finally:
            connection.close()
    _check_blobs(blobs, named, report)
    return report


def _check_blobs(blobs: BlobFolder, named: dict[bytes, Mention], report: StorageReport) -> None:
    seen: set[bytes] = set()
    for path in blobs.files():
        digest = bytes.fromhex(path.name)
        seen.add(digest)
        report.blobs += 1
        try:
            report.blob_bytes += len(blobs.get(digest))
        except DataDamaged as error:
            user = f"; named by {named[digest].place}" if digest in named else ""
            report.add("blob", path.name, None, error.reason + user)
    for digest, mention in named.items():
        if digest in seen:
            continue
        if mention.is_shared:
            report.blobs_elsewhere += 1
        else:
            report.add("blob", digest.hex(), None, f"missing; named by {mention.place}")


class _Database:
    """``named``: the blobs that entries name, and where; filled here."""

    def __init__(
        self,
        connection: apsw.Connection,
        path: Path,
        report: StorageReport,
        named: dict[bytes, Mention],
    ) -> None:
        self._connection = connection
        self._path = path
        self._report = report
        self._named = named
        self._shards: dict[int, Shard] = {}
        self._deleted: dict[Key, Shard] = {}  # logs whose last entry is a deletion
        self._genesis: Genesis | None = None

    def check(self) -> None:
        report = self._report
        with self._reported("database", DATABASE):
            self._connection.execute("BEGIN")
            version = self._connection.pragma("user_version")
            if version != FORMAT_VERSION:
                reason = (
                    f"has format {version}, not {FORMAT_VERSION}" if version else "is empty: it was cut off, or never filled"
                )
                report.add("database", DATABASE, None, reason)
                return
            self._check_integrity()
        with self._reported("database", f"meta:{GENESIS_META}"):
            self._read_genesis()
        with self._reported("database", "shards"):
            self._check_shards()
        seen: set[Key] = set()
        for sql in (readers.HEADS_ALL, readers.HEADS_UNDESCRIBED):
            with self._reported("database", "heads"):
                for row in self._connection.execute(sql):
                    self._check_head(row, seen)
        with self._reported("database", "segments"):
            self._check_headless(seen)
        with self._reported("database", "fetched segments"):
            self._check_fetched()
        with self._reported("database", "damaged logs"):
            for shard, log in fetch(self._connection, DAMAGED):
                report.add("log", f"key:{log.hex()}", None, f"is marked as damaged; shard {shard} fetches it from other nodes")

    @contextmanager
    def _reported(self, kind: str, identity: str) -> Iterator[None]:
        try:
            with translated(str(self._path)):
                yield
        except DataDamaged as error:
            self._report.add(kind, identity, None, error.reason)

    def _check_integrity(self) -> None:
        for (line,) in fetch(self._connection, f"PRAGMA integrity_check({INTEGRITY_LINES_MAX})"):
            if line != "ok":
                self._report.add("database", DATABASE, None, f"integrity check: {line}")

    def _read_genesis(self) -> None:
        data = self._connection.execute(readers.META, (GENESIS_META,)).get
        if data is not None:
            self._genesis = load_genesis(data)

    # ---------------------------------------------------------------------------------------------------------- shards

    def _check_shards(self) -> None:
        mesh_id = None if self._genesis is None else self._genesis.mesh_id
        for number, held in read_replicas(self._connection).items():
            with self._reported("shard", str(number)):
                shard = Shard(number, held, [], mesh_id)
                self._shards[number] = shard
                self._report.shards += 1
                self._report.positions += len(held.entries)
                self._note_deletions(shard)
                shard.milestones = read_milestones(self._connection, number)
                self._report.elections += shard.check_milestones()
                shard.check_entries()

    def _note_deletions(self, shard: Shard) -> None:
        for entry in shard.entries:
            if isinstance(entry.content, Deletion):
                self._deleted[entry.content.log] = shard
            elif isinstance(entry.content, LogSegment):
                self._deleted.pop(entry.content.log, None)

    # ------------------------------------------------------------------------------------------------------------ logs

    def _check_head(self, row: tuple[Any, ...], seen: set[Key]) -> None:
        self._report.logs += 1
        try:
            head = readers.head_of(row)
        except DataDamaged as error:
            self._report.add("head", error.log, None, error.reason)
            return
        seen.add(head.key)
        kind, identity = (head.kind, head.identity) if head.kind else ("log", str(head.key))
        if head.kind and Key.of(head.kind, head.identity) != head.key:
            self._report.add("head", str(head.key), None, f"is not the key of its {head.kind} {head.identity!r}")
            return
        if self._genesis is not None and head.key.shard(self._genesis.shards_count) != head.shard:
            self._report.add("head", str(head.key), None, f"lies in shard {head.shard}, where its key does not belong")
        shard = self._shards.get(head.shard)
        if shard is None:
            self._report.add(kind, identity, 1, f"shard {head.shard} has no record that can be read")
        else:
            self._check_log(head.key, kind, identity, shard, head)

    def _check_log(self, key: Key, kind: str, identity: str, shard: Shard, head: LogHead | None) -> None:
        """All lives of a log; the last one ends as ``head`` says, which is ``None`` for a log that is deleted."""
        name = f"{kind} {identity}"
        log = Log(key, name, shard, self._named)
        is_below = True  # what was read so far is up to the base
        try:
            with translated(str(self._path)):
                for life, *columns in self._connection.execute(LIVES, (key.digest,)):
                    if is_below and (life or columns[3] > shard.base.position):
                        log.end_at_base()
                        is_below = False
                    if columns[1] == 0:  # the log ended here, and may begin again
                        log = Log(key, name, shard, self._named)
                        continue
                    stored = readers.segment_of(key, tuple(columns))
                    self._report.entries += log.extend(stored)
                    self._report.segments += 1
                    self._report.segment_bytes += len(stored.data)
                if is_below:
                    log.end_at_base()
                if head is not None:
                    log.end(Head(head.tail, head.head_hash))
        except DataDamaged as error:
            self._report.add(kind, identity, log.next_index, error.reason)

    def _check_headless(self, seen: set[Key]) -> None:
        for log, count, first in fetch(self._connection, HEADLESS):
            name = f"key:{log.hex()}" if isinstance(log, bytes) else repr(log)
            key = Key(log) if name.startswith("key:") and len(name) == 44 else None
            if key is not None and key in self._deleted:
                self._check_log(key, "log", name, self._deleted[key], None)
            else:
                self._report.add("segments", name, first, f"{count} without a head")
            if key is not None:
                seen.add(key)
        for shard in self._shards.values():
            for key in shard.heads:
                if key not in seen:
                    self._report.add("log", str(key), None, f"is gone, though the base of shard {shard.number} names it")
        orphans = self._connection.execute(ORPHANS).get
        if orphans:
            self._report.add("segments", "payloads", None, f"{orphans} belong to no segment")

    def _check_fetched(self) -> None:
        for log, first, data in self._connection.execute(FETCHED):
            name = f"key:{log.hex()}"
            with self._reported("fetched", name):
                if type(data) is not bytes:
                    raise DataDamaged(name, f"the bytes of the segment at {first} are missing")
                verify_segment(open_segment(data), log=Key(log))
                self._report.segments += 1
