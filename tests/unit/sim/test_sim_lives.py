"""Nodes come later and go for good: births, departures, groups that move, and what is then still expected of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from sim_helpers import Puppet, Puppets, toy_case

from golemp2p_sim.atlas import Atlas, Limit
from golemp2p_sim.case import Case, case_from_json, case_to_json
from golemp2p_sim.faults import Fault
from golemp2p_sim.history import History
from golemp2p_sim.injector import Injector
from golemp2p_sim.node import Departed, Reply, Request, Surroundings
from golemp2p_sim.run import run_case
from golemp2p_sim.shrink import Shrinker
from golemp2p_sim.units import MS, S
from golemp2p_sim.workload import Clients, Wish
from golemp2p_sim.world import World, WorldOptions


class Movers(Puppets):
    """Puppets whose groups a test moves. ``told[i]``: the surroundings of each start of node i."""

    def __init__(self, nodes: int, groups: Sequence[tuple[int, ...]] = ()) -> None:
        super().__init__(nodes, groups)
        self.now: Sequence[tuple[int, ...]] = self._groups
        self.told: list[list[Surroundings]] = [[] for _ in range(nodes)]

    def node(self, surroundings: Surroundings) -> Puppet:
        self.told[surroundings.index].append(surroundings)
        return super().node(surroundings)

    def placed_in(self, world: World) -> None:
        assert not world.present, "before any node starts"

    def current_groups(self, world: World) -> Sequence[tuple[int, ...]]:
        return self.now


def grown(births: Sequence[int], groups: Sequence[tuple[int, ...]] = ()) -> tuple[World, Movers]:
    subject = Movers(len(births), groups)
    world = World(0, subject, WorldOptions(nodes=len(births)), births=births, keep_lines=True)
    world.start_all()
    return world, subject


def injected(world: World, *faults: Fault, harm: Limit = Limit.MINORITY) -> Injector:
    return Injector(world, Atlas(world.subject, harm=harm, away=Limit.NONE, groups=world.groups), faults)


def refusals(injector: Injector) -> list[str]:
    return [played.refused for played in injector.happened]


# -- births -------------------------------------------------------------------------------------------------------------------


def test_nodes_start_when_they_are_born_and_know_who_was_there() -> None:
    world, subject = grown([0, 0, 3 * S, 2 * S])
    assert [len(lives) for lives in subject.lives] == [1, 1, 0, 0]
    world.run_until(2 * S)
    assert world.present == [0, 1, 3]
    world.run_until(4 * S)
    assert [(told[0].founder, told[0].contacts) for told in subject.told] == [
        (True, ()),
        (False, (0,)),
        (False, (0, 1, 3)),
        (False, (0, 1)),
    ]
    world.hosts[0].crash("test")
    world.hosts[0].start()
    assert (subject.told[0][1].founder, subject.told[0][1].contacts) == (True, (1, 2, 3))


def test_nobody_starts_before_its_birth() -> None:
    world, subject = grown([0, 5 * S])
    world.hosts[1].start()
    injector = injected(
        world, Fault("crash", S, S, (1,)), Fault("partition", S, S, (0, 1)), Fault("one-way", S, S, (1,)), harm=Limit.NONE
    )
    world.run_until(2 * S)
    assert subject.lives[1] == []
    assert refusals(injector) == ["the node is not born yet", "", "nobody is there"]
    assert injector.happened[1].fault.nodes == (0,)


def test_healing_bears_who_is_not_born_yet_once() -> None:
    world, subject = grown([0, 5 * S])
    injector = injected(world)
    world.run_until(S)
    injector.heal()
    assert world.present == [0, 1]
    world.run_until(9 * S)
    assert len(subject.lives[1]) == 1


def test_clients_ask_only_who_is_there() -> None:
    world, subject = grown([S, 2 * S, 9 * S])

    def answering(puppet: Puppet) -> None:
        puppet.on["request"] = lambda request: [Reply(request.id, True, puppet.index)]

    subject.prepare = answering
    wishes = [Wish(number * 50 * MS, number, "counter-0", ("get",), f"k{number}") for number in range(80)]
    clients = Clients(world, History(), wishes)
    world.run_until(8 * S)
    assert clients.answered == 80
    assert subject.lives[2] == []
    world.hosts[1].destroy("test")
    before = clients.answered
    for number in range(20):
        clients.add(Wish(8 * S, 1000 + number, "counter-0", ("get",), f"late{number}"))
    world.run_until(8 * S + 20 * MS)
    assert clients.answered == before + 20  # nobody knocked at the gone one and had to wait


def test_births_survive_being_written_down_and_may_be_missing() -> None:
    case = Case(1, options=WorldOptions(nodes=3), births=(0, 5, 7))
    assert case_from_json(case_to_json(case)) == case
    old = case_to_json(Case(1))
    del old["births"]
    assert case_from_json(old) == Case(1)
    with pytest.raises(ValueError, match="2 births for 3 nodes"):
        Case(1, options=WorldOptions(nodes=3), births=(0, 5))


def test_a_toy_whose_nodes_come_late_works_once_they_are_there() -> None:
    case = replace(toy_case(2, seconds=10), births=tuple(index * S for index in range(7)))
    result = run_case(case)
    assert result.violations == []
    assert result.answered == result.asked > 0


def test_fewer_nodes_are_born_in_a_smaller_case() -> None:
    case = toy_case(0, mutation="answer_after_commit", seconds=10)
    small = Shrinker(replace(case, births=(0, 0, 0, 0, 0, 0, S)), runs_max=80).shrink()
    assert small.result.violations
    assert len(small.case.births) in (0, small.case.options.nodes)
    assert small.case.options.nodes < 7


# -- departures ---------------------------------------------------------------------------------------------------------------


def test_who_is_told_to_leave_drains_and_is_gone() -> None:
    world, subject = grown([0, 0, 0, 0, 0], [(0, 1, 2)])
    subject.prepare = lambda puppet: None
    subject.lives[1][0].on["message"] = lambda *_: [Departed()]
    injector = injected(world, Fault("leave", S, nodes=(1,)), Fault("leave", 2 * S, nodes=(1,)), Fault("crash", 5 * S, S, (1,)))
    world.run_until(3 * S)
    assert world.hosts[1].leaving
    assert injector.happened[0].end_ns is None
    assert subject.lives[1][-1].names() == ["start", "leave"]
    world.send(0, world.keys[1], "all is handed over")
    world.run_until(6 * S)
    assert refusals(injector) == ["", "the node leaves already", "the node is gone"]
    assert world.present == [0, 2, 3, 4]
    assert 3 * S < (injector.happened[0].end_ns or 0) < 4 * S
    injector.heal()
    world.hosts[1].start()
    assert len(subject.lives[1]) == 1
    assert not world.hosts[1].leaving


def test_who_crashes_while_leaving_is_told_again() -> None:
    world, subject = grown([0, 0, 0, 0], [(0, 1, 2)])
    injected(world, Fault("leave", S, nodes=(1,)), Fault("crash", 2 * S, S, (1,)))
    world.run_until(5 * S)
    assert [life.names() for life in subject.lives[1]] == [["start", "leave"], ["start", "leave"]]


def test_nobody_departs_without_being_told() -> None:
    world, _ = grown([0, 0])
    with pytest.raises(AssertionError, match="nobody told it to leave"):
        world.hosts[0].perform([Departed()])


def test_enough_nodes_must_stay() -> None:
    world, _ = grown([0, 0, 0, 0, 0], [(0, 1, 2)])
    injector = injected(world, *(Fault("leave", number * S, nodes=(number,)) for number in range(1, 5)))
    world.run_until(9 * S)
    assert [refused[:3] for refused in refusals(injector)] == ["", "", "too", "too"]


def test_the_destroyed_stays_away_and_is_asked_nothing() -> None:
    world, subject = grown([0, 0, 0])
    replies: list[Reply] = []
    world.on_reply = lambda _node, reply: replies.append(reply)
    injector = injected(world, Fault("destroyed", S, nodes=(0,)), Fault("freeze", 2 * S, S, (0,)))
    world.run_until(3 * S)
    injector.heal()
    world.hosts[0].on_request(Request(1, "w", (), "k"), None, None)
    assert [len(lives) for lives in subject.lives] == [1, 1, 1]
    assert refusals(injector) == ["", "the node is gone"]
    assert (injector.happened[0].start_ns, injector.happened[0].end_ns) == (S, S)
    assert replies == [Reply(1, False, "connection refused")]


# -- groups that move ---------------------------------------------------------------------------------------------------------


def test_harm_is_counted_in_the_groups_as_they_are_now() -> None:
    world, subject = grown([0] * 5, [(0, 1, 2)])
    injector = injected(
        world,
        Fault("destroyed", S, nodes=(0,)),
        Fault("store-lost", 2 * S, S, (1,)),
        Fault("store-lost", 4 * S, S, (1,)),
        Fault("store-lost", 6 * S, S, (3,)),
    )
    world.run_until(3 * S)
    assert "majority" in refusals(injector)[1]
    subject.now = [(1, 2, 3)]  # the destroyed one was replaced
    world.run_until(9 * S)
    assert refusals(injector)[2] == ""
    assert "majority" in refusals(injector)[3]


def test_static_groups_are_what_the_subject_says() -> None:
    subject = Puppets(3, [(0, 1, 2)])
    assert World(0, subject, WorldOptions(nodes=3)).groups() == [(0, 1, 2)]


@pytest.mark.parametrize("name", ["toy", "shard"])
def test_who_cannot_leave_does_not_promise_to(name: str) -> None:
    from golemp2p_sim.subjects import make_subject

    subject: Any = make_subject(name, 3)
    assert not {"destroyed", "leave"} & subject.survives
    node = subject.node(Surroundings(0, World(0, subject, WorldOptions(nodes=3)).keys, 0, Random(1)))
    with pytest.raises(AssertionError, match="nobody can leave"):
        node.on_leave(0)


def test_a_pair_takes_two() -> None:
    world, _ = grown([0, 5 * S])
    injector = injected(world, Fault("reset", S, nodes=(0,)))
    world.run_until(2 * S)
    assert refusals(injector) == ["there is no second node"]
