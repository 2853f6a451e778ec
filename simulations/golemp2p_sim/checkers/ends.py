"""What must hold when all is quiet again, and what may never grow.

Convergence      sound replicas of a shard hold the same log and the same state, byte for byte
Progress         within the deadline after healing everything asked is answered, and whoever was told to leave has left
BoundedQueues    whatever can grow stays within the limit its owner promised
"""

from __future__ import annotations

from typing import Any

from golemp2p_sim.checkers import End
from golemp2p_sim.disk import PENDING_MAX
from golemp2p_sim.host import INBOX_MAX
from golemp2p_sim.node import ReplicaView
from golemp2p_sim.units import MS
from golemp2p_sim.world import World

SAMPLE_NS = 250 * MS


def views_by_shard(world: World) -> dict[int, list[tuple[int, ReplicaView]]]:
    """(node, view) of every running replica."""
    views: dict[int, list[tuple[int, ReplicaView]]] = {}
    for host in world.hosts:
        for view in host.node.replicas() if host.node else ():
            views.setdefault(view.shard, []).append((host.index, view))
    return views


def divergence(world: World) -> str:
    """How sound replicas differ, in words; ``""`` when they are equal."""
    for shard, views in views_by_shard(world).items():
        sound = [(node, view) for node, view in views if view.sound]
        for node, view in sound[1:]:
            first_node, first = sound[0]
            if (view.commit, view.chain, view.state) != (first.commit, first.chain, first.state):
                pair = f"n{first_node} at {first.commit}, n{node} at {view.commit}"
                return f"shard {shard}: replicas differ ({pair}; states {'equal' if view.state == first.state else 'differ'})"
    return ""


class Convergence:
    name = "convergence"

    def watch(self, world: World) -> None:
        """Only the end counts."""

    def finish(self, end: End) -> None:
        if end.progress and (text := divergence(end.world)):
            end.world.violate(self.name, text)


class Progress:
    name = "progress"

    def watch(self, world: World) -> None:
        """Only the end counts."""

    def finish(self, end: End) -> None:
        if not end.progress:
            return
        unanswered = end.clients.unanswered()
        if unanswered:
            wish = unanswered[0]
            text = f"{len(unanswered)} operations unanswered after healing, first {wish.key} {wish.operation} of {wish.worker}"
            end.world.violate(self.name, text)
            return
        pending = [operation for operation in end.history.operations.values() if operation.returned_ns is None]
        if pending:
            text = f"{len(pending)} calls between workers never ended, first {pending[0].key} {pending[0].operation}"
            end.world.violate(self.name, text)
            return
        leaving = [host.index for host in end.world.hosts if host.leaving]
        if leaving:
            end.world.violate(self.name, f"n{leaving[0]} was told to leave and has not left")


class BoundedQueues:
    name = "bounded-queues"

    def __init__(self) -> None:
        self.longest: dict[str, int] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.at(SAMPLE_NS, self._sample)

    def _sample(self, _a: Any, _b: Any, _c: Any) -> None:
        world = self._world
        assert world is not None
        longest = self.longest
        for host in world.hosts:
            queues = {"frozen inbox": (len(host.waiting), INBOX_MAX), "unsynced writes": (len(host.disk), PENDING_MAX)}
            if host.node is not None:
                queues.update(host.node.queues())
            for name, (length, limit) in queues.items():
                if length and length > longest.get(name, 0):
                    self._note(host.index, name, length, limit)
        world.after(SAMPLE_NS, self._sample)

    def _note(self, node: int, name: str, length: int, limit: int) -> None:
        self.longest[name] = length
        if length > limit:
            assert self._world is not None
            self._world.violate(self.name, f"n{node}: {name} holds {length}, promised at most {limit}")

    def finish(self, end: End) -> None:
        """Sampled all along."""
