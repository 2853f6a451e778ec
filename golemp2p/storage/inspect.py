"""What a data directory holds, in numbers. Never modifies anything; may run beside a live node; checks nothing (``verify`` does)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from golemp2p.errors import DataDamaged, UsageError
from golemp2p.model.replication import Configuration, Deletion, Entry, LogSegment, Member
from golemp2p.storage.blobs import BlobFolder
from golemp2p.storage.database import DATABASE, FORMAT_VERSION, fetch, open_reader, translated
from golemp2p.storage.datadir import STORE_ID_META
from golemp2p.storage.replica_reading import configuration_after, read_milestones, read_replicas

ENTRIES_SHOWN_MAX = 50  # of one shard, the newest


@dataclass(frozen=True, slots=True)
class StorageSummary:
    """``logs``: described ones by kind; ``entries``: of shards, not compacted; ``fetched_segments`` wait for a base."""

    store_id: str
    shards: int
    entries: int
    logs: dict[str, int]
    undescribed_logs: int
    open_logs: int
    waking_logs: int
    segments: int
    segment_bytes: int
    fetched_segments: int
    damaged_logs: int
    milestones: int
    blobs: int
    blob_bytes: int


@dataclass(frozen=True, slots=True)
class EntrySummary:
    position: int
    term: int
    author: str
    kind: str
    log: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """Keys in hex, members as ``public key/store id``. ``entries``: the newest ``ENTRIES_SHOWN_MAX`` of ``last_position -
    base_position``; ``logs``: those that are there as of the base."""

    shard: int
    term: int
    voted_for: str
    commit: int
    high_water: tuple[int, int]
    base_position: int
    last_position: int
    voters: list[str]
    incoming: list[str]
    learners: list[str]
    logs: int
    fetched_logs: int
    damaged_logs: int
    elections: dict[int, str]
    entries: list[EntrySummary]


def inspect_storage(path: Path) -> StorageSummary:
    """Raises ``UsageError`` when ``path`` is no data directory, ``StorageFailed`` or ``DataDamaged`` when it cannot be read."""
    blobs = [file.stat().st_size for file in BlobFolder(path / "blobs").files()]
    with translated(str(path)):
        connection = _opened(path)
        try:
            connection.execute("BEGIN")
            counts = {name: connection.execute(sql).get or 0 for name, sql in _COUNTS.items()}
            kinds: list[tuple[Any, ...]] = fetch(connection, "SELECT kind, count(*) FROM heads GROUP BY kind ORDER BY kind")
            store_id = connection.execute("SELECT value FROM meta WHERE name = ?", (STORE_ID_META,)).get or b""
        finally:
            connection.close()
    return StorageSummary(store_id=store_id.hex(), logs=dict(kinds), blobs=len(blobs), blob_bytes=sum(blobs), **counts)


def inspect_shard(path: Path, number: int) -> ShardSummary:
    """The same of one shard. Raises ``UsageError`` for one that this store knows nothing of."""
    with translated(str(path)):
        connection = _opened(path)
        try:
            connection.execute("BEGIN")
            replicas, milestones = read_replicas(connection), read_milestones(connection, number)
        finally:
            connection.close()
    if number not in replicas:
        raise UsageError(f"{path} knows nothing of shard {number}; it knows {len(replicas)} shards")
    held = replicas[number]
    record, base, configuration = held.record, held.base, held.base.configuration
    for entry in held.entries:
        configuration = configuration_after(entry.content, configuration)
    return ShardSummary(
        shard=number,
        term=record.term,
        voted_for="" if record.voted_for is None else record.voted_for.public_key.hex(),
        commit=record.commit,
        high_water=record.high_water,
        base_position=base.position,
        last_position=held.entries[-1].position if held.entries else base.position,
        **_members(configuration),
        logs=len(held.heads),
        fetched_logs=len(held.staged),
        damaged_logs=len(held.damaged_logs),
        elections={entry.term: entry.author.hex() for entry in milestones if not isinstance(entry.content, Configuration)},
        entries=[_entry(entry) for entry in held.entries[-ENTRIES_SHOWN_MAX:]],
    )


def _opened(path: Path) -> apsw.Connection:
    if not (path / DATABASE).is_file():
        raise UsageError(f"{path} is no data directory: it has no {DATABASE}")
    connection = open_reader(path / DATABASE)
    version = connection.pragma("user_version")
    if version != FORMAT_VERSION:
        connection.close()
        raise DataDamaged(DATABASE, f"has format {version}, not {FORMAT_VERSION}")
    return connection


def _members(configuration: Configuration) -> dict[str, list[str]]:
    def names(members: tuple[Member, ...]) -> list[str]:
        return [f"{member.public_key.hex()}/{member.store_id.hex()}" for member in members]

    return {
        "voters": names(configuration.voters),
        "incoming": names(configuration.incoming),
        "learners": names(configuration.learners),
    }


def _entry(entry: Entry) -> EntrySummary:
    content = entry.content
    first, count = (content.first, content.count) if isinstance(content, LogSegment) else (0, 0)
    log = str(content.log) if isinstance(content, LogSegment | Deletion) else ""
    return EntrySummary(entry.position, entry.term, entry.author.hex(), type(content).__name__, log, first, count)


_COUNTS = {
    "shards": "SELECT count(*) FROM replicas",
    "entries": "SELECT count(*) FROM entries",
    "undescribed_logs": "SELECT count(*) FROM undescribed",
    "open_logs": "SELECT count(*) FROM heads WHERE has_open_work",
    "waking_logs": "SELECT count(*) FROM heads WHERE wake_ns IS NOT NULL",
    "segments": "SELECT count(*) FROM segments WHERE count > 0",
    "segment_bytes": "SELECT sum(length(data)) FROM payloads",
    "fetched_segments": "SELECT count(*) FROM staged",
    "damaged_logs": "SELECT count(*) FROM damaged",
    "milestones": "SELECT count(*) FROM milestones",
}
