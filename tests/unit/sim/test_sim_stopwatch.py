"""The stopwatch times what happens, and leaves out what only looks like it."""

from __future__ import annotations

from typing import Any

import pytest
from sim_helpers import Puppets, puppet_world

from golemp2p_sim.atlas import Atlas, Limit
from golemp2p_sim.faults import Fault
from golemp2p_sim.injector import Injector
from golemp2p_sim.measured import Measured
from golemp2p_sim.node import BecamePrimary, Committed, HandedOver, HeldAlive, HeldDead, LookedUp, ReplicaView
from golemp2p_sim.stopwatch import Stopwatch, shards_by_node
from golemp2p_sim.units import MS, S
from golemp2p_sim.world import World


class Track:
    """Five puppets under a stopwatch; node 0 serves shard 0, which lives on nodes 0, 1 and 2."""

    def __init__(self) -> None:
        self.world: World
        self.subject: Puppets
        self.world, self.subject = puppet_world(5, groups=[(0, 1, 2)])
        self.watch = Stopwatch(self.world)
        self.leads(0)
        self.world.run_until(10 * S)

    def leads(self, *nodes: int) -> None:
        for node in range(5):
            self.subject.lives[node][-1].views[:] = [ReplicaView(0, 1, node in nodes, True, 1, 1, 1)]

    def play(self, *faults: Fault) -> None:
        injector = Injector(self.world, Atlas(self.subject, harm=Limit.NONE, away=Limit.NONE), faults)
        injector.told.append(self.watch.on_fault)

    def see(self, after_ns: int, node: int, *observations: Any) -> None:
        self.world.run_until(self.world.now + after_ns)
        for observation in observations:
            self.world.observed(node, type(observation), observation)

    @property
    def measured(self) -> Measured:
        return self.watch.measured

    def dead(self, node: int) -> HeldDead:
        return HeldDead(self.world.keys[node])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("crash", 11 * S, 9 * S, (0,)),
        Fault("freeze", 11 * S, 9 * S, (0,)),
        Fault("partition", 11 * S, 9 * S, (0, 3)),
        Fault("one-way", 11 * S, 9 * S, (0,)),
        Fault("partition", 11 * S, 9 * S, (1, 2, 3)),
        Fault("destroyed", 11 * S, nodes=(0,)),
    ],
    ids=str,
)
def test_a_failover_lasts_until_another_serves(fault: Fault) -> None:
    track = Track()
    track.play(fault)
    track.see(S + 1, 0, Committed(0, 1, (1,)))  # what was under way does not count
    track.see(S, 1, Committed(0, 1, (1,)), BecamePrimary(0, 2))
    track.see(S, 2, BecamePrimary(0, 3))
    assert track.measured.failovers_ns == [S + 1]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("crash", 11 * S, 9 * S, (1,)),
        Fault("freeze", 11 * S, 9 * S, (2,)),
        Fault("partition", 11 * S, 9 * S, (0, 1)),
        Fault("partition", 11 * S, 9 * S, (2, 3, 4)),
    ],
    ids=str,
)
def test_a_primary_that_keeps_its_majority_is_not_replaced(fault: Fault) -> None:
    track = Track()
    track.play(fault)
    track.see(5 * S, 1, BecamePrimary(0, 2))
    assert track.measured.failovers_ns == []


def test_a_primary_that_goes_on_is_not_replaced() -> None:
    track = Track()
    track.play(Fault("freeze", 11 * S, S, (0,)))
    track.see(3 * S, 0, Committed(0, 2, (2,)))
    track.see(S, 1, BecamePrimary(0, 2))
    assert track.measured.failovers_ns == []


def test_a_primary_that_serves_again_itself_is_no_failover() -> None:
    track = Track()
    track.play(Fault("crash", 11 * S, S, (0,)))
    track.see(3 * S, 0, Committed(0, 1, (1,)), BecamePrimary(0, 2))
    track.see(S, 1, BecamePrimary(0, 3))
    assert track.measured.failovers_ns == []


def test_a_planned_hand_over_lasts_until_another_serves() -> None:
    track = Track()
    track.see(S, 0, HandedOver(0))
    track.see(20 * MS, 2, BecamePrimary(0, 2))
    track.see(S, 1, BecamePrimary(0, 3))
    assert track.measured.handovers_ns == [20 * MS]


def test_a_primary_that_dies_handing_over_is_a_failover() -> None:
    track = Track()
    track.play(Fault("crash", 12 * S, S, (0,)))
    track.see(S, 0, HandedOver(0))
    track.see(2 * S, 2, BecamePrimary(0, 2))
    assert (track.measured.handovers_ns, track.measured.failovers_ns) == ([], [S])


def test_detection_is_timed_to_the_first_and_to_the_last_member() -> None:
    track = Track()
    track.play(Fault("crash", 11 * S, 30 * S, (4,)), Fault("crash", 13 * S, S, (3,)))
    track.see(2 * S, 1, track.dead(4))
    track.see(S, 0, track.dead(4))
    assert track.measured.all_verdicts_ns == []
    track.see(S, 2, track.dead(4))  # node 3 went away itself and is not waited for
    track.see(S, 3, track.dead(4))
    assert (track.measured.first_verdicts_ns, track.measured.all_verdicts_ns) == ([S], [3 * S])
    assert (track.measured.verdicts, track.measured.false_verdicts) == (4, 0)


def test_whoever_takes_it_back_is_waited_for() -> None:
    track = Track()
    track.play(Fault("destroyed", 11 * S, nodes=(4,)))
    for node in (0, 1, 2):
        track.see(S, node, track.dead(4))
    track.see(S, 0, HeldAlive(track.world.keys[4]))
    track.see(S, 3, track.dead(4))
    assert track.measured.all_verdicts_ns == []
    track.see(S, 0, track.dead(4))
    assert track.measured.all_verdicts_ns == [5 * S]


def test_a_node_that_came_back_is_nobodys_detection() -> None:
    track = Track()
    track.play(Fault("crash", 11 * S, S, (4,)))
    track.see(5 * S, 0, track.dead(4))
    assert (track.measured.first_verdicts_ns, track.measured.verdicts, track.measured.false_verdicts) == ([], 1, 0)


@pytest.mark.parametrize(
    ("fault", "after_s", "false"),
    [
        (Fault("loss", 11 * S, S), 2, 1),
        (Fault("crash", 11 * S, S, (4,)), 2, 0),
        (Fault("crash", 11 * S, S, (4,)), 13, 1),
        (Fault("freeze", 11 * S, S, (0,)), 3, 0),
        (Fault("partition", 11 * S, 2 * S, (4,)), 2, 0),
        (Fault("partition", 11 * S, 2 * S, (0,)), 9, 0),
        (Fault("clog", 11 * S, 2 * S, (4,)), 14, 1),
        (Fault("byzantine", 11 * S, 2 * S, (4,), step="mute"), 2, 0),
    ],
    ids=str,
)
def test_false_verdicts(fault: Fault, after_s: int, false: int) -> None:
    track = Track()
    track.play(fault)
    track.see(after_s * S, 0, track.dead(4), HeldDead(b"nobody"))
    assert (track.measured.verdicts, track.measured.false_verdicts) == (1, false)


def test_lookups_are_counted_and_everything_adds_up() -> None:
    track = Track()
    track.see(0, 1, LookedUp(3, 12, 0), LookedUp(1, 4, 2))
    track.see(0, 1, track.dead(4))
    total = Measured()
    total.add(track.measured)
    total.add(track.measured)
    told = total.to_json()
    assert told["lookup_hops"] == {"p50": 1, "p99": 3, "max": 3, "count": 4}
    assert (told["lookup_dead"], told["verdicts"], told["false_verdicts"]) == (4, 2, 2)
    assert told["failover_ms"] == {}


def test_shards_by_node() -> None:
    track = Track()
    track.world.hosts[3].crash("test")
    assert shards_by_node(track.world) == ([1, 1, 1, 0, 1], [1, 0, 0, 0, 0])
