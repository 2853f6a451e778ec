"""When each of many timers is due, and the soonest of them without a look at all of them for every change."""

from __future__ import annotations


class Dues:
    """Times in nanoseconds, by number. In the order in which they were first put, and not taken back since."""

    __slots__ = ("_dues", "_is_stale", "_soonest_ns")

    def __init__(self) -> None:
        self._dues: dict[int, int] = {}
        self._soonest_ns: int | None = None
        self._is_stale = False  # the soonest has moved to an unknown time

    def put(self, number: int, due_ns: int | None) -> None:
        """``None``: not due any more."""
        before_ns = self._dues.get(number)
        if due_ns == before_ns:
            return
        if due_ns is None:
            del self._dues[number]
        else:
            self._dues[number] = due_ns
            if self._soonest_ns is None or due_ns <= self._soonest_ns:
                self._soonest_ns = due_ns
                return
        if before_ns == self._soonest_ns:
            self._is_stale = True

    def soonest_ns(self) -> int | None:
        if self._is_stale:
            self._is_stale = False
            self._soonest_ns = min(self._dues.values(), default=None)
        return self._soonest_ns

    def until(self, now_ns: int) -> list[int]:
        """The numbers of those that are due."""
        return [number for number, due_ns in self._dues.items() if due_ns <= now_ns]
