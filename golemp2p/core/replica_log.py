"""A replica's copy of the shard's log: the entries after the base, what they mean, and how far they are committed.

    | base (compacted) | committed ............ | uncommitted ........ |
    0          base.position                 commit            last_position

Truncation stays right of ``commit``, compaction left of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from golemp2p.core.log_heads import LogHeads
from golemp2p.model.ids import Key
from golemp2p.model.replication import MILESTONES_MAX, Base, Branch, Configuration, Content, Election, Entry, Head, LogSegment

MILESTONES = (Election, Configuration)


def _newest(milestones: tuple[Entry, ...]) -> tuple[Entry, ...]:
    kept = milestones[-MILESTONES_MAX:]
    if any(entry.content.__class__ is Election for entry in kept):
        return kept
    elections = [entry for entry in milestones if entry.content.__class__ is Election]
    return (*elections[-1:], *kept[-(MILESTONES_MAX - 1) :])


class ReplicaLog:
    """What every message asks for is kept up to date as attributes.

    * ``last_position``: of the last entry; that of the base without one.
    * ``configuration``: the newest, committed or not, which a replica uses from the moment it has it; at
      ``configuration_position``. ``is_blank``: nobody told this replica anything yet, not even the first configuration.
    * ``branch``: name of the newest branch of history.
    """

    __slots__ = (
        "_authors", "_branches", "_configurations", "base", "branch", "commit", "configuration", "configuration_position",
        "entries", "heads", "is_blank", "last_position",
    )  # fmt: skip

    def __init__(self, base: Base, heads: Mapping[Key, Head], entries: Iterable[Entry] = (), commit: int = 0) -> None:
        self._reset(base, heads)
        for entry in entries:
            self.append(entry)
        self.commit = max(base.position, min(commit, self.last_position))

    def _reset(self, base: Base, heads: Mapping[Key, Head]) -> None:
        self.base = base
        self.commit = base.position
        self.entries: list[Entry] = []
        self.heads = LogHeads(heads)
        self._configurations = [(base.configuration_position, base.configuration)]
        self._authors = [(base.position, base.author)]
        self._branches = [(base.position, base.branch)]
        self.last_position: int = base.position
        self._note_newest()

    def _note_newest(self) -> None:
        self.configuration_position, self.configuration = self._configurations[-1]
        self.is_blank = not self.configuration.voters
        self.branch = self._branches[-1][1]

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.base.term

    @property
    def last_hash(self) -> bytes:
        return self.entries[-1].hash if self.entries else self.base.hash

    @property
    def last(self) -> tuple[int, int]:
        """(term, position) of the last entry: which of two logs is more up to date (S2, Raft 5.4.1)."""
        return self.last_term, self.last_position

    @property
    def configuration_before(self) -> Configuration:
        """The one before the newest, or the newest if none is known before it."""
        return self._configurations[-2][1] if len(self._configurations) > 1 else self._configurations[-1][1]

    def configurations(self) -> list[Configuration]:
        """The one in force at the base, and all after it."""
        return [configuration for _, configuration in self._configurations]

    def configuration_at(self, position: int) -> Configuration:
        if position >= self.configuration_position:
            return self.configuration
        return next(found for at, found in reversed(self._configurations) if at <= position)

    def author_at(self, position: int) -> bytes:
        """Public key of the primary that wrote at ``position``, hence of that entry's term."""
        newest_at, newest = self._authors[-1]
        if position >= newest_at:
            return newest
        return next(author for at, author in reversed(self._authors) if at <= position)

    def branch_position(self) -> int:
        """Where the newest branch of the log began; the base's position if that was before."""
        return self._branches[-1][0]

    def primaries(self) -> dict[int, bytes]:
        """Who won each term of which there is something after the base, or which was at the base."""
        return {self.term_at(position): author for position, author in self._authors}

    def milestones(self, *, after: int = 0) -> tuple[Entry, ...]:
        """Elections and configurations after position ``after``, oldest first; as many as ``Base.milestones`` may hold."""
        found = (entry for entry in self.entries if entry.content.__class__ in MILESTONES)
        return tuple(entry for entry in _newest((*self.base.milestones, *found)) if entry.position > after)

    def election(self) -> Entry | None:
        """The newest election."""
        return next((entry for entry in reversed(self.milestones()) if entry.content.__class__ is Election), None)

    def holds(self, position: int) -> bool:
        """Whether term and hash at ``position`` are known."""
        return self.base.position <= position <= self.last_position

    def term_at(self, position: int) -> int:
        return self.base.term if position == self.base.position else self.entry(position).term

    def hash_at(self, position: int) -> bytes:
        return self.base.hash if position == self.base.position else self.entry(position).hash

    def entry(self, position: int) -> Entry:
        assert self.base.position < position <= self.last_position, "a position after the base"
        return self.entries[position - self.base.position - 1]

    def between(self, first: int, tail: int) -> list[Entry]:
        """The entries from ``first`` up to ``tail`` (exclusive), all after the base."""
        assert self.base.position < first <= tail <= self.last_position + 1, "positions after the base"
        before = self.base.position + 1
        return self.entries[first - before : tail - before]

    def stretch(self, first: int, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from ``first`` on: at least one, at most ``entries_max``, about ``bytes_max`` bytes of segments."""
        start = first - self.base.position - 1
        picked = self.entries[start : start + entries_max]
        held = 0
        for count, entry in enumerate(picked):
            if entry.content.__class__ is LogSegment:
                held += len(entry.content.data) + len(entry.content.description)
            if held > bytes_max and count:
                return tuple(picked[:count])
        return tuple(picked)

    def first_of_term(self, position: int) -> int:
        """The first position after the base whose entry has the term of the one at ``position``."""
        term = self.term_at(position)
        while position - 1 > self.base.position and self.term_at(position - 1) == term:
            position -= 1
        return position

    def append(self, entry: Entry) -> None:
        assert entry.position == self.last_position + 1, "positions have no gaps"
        content: Content = entry.content
        self.heads.extend(entry.position, content)
        self.entries.append(entry)
        self.last_position = entry.position
        if content.__class__ is LogSegment:
            return
        if content.__class__ is Configuration:
            self._configurations.append((entry.position, content))
        elif content.__class__ is Branch:
            self._configurations.append((entry.position, Configuration((content.survivor,))))
            self._branches.append((entry.position, content.branch))
        if content.__class__ in (Election, Branch):
            self._authors.append((entry.position, entry.author))
        self._note_newest()

    def truncate(self, first: int) -> None:
        """Forget the entries at ``first`` and after."""
        while self.last_position >= first:
            self.heads.truncate(self.entries.pop().content)
            self.last_position -= 1
        self.commit = min(self.commit, self.last_position)
        while self._configurations[-1][0] >= first:
            self._configurations.pop()
        while self._authors[-1][0] >= first:
            self._authors.pop()
        while self._branches[-1][0] >= first:
            self._branches.pop()
        self._note_newest()

    def compact(self, position: int) -> tuple[Base, dict[Key, Head | None]]:
        """Move the base up to ``position``, which is committed. Returns it with the heads that changed since the old one."""
        assert self.base.position <= position <= self.commit, "only what is committed is compacted"
        count = position - self.base.position
        changed = self.heads.compact(position, [entry.content for entry in self.entries[:count]])
        configured = max(at for at, _ in self._configurations if at <= position)
        branch = next(name for at, name in reversed(self._branches) if at <= position)
        passed = [entry for entry in self.entries[:count] if entry.content.__class__ in MILESTONES]
        base = Base(
            position,
            self.term_at(position),
            self.hash_at(position),
            self.author_at(position),
            self.configuration_at(position),
            configured,
            branch,
            _newest((*self.base.milestones, *passed)),
        )
        del self.entries[:count]
        self.base = base
        self._configurations = [
            (configured, base.configuration),
            *(step for step in self._configurations if step[0] > position),
        ]
        self._authors = [(position, base.author), *(step for step in self._authors if step[0] > position)]
        self._branches = [(position, branch), *(step for step in self._branches if step[0] > position)]
        self._note_newest()
        return base, changed

    def install(self, base: Base, heads: Mapping[Key, Head]) -> None:
        """Start over from somebody's base."""
        self._reset(base, heads)
