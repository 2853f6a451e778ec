"""The cursor through an oplog: replay turning live.

    entries 1..n read from disk     . . h . h h c . .            c: next to be consumed, h: hints (skipped), . consumed
                                                ^
    replaying: something is left to consume          live: nothing is; new entries are appended

Every durable interaction of a re-executed worker takes the next entry. The entry must be of the same kind and, for a host call,
carry the same function name *and* the same request hash; anything else is a ``Divergence``, never skipped.

Hints after the last consumed entry need care: the execution that goes on emits them once more (a log line, say), and they must
not be recorded or shown twice; ``is_repeated`` answers once per recorded hint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from golemp2p.errors import Divergence
from golemp2p.model import entries as e

E = TypeVar("E")

_REPEATED_HINTS = frozenset({e.Log, e.GrowMemory, e.CreateResource, e.DescribeResource, e.DropResource, e.PromiseCreated})
_HostCall = e.ImportedFunctionInvoked


class Cursor:
    """Over the entries of one log, the first of which has index 1. ``skipped``: inclusive ranges of indexes left out by jumps."""

    __slots__ = ("_calls", "_indexes", "_length", "_position", "_trailing")

    def __init__(self, entries: Sequence[e.Entry], skipped: Iterable[tuple[int, int]] = ()) -> None:
        hints = e.HINTS
        left_out = _Ranges(skipped)
        self._indexes = [
            index
            for index, entry in enumerate(entries, 1)
            if type(entry) not in hints and type(entry) is not e.Jump and not left_out.holds(index)
        ]
        self._calls = [entries[index - 1] for index in self._indexes]
        self._length = len(self._calls)
        self._position = 0
        last_consumed = self._indexes[-1] if self._indexes else 0
        self._trailing = Counter(_without_time(entry) for entry in entries[last_consumed:] if type(entry) in _REPEATED_HINTS)

    @property
    def replaying(self) -> bool:
        return self._position < self._length

    @property
    def index(self) -> int:
        """Index of the entry consumed last; 0 before the first."""
        return self._indexes[self._position - 1] if self._position else 0

    @property
    def next_index(self) -> int:
        return self._indexes[self._position]

    def peek(self) -> e.Entry | None:
        """The next entry to be consumed, ``None`` when live."""
        return self._calls[self._position] if self._position < self._length else None

    def take_host_call(self, function: str, request_hash: bytes) -> e.Payload:
        """Consume the record of a host call; returns its encoded response. Only while ``replaying``."""
        entry = self._calls[self._position]
        if type(entry) is _HostCall and entry[1] == function and entry[3] == request_hash:
            self._position += 1
            response: e.Payload = entry[4]
            return response
        raise Divergence(
            self._indexes[self._position], describe(entry), f"host call {function} with request {request_hash.hex()}"
        )

    def take(self, kind: type[E]) -> E:
        """Consume the next entry, which must be a ``kind``. Only while ``replaying``."""
        entry = self._calls[self._position]
        if type(entry) is not kind:
            raise Divergence(self._indexes[self._position], describe(entry), kind.__name__)
        self._position += 1
        return entry

    def is_repeated(self, hint: e.Entry) -> bool:
        """Whether ``hint``, emitted now, is in the log already. Everything is while replaying; after it, each one once."""
        if self._position < self._length:
            return True
        key = _without_time(hint)
        if self._trailing[key] > 0:
            self._trailing[key] -= 1
            return True
        return False


class _Ranges:
    """A set of inclusive ranges, merged, asked in ascending order."""

    __slots__ = ("_at", "_merged")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if self._merged and start <= self._merged[-1][1] + 1:
                self._merged[-1] = (self._merged[-1][0], max(end, self._merged[-1][1]))
            else:
                self._merged.append((start, end))
        self._at = 0

    def holds(self, index: int) -> bool:
        merged = self._merged
        while self._at < len(merged) and merged[self._at][1] < index:
            self._at += 1
        return self._at < len(merged) and merged[self._at][0] <= index


def _without_time(entry: Any) -> tuple[Any, ...]:
    return (type(entry), *entry[1:])


def describe(entry: Any) -> str:
    """An entry, for an error message."""
    if type(entry) is _HostCall:
        return f"host call {entry.function} with request {entry.request_hash.hex()}"
    return type(entry).__name__
