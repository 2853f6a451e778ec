"""What a guest may wait for (wasi:io/poll), and how the host waits: in place, or by having the worker unloaded.

    guest: poll([a, b]) ──► some ready? ──yes──► their positions, journalled
                                │no
                                ▼
             all of them have a deadline, and the first lies suspend_after_s or more ahead?
                │yes                                  │no
                ▼                                     ▼
        Suspended(wall time)                  wait for whichever comes first
        replayed later, asked again, past its deadline

Deadlines are times of the worker's own monotonic clock, which goes on counting while the worker is unloaded; so a timer
that was made again by replay fires when the first one would have. Differs from wasmtime-wasi, where a pollable belongs
to the process that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from golemp2p.ports import Suspended

if TYPE_CHECKING:
    from golemp2p.ports import WorkerHost

WAKE_NS_MAX = (1 << 63) - 1
"""Wall-clock times are stored as signed 64-bit numbers; later wakings (the year 2262) are brought forward to it."""

NAP_S_MIN = 1e-5
"""A nap must be long enough to move a clock kept as a float of seconds, or a virtual clock stands still forever."""


class Pollable:
    """Base of everything ``subscribe`` gives out. Made again by replay; never asked anything while replaying."""

    def ready(self) -> bool:
        """Whether a wait would return at once. Never blocks."""
        raise NotImplementedError

    async def wait(self) -> None:
        """Returns when ``ready()``; without a checkpoint if it is so already. May be cancelled and repeated."""
        raise NotImplementedError

    def deadline_ns(self) -> int | None:
        """The worker-monotonic time before which this is not ready and from which on it is. ``None``: nobody knows,
        so the instance must stay to find out."""
        return None


class Ready(Pollable):
    """Always ready: files, and whatever else never makes its reader wait."""

    def ready(self) -> bool:
        return True

    async def wait(self) -> None:
        return


class Timer(Pollable):
    """Ready once the worker's monotonic clock has reached ``at_ns``."""

    __slots__ = ("at_ns", "host")

    def __init__(self, host: WorkerHost, at_ns: int) -> None:
        self.host, self.at_ns = host, at_ns

    def ready(self) -> bool:
        return self.host.monotonic_ns() >= self.at_ns

    async def wait(self) -> None:
        # A loop, since trio's clock and the worker's differ by rounding, and only the worker's decides.
        while (left_ns := self.at_ns - self.host.monotonic_ns()) > 0:  # noqa: ASYNC110 - a clock sends no events
            await trio.sleep(max(left_ns / 1e9, NAP_S_MIN))

    def deadline_ns(self) -> int | None:
        return self.at_ns


async def wait_any(host: WorkerHost, pollables: Sequence[Pollable]) -> list[int]:
    """Positions in ``pollables`` (one at least; repeats allowed) that are ready, waiting for the first if none is.

    Raises ``Suspended`` when only timers are waited for and none is due within ``host.suspend_after_s()``. Live only.
    """
    ready = ready_positions(pollables)
    if ready:
        return ready
    suspend_if_long(host, pollables)
    while not ready:
        await _first_of(host, pollables)
        ready = ready_positions(pollables)
    return ready


def ready_positions(pollables: Sequence[Pollable]) -> list[int]:
    known: dict[Pollable, bool] = {}  # one answer per pollable, so that repeats in one call never contradict each other
    for pollable in pollables:
        if pollable not in known:
            known[pollable] = pollable.ready()
    return [position for position, pollable in enumerate(pollables) if known[pollable]]


def suspend_if_long(host: WorkerHost, pollables: Sequence[Pollable]) -> None:
    """Raise ``Suspended`` if every pollable has a deadline and the earliest is at least ``suspend_after_s`` away."""
    deadlines = [pollable.deadline_ns() for pollable in pollables]
    known = [deadline for deadline in deadlines if deadline is not None]
    if len(known) < len(deadlines):
        return
    left_ns = min(known) - host.monotonic_ns()
    if left_ns > 0 and left_ns / 1e9 >= host.suspend_after_s():
        raise Suspended(min(host.wall_ns() + left_ns, WAKE_NS_MAX))


async def _first_of(host: WorkerHost, pollables: Sequence[Pollable]) -> None:
    """Returns when at least one of ``pollables`` is ready. All timers together cost one wait, any other a task each."""
    waits: list[Pollable] = []
    deadlines: list[int] = []
    for pollable in dict.fromkeys(pollables):
        deadline = pollable.deadline_ns()
        if deadline is None:
            waits.append(pollable)
        else:
            deadlines.append(deadline)
    if deadlines:
        waits.append(Timer(host, min(deadlines)))
    if len(waits) == 1:
        await waits[0].wait()
        return
    async with trio.open_nursery() as nursery:
        for pollable in waits:
            nursery.start_soon(_wait_then_cancel, pollable, nursery.cancel_scope)


async def _wait_then_cancel(pollable: Pollable, scope: trio.CancelScope) -> None:
    await pollable.wait()
    scope.cancel()
