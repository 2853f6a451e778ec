"""What a replica knows of its promises, when its data goes: S9 as far as it is about replicas that groups remove and take in again.

record-outlives-removal   term, vote and high-water mark are kept, and found again                                       S9
"""

from __future__ import annotations

from golemp2p.model.replica_write import ReplicaRecord
from golemp2p.model.replication import Member
from golemp2p_sim.checkers import End
from golemp2p_sim.shard_seen import Born, Forgot
from golemp2p_sim.world import World


class Memory:
    """``_kept``: what those must remember that are forgotten just now."""

    name = "record-outlives-removal"

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Member], ReplicaRecord] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Forgot, self.on_forgot)
        world.watch(Born, self.on_born)

    def on_forgot(self, _time_ns: int, node: int, seen: Forgot) -> None:
        self._kept[seen.shard, seen.member] = seen.kept
        if _is_less(seen.kept, seen.before):
            self._violate(f"shard {seen.shard}: n{node} forgets what it promised with its data")

    def on_born(self, _time_ns: int, node: int, seen: Born) -> None:
        if seen.record is None:
            return
        kept = self._kept.pop((seen.shard, seen.member), None)
        if kept is not None and _is_less(seen.record, kept):
            self._violate(f"shard {seen.shard}: n{node} is taken in again, and does not know what it promised before")

    def _violate(self, text: str) -> None:
        assert self._world is not None
        self._world.violate(self.name, text)

    def finish(self, end: End) -> None:
        """Everything was said as it happened."""


def _is_less(now: ReplicaRecord, before: ReplicaRecord) -> bool:
    is_other_vote = now.term == before.term and before.voted_for not in (None, now.voted_for)
    return now.term < before.term or is_other_vote or now.high_water < before.high_water
