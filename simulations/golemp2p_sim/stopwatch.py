"""Takes the times of a run: failovers, planned hand-overs, detection; and counts lookups.

    primary goes (crash, freeze, cut) ──────────> another serves       its election entry is the shard's next commit: failover
    primary hands over ─────────────────────────> another serves       hand-over
    node crashes ──> first member holds it dead ──> all do             detection
    dead is held an honest node that runs, could be reached, and was so for 10 s: a false verdict

Nothing here judges, and nothing here changes the run. A primary that was frozen or cut off and goes on committing was not replaced,
and does not count. All members: those that ran, could be reached and had stood for five seconds when the node crashed, and still do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from golemp2p_sim.faults import Fault
from golemp2p_sim.measured import Measured
from golemp2p_sim.node import BecamePrimary, Committed, HandedOver, HeldAlive, HeldDead, LookedUp
from golemp2p_sim.units import MS, S
from golemp2p_sim.world import World

CUTS = ("partition", "one-way", "clog")
"""Faults that make nodes unreachable."""
STRAY_NS = 100 * MS
"""What a cut-off primary commits within this was on its way already."""
FORGIVEN_NS = 10 * S
"""A verdict this long after a node was away may still be right about then."""
SETTLED_NS = 5 * S
"""Younger members may not know everyone yet."""


@dataclass(slots=True)
class Hit:
    """The serving primary of a shard is away since ``at_ns``; ``down`` for good as far as its process is concerned."""

    node: int
    at_ns: int
    down: bool


@dataclass(slots=True)
class Absence:
    """A node crashed at ``at_ns``. ``silent``: members that have not said so."""

    at_ns: int
    silent: dict[int, None]
    said: bool = False


class Stopwatch:
    """One per run."""

    def __init__(self, world: World) -> None:
        self.measured = Measured()
        self._world = world
        self._hits: dict[int, Hit] = {}
        self._handovers: dict[int, tuple[int, int]] = {}
        self._absent: dict[int, Absence] = {}
        self._cut: dict[int, int] = {}
        self._unseen_ns: dict[int, int] = {}
        self._since_ns = {host.index: world.now for host in world.hosts if host.node is not None}
        self._index = {key: index for index, key in enumerate(world.keys)}
        world.on_away.append(self._away)
        world.on_back.append(self._back)
        world.watch(BecamePrimary, self._serves)
        world.watch(Committed, self._committed)
        world.watch(HandedOver, self._hands_over)
        world.watch(HeldDead, self._held_dead)
        world.watch(HeldAlive, self._held_alive)
        world.watch(LookedUp, self._looked_up)

    # -- who is there ---------------------------------------------------------------------------------------------------------

    def _away(self, node: int, frozen: bool) -> None:
        host, now = self._world.hosts[node], self._world.now
        assert host.node is not None, "told before the process is gone"
        for view in host.node.replicas():
            if view.primary:
                self._hit(view.shard, node, down=not frozen)
        for absence_of in list(self._absent):
            self._heard(absence_of, node)
        if not frozen and not host.leaving and self._is_reached(node):
            world = self._world
            settled = [other for other in world.present if now - self._since_ns.get(other, now) >= SETTLED_NS]
            silent = dict.fromkeys(other for other in settled if other != node and self._is_reached(other))
            if silent:
                self._absent[node] = Absence(now, silent)

    def _back(self, node: int) -> None:
        now = self._world.now
        self._absent.pop(node, None)
        if node in self._since_ns:
            self._unseen_ns[node] = now
        self._since_ns[node] = now

    def on_fault(self, fault: Fault, begins: bool) -> None:
        """Of the injector: a fault begins or ends."""
        if fault.kind not in (*CUTS, "byzantine"):
            return
        for node in fault.nodes:
            self._cut[node] = self._cut.get(node, 0) + (1 if begins else -1)
            self._unseen_ns[node] = self._world.now
        if begins and fault.kind in CUTS:
            self._absent.clear()  # who can still tell whom is another matter now
            self._cut_off(set(fault.nodes))

    def _cut_off(self, side: set[int]) -> None:
        """Primaries that have no majority on their side are hit."""
        groups = self._world.groups()
        for host in self._world.hosts:
            for view in host.node.replicas() if host.node else ():
                if view.primary and view.shard < len(groups):
                    with_it = sum((node in side) == (host.index in side) for node in groups[view.shard])
                    if with_it * 2 <= len(groups[view.shard]):
                        self._hit(view.shard, host.index, down=False)

    def _is_reached(self, node: int) -> bool:
        host = self._world.hosts[node]
        return host.node is not None and not host.frozen and not self._cut.get(node)

    def _was_reached(self, node: int) -> bool:
        """All the time until now, long enough."""
        return self._is_reached(node) and self._world.now - self._unseen_ns.get(node, -FORGIVEN_NS) >= FORGIVEN_NS

    # -- who leads ------------------------------------------------------------------------------------------------------------

    def _hit(self, shard: int, node: int, *, down: bool) -> None:
        self._handovers.pop(shard, None)
        hit = self._hits.setdefault(shard, Hit(node, self._world.now, down))
        hit.down |= down

    def _serves(self, time_ns: int, node: int, seen: BecamePrimary) -> None:
        hit = self._hits.pop(seen.shard, None)
        if hit is not None and hit.node != node:
            self.measured.failovers_ns.append(time_ns - hit.at_ns)
        begun = self._handovers.pop(seen.shard, None)
        if begun is not None and begun[0] != node:
            self.measured.handovers_ns.append(time_ns - begun[1])

    def _committed(self, time_ns: int, node: int, seen: Committed) -> None:
        hit = self._hits.get(seen.shard)
        if hit is not None and hit.node == node and not hit.down and time_ns - hit.at_ns > STRAY_NS:
            del self._hits[seen.shard]

    def _hands_over(self, time_ns: int, node: int, seen: HandedOver) -> None:
        self._handovers[seen.shard] = (node, time_ns)

    # -- who is held dead -----------------------------------------------------------------------------------------------------

    def _held_dead(self, time_ns: int, node: int, seen: HeldDead) -> None:
        peer = self._index.get(seen.peer)
        if peer is None:
            return
        self.measured.verdicts += 1
        absence = self._absent.get(peer)
        if absence is not None:
            if not absence.said:
                absence.said = True
                self.measured.first_verdicts_ns.append(time_ns - absence.at_ns)
            self._heard(peer, node)
        elif self._was_reached(peer) and self._was_reached(node):
            self.measured.false_verdicts += 1
            self._world.sometimes("a node that runs was held dead")

    def _heard(self, peer: int, node: int) -> None:
        """``node`` need not be waited for any more."""
        absence = self._absent[peer]
        absence.silent.pop(node, None)
        if not absence.silent and absence.said:
            del self._absent[peer]
            self.measured.all_verdicts_ns.append(self._world.now - absence.at_ns)

    def _held_alive(self, _time_ns: int, node: int, seen: HeldAlive) -> None:
        absence = self._absent.get(self._index.get(seen.peer, -1))
        if absence is not None:
            absence.silent[node] = None

    def _looked_up(self, _time_ns: int, _node: int, seen: LookedUp) -> None:
        self.measured.lookups.append((seen.hops, seen.rpcs, seen.dead))


def shards_by_node(world: World) -> tuple[list[int], list[int]]:
    """How many shards each node holds and how many of them it leads, now."""
    views: list[Any] = [host.node.replicas() if host.node else () for host in world.hosts]
    return [len(some) for some in views], [sum(view.primary for view in some) for some in views]
