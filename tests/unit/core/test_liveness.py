"""Heartbeats between nodes that share work: a number of nodes, never of shards; silence is found in a second."""

from benchmarks.small_world import World, key_of
from golemp2p.core.effects import Send
from golemp2p.core.liveness import Liveness, PeerHeard, PeerSilent
from golemp2p.core.membership_profile import MS, S
from golemp2p.model.messages_membership import Heartbeat, HeartbeatAsked

A, B, C = key_of(0), key_of(1), key_of(2)


def world_of(*keys: bytes, loss: float = 0.0) -> World:
    world = World(1, loss=loss)
    for key in keys:
        world.add(key, Liveness())
    return world


def work(world: World, key: bytes, shards: range, followers: list[bytes]) -> None:
    for shard in shards:
        world.settle(key, world.nodes[key].work_began(shard, followers, world.now_ns))


def silences(world: World) -> list[tuple[int, bytes, bytes]]:
    return [(at_ns, key, effect.peer) for at_ns, key, effect in world.seen if isinstance(effect, PeerSilent)]


def test_idle_shards_cost_nothing():
    world = world_of(A, B, C)
    world.run(60 * S)
    assert world.sent.total() == 0
    assert all(node.next_due_ns() is None for node in world.nodes.values())


def test_a_thousand_shards_beat_as_one():
    counts = []
    for shards in (1, 1024):
        world = world_of(A, B, C)
        work(world, A, range(shards), [B, C])
        world.run(10 * S)
        counts.append(world.sent.total())
    assert counts[0] == counts[1] == 2 * 100
    assert silences(world) == []


def test_short_work_is_not_announced():
    world = world_of(A, B, C)
    work(world, A, range(1), [B, C])
    world.run(90 * MS)
    world.settle(A, world.nodes[A].work_ended(0))
    world.run(S)
    assert world.sent.total() == 0


def test_silence_is_reported_once_after_a_second_and_asked_about_before():
    world = world_of(A, B, C)
    work(world, A, range(3), [B, C])
    world.run(S)
    world.stopped.add(A)
    world.run(5 * S)
    assert sorted(key for _, key, _ in silences(world)) == sorted([B, C])
    assert all(1_900 * MS < at_ns <= 2_010 * MS for at_ns, _, _ in silences(world))
    assert world.sent["HeartbeatAsked"] == 2 * 5
    assert world.nodes[B].is_silent(A)
    assert world.nodes[B].next_due_ns() is None


def test_a_lost_farewell_costs_a_question():
    world = world_of(A, B)
    work(world, A, range(1), [B])
    world.run(S)
    world.cut = lambda _sender, _receiver: True
    world.settle(A, world.nodes[A].work_ended(0))
    world.cut = lambda _sender, _receiver: False
    world.run(5 * S)
    assert silences(world) == []
    assert world.sent["HeartbeatAsked"] == 1
    assert world.nodes[B].next_due_ns() is None


def test_other_traffic_stands_for_heartbeats():
    one, other = Liveness(), Liveness()
    assert one.work_began(7, [B], -100 * MS) == []
    (beat,) = one.on_time(0)
    other.receive(A, beat.message, 0)
    for step in range(1, 40):
        one.sent_to(B, step * 90 * MS)
        other.heard_from(A, step * 90 * MS)
        assert one.on_time(step * 90 * MS + MS) == []
        assert other.on_time(step * 90 * MS + MS) == []
    assert one.on_time(39 * 90 * MS + 100 * MS) == [Send(B, Heartbeat(True))]


def test_followers_that_change_are_told_and_the_others_are_not():
    node = Liveness()
    assert node.work_began(1, [A, B], 0) == []
    assert [e.peer for e in node.on_time(100 * MS)] == [A, B]
    assert node.work_began(1, [B, C], 100 * MS) == [Send(A, Heartbeat(False))]
    assert node.work_began(2, [C], 100 * MS) == []
    assert [e.peer for e in node.on_time(200 * MS)] == [B, C]
    assert [e.peer for e in node.work_ended(1)] == [B]
    assert [e.peer for e in node.work_ended(2)] == [C]
    assert node.next_due_ns() is None
    assert node.work_ended(1) == []


def test_lossy_links_are_not_silent():
    world = world_of(A, B, C, loss=0.05)
    for key, others in ((A, [B, C]), (B, [A, C]), (C, [A, B])):
        work(world, key, range(2), others)
    world.run(300 * S)
    assert silences(world) == []


def test_who_stood_still_blames_nobody_and_who_comes_back_is_heard():
    world = world_of(A, B)
    work(world, A, range(1), [B])
    world.run(S)
    world.frozen[B] = world.now_ns + 10 * S
    world.run(15 * S)
    assert silences(world) == []
    world.frozen[A] = world.now_ns + 3 * S
    world.run(10 * S)
    assert [(key, peer) for _, key, peer in silences(world)] == [(B, A)]
    assert [effect for _, _, effect in world.seen if isinstance(effect, PeerHeard)] == [PeerHeard(A)]
    assert not world.nodes[B].is_silent(A)


def test_who_was_taken_over_is_forgotten():
    node = Liveness()
    node.receive(A, Heartbeat(True), 0)
    node.forget(A)
    assert node.next_due_ns() is None
    assert node.receive(A, HeartbeatAsked(), 0) == [Send(A, Heartbeat(False))]
