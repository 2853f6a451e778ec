"""Reads a whole data directory and says what is damaged. Never modifies anything; may run beside a live node.

    storage.sqlite   SQLite's own integrity check; every log: every segment's hash, link, signature and columns, every entry
                     decoded, the end as the head says (index and hash); terms and positions within what the shard's record
                     allows; the author is who the shard's certificate elected; heads whose key is not their identity's;
                     segments without a head; every certificate, against the mesh's genesis record
    blobs/           every file against its name; every blob that an entry names is there

All reads of the database are one read transaction: one moment of a live node. It holds the write-ahead log from being
reset meanwhile. Of one log only the first damage is reported, since nothing after it is proved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from golemp2p.errors import DataDamaged, UsageError
from golemp2p.model.entries import BlobRef, Entry
from golemp2p.model.ids import Key
from golemp2p.ports import LogHead, ShardRecord, StoredSegment
from golemp2p.storage import readers
from golemp2p.storage.blobs import BlobFolder
from golemp2p.storage.database import DATABASE, open_reader, translated
from golemp2p.wire.certificate import Certificate, Genesis, load_certificate, load_genesis, verify_certificate
from golemp2p.wire.entry import decode_payload
from golemp2p.wire.segment import NO_HASH, verify_chain

DAMAGES_MAX = 1000  # listed; all are counted
INTEGRITY_LINES_MAX = 100
SHARD_KIND = "shard"  # the kind of the logs that tell of a shard's elections; the identity is the shard's number
GENESIS_META = "genesis"  # the meta value that holds the mesh's genesis record


@dataclass(frozen=True, slots=True)
class Damage:
    """``kind``: of a log (``worker``, ``component``), or ``database``, ``head``, ``segments``, ``shard``, ``blob``.
    ``identity``: of the log, or what names the thing. ``index``: the oplog index up to which the log is sound, plus one;
    ``None`` where there is none."""

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
    blobs: int = 0
    blob_bytes: int = 0
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
    the report. Without a genesis record (no mesh was founded yet) certificates are checked for their form only.
    """
    if not (path / DATABASE).is_file():
        raise UsageError(f"{path} is no data directory: it has no {DATABASE}")
    report = StorageReport()
    blobs = BlobFolder(path / "blobs")
    named: dict[bytes, str] = {}
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


def _check_blobs(blobs: BlobFolder, named: dict[bytes, str], report: StorageReport) -> None:
    seen: set[bytes] = set()
    for path in blobs.files():
        digest = bytes.fromhex(path.name)
        seen.add(digest)
        report.blobs += 1
        try:
            report.blob_bytes += len(blobs.get(digest))
        except DataDamaged as error:
            user = f"; named by {named[digest]}" if digest in named else ""
            report.add("blob", path.name, None, error.reason + user)
    for digest, user in named.items():
        if digest not in seen:
            report.add("blob", digest.hex(), None, f"missing; named by {user}")


class _Database:
    """``named``: the blobs that entries name, and where; filled here."""

    def __init__(
        self,
        connection: apsw.Connection,
        path: Path,
        report: StorageReport,
        named: dict[bytes, str],
    ) -> None:
        self._connection = connection
        self._path = path
        self._report = report
        self._named = named
        self._shards: dict[int, _Shard] = {}
        self._genesis: Genesis | None = None

    def check(self) -> None:
        with self._reported("database", DATABASE):
            self._connection.execute("BEGIN")
            if not self._connection.pragma("user_version"):
                self._report.add("database", DATABASE, None, "is empty: it was cut off, or never filled")
                return
            self._check_integrity()
        with self._reported("database", f"meta:{GENESIS_META}"):
            self._read_genesis()
        with self._reported("database", "shards"):
            self._check_shards()
        with self._reported("database", "heads"):
            for row in self._connection.execute(readers.HEADS_ALL):
                self._check_head(row)
        with self._reported("database", "segments"):
            self._check_headless()

    @contextmanager
    def _reported(self, kind: str, identity: str) -> Iterator[None]:
        try:
            with translated(str(self._path)):
                yield
        except DataDamaged as error:
            self._report.add(kind, identity, None, error.reason)

    def _check_integrity(self) -> None:
        for (line,) in self._connection.execute(f"PRAGMA integrity_check({INTEGRITY_LINES_MAX})").fetchall():
            if line != "ok":
                self._report.add("database", DATABASE, None, f"integrity check: {line}")

    def _read_genesis(self) -> None:
        data = self._connection.execute(readers.META, (GENESIS_META,)).get
        if data is not None:
            self._genesis = load_genesis(data)

    def _check_shards(self) -> None:
        for record in readers.read_shards(self._connection):
            self._report.shards += 1
            certificate = None
            try:
                certificate = self._certificate(record)
            except DataDamaged as error:
                self._report.add("shard", str(record.shard), None, f"certificate in term {record.term}: {error.reason}")
            self._shards[record.shard] = _Shard(record, certificate)

    def _certificate(self, record: ShardRecord) -> Certificate | None:
        if not record.certificate:
            return None  # voted, but nobody was elected yet
        certificate = load_certificate(record.certificate)
        if certificate.shard != record.shard or certificate.term > record.term:
            raise DataDamaged("certificate", f"is for shard {certificate.shard}, term {certificate.term}")
        if self._genesis is not None:
            verify_certificate(certificate, self._genesis, voters=certificate.voters)
        return certificate

    def _check_head(self, row: tuple[Any, ...]) -> None:
        self._report.logs += 1
        try:
            head = readers.head_of(row)
        except DataDamaged as error:
            self._report.add("head", error.log, None, error.reason)
            return
        if Key.of(head.kind, head.identity) != head.key:
            self._report.add("head", str(head.key), None, f"is not the key of its {head.kind} {head.identity!r}")
            return
        log = _Log(head, self._shards.get(head.shard), self._named)
        if self._genesis is not None and _home(head, self._genesis.shards_count) != head.shard:
            self._report.add("head", str(head.key), None, f"lies in shard {head.shard}, where its key does not belong")
        try:
            with translated(str(self._path)):
                for segment_row in self._connection.execute(readers.SEGMENTS, (head.key.digest, 0, readers.ALL_SEGMENTS)):
                    stored = readers.segment_of(head.key, segment_row)
                    self._report.entries += log.extend(stored)
                    self._report.segments += 1
                    self._report.segment_bytes += len(stored.data)
            log.end()
        except DataDamaged as error:
            self._report.add(head.kind, head.identity, log.next_index, error.reason)

    def _check_headless(self) -> None:
        sql = "SELECT log, count(*), min(first) FROM segments WHERE log NOT IN (SELECT key FROM heads) GROUP BY log"
        for log, count, first in self._connection.execute(sql):
            name = f"key:{log.hex()}" if isinstance(log, bytes) else repr(log)
            self._report.add("segments", name, first, f"{count} without a head")


@dataclass(frozen=True, slots=True)
class _Shard:
    """``certificate``: ``None`` when there is none, or a damaged one (which is reported once, with its shard)."""

    record: ShardRecord
    certificate: Certificate | None


def _home(head: LogHead, shards_count: int) -> int | None:
    """The shard a log must lie in: where its key leads, but the log of a shard's elections lies in that very shard."""
    if head.kind != SHARD_KIND:
        return head.key.shard(shards_count)
    return int(head.identity) if head.identity.isascii() and head.identity.isdigit() else None


class _Log:
    """The chain of one log, segment by segment. Methods raise ``DataDamaged``."""

    def __init__(self, head: LogHead, shard: _Shard | None, named: dict[bytes, str]) -> None:
        self.next_index = 1
        self._head = head
        self._shard = shard
        self._named = named
        self._hash = NO_HASH
        self._term = 0
        self._authors: dict[int, bytes] = {}

    def extend(self, stored: StoredSegment) -> int:
        """Check the next segment; returns the number of its entries."""
        (segment,) = verify_chain(
            [stored.data],
            log=stored.log,
            check_every_signature=True,
            first=self.next_index,
            previous_hash=self._hash,
            author_of_term=self._author_of,
        )
        if (segment.first, segment.count, segment.term) != (stored.first, stored.count, stored.term):
            raise self._damaged("first, count or term of its row are not the segment's")
        if segment.term < self._term:
            raise self._damaged(f"term {segment.term} after term {self._term}")
        self._check_shard(stored)
        entries = decode_payload(segment.payload, segment.count, what=f"segment at index {segment.first}")
        for place, entry in enumerate(entries):
            for reference in blobs_of(entry):
                name = f"{self._head.kind} {self._head.identity} at index {segment.first + place}"
                self._named.setdefault(reference.sha256, name)
        self._authors[segment.term] = segment.author
        self._term, self._hash, self.next_index = segment.term, segment.hash, segment.next_index
        return segment.count

    def end(self) -> None:
        tail = self._head.tail
        if self.next_index != tail:
            raise self._damaged(f"ends before index {self.next_index}, its head says before {tail}")
        if self._hash != self._head.head_hash:
            raise self._damaged("the newest segment is not the one its head names")

    def _author_of(self, term: int) -> bytes | None:
        elected = self._shard.certificate if self._shard else None
        if elected is not None and elected.term == term:
            return elected.primary
        return self._authors.get(term)

    def _check_shard(self, stored: StoredSegment) -> None:
        """What is written of a shard is durable before, or with, what is written under it (S1)."""
        if self._shard is None:
            raise self._damaged(f"shard {self._head.shard} has no record")
        record = self._shard.record
        if stored.term > record.term or stored.position >= record.next_position:
            raise self._damaged(
                f"term {stored.term}, position {stored.position} are beyond its shard's record"
                f" (term {record.term}, next position {record.next_position})"
            )

    def _damaged(self, reason: str) -> DataDamaged:
        return DataDamaged(str(self._head.key), reason)


def blobs_of(entry: Entry) -> Iterator[BlobRef]:
    """The blobs an entry names: fields are flat, so its own fields are all there is."""
    return (value for value in entry if isinstance(value, BlobRef))
