"""Whole nodes in the simulated world: grown from one founder, they keep every promise under every fault."""

from __future__ import annotations

import pytest

from golemp2p_sim.case import Case
from golemp2p_sim.mesh import newest_configuration
from golemp2p_sim.run import Run, run_case
from golemp2p_sim.runner import hash_elsewhere
from golemp2p_sim.scenario import load
from golemp2p_sim.units import MS, S
from golemp2p_sim.world import World, WorldOptions


def mesh_world(nodes: int, **parameters: int) -> World:
    """Started; nothing goes wrong in it, and nobody asks for anything."""
    case = Case(1, subject="mesh", options=WorldOptions(nodes=nodes), profile="none", parameters=tuple(parameters.items()))
    world = Run(case).world
    world.start_all()
    return world


def is_grown(world: World, shards: int) -> bool:
    configurations = (newest_configuration(shard, world) for shard in range(shards))
    return all(len(configuration.voters) == 3 and not configuration.is_joint for configuration in configurations)


def test_a_thousand_empty_shards_grow_in_as_many_round_trips_as_eight() -> None:
    costs = []
    for shards in (8, 1024):
        world = mesh_world(3, shards=shards)
        while not is_grown(world, shards):
            assert world.now < 1 * S
            world.run_until(world.now + 4 * MS)
        costs.append((world.now, world.network.counts.sent))
        assert world.violations == []
    assert costs[0] == costs[1]
    assert costs[0][0] < 100 * MS


def test_idle_shards_say_nothing() -> None:
    packets = []
    for shards in (8, 1024):
        world = mesh_world(3, shards=shards)
        world.run_until(10 * S)
        assert is_grown(world, shards)
        before = world.network.counts.sent
        world.run_until(20 * S)
        packets.append(world.network.counts.sent - before)
    assert packets[0] == packets[1] <= 3 * 10 * 5 * 2  # a probe per node and period, answered


def test_a_node_alone_works_alone() -> None:
    result = run_case(load("calm").changed(nodes=1, duration_ns=5 * S, subject="mesh").case(1))
    assert result.violations == []
    assert result.answered == result.asked > 0
    assert result.messages == 0


def test_two_nodes_keep_one_voter_and_one_learner() -> None:
    world = mesh_world(2, shards=4)
    world.run_until(5 * S)
    for shard in range(4):
        configuration = newest_configuration(shard, world)
        assert (len(configuration.voters), len(configuration.learners)) == (1, 1)


@pytest.mark.parametrize("seed", range(2))
def test_five_voters(seed: int) -> None:
    plan = load("everything").changed(subject="mesh", duration_ns=30 * S)
    case = plan.case(seed)
    case = Case(**{field: getattr(case, field) for field in case.__slots__} | {"parameters": (("replicas", 5),)})
    result = run_case(case)
    assert result.violations == []
    assert result.recovered_ns >= 0


@pytest.mark.parametrize("seed", range(3))
def test_beyond_the_promise_it_stops_and_never_diverges(seed: int) -> None:
    plan = load("everything").changed(subject="mesh", duration_ns=30 * S, profile="beyond")
    assert run_case(plan.case(seed)).violations == []


def test_a_seed_decides_everything() -> None:
    case = load("everything").changed(subject="mesh", duration_ns=10 * S).case(3)
    here = run_case(case)
    assert run_case(case, keep_lines=True).trace_hash == here.trace_hash
    assert hash_elsewhere(case, 4711) == here.trace_hash


def test_rare_branches_are_reached() -> None:
    coverage: dict[str, int] = {}
    for seed in range(12):
        result = run_case(load("everything").changed(subject="mesh").case(seed))
        assert result.violations == []
        for name, count in result.coverage.items():
            coverage[name] = coverage.get(name, 0) + count
    wanted = {
        "a replica caught up by manifest", "a damaged replica started", "what was lost or rotten was repaired", "a node left",
        "a primary stopped: no-majority", "a primary stopped: hand-over", "a primary stopped: higher-term",
    }  # fmt: skip
    assert wanted <= set(coverage)
