"""What storage holds of a replica, and what each write does to it: the meaning of ``ReplicaWrite``, as plain data.

Production folds writes into a database; a simulation keeps one of these per replica. A replica is built from it after every start.

    record · base + heads of the logs as of it · entries after it · segments of the logs up to the base · fetched segments
"""

from __future__ import annotations

from dataclasses import dataclass, field

from golemp2p.core.replica_effects import ReadSegments
from golemp2p.model.ids import Key
from golemp2p.model.replica_write import ReplicaRecord, ReplicaWrite
from golemp2p.model.replication import BLANK_BASE, Base, Deletion, Entry, Head, LogSegment, Member, base_at_birth

FRESH = ReplicaRecord(0, None, 0, (0, 0))


@dataclass(slots=True)
class ReplicaDurable:
    """``history``: per log, its segments up to the base. ``staged``: segments fetched for a base that is not complete yet.
    ``damaged_logs``: logs in which storage found damage; their segments are replaced from peers, and given to nobody."""

    record: ReplicaRecord = FRESH
    base: Base = BLANK_BASE
    heads: dict[Key, Head] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    history: dict[Key, list[LogSegment]] = field(default_factory=dict)
    staged: dict[Key, list[LogSegment]] = field(default_factory=dict)
    damaged_logs: tuple[Key, ...] = ()

    @classmethod
    def at_birth(cls, founder: Member) -> ReplicaDurable:
        return cls(base=base_at_birth(founder))

    def copy(self) -> ReplicaDurable:
        """Which later writes to this one do not change."""
        history = {log: list(segments) for log, segments in self.history.items()}
        staged = {log: list(segments) for log, segments in self.staged.items()}
        return ReplicaDurable(self.record, self.base, dict(self.heads), list(self.entries), history, staged, self.damaged_logs)

    def apply(self, write: ReplicaWrite) -> None:
        self.record = write.record
        if write.truncate_from is not None:
            del self.entries[max(0, write.truncate_from - self.base.position - 1) :]
        for log in write.refetch:
            self.staged[log] = []
        for segment in write.fetched:
            self.staged.setdefault(segment.log, []).append(segment)
        if write.repaired:
            for log in write.repaired:
                self._repair(log, self.staged.pop(log, []))
            self.damaged_logs = tuple(log for log in self.damaged_logs if log not in write.repaired)
        if write.base is not None and write.is_install:
            self._install(write)
        elif write.base is not None:
            self._compact(write.base, write.heads)
        self.entries.extend(write.entries)
        if write.is_forgotten:
            self.base, self.heads, self.entries, self.history, self.staged = BLANK_BASE, {}, [], {}, {}
            self.damaged_logs = ()

    def read(self, log: Key, *, at: int | None = None) -> list[LogSegment]:
        """The durable segments of ``log`` as of the entry at position ``at``; ``None``: as of the last, committed or not."""
        segments = list(self.history.get(log, ()))
        for entry in self.entries:
            if at is not None and entry.position > at:
                break
            content = entry.content
            if content.__class__ is Deletion and content.log == log:
                segments = []
            elif content.__class__ is LogSegment and content.log == log:
                segments.append(content)
        return segments

    def read_for(self, request: ReadSegments) -> list[LogSegment]:
        """What to answer to ``request``."""
        if request.position not in (0, self.base.position) or request.log in self.damaged_logs:
            return []
        segments = self.history.get(request.log, []) if request.position else self.read(request.log)
        return [s for s in segments if request.first < s.first + s.count and s.first < request.tail]

    def staged_heads(self) -> dict[Key, tuple[Head, Head]]:
        """Where the fetched segments of each log start and end."""
        return {
            log: (Head(part[0].first, part[0].previous_hash), Head(part[-1].first + part[-1].count, part[-1].hash))
            for log, part in self.staged.items()
            if part
        }

    def _repair(self, log: Key, segments: list[LogSegment]) -> None:
        """The part up to the base comes from ``segments``; what the shard's own entries hold was checked with them."""
        if log in self.heads:
            self.history[log] = segments

    def _install(self, write: ReplicaWrite) -> None:
        assert write.base is not None, "an installation has a base"
        history: dict[Key, list[LogSegment]] = {}
        for log, head in write.heads:
            assert head is not None, "a manifest names the logs that are there"
            staged = self.staged.get(log, [])
            start = staged[0].first if staged else head.tail
            kept = [segment for segment in self.read(log, at=write.kept_position) if segment.first < start]
            history[log] = kept + staged
            end = history[log][-1]
            assert (end.first + end.count, end.hash) == head, "a log ends where the manifest says"
        self.base, self.history = write.base, history
        self.heads = {log: head for log, head in write.heads if head is not None}
        self.entries, self.staged, self.damaged_logs = [], {}, ()

    def _compact(self, base: Base, heads: tuple[tuple[Key, Head | None], ...]) -> None:
        count = base.position - self.base.position
        for entry in self.entries[:count]:
            content = entry.content
            if content.__class__ is LogSegment:
                self.history.setdefault(content.log, []).append(content)
            elif content.__class__ is Deletion:
                self.history.pop(content.log, None)
        del self.entries[:count]
        self.base = base
        for log, head in heads:
            if head is None:
                self.heads.pop(log, None)
            else:
                self.heads[log] = head
