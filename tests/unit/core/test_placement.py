"""Rendezvous hashing and targets: exactness, evenness, movement, failure domains."""

from collections import Counter
from math import log
from math import log2 as float_log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.small_world import key_of
from golemp2p.core.placement import (
    Place,
    bounds,
    closest,
    local_targets,
    ranked,
    shard_key,
    takeover_rank,
    targets,
)
from golemp2p.core.rendezvous import cost, costs, log2
from golemp2p.model.ids import Key, NodeId

SHARDS = 1024
RECORDED = [49685142, 16444425, 31531859]


def places(count: int, *, domains: int = 0, weight: int = 1) -> list[Place]:
    return [Place(key_of(n), weight, f"rack{n % domains}" if domains else "") for n in range(count)]


@given(st.integers(1, 1 << 64))
def test_the_logarithm_is_close(number: int):
    assert log2(number) / 2**40 == pytest.approx(float_log2(number), abs=2**-20)


@given(st.integers(1, (1 << 64) - 1), st.integers(0, 1 << 40))
def test_the_logarithm_never_falls(number: int, more: int):
    assert log2(number) <= log2(number + more)


def test_costs_are_what_they_were():
    """Numbers of the format: nodes of different versions must agree on them."""
    assert costs(bytes(32), 1, 3) == tuple(cost(shard, bytes(32), 1) for shard in range(3))
    assert [price >> 40 for price in costs(bytes(32), 1, 3)] == RECORDED
    assert cost(1000, bytes(32), 7) == costs(bytes(32), 7, SHARDS)[1000]


def test_costs_order_peers_as_the_formula_does():
    keys = [key_of(n) for n in range(50)]
    weights = {key: 1 + n % 4 for n, key in enumerate(keys)}
    for shard in range(20):
        by_cost = sorted(keys, key=lambda key: cost(shard, key, weights[key]))
        uniform = {key: 2.0 ** -(cost(shard, key, 1) / 2**64) for key in keys}
        by_score = sorted(keys, key=lambda key: weights[key] / log(uniform[key]))
        assert by_cost == by_score


def test_shares_follow_weights():
    chosen = [Place(key_of(n), 1 + n % 3) for n in range(12)]
    first = Counter(ranked(shard, chosen)[0].weight for shard in range(4000))
    assert [first[weight] / 4000 for weight in (1, 2, 3)] == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.03)


@pytest.mark.parametrize(("count", "replicas_max", "primaries_max"), [(3, 1.0, 1.25), (10, 1.25, 1.25), (100, 1.25, 1.25)])
def test_load_is_even(count: int, replicas_max: float, primaries_max: float):
    found = targets(places(count), SHARDS)
    held = Counter(key for keys in found.replicas for key in keys)
    primary = Counter(keys[0] for keys in found.replicas)
    assert max(held.values()) / (3 * SHARDS / count) <= replicas_max
    assert max(primary.values()) / (SHARDS / count) <= primaries_max


@pytest.mark.parametrize(("count", "most"), [(10, 1.1), (100, 1.25)])
def test_little_moves_when_a_node_comes_or_goes(count: int, most: float):
    everybody = places(count)
    before = targets(everybody, SHARDS).replicas
    moved = 0
    for gone in everybody[:: count // 5]:
        after = targets([place for place in everybody if place is not gone], SHARDS).replicas
        moved += sum(len(set(new) - set(old)) for new, old in zip(after, before, strict=True))
    assert moved / 5 / (3 * SHARDS / count) <= most


@given(st.integers(1, 30), st.integers(0, 8), st.sampled_from([1, 3, 5]), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_targets_hold_their_promises(count: int, domains: int, replicas: int, dice):
    chosen = [Place(p.public_key, dice.randrange(1, 4), p.domain) for p in places(count, domains=domains)]
    found = targets(chosen, 64, replicas)
    dice.shuffle(chosen)
    assert targets(chosen, 64, replicas) == found, "the order of members does not matter"
    by_key = {place.public_key: place for place in chosen}
    different = len({place.failure_domain for place in chosen})
    for keys in found.replicas:
        assert len(keys) == len(set(keys)) == min(replicas, count)
        if different >= replicas:
            assert len({by_key[key].failure_domain for key in keys}) == len(keys)


def test_one_small_domain_gets_its_replica_though_its_nodes_are_overloaded():
    lopsided = [Place(key_of(n), 1, "big" if n > 1 else f"small{n}") for n in range(20)]
    found = targets(lopsided, 64)
    assert all({key_of(0), key_of(1)} < set(keys) for keys in found.replicas)


def test_bounds_are_never_too_small_for_all():
    for weights in ([1] * 7, [1, 2, 3, 100]):
        chosen = [Place(key_of(n), weight) for n, weight in enumerate(weights)]
        assert sum(bounds(chosen, 1000).values()) >= 1000


def test_the_closest_are_those_of_a_naive_sort():
    everybody = places(200)
    wanted = shard_key(717, SHARDS)
    naive = sorted(
        everybody,
        key=lambda p: [a ^ b for a, b in zip(NodeId.of(p.public_key).digest, wanted, strict=True)],
    )
    assert closest(wanted, everybody) == naive[:32]
    assert Key(wanted).shard(SHARDS) == 717
    near = {place.public_key for place in naive[:32]}
    assert set(local_targets(717, wanted, everybody)) <= near
    assert local_targets(717, wanted, naive[:32]) == local_targets(717, wanted, everybody)


def test_voters_campaign_in_order_of_rank():
    voters = places(3)
    order = [place.public_key for place in ranked(5, voters)]
    assert [takeover_rank(5, voters, key) for key in order] == [0, 1, 2]
    assert takeover_rank(5, [voters[0]], key_of(9)) is None
    alive = [place for place in voters if place.public_key != order[0]]
    assert takeover_rank(5, alive, order[1]) == 0
