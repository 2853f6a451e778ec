"""Which shards have work in progress on this node: the other voters watch it more closely then (``core.liveness``).

    began ──first──> watched ──last ended──> lingers for a moment ──> not watched any more

Work comes in bursts of short invocations: a shard that has just become idle stays watched a little, so that the next one costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from golemp2p.drivers.peers.peer import PeerDriver

LINGER_S = 0.5


class Work:
    def __init__(self, peers: PeerDriver, spawn: Callable[..., None]) -> None:
        self._peers = peers
        self._spawn = spawn
        self._running: dict[int, int] = {}  # shard -> workers with something to do; 0: it lingers
        self._idle_since: dict[int, float] = {}
        self._is_sweeping = False

    def began(self, shard: int) -> None:
        count = self._running.get(shard)
        self._running[shard] = (count or 0) + 1
        if count is None and self._peers.is_ready(shard):
            self._peers.carry_out(self._peers.peer.work_began(shard, self._peers.now_ns()))

    def ended(self, shard: int) -> None:
        count = self._running.get(shard, 0)
        if count > 1:
            self._running[shard] = count - 1
        elif count == 1:
            self._running[shard] = 0
            self._idle_since[shard] = trio.current_time()
            if not self._is_sweeping:
                self._is_sweeping = True
                self._spawn(self._sweep)

    def is_running(self, shard: int) -> bool:
        return bool(self._running.get(shard))

    def dropped(self, shard: int) -> None:
        """This node does not serve the shard any more; the core knows."""
        self._running.pop(shard, None)
        self._idle_since.pop(shard, None)

    async def _sweep(self) -> None:
        try:
            while self._idle_since:
                await trio.sleep(LINGER_S)
                now = trio.current_time()
                for shard, since in list(self._idle_since.items()):
                    if self._running.get(shard):
                        del self._idle_since[shard]
                    elif since + LINGER_S <= now:
                        del self._idle_since[shard], self._running[shard]
                        if self._peers.is_ready(shard):
                            self._peers.carry_out(self._peers.peer.work_ended(shard, self._peers.now_ns()))
        finally:
            self._is_sweeping = False
