"""Where each log of a shard ends, now and at earlier positions of the shard's log.

    base     heads as of the compacted base        overlay   per log, the heads after each later entry, oldest first

Truncating the shard's log pops heads; compacting it moves them into the base. A deleted log has no head: a log of that key may
start anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from golemp2p.model.ids import Key
from golemp2p.model.replication import EMPTY_LOG, Content, Deletion, Head, LogSegment


class LogHeads:
    __slots__ = ("_overlay", "base")

    def __init__(self, base: Mapping[Key, Head]) -> None:
        self.base = dict(base)
        self._overlay: dict[Key, list[tuple[int, Head | None]]] = {}

    def head(self, log: Key, *, at: int | None = None) -> Head | None:
        """The head after the entry at position ``at`` (``None``: after the last one). ``None`` for a log that is not there."""
        for position, head in reversed(self._overlay.get(log, ())):
            if at is None or position <= at:
                return head
        return self.base.get(log)

    def deletion(self, log: Key) -> int | None:
        """Position of the first entry after the base that deleted ``log``."""
        return next((position for position, head in self._overlay.get(log, ()) if head is None), None)

    def extends(self, content: Content, *, at: int | None = None) -> bool:
        """Whether ``content`` continues its log as of position ``at``."""
        if content.__class__ is LogSegment:
            head = self.head(content.log, at=at) or EMPTY_LOG
            return content.first == head.tail and content.previous_hash == head.hash and content.count >= 1
        if content.__class__ is Deletion:
            return self.head(content.log, at=at) is not None
        return True

    def extend(self, position: int, content: Content) -> None:
        assert self.extends(content), "an entry continues its log"
        if content.__class__ is LogSegment:
            head = Head(content.first + content.count, content.hash)
            self._overlay.setdefault(content.log, []).append((position, head))
        elif content.__class__ is Deletion:
            self._overlay.setdefault(content.log, []).append((position, None))

    def truncate(self, content: Content) -> None:
        """Undo the newest ``extend``, which was of ``content``."""
        if content.__class__ in (LogSegment, Deletion):
            log = content.log
            stack = self._overlay[log]
            stack.pop()
            if not stack:
                del self._overlay[log]

    def compact(self, position: int, contents: list[Content]) -> dict[Key, Head | None]:
        """Move what ``contents`` (all entries after the old base up to ``position``) did into the base. Returns what changed
        there; ``None`` for a log that is gone."""
        changed: dict[Key, Head | None] = {}
        for content in contents:
            if content.__class__ not in (LogSegment, Deletion):
                continue
            log: Key = content.log
            if log in changed:
                continue
            changed[log] = self.head(log, at=position)
            later = [step for step in self._overlay.pop(log) if step[0] > position]
            if later:
                self._overlay[log] = later
        for log, head in changed.items():
            if head is None:
                self.base.pop(log, None)
            else:
                self.base[log] = head
        return changed

    def logs(self) -> list[Key]:
        """Every log that is there, in the order of keys."""
        return sorted(log for log in dict.fromkeys((*self.base, *self._overlay)) if self.head(log) is not None)
