"""What happens at which moment: one task of the simulation itself, that sleeps until the next thing is due.

    at(time, action) ──> heap of (time_ns, sequence, action, three arguments) ──> action(a, b, c), in order, when trio's clock is there

Actions run outside of all simulated processes: they may set events and put things into queues, and never call a node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import trio

Action = Callable[[Any, Any, Any], None]

WAITING_MAX = 200_000
"""Things under way at one moment; more is a storm that would never end."""


class Clockwork:
    """Times are whole nanoseconds since the start of the run, where trio's clock stands at 0."""

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self._heap: list[tuple[int, int, Action, Any, Any, Any]] = []
        self._sequence = 0
        self._nap = trio.CancelScope()

    def read(self) -> int:
        """The time now, also between two actions."""
        self.now = max(self.now, round(trio.current_time() * 1e9))
        return self.now

    def at(self, time_ns: int, action: Action, a: Any = None, b: Any = None, c: Any = None) -> None:
        """After everything already due at that moment."""
        self._sequence += 1
        heappush(self._heap, (time_ns, self._sequence, action, a, b, c))
        self._nap.deadline = min(self._nap.deadline, time_ns / 1e9)

    def after(self, delay_ns: int, action: Action, a: Any = None, b: Any = None, c: Any = None) -> None:
        self.at(self.read() + delay_ns, action, a, b, c)

    async def run(self) -> None:
        """Until cancelled."""
        heap = self._heap
        while True:
            due_s = heap[0][0] / 1e9 if heap else math.inf
            with trio.CancelScope(deadline=due_s) as self._nap:
                await trio.sleep_forever()
            now = self.read()
            while heap and heap[0][0] <= now:
                _, _, action, a, b, c = heappop(heap)
                self.events += 1
                action(a, b, c)
            assert len(heap) <= WAITING_MAX, f"{len(heap)} things are under way: a storm"
            await trio.lowlevel.checkpoint()
