"""The shard's log is one log: rules S1, S5, S7 and output commit (S6), as seen from outside all nodes.

OneEntryPerPosition    no two nodes ever commit different logs up to the same position
OnePrimaryPerTerm      a term has one primary at most; its log holds everything that was answered before (S2, S5, S7)
AnsweredIsCommitted    a result leaves a node only after some majority-side commit of the entry it depends on was learned (S6)
"""

from __future__ import annotations

from golemp2p_sim.checkers import End
from golemp2p_sim.node import Answered, BecamePrimary, Committed
from golemp2p_sim.world import World


class OneEntryPerPosition:
    """Chains commit to everything before them, so equal chains at a position mean equal logs up to it."""

    name = "one-entry-per-position"

    def __init__(self) -> None:
        self.chains: dict[int, dict[int, int]] = {}
        self._world: World | None = None

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Committed, self.on_committed)

    def on_committed(self, _time_ns: int, node: int, seen: Committed) -> None:
        chains = self.chains.get(seen.shard)
        if chains is None:
            chains = self.chains[seen.shard] = {}
        position = seen.first
        for chain in seen.chains:
            known = chains.setdefault(position, chain)
            if known != chain:
                assert self._world is not None
                self._world.violate(self.name, f"shard {seen.shard} position {position}: n{node} committed another entry")
                return
            position += 1

    def finish(self, end: End) -> None:
        """Whatever a replica holds as committed at the end agrees as well."""
        for host in end.world.hosts:
            for view in host.node.replicas() if host.node else ():
                known = self.chains.get(view.shard, {}).get(view.commit)
                if view.sound and known is not None and known != view.chain:
                    end.world.violate(self.name, f"shard {view.shard}: n{host.index} ends with another log at {view.commit}")


class OnePrimaryPerTerm:
    """Also demands that terms of one shard's primaries, as they begin to serve, keep what was answered."""

    name = "one-primary-per-term"

    def __init__(self) -> None:
        self._primaries: dict[tuple[int, int], int] = {}
        self._answered: dict[int, tuple[int, int, str]] = {}
        self._newest: dict[int, int] = {}  # term of each shard's newest primary
        self._world: World | None = None
        self.elections = 0

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(BecamePrimary, self.on_primary)
        world.watch(Answered, self.on_answered)

    def on_answered(self, _time_ns: int, _node: int, seen: Answered) -> None:
        newest = self._answered.get(seen.shard)
        if newest is None or seen.position > newest[0]:
            self._answered[seen.shard] = (seen.position, seen.chain, seen.key)

    def on_primary(self, _time_ns: int, node: int, seen: BecamePrimary) -> None:
        world = self._world
        assert world is not None
        self.elections += 1
        other = self._primaries.setdefault((seen.shard, seen.term), node)
        if other != node:
            world.violate(self.name, f"shard {seen.shard} term {seen.term}: both n{other} and n{node} are primary")
            return
        if seen.term < self._newest.get(seen.shard, 0):
            return  # it stood still since it won; what it lacks was answered in later terms, and it can commit nothing
        self._newest[seen.shard] = seen.term
        newest = self._answered.get(seen.shard)
        held = world.hosts[node].node
        if newest is not None and held is not None and held.chain_at(seen.shard, newest[0]) not in (newest[1],):
            text = f"shard {seen.shard} term {seen.term}: n{node} serves without position {newest[0]}, answered as {newest[2]}"
            world.violate("answered-is-kept", text)

    def finish(self, end: End) -> None:
        world = end.world
        if not end.progress:
            return
        for host in world.hosts:
            for view in host.node.replicas() if host.node else ():
                newest = self._answered.get(view.shard)
                if newest and view.sound and host.node and host.node.chain_at(view.shard, newest[0]) != newest[1]:
                    text = (
                        f"shard {view.shard}: after healing n{host.index} lacks position {newest[0]}, answered as {newest[2]}"
                    )
                    world.violate("answered-is-kept", text)
                    return


class AnsweredIsCommitted:
    """Uses what ``OneEntryPerPosition`` collected: watch that one first."""

    name = "answered-is-committed"

    def __init__(self, positions: OneEntryPerPosition) -> None:
        self._positions = positions
        self._world: World | None = None
        self.answers = 0

    def watch(self, world: World) -> None:
        self._world = world
        world.watch(Answered, self.on_answered)

    def on_answered(self, _time_ns: int, node: int, seen: Answered) -> None:
        self.answers += 1
        known = self._positions.chains.get(seen.shard, {}).get(seen.position)
        if known != seen.chain:
            assert self._world is not None
            what = "nobody has committed" if known is None else "was committed otherwise"
            self._world.violate(
                self.name, f"n{node} answered {seen.key} from shard {seen.shard} position {seen.position}, which {what}"
            )

    def finish(self, end: End) -> None:
        """Everything was said as it happened."""
