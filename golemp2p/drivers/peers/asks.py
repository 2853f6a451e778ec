"""Requests to whoever is primary of a shard, from both ends: those of this node, and those that it serves.

    ask ──submit──> core ──> Answered, GaveUp ──> whoever waits
    Requested ──> a task per request ──> Answer, or Busy when the shard moved meanwhile

An asker that hears nothing for a while repeats its request, with the same number: it waits for the task that is under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from golemp2p.core.peer import Peer
from golemp2p.core.peer_effects import Requested
from golemp2p.core.requests import Answered, GaveUp
from golemp2p.drivers.waiters import Waiter
from golemp2p.errors import DeadlineExceeded, Moved, Overloaded, Unreachable
from golemp2p.model.messages_requests import Answer, Busy

SERVED_MAX = 10_000
"""Requests of others under way on this node; more are put off."""

BUSY_MS = 50

JOINING_PATIENCE_S = 5.0
"""Who is let in at all is let in within this."""

ServeForward = Callable[[int, str, bytes], Awaitable[bytes]]
"""(shard, key, payload) -> answer; raises ``Moved`` when this node does not lead the shard any more."""


class Asks:
    """``carry_out(effects)`` of the peer; ``now_ns()``: its clock."""

    def __init__(
        self,
        peer: Peer,
        *,
        carry_out: Callable[[Sequence[Any]], None],
        now_ns: Callable[[], int],
        spawn: Callable[..., None],
    ) -> None:
        self._peer = peer
        self._carry_out = carry_out
        self._now_ns = now_ns
        self._spawn = spawn
        self._waiters: dict[int, Waiter] = {}
        self._served: dict[tuple[bytes, int], None] = {}
        self.serve: ServeForward | None = None
        """Set before the first request can come."""
        self.asked_total = 0
        self.served_total = 0

    @property
    def under_way(self) -> int:
        return len(self._waiters)

    async def ask(self, shard: int, key: str, payload: bytes, deadline_s: float) -> bytes:
        """As ``ports.Mesh.ask``."""
        now_ns = self._now_ns()
        number, effects = self._peer.submit(shard, key, payload, now_ns + int(deadline_s * 1e9), now_ns)
        waiter = self._waiters[number] = Waiter()
        self.asked_total += 1
        self._carry_out(effects)
        try:
            return await self._answer_to(waiter)
        finally:
            del self._waiters[number]
            self._peer.requests.cancel(number)

    async def _answer_to(self, waiter: Waiter) -> bytes:
        """Soon refused by a node that is in no mesh yet: whom should it ask?"""
        if self._peer.is_outside:
            with trio.move_on_after(JOINING_PATIENCE_S):
                return bytes(await waiter.wait())
            if self._peer.is_outside:
                raise Unreachable("this node has not joined its mesh yet: nobody whom its invite names has answered", 1.0)
        return bytes(await waiter.wait())

    def answered(self, effect: Answered) -> None:
        waiter = self._waiters.get(effect.number)
        if waiter is not None:
            waiter.settle(effect.payload, None)

    def gave_up(self, effect: GaveUp) -> None:
        waiter = self._waiters.get(effect.number)
        if waiter is None:
            return
        if effect.reason == "overloaded":
            waiter.settle(None, Overloaded("too many requests of this node wait for other nodes", 1.0))
        else:
            text = (
                f"nobody answered for the shard that this belongs to, in {effect.attempts} attempts: the node that leads it is out of"
                " reach, or a majority of its voters is, and so nobody leads it; repeat it with the same idempotency key"
            )
            waiter.settle(None, DeadlineExceeded(text, 1.0))

    def requested(self, effect: Requested) -> None:
        """This node serves the shard."""
        name = (effect.sender, effect.forward.number)
        if name in self._served:
            return
        if len(self._served) >= SERVED_MAX or self.serve is None:
            self._answer(effect.sender, Busy(effect.forward.number, BUSY_MS))
            return
        self._served[name] = None
        self._spawn(self._serve, effect)

    async def _serve(self, effect: Requested) -> None:
        forward = effect.forward
        assert self.serve is not None, "looked at before"
        message: Answer | Busy = Busy(forward.number, BUSY_MS)
        try:
            message = Answer(forward.number, await self.serve(forward.shard, forward.idempotency_key, forward.payload))
            self.served_total += 1
        except Moved:
            pass  # the asker comes again, or goes where it is told
        finally:
            del self._served[effect.sender, forward.number]
        self._answer(effect.sender, message)

    def _answer(self, asker: bytes, message: Answer | Busy) -> None:
        self._carry_out(self._peer.answer(asker, message, self._now_ns()))
