"""Wires, disks, clocks and processes do what their faults say, one at a time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from sim_helpers import Puppets, puppet_world

from golemp2p.core.effects import Persist, Send
from golemp2p_sim.atlas import Atlas, Limit
from golemp2p_sim.faults import Fault
from golemp2p_sim.host import Aim
from golemp2p_sim.injector import Injector
from golemp2p_sim.network import Latency, NetworkOptions, Weather, between
from golemp2p_sim.node import Halt, Reply, Request
from golemp2p_sim.units import MS, S
from golemp2p_sim.world import World, WorldOptions

SLOW = WorldOptions(nodes=3, network=NetworkOptions(latency=Latency("constant", 10 * MS, 10 * MS)))


def calm(**changes: Any) -> tuple[World, Puppets]:
    return puppet_world(options=SLOW, **changes)


def got(subject: Puppets, node: int) -> list[Any]:
    return [event[1] for event in subject.lives[node][-1].seen if event[0] == "message"]


def play(world: World, *faults: Fault, until: int = 20 * S) -> Injector:
    injector = Injector(world, Atlas(world.subject, harm=Limit.NONE, away=Limit.NONE), faults)
    world.run_until(until)
    return injector


# -- wires --------------------------------------------------------------------------------------------------------------------


def test_a_message_takes_its_latency() -> None:
    world, subject = calm()
    world.send(0, world.keys[1], "hello")
    world.run_until(10 * MS - 1)
    assert got(subject, 1) == []
    world.run_until(10 * MS)
    assert got(subject, 1) == ["hello"]


def test_bandwidth_queues_messages() -> None:
    network = NetworkOptions(latency=Latency("constant", 0, 0), bandwidth_bytes_s=100_000)
    world, subject = puppet_world(options=WorldOptions(nodes=2, network=network))
    for number in range(3):
        world.send(0, world.keys[1], number)  # 100 bytes each: a millisecond
    world.run_until(2 * MS)
    assert got(subject, 1) == [0, 1]


def test_partitions_cut_both_ways_and_one_way() -> None:
    world, _ = calm()
    network = world.network
    cut = network.cut_off([0])
    assert network.arrivals(0, 1, 1, 0) == network.arrivals(1, 0, 1, 0) == ()
    assert network.arrivals(1, 2, 1, 0) != ()
    network.rejoin(cut)
    assert network.calm
    network.cut_off([0], one_way=True)
    assert network.arrivals(0, 1, 1, 0) == ()
    assert network.arrivals(1, 0, 1, 0) != ()


def test_what_is_under_way_when_a_partition_begins_is_lost() -> None:
    world, subject = calm()
    world.send(0, world.keys[1], "late")
    world.run_until(5 * MS)
    world.network.cut_off([1])
    world.run_until(S)
    assert got(subject, 1) == []
    assert world.network.counts.cut == 1


def test_a_reset_loses_what_is_under_way_and_nothing_later() -> None:
    world, subject = calm()
    world.send(0, world.keys[1], "before")
    play(world, Fault("reset", 5 * MS, nodes=(0, 1)), until=6 * MS)
    world.send(0, world.keys[1], "after")
    world.run_until(S)
    assert got(subject, 1) == ["after"]
    assert "reset" in subject.lives[0][-1].names()


@pytest.mark.parametrize(
    ("weather", "low", "high"),
    [
        (Weather(loss=65_536), 0, 0),
        (Weather(duplicate=65_536), 200, 200),
        (Weather(loss=32_768), 25, 75),
        (Weather(duplicate=6_554), 101, 125),
    ],
)
def test_loss_and_duplication(weather: Weather, low: int, high: int) -> None:
    world, _ = calm()
    world.network.begin(weather)
    assert low <= sum(len(world.network.arrivals(0, 1, 1, 0)) for _ in range(100)) <= high


def test_a_clog_holds_messages_and_slow_links_multiply() -> None:
    world, _ = calm()
    clog = Weather(clogged_until_ns=S, links=between([0], [1]))
    world.network.begin(clog)
    assert world.network.arrivals(0, 1, 1, 0) == (S,)
    assert world.network.arrivals(0, 2, 1, 0) == (10 * MS,)
    world.network.end(clog)
    world.network.begin(Weather(slow_factor=3, links=between([0], [1])))
    world.network.begin(Weather(slow_factor=2))
    assert world.network.arrivals(0, 1, 1, 0) == (60 * MS,)
    assert world.network.arrivals(0, 2, 1, 0) == (20 * MS,)


def test_weather_does_not_shift_other_throws() -> None:
    """The latencies of later messages are the same whether earlier ones were lost or not."""

    def latencies(*weathers: Weather) -> list[int]:
        world, _ = puppet_world(seed=3)
        for weather in weathers:
            world.network.begin(weather)
        for _ in range(5):
            world.network.arrivals(0, 1, 1, 0)
        for weather in weathers:
            world.network.end(weather)
        return [world.network.arrivals(0, 1, 1, 0)[0] for _ in range(20)]

    assert latencies() == latencies(Weather(loss=65_536)) == latencies(Weather(duplicate=65_536, reorder=9))


@pytest.mark.parametrize("distribution", ["constant", "uniform", "exponential", "lognormal"])
def test_latencies_stay_in_bounds(distribution: str) -> None:
    samples = Latency(distribution, 100, 1000, 300).samples(Random(1))
    assert min(samples) >= 100
    assert max(samples) <= 1000


# -- disks --------------------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_its_write_is_durable() -> None:
    world, subject = calm()
    world.hosts[0].perform([Persist("vote", 1, (Send(world.keys[1], "voted"),))])
    assert "persisted" not in subject.lives[0][-1].names()
    world.hosts[0].crash("test")
    world.run_until(S)
    assert got(subject, 1) == []


def test_durable_writes_survive_and_release_their_sends() -> None:
    world, subject = calm()
    world.hosts[0].perform([Persist("vote", 1, (Send(world.keys[1], "voted"),)), Persist("more", 2)])
    world.run_until(S)
    assert got(subject, 1) == ["voted"]
    assert [event for event in subject.lives[0][-1].seen if event[0] == "persisted"] == [("persisted", 1), ("persisted", 2)]
    world.hosts[0].crash("test")
    world.hosts[0].start()
    assert subject.lives[0][-1].seen[0][1] == ("vote", "more")


def test_unsynced_writes_are_lost_kept_or_torn() -> None:
    fates = set()
    for seed in range(40):
        world, _ = calm(seed=seed)
        world.hosts[0].perform([Persist(number, number) for number in range(1, 4)])
        world.hosts[0].crash("test")
        image: Any = world.hosts[0].disk.image
        assert image.records == list(range(1, len(image.records) + 1))  # always a prefix
        fates.add((len(image.records), image.torn))
    assert {torn for _, torn in fates} == {False, True}
    assert {count for count, _ in fates} == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", ["disk-full", "disk-error"])
def test_refused_writes_are_reported_and_release_nothing(kind: str) -> None:
    world, subject = calm()
    play(world, Fault(kind, 0, S, (0,)), until=0)
    world.hosts[0].perform([Persist("a", 1, (Send(world.keys[1], "a"),)), Persist("b", 2)])
    world.run_until(2 * S)
    assert [event for event in subject.lives[0][-1].seen if event[0] in ("failed", "persisted")] == [
        ("failed", 1),
        ("failed", 2),
    ]
    assert got(subject, 1) == []
    assert world.hosts[0].disk.image.records == []  # type: ignore[attr-defined]


def test_a_dropped_sync_says_durable_and_is_not() -> None:
    lost = 0
    for seed in range(20):
        world, subject = calm(seed=seed)
        play(world, Fault("sync-dropped", 0, S, (0,)), until=0)
        world.hosts[0].perform([Persist("a", 1)])
        world.run_until(S // 2)
        assert "persisted" in subject.lives[0][-1].names()
        world.hosts[0].crash("test")
        lost += "a" not in world.hosts[0].disk.image.records  # type: ignore[attr-defined]
    assert 0 < lost <= 20


def test_lost_restored_and_rotten_stores() -> None:
    world, subject = calm()
    for number in (1, 2):
        world.hosts[number].perform([Persist("old", 1)])
    world.run_until(S)
    injector = Injector(
        world,
        Atlas(subject, harm=Limit.NONE, away=Limit.NONE),
        [Fault("store-lost", 2 * S, S, (1,)), Fault("store-restored", 2 * S, S, (2,))],
    )
    world.run_until(2 * S)
    world.hosts[2].perform([Persist("new", 2)])
    world.run_until(5 * S)
    assert injector.injected == 2
    assert (world.hosts[1].disk.store, subject.lives[1][-1].seen[0][1]) == (1, ())
    assert (world.hosts[2].disk.store, subject.lives[2][-1].seen[0][1]) == (0, ("old",))
    play(world, Fault("bit-rot", 6 * S, S, (2,)))
    assert world.hosts[2].disk.image.rotten == [0]  # type: ignore[attr-defined]


# -- processes and clocks -----------------------------------------------------------------------------------------------------


def test_a_frozen_process_goes_on_with_everything_that_waited() -> None:
    world, subject = calm()
    puppet = subject.lives[1][-1]
    puppet.due_ns = world.hosts[1].local_ns() + 50 * MS
    world.send(0, world.keys[1], "one")
    play(world, Fault("freeze", 5 * MS, S, (1,)), until=900 * MS)
    assert puppet.names() == ["start"]
    world.run_until(2 * S)
    assert puppet.names() == ["start", "message", "time"]
    assert puppet is subject.lives[1][-1]


def test_a_crash_drops_the_process_and_a_restart_makes_a_new_one() -> None:
    world, subject = calm()
    play(world, Fault("crash", S, S, (1,)))
    assert len(subject.lives[1]) == 2
    assert len(subject.lives[0]) == 1


@pytest.mark.parametrize(("ppm", "at_ns"), [(0, 10 * S), (100_000, 9_090_909_091), (-500_000, 20 * S)])
def test_skewed_clocks_ring_early_or_late(ppm: int, at_ns: int) -> None:
    world, subject = calm()
    host, puppet = world.hosts[0], subject.lives[0][-1]
    host.skew(ppm)
    wanted = puppet.due_ns = host.local_ns() + 10 * S
    host.perform(())
    host.on_request(Request(1, "w", (), "k"), None, None)  # any event lets the host look at the alarm
    world.run_until(at_ns - 2)
    assert "time" not in puppet.names()
    world.run_until(at_ns + 2)
    assert puppet.seen[-1][0] == "time"
    assert puppet.seen[-1][1] >= wanted


def test_a_clock_jump_makes_alarms_ring_now() -> None:
    world, subject = calm()
    subject.lives[0][-1].due_ns = world.hosts[0].local_ns() + 10 * S
    play(world, Fault("clock-jump", S, nodes=(0,), amount=20 * S), until=S)
    assert subject.lives[0][-1].names() == ["start", "time"]


def test_a_node_that_halts_is_started_again() -> None:
    world, subject = calm()
    world.hosts[0].perform([Halt("disk")])
    assert world.hosts[0].node is None
    world.run_until(S)
    assert len(subject.lives[0]) == 2


@pytest.mark.parametrize(("step", "durable"), [("before-persist", False), ("after-persist", True), ("mid-send", False)])
def test_crashes_aimed_at_steps(step: str, durable: bool) -> None:
    world, subject = calm()
    host = world.hosts[0]
    host.aims.append(Aim(step, 1, lambda: host.crash("aimed")))
    first, second = Send(world.keys[1], "x"), Send(world.keys[2], "y")
    write = Persist("w", 1, (Send(world.keys[1], "then"),))
    host.perform([first, second, write] if step == "mid-send" else [first, write])
    world.run_until(S)
    assert host.node is None
    assert "then" not in got(subject, 1)
    assert got(subject, 2) == []
    if durable:
        assert host.disk.image.records == ["w"]  # type: ignore[attr-defined]
    assert got(subject, 1) == ["x"]


def test_a_refused_connection_is_an_answer() -> None:
    world, _ = calm()
    replies: list[Reply] = []
    world.on_reply = lambda _node, reply: replies.append(reply)
    world.hosts[0].crash("test")
    world.hosts[0].on_request(Request(7, "w", (), "k"), None, None)
    assert replies == [Reply(7, False, "connection refused")]


def test_liars_change_messages_under_their_own_key() -> None:
    world, subject = calm()
    play(world, Fault("byzantine", 0, 10 * S, (0,), step="equivocate"), until=0)
    for _ in range(40):
        world.hosts[0].perform([Send(world.keys[1], "yes")])
    world.run_until(S)
    assert set(got(subject, 1)) == {"yes", "not yes"}


@pytest.mark.parametrize("behaviour", ["drop-after-ack", "flood", "replay", "invent-identities", "mute"])
def test_other_liars(behaviour: str) -> None:
    world, subject = calm()
    play(world, Fault("byzantine", 0, 10 * S, (0,), step=behaviour), until=0)
    for number in range(60):
        world.hosts[0].perform([Send(world.keys[1], number)])
    world.run_until(S)
    received = sum(len(got(subject, node)) for node in range(3))
    assert received < 60 if behaviour in ("drop-after-ack", "mute") else received > 60


# -- the atlas ----------------------------------------------------------------------------------------------------------------


def test_durable_harm_stays_with_a_minority_of_every_group_until_repaired() -> None:
    subject = Puppets(5, [(0, 1, 2), (2, 3, 4)])
    atlas = Atlas(subject, harm=Limit.MINORITY, away=Limit.NONE)
    lost = {node: Fault("store-lost", 0, S, (node,)) for node in range(5)}
    atlas.begin(lost[0])
    atlas.end(lost[0])
    assert "majority" in atlas.refuses(lost[1])
    assert "majority" in atlas.refuses(lost[2])
    assert atlas.refuses(lost[3]) == ""
    assert atlas.refuses(Fault("crash", 0, S, (1,))) == ""
    atlas.repaired(0)
    assert atlas.refuses(lost[1]) == ""


def test_light_profiles_keep_majorities_running() -> None:
    atlas = Atlas(Puppets(3), harm=Limit.MINORITY, away=Limit.MINORITY)
    away = Fault("freeze", 0, S, (0,))
    atlas.begin(away)
    assert "majority" in atlas.refuses(Fault("crash", 0, S, (1,)))
    atlas.end(away)
    assert atlas.refuses(Fault("crash", 0, S, (1,))) == ""


def test_what_is_not_promised_is_refused() -> None:
    subject = Puppets(3)
    subject.survives = frozenset({"crash"})
    assert "does not promise" in Atlas(subject, harm=Limit.NONE, away=Limit.NONE).refuses(Fault("freeze", 0, S, (0,)))


def test_healing_ends_everything() -> None:
    world, subject = calm()
    faults = [Fault("crash", 0, 9 * S, (0,)), Fault("freeze", 0, 9 * S, (1,)), Fault("partition", 0, 9 * S, (2,))]
    faults.append(Fault("loss", 0, 9 * S, amount=65_536))
    injector = play(world, *faults, Fault("crash", 2 * S, S, (1,)), until=S)
    injector.heal()
    world.send(1, world.keys[2], "again")
    world.run_until(5 * S)
    assert got(subject, 2) == ["again"]
    assert all(host.node is not None and not host.frozen for host in world.hosts)
    assert injector.injected == 4
    assert [played.end_ns for played in injector.happened] == [S] * 4


def test_faults_on_nodes_that_are_away_are_not_counted() -> None:
    world, _ = calm()
    injector = play(world, Fault("crash", 0, 9 * S, (0,)), Fault("freeze", S, S, (0,)))
    assert [bool(played.refused) for played in injector.happened] == [False, True]
