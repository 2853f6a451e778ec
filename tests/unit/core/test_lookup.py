"""The lookup alone, step by step, and lookups in meshes of 100 and 1,000 nodes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.small_world import FAKE, key_of, record_of, walks
from golemp2p.core.lookup import Lookup, LookupProfile, RoundTrips
from golemp2p.core.membership_profile import MS
from golemp2p.model.ids import NodeId
from golemp2p.model.membership import NodeRecord

OWN, TARGET = key_of(0), bytes(20)


def distance(number: int) -> int:
    return int.from_bytes(NodeId.of(key_of(number)).digest, "big")


BY_DISTANCE = sorted(range(1, 500), key=distance)


def record(number: int) -> NodeRecord:
    return replace(record_of(number), signature=FAKE)


def records(numbers: list[int]) -> list[NodeRecord]:
    return [record(number) for number in numbers]


def lookup(seeds: list[int], **options: int) -> Lookup:
    profile = LookupProfile(**options)
    return Lookup(
        TARGET,
        records(seeds),
        OWN,
        profile=profile,
        round_trips=RoundTrips(profile),
        is_genuine=lambda r: r.signature == FAKE,
    )


def keys(asks: list) -> list[bytes]:
    return [ask.record.public_key for ask in asks]


def named(numbers: list[int]) -> list[bytes]:
    return [key_of(number) for number in numbers]


def test_alpha_are_always_under_way_the_closest_first():
    search = lookup(BY_DISTANCE[10:20])
    assert keys(search.start(0)) == named(BY_DISTANCE[10:13])
    assert keys(search.answered(key_of(BY_DISTANCE[10]), records(BY_DISTANCE[:3]), MS)) == named(BY_DISTANCE[:1])
    assert keys(search.answered(key_of(BY_DISTANCE[11]), [], MS)) == named(BY_DISTANCE[1:2])
    assert keys(search.failed(key_of(BY_DISTANCE[12]), MS)) == named(BY_DISTANCE[2:3])


def test_it_ends_when_the_k_closest_answered():
    search = lookup(BY_DISTANCE[:8], k=4)
    asked = keys(search.start(0))
    while asked:
        assert not search.is_over
        asked += keys(search.answered(asked.pop(0), [], MS))
    assert search.is_over
    assert search.closest == records(BY_DISTANCE[:4])
    assert search.rpcs == 4
    assert search.next_due_ns() is None


def test_what_failed_stays_failed_whoever_mentions_it():
    dead, liar = BY_DISTANCE[0], BY_DISTANCE[1]
    search = lookup(BY_DISTANCE[:5], k=2)
    search.start(0)
    search.failed(key_of(dead), MS)
    again = search.answered(key_of(liar), records([dead]), MS)
    assert key_of(dead) not in keys(again)
    search.answered(key_of(BY_DISTANCE[2]), records([dead]), MS)
    assert search.is_over
    assert search.closest == records(BY_DISTANCE[1:3])
    assert search.silent == [key_of(dead)]


def test_the_slow_free_their_place_are_asked_again_and_may_still_answer():
    search = lookup(BY_DISTANCE[:5], k=3, alpha=1)
    (first,) = keys(search.start(0))
    due_ns = search.next_due_ns()
    repeated, next_one = keys(search.on_time(due_ns))
    assert (repeated, next_one) == (first, key_of(BY_DISTANCE[1]))
    search.answered(first, [], due_ns + MS)
    assert search.closest == records(BY_DISTANCE[:1])


def test_the_silent_fail_after_their_second_chance():
    search = lookup(BY_DISTANCE[:3], k=3)
    search.start(0)
    while (due_ns := search.next_due_ns()) is not None:
        search.on_time(due_ns)
    assert search.is_over
    assert search.closest == []
    assert search.rpcs == 6


def test_forged_records_are_never_dialled():
    forged = replace(record(BY_DISTANCE[0]), signature=b"x")
    search = lookup([BY_DISTANCE[5]])
    search.start(0)
    asked = search.answered(key_of(BY_DISTANCE[5]), [forged, record(BY_DISTANCE[1])], MS)
    assert keys(asked) == named(BY_DISTANCE[1:2])


def test_answers_nobody_asked_for_are_nothing():
    search = lookup(BY_DISTANCE[:5], alpha=1)
    search.start(0)
    assert search.answered(key_of(BY_DISTANCE[3]), records(BY_DISTANCE[:1]), MS) == []
    assert search.answered(key_of(400), records(BY_DISTANCE[:1]), MS) == []
    assert search.closest == []


def test_a_lookup_never_asks_more_than_its_limit_and_always_ends():
    search = lookup([BY_DISTANCE[-1]])
    asked = keys(search.start(0))
    nearer = list(reversed(BY_DISTANCE[:-1]))
    while asked:
        named_next = [nearer.pop(0) for _ in range(5) if nearer]
        asked += keys(search.answered(asked.pop(0), records(named_next), MS))
    assert search.is_over
    assert search.rpcs == 64


def test_paths_are_disjoint_and_the_liar_draws_only_its_own_aside():
    seeds = BY_DISTANCE[100:104]
    search = lookup(seeds, paths=2, alpha=1, k=4)
    assert keys(search.start(0)) == named(seeds[:2])
    liar, honest = seeds[0], seeds[1]
    after_liar = search.answered(key_of(liar), records(BY_DISTANCE[50:54]), MS)
    assert keys(after_liar) == named(BY_DISTANCE[50:51])
    assert keys(search.answered(key_of(honest), records(BY_DISTANCE[:2] + BY_DISTANCE[50:54]), MS)) == named(BY_DISTANCE[:1])
    path_two = keys(search.answered(key_of(BY_DISTANCE[0]), [], MS))
    assert path_two == named(BY_DISTANCE[1:2])


def test_timeouts_follow_the_round_trips_within_limits():
    trips = RoundTrips(LookupProfile())
    assert trips.timeout_ns == 500 * MS
    for _ in range(64):
        trips.add(1 * MS)
    assert trips.timeout_ns == 50 * MS
    for _ in range(8):
        trips.add(400 * MS)
    assert trips.timeout_ns == 800 * MS
    for _ in range(64):
        trips.add(9_000 * MS)
    assert trips.timeout_ns == 2_000 * MS


@given(
    st.lists(st.integers(1, 60), unique=True, min_size=1),
    st.dictionaries(st.integers(1, 60), st.lists(st.integers(1, 60), max_size=8), max_size=60),
    st.sets(st.integers(1, 60)),
    st.integers(1, 6),
    st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_against_a_naive_search(seeds, graph, dead, k, paths):
    """Whoever can be reached through live nodes and is among the k closest of those found is in the result."""
    search = lookup(seeds, k=k, paths=paths, rpcs_max=1_000)
    waiting = keys(search.start(0))
    number_of = {key_of(number): number for number in range(1, 61)}
    while waiting:
        number = number_of[waiting.pop(0)]
        more = search.failed(key_of(number), MS) if number in dead else search.answered(
            key_of(number), records(graph.get(number, [])), MS
        )  # fmt: skip
        waiting += keys(more)
    assert search.is_over
    found = [number_of[r.public_key] for r in search.closest]
    assert not set(found) & dead
    assert found == sorted(found, key=distance)
    known = {*seeds, *(n for number in found for n in graph.get(number, [])[:k])} - dead
    assert all(distance(number) > distance(found[-1]) for number in known - set(found)) or len(found) < k
    if len(found) < k:
        assert known <= set(found)


@pytest.mark.parametrize(("count", "dead_share"), [(100, 0.0), (100, 0.2), (1_000, 0.2)])
def test_no_dead_node_is_ever_found(count: int, dead_share: float):
    figures = walks(7, count, dead_share, 40)
    assert figures.dead_found == 0
    assert figures.missed < 0.03
    assert figures.hops < 3
    assert figures.rpcs < (26 if dead_share == 0 else 45)
