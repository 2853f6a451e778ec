"""Which certificates of a primary are to be put into the DHT, and when: a few at a time, and only where the mesh is so large that not
everybody can be asked.

    serving began, or the mesh has outgrown the nodes that hold the certificates --> waiting --take, with pauses--> published
"""

from __future__ import annotations

from collections.abc import Iterable

from golemp2p.core.peer_effects import PeerProfile


class Announcements:
    """``due_ns``: when ``take`` wants to be called again; ``None`` while nothing waits."""

    def __init__(self, profile: PeerProfile) -> None:
        self._profile = profile
        self._waiting: dict[int, None] = {}
        self._members = 0  # of the mesh, when all were put there
        self.due_ns: int | None = None

    def serving_began(self, shard: int) -> None:
        if self._members:
            self._waiting[shard] = None

    def mesh_has(self, members: int, serving: Iterable[int]) -> None:
        """So many members are present now; ``serving``: the shards that this node serves."""
        profile = self._profile
        if members > profile.hints_above and members * 100 >= self._members * profile.hints_growth_percent:
            self._members = members
            self._waiting.update(dict.fromkeys(serving))

    def is_due(self, now_ns: int) -> bool:
        return bool(self._waiting) if self.due_ns is None else self.due_ns <= now_ns

    def take(self, now_ns: int) -> list[int]:
        """Shards to publish now."""
        self.due_ns = now_ns + self._profile.hints_pause_ns if self._waiting else None
        taken = list(self._waiting)[: self._profile.hints_at_once]
        for shard in taken:
            del self._waiting[shard]
        return taken
