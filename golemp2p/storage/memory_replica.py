"""A replica in memory: the meaning of ``ReplicaWrite`` in plain lists, as ``core.replica_durable`` executes it, and with what storage
knows beyond that: where each segment stands, and the milestones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from golemp2p.errors import StorageFailed
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import BLANK_BASE, Base, Branch, Configuration, Deletion, Election, Entry, Head, LogSegment
from golemp2p.ports import LogHead
from golemp2p.storage.ends import End


class Piece(NamedTuple):
    """A segment, and its place in the shard's log (or that of the base for which it was fetched)."""

    position: int
    segment: LogSegment


FRESH = ReplicaRecord(0, None, 0, (0, 0))


@dataclass(slots=True)
class MemoryReplica:
    """``ends``: the head of every log that is there, described or not."""

    shard: int
    record: ReplicaRecord = FRESH
    base: Base = BLANK_BASE
    heads: dict[Key, Head] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    history: dict[Key, list[Piece]] = field(default_factory=dict)
    staged: dict[Key, list[LogSegment]] = field(default_factory=dict)
    damaged: list[Key] = field(default_factory=list)
    milestones: dict[int, Entry] = field(default_factory=dict)
    ends: dict[Key, LogHead] = field(default_factory=dict)

    def copy(self) -> MemoryReplica:
        history = {log: list(pieces) for log, pieces in self.history.items()}
        staged = {log: list(segments) for log, segments in self.staged.items()}
        return MemoryReplica(
            self.shard, self.record, self.base, dict(self.heads), list(self.entries), history, staged, list(self.damaged),
            dict(self.milestones), dict(self.ends),
        )  # fmt: skip

    @property
    def last_position(self) -> int:
        return self.entries[-1].position if self.entries else self.base.position

    def apply(self, write: ReplicaWrite) -> None:
        """Raises ``StorageFailed``, and may have done a part of it then."""
        self.record = write.record
        if write.truncate_from is not None:
            self._truncate(write.truncate_from)
        for log in write.refetch:
            self.staged.pop(log, None)
        for segment in write.fetched:
            self.staged.setdefault(segment.log, []).append(segment)
        for log in write.repaired:
            self._repair(log)
        if write.base is not None:
            if write.is_install:
                self._install(write, write.base)
            else:
                self._compact(write, write.base)
        for entry in write.entries:
            self.add(entry)
        if write.is_forgotten:
            self.base, self.heads, self.entries, self.history, self.staged = BLANK_BASE, {}, [], {}, {}
            self.damaged, self.milestones, self.ends = [], {}, {}

    def add_only(self, write: ReplicaWrite) -> None:
        """A write of a record and entries: all of it or, raising ``StorageFailed``, nothing."""
        before, count = self.record, len(self.entries)
        ends = {log: self.ends.get(log) for entry in write.entries if (log := _log_of(entry)) is not None}
        try:
            self.apply(write)
        except StorageFailed:
            self.record = before
            for entry in self.entries[count:]:
                self.milestones.pop(entry.position, None)
            del self.entries[count:]
            self.ends = {log: end for log, end in (self.ends | ends).items() if end is not None}
            raise

    def add(self, entry: Entry) -> None:
        content, last = entry.content, self.last_position
        if entry.position != last + 1:
            raise StorageFailed(f"memory: position {entry.position} exists already, or does not follow {last}, the last one")
        if isinstance(content, LogSegment) and self._has(content.log, content.first):
            raise StorageFailed(f"memory: exists already (segment {content.first} of {content.log})")
        self.entries.append(entry)
        if isinstance(content, LogSegment):
            self._end(content)
        elif isinstance(content, Deletion):
            self.ends.pop(content.log, None)
        elif isinstance(content, Election | Configuration | Branch):
            self.milestones[entry.position] = entry

    def _has(self, log: Key, first: int) -> bool:
        """Whether a segment of ``log`` starts at this index."""
        end = self.ends.get(log)
        return end is not None and first < end.tail and any(piece.segment.first == first for piece in self.read(log))

    def rewrite(self, head: LogHead) -> None:
        """What is said of a log, if it still ends there."""
        held = self.ends.get(head.key)
        if held is not None and (held.tail, held.head_hash) == (head.tail, head.head_hash):
            self.ends[head.key] = head._replace(shard=self.shard)

    def read(self, log: Key, *, at: int | None = None) -> list[Piece]:
        """The log as of the entry at position ``at`` (``None``: the last one)."""
        pieces = list(self.history.get(log, ()))
        for entry in self.entries:
            if at is not None and entry.position > at:
                break
            content = entry.content
            if content == Deletion(log):
                pieces = []
            elif isinstance(content, LogSegment) and content.log == log:
                pieces.append(Piece(entry.position, content))
        return pieces

    def staged_ends(self) -> dict[Key, list[LogSegment]]:
        """Per log, the first and the last of what was fetched, without their bytes."""
        ends = {log: parts[:1] + parts[1:][-1:] for log, parts in self.staged.items() if parts}
        return {log: [_without_bytes(segment) for segment in parts] for log, parts in ends.items()}

    # ----------------------------------------------------------------------------------------------------------- steps

    def _end(self, segment: LogSegment) -> None:
        end = End(self.shard, segment.log, segment.first + segment.count, segment.hash, segment.description)
        self.ends[segment.log] = end.head()

    def _truncate(self, first: int) -> None:
        cut = {log for entry in self.entries if entry.position >= first and (log := _log_of(entry)) is not None}
        self.entries = [entry for entry in self.entries if entry.position < first]
        self.milestones = {position: entry for position, entry in self.milestones.items() if position < first}
        for log in cut:
            self._find_end(log)

    def _find_end(self, log: Key) -> None:
        """From the log's last entry, or else from the base, which has no descriptions."""
        content = next((entry.content for entry in reversed(self.entries) if _log_of(entry) == log), None)
        if isinstance(content, LogSegment):
            self._end(content)
        elif content is None and log in self.heads:
            self.ends[log] = End(self.shard, log, *self.heads[log], b"").head()
        else:
            self.ends.pop(log, None)

    def _repair(self, log: Key) -> None:
        segments = self.staged.pop(log, [])
        if log in self.heads:
            self.history[log] = [Piece(self.base.position, segment) for segment in segments]
        if log in self.damaged:
            self.damaged.remove(log)

    def _compact(self, write: ReplicaWrite, base: Base) -> None:
        for entry in self.entries:
            content = entry.content
            if entry.position > base.position:
                break
            if isinstance(content, LogSegment):
                self.history.setdefault(content.log, []).append(Piece(entry.position, content))
            elif isinstance(content, Deletion):
                self.history.pop(content.log, None)
        self.entries = [entry for entry in self.entries if entry.position > base.position]
        for log, head in write.heads:
            if head is None:
                self.heads.pop(log, None)
            else:
                self.heads[log] = head
        self.base = base

    def _install(self, write: ReplicaWrite, base: Base) -> None:
        history: dict[Key, list[Piece]] = {}
        heads = {log: head for log, head in write.heads if head is not None}
        for log, head in heads.items():
            staged = self.staged.get(log, [])
            start = staged[0].first if staged else head.tail
            kept = [piece for piece in self.read(log, at=write.kept_position) if piece.segment.first < start]
            history[log] = kept + [Piece(base.position, segment) for segment in staged]
        self.history, self.heads = history, heads
        self.entries, self.staged, self.damaged = [], {}, []
        self.milestones = {at: entry for at, entry in self.milestones.items() if at <= write.kept_position}
        ends, self.ends = self.ends, {}
        for log, head in heads.items():
            held = ends.get(log)
            is_same = held is not None and (held.tail, held.head_hash) == head
            self.ends[log] = held if held is not None and is_same else End(self.shard, log, *head, b"").head()
        self.base = base
        self.milestones.update({entry.position: entry for entry in base.milestones})


def _log_of(entry: Entry) -> Key | None:
    content = entry.content
    return content.log if isinstance(content, LogSegment | Deletion) else None


def _without_bytes(segment: LogSegment) -> LogSegment:
    return LogSegment(
        segment.log, segment.term, segment.first, segment.count, segment.previous_hash, segment.author, segment.hash, b""
    )  # fmt: skip
