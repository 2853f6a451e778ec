"""A node that stops hands its shards over first, so that nobody has to notice that it is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from golemp2p.drivers.peers.peer import PeerDriver

AT_ONCE = 16
"""Shards that are handed over together: each of them is away for as long as all of them take, some tens of milliseconds."""

PATIENCE_S = 1.0
"""For one such portion: what is busy for longer, or not taken up, keeps nobody else waiting."""

IN_VAIN_MAX = 2
"""After so many portions in a row of which nothing was taken up, those who could are stopping, too."""

TICK_S = 0.01
"""Hand-overs that could not begin, or were not taken up, are tried again after this."""


class HandOvers:
    """Of one node. ``leaving``: the shards that are just being handed over; nothing new should begin there."""

    def __init__(self, peers: PeerDriver) -> None:
        self._peers = peers
        self.leaving: set[int] = set()

    async def run(self, timeout_s: float, is_busy: Callable[[int], bool] = lambda _shard: False) -> None:
        """Hand every shard over to another voter, where there is one that lives: a few at a time, and each when it is not busy. Returns
        after ``timeout_s`` at the latest, and when nobody takes any. Each is handed over once: what comes back, comes from others who
        stop, too."""
        at_once, in_vain, own = AT_ONCE, 0, set(self._peers.ready_shards())
        with trio.move_on_after(timeout_s):
            try:
                while shards := [shard for shard in self._with_successors() if shard in own]:
                    for first in range(0, len(shards), at_once):
                        portion = shards[first : first + at_once]
                        is_taken = await self._hand_over(portion, is_busy)
                        own -= {shard for shard in portion if not self._peers.peer.shards.leads(shard)}
                        in_vain = 0 if is_taken else in_vain + 1
                        if in_vain == IN_VAIN_MAX:
                            return
                    at_once = len(shards)  # what is left was busy, or not taken up
            finally:
                self.leaving.clear()

    async def _hand_over(self, shards: Sequence[int], is_busy: Callable[[int], bool]) -> bool:
        """Whether some of those that are not busy were taken up, if there are any."""
        self.leaving.update(shards)
        with trio.move_on_after(PATIENCE_S):
            while led := [shard for shard in shards if self._peers.peer.shards.leads(shard)]:
                self._peers.step_aside([shard for shard in led if not is_busy(shard)])
                await trio.sleep(TICK_S)
        self.leaving.difference_update(shards)
        free = [shard for shard in shards if not is_busy(shard)]
        return not free or not all(self._peers.peer.shards.leads(shard) for shard in free)

    def _with_successors(self) -> list[int]:
        shards = self._peers.peer.shards
        ready = self._peers.ready_shards()
        return [shard for shard in ready if any(not shards.is_suspected(other) for other in shards.others(shard))]
