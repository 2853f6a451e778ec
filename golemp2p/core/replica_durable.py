"""What storage holds of a replica, and what each write does to it: the meaning of ``ReplicaWrite``, as plain data.

Production folds writes into a database; a simulation keeps one of these per replica. A replica is built from it after every start.

    record · base + heads of the logs as of it · entries after it · segments of the logs up to the base · fetched segments
"""

from __future__ import annotations

from dataclasses import dataclass, field

from golemp2p.core.replica_effects import ReadSegments, ReplicaRecord, ReplicaWrite
from golemp2p.model.ids import Key
from golemp2p.model.replication import BLANK_BASE, Base, Deletion, Entry, Head, LogSegment, Member, base_at_birth

FRESH = ReplicaRecord(0, None, 0, (0, 0))


@dataclass(slots=True)
class ReplicaDurable:
    """``history``: per log, its segments up to the base. ``staged``: segments fetched for a base that is not complete yet.
    ``damaged_logs``: logs in which storage found damage; their segments are replaced from peers."""

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
            self._install(write.base, write.heads)
        elif write.base is not None:
            self._compact(write.base, write.heads)
        self.entries.extend(write.entries)

    def read(self, log: Key, first: int = 1, tail: int = 1 << 62) -> list[LogSegment]:
        """The durable segments of ``log`` that begin in ``first`` .. ``tail - 1``, committed or not, in order."""
        segments = list(self.history.get(log, ()))
        for entry in self.entries:
            content = entry.content
            if content.__class__ is Deletion and content.log == log:
                segments = []
            elif content.__class__ is LogSegment and content.log == log:
                segments.append(content)
        return [segment for segment in segments if first <= segment.first < tail]

    def read_for(self, request: ReadSegments) -> list[LogSegment]:
        """What to answer to ``request``."""
        if request.position == 0:
            return self.read(request.log, request.first, request.tail)
        if request.position != self.base.position:
            return []
        return [s for s in self.history.get(request.log, ()) if request.first <= s.first < request.tail]

    def staged_heads(self) -> dict[Key, Head]:
        """Where the fetched segments of each log end."""
        return {
            log: Head(segments[-1].first + segments[-1].count, segments[-1].hash)
            for log, segments in self.staged.items()
            if segments
        }

    def _repair(self, log: Key, segments: list[LogSegment]) -> None:
        """The part up to the base comes from ``segments``; what the shard's own entries hold was checked with them."""
        if log in self.heads:
            self.history[log] = segments

    def _install(self, base: Base, heads: tuple[tuple[Key, Head | None], ...]) -> None:
        history: dict[Key, list[LogSegment]] = {}
        for log, head in heads:
            assert head is not None, "a manifest names the logs that are there"
            staged = self.staged.get(log, [])
            kept = self.read(log, 1, min(staged[0].first if staged else head.tail, head.tail))
            history[log] = [segment for segment in kept + staged if segment.first < head.tail]
        self.base, self.history = base, history
        self.heads = {log: head for log, head in heads if head is not None}
        self.entries, self.staged = [], {}

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
