"""Membership: what one node concludes, step by step, and what small meshes conclude together."""

from dataclasses import replace
from random import Random

import pytest

from benchmarks.small_world import (
    FAKE,
    Trust,
    World,
    believes,
    detection,
    false_positives,
    key_of,
    mesh,
    record_of,
    statuses,
)
from golemp2p.core.beliefs import Expelled, LonelyChanged, MemberChanged, Removed
from golemp2p.core.effects import Notice, Send
from golemp2p.core.membership import Membership
from golemp2p.core.membership_profile import LAN, MS, S
from golemp2p.model import messages_membership as msg
from golemp2p.model.membership import Claim, NodeRecord, Removal, Status

ME, PEER, THIRD = key_of(0), key_of(1), key_of(2)


def node(*others: int, seed: int = 1) -> Membership:
    """Node 0, which knows ``others``."""
    member = Membership(record_of(0), Trust(), Random(seed))
    for number in others:
        joined = member.receive(key_of(number), msg.Join(signed(number)), 0)
        assert [effect for effect in joined if isinstance(effect, MemberChanged)]
    return member


def signed(number: int, **changes: object) -> NodeRecord:
    return replace(record_of(number), signature=FAKE, **changes)


def sends(effects: list, kind: type) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def silence(member: Membership, until_ns: int, answering: tuple[bytes, ...] = ()) -> list:
    """Let time pass; only ``answering`` answer, at once: pings with an ack, requests to ping others with a nack."""
    seen = []
    while (due_ns := member.next_due_ns()) is not None and due_ns <= until_ns:
        effects = member.on_time(due_ns)
        for ping in sends(effects, msg.Ping):
            if ping.peer in answering:
                effects += member.receive(ping.peer, msg.Ack(ping.message.sequence), due_ns)
        for request in sends(effects, msg.PingRequest):
            if request.peer in answering:
                effects += member.receive(request.peer, msg.Nack(request.message.sequence), due_ns)
        seen += effects
    return seen


def test_alone_it_has_nothing_to_do():
    assert node().next_due_ns() is None
    assert node().may_campaign


def test_a_silent_member_is_probed_twice_then_through_relays_then_suspected_then_dead():
    member = node(1, 2, 3)
    seen = silence(member, 5 * S, answering=(THIRD, key_of(3)))
    told = [(type(e.message).__name__, e.peer) for e in seen if isinstance(e, Send) and e.peer == PEER]
    assert told[:2] == [("Ping", PEER), ("Ping", PEER)]
    requests = sends(seen, msg.PingRequest)
    assert {request.message.target for request in requests[:2]} == {PEER}
    assert sorted(request.peer for request in requests[:2]) == sorted([THIRD, key_of(3)])
    changes = [(c.before, c.member.status) for c in seen if isinstance(c, MemberChanged)]
    assert changes == [(Status.ALIVE, Status.SUSPECT), (Status.SUSPECT, Status.DEAD)]
    assert not member.is_alive(PEER)


def test_relays_that_say_nothing_worsen_our_own_health_and_answers_mend_it():
    member = node(1, 2)
    silence(member, 2 * S)
    assert member.health > 0
    silence(member, 20 * S, answering=(PEER, THIRD))
    assert member.health == 0


def test_nobody_answers_so_it_is_me():
    member = node(1, 2, 3)
    seen = silence(member, 30 * S)
    assert [e for e in seen if isinstance(e, LonelyChanged)] == [LonelyChanged(True)]
    assert not member.may_campaign
    assert Status.DEAD not in statuses(member).values()
    assert LonelyChanged(False) in member.receive(PEER, msg.Nack(0), 30 * S)
    assert member.may_campaign


def test_traffic_is_evidence_but_not_for_ever():
    member = node(1, 2)
    for step in range(40):
        member.heard_from(PEER, step * 50 * MS)
        silence(member, step * 50 * MS, answering=(THIRD,))
    assert statuses(member)[PEER] is Status.ALIVE
    for step in range(40, 400):
        member.heard_from(PEER, step * 50 * MS)
        silence(member, step * 50 * MS, answering=(THIRD,))
    assert statuses(member)[PEER] is Status.DEAD


def test_two_that_hold_each_other_dead_do_not_argue_at_wire_speed():
    world = World(1)
    one, other = mesh(world, 2)
    for node, subject in ((one, other), (other, one)):
        node._beliefs.bury(subject.record.public_key, Claim(subject.record.public_key, 0, Status.DEAD, b""), 0, [])
        node._beliefs.record = replace(node.record, incarnation=7)  # refuted long ago; the other has not heard it
    world.settle(one.record.public_key, [Send(other.record.public_key, msg.Gossip(()))])
    world.run(2 * S)
    assert statuses(one)[other.record.public_key] is Status.ALIVE
    assert statuses(other)[one.record.public_key] is Status.ALIVE
    assert world.sent["Gossip"] < 40


def test_an_accusation_is_refuted_under_a_higher_incarnation_and_only_once_at_a_time():
    member = node(1, 2)
    claim = Claim(ME, member.record.incarnation, Status.SUSPECT, THIRD)
    effects = member.receive(PEER, msg.Ping(7, (claim,)), S)
    assert member.record.incarnation == 1
    assert member.record in sends(effects, msg.Gossip)[0].message.updates
    assert member.record in sends(effects, msg.Ack)[0].message.updates
    again = replace(claim, incarnation=1)
    member.receive(PEER, msg.Gossip((again,)), S + MS)
    assert member.record.incarnation == 1
    member.receive(PEER, msg.Gossip((claim,)), 2 * S)
    assert member.record.incarnation == 1, "the claim is about an old incarnation"
    member.receive(PEER, msg.Gossip((again,)), 2 * S)
    assert member.record.incarnation == 2


def test_claims_count_only_for_the_incarnation_that_is_known():
    member = node(1, 2)
    for incarnation in (1, 2**60):
        member.receive(THIRD, msg.Gossip((Claim(PEER, incarnation, Status.DEAD, THIRD),)), S)
    assert statuses(member)[PEER] is Status.ALIVE


def test_nobody_jumps_from_alive_to_dead():
    member = node(1, 2)
    dead = msg.Gossip((Claim(PEER, 0, Status.DEAD, THIRD),))
    member.receive(THIRD, dead, S)
    assert statuses(member)[PEER] is Status.SUSPECT
    member.receive(THIRD, msg.Gossip((signed(1, incarnation=1),)), S + MS)
    assert statuses(member)[PEER] is Status.ALIVE
    member.receive(THIRD, dead, S + 2 * MS)
    assert statuses(member)[PEER] is Status.ALIVE


def test_a_suspect_that_others_hold_dead_is_dead():
    member = node(1, 2)
    dead = msg.Gossip((Claim(PEER, 0, Status.DEAD, THIRD),))
    member.receive(THIRD, msg.Gossip((Claim(PEER, 0, Status.SUSPECT, THIRD),)), S)
    member.receive(THIRD, dead, S + 10 * MS)
    assert statuses(member)[PEER] is Status.SUSPECT, "it may not have heard of it yet"
    member.receive(THIRD, dead, S + LAN.suspicion_min_ns // 2)
    assert statuses(member)[PEER] is Status.DEAD


def test_a_suspect_learns_of_it_with_the_first_ping():
    member = node(1, 2)
    member.receive(THIRD, msg.Gossip((Claim(PEER, 0, Status.SUSPECT, THIRD),)), S)
    effects = member.receive(PEER, msg.Ping(1), S)
    assert sends(effects, msg.Ack)[0].message.updates[0] == Claim(PEER, 0, Status.SUSPECT, THIRD)


def test_the_dead_that_speak_are_told():
    member = node(1, 2)
    member.receive(THIRD, msg.Gossip((Claim(PEER, 0, Status.SUSPECT, THIRD),)), S)
    member.receive(THIRD, msg.Gossip((Claim(PEER, 0, Status.DEAD, THIRD),)), S + LAN.suspicion_min_ns)
    told = sends(member.receive(PEER, msg.Ping(1), 2 * S), msg.Gossip)
    assert told[0].message.updates == (Claim(PEER, 0, Status.DEAD, ME),)


def test_forged_records_are_nothing():
    member = node(1)
    forged = replace(signed(1, incarnation=9), signature=b"x" * 64)
    effects = member.receive(PEER, msg.Gossip((forged, replace(signed(5), signature=b""))), S)
    assert [e.name for e in effects if isinstance(e, Notice)] == ["membership.forged-record"] * 2
    assert statuses(member) == {ME: Status.ALIVE, PEER: Status.ALIVE}
    assert member.members.get(PEER).record.incarnation == 0


def test_strangers_are_told_so_and_newcomers_are_checked():
    member = node()
    assert member.receive(PEER, msg.Ping(1), 0) == [Send(PEER, msg.Stranger())]
    assert member.receive(PEER, msg.Stranger(), 0) == []
    for record in (replace(signed(1), signature=b""), signed(2), signed(1, left=True)):
        assert member.receive(PEER, msg.Join(record), 0) == [Send(PEER, msg.Refused("not-admitted"))]
    assert len(member.members) == 1


def test_a_full_list_refuses():
    member = Membership(record_of(0), Trust(), Random(1), replace(LAN, members_max=2))
    assert sends(member.receive(PEER, msg.Join(signed(1)), 0), msg.SyncPage)
    assert member.receive(THIRD, msg.Join(signed(2)), 0) == [Send(THIRD, msg.Refused("mesh-full"))]


def test_the_operator_removes_for_ever():
    member = node(1, 2)
    order = Removal(PEER, FAKE)
    assert member.remove(replace(order, signature=b"x" * 64), S) == []
    told, change = member.remove(order, S)
    assert told == Removed(order)
    assert member.remove(order, S) == [], "it is known"
    assert (change.member.public_key, change.member.status) == (PEER, Status.REMOVED)
    member.receive(THIRD, msg.Gossip((signed(1, incarnation=9),)), S)
    assert PEER not in member.members
    assert member.receive(PEER, msg.Join(signed(1, incarnation=9)), S) == [Send(PEER, msg.Gossip((order,)))]
    expelled = node(1)
    assert expelled.receive(PEER, msg.Gossip((Removal(ME, FAKE),)), S)[0] == Expelled()
    assert expelled.next_due_ns() is None
    assert not expelled.may_campaign


def test_it_goes_on_above_the_incarnation_of_an_earlier_life():
    member = node(1)
    member.receive(PEER, msg.Gossip((signed(0, incarnation=41),)), S)
    assert member.record.incarnation == 42
    member.receive(PEER, msg.Gossip((replace(signed(0, incarnation=99), signature=b"y" * 64),)), S)
    assert member.record.incarnation == 42


def test_a_node_that_stood_still_blames_nobody():
    world = World(5)
    nodes = mesh(world, 7)
    world.run(2 * S)
    frozen = nodes[0].record.public_key
    world.frozen[frozen] = world.now_ns + 20 * S
    world.seen.clear()
    world.run(25 * S)
    by_frozen = [e.member for _, key, e in world.seen if key == frozen and isinstance(e, MemberChanged)]
    assert not [member for member in by_frozen if member.status is Status.DEAD]
    world.run(10 * S)
    assert believes(nodes, frozen, Status.ALIVE), "thawed, told that it is dead, and back under a new incarnation"
    assert all(believes(nodes, other.record.public_key, Status.ALIVE) for other in nodes)


@pytest.mark.parametrize(("count", "loss"), [(3, 0.0), (7, 0.0), (7, 0.01), (7, 0.05), (50, 0.0), (50, 0.05)])
def test_a_crash_is_found_in_about_a_second(count: int, loss: float):
    first_ns, last_ns = detection(3, count, loss)
    assert first_ns < 1_600 * MS
    assert last_ns < 2_000 * MS


@pytest.mark.parametrize(("count", "seconds"), [(7, 30), (50, 5)])
def test_lost_messages_do_not_kill(count: int, seconds: int):
    _, verdicts = false_positives(11, count, 0.05, seconds * S)
    assert verdicts == 0


def test_a_mended_partition_finds_itself_again():
    world = World(2)
    nodes = mesh(world, 7)
    minority = {node.record.public_key for node in nodes[:3]}
    world.run(2 * S)
    world.cut = lambda sender, receiver: (sender in minority) != (receiver in minority)
    world.run(10 * S)
    assert believes(nodes[3:], nodes[0].record.public_key, Status.DEAD)
    assert believes(nodes[:3], nodes[4].record.public_key, Status.DEAD)
    world.cut = lambda _sender, _receiver: False
    world.seen.clear()
    world.run(20 * S)
    assert all(set(statuses(node).values()) == {Status.ALIVE} for node in nodes)
    died = [e for _, _, e in world.seen if isinstance(e, MemberChanged) and e.member.status is Status.DEAD]
    assert not died, "nobody is declared dead because of old news"


def test_an_isolated_node_takes_nobody_with_it():
    world = World(4)
    nodes = mesh(world, 5)
    alone = nodes[0].record.public_key
    world.cut = lambda sender, receiver: alone in (sender, receiver)
    world.run(20 * S)
    assert not nodes[0].may_campaign
    assert Status.DEAD not in statuses(nodes[0]).values()
    assert all(node.may_campaign for node in nodes[1:])
    assert believes(nodes[1:], alone, Status.DEAD)


def test_newcomers_are_known_to_all_and_know_all():
    world = World(8, loss=0.05)
    founder = Membership(record_of(0), Trust(), Random(0))
    world.add(ME, founder)
    nodes = [founder]
    for number in range(1, 20):
        newcomer = Membership(record_of(number), Trust(), Random(number))
        world.add(key_of(number), newcomer)
        world.settle(key_of(number), newcomer.join([ME], world.now_ns))
        nodes.append(newcomer)
    world.run(40 * S)
    assert {frozenset(statuses(node).items()) for node in nodes} == {frozenset((key_of(n), Status.ALIVE) for n in range(20))}
    assert len({node.members.digest() for node in nodes}) == 1


def test_farewells_are_heard_and_silence_follows():
    world = World(6)
    nodes = mesh(world, 5)
    world.run(S)
    leaver = nodes[0]
    world.settle(leaver.record.public_key, leaver.leave(world.now_ns))
    assert leaver.next_due_ns() is None
    assert not leaver.may_campaign
    world.run(2 * S)
    assert believes(nodes[1:], leaver.record.public_key, Status.LEFT)
    suspected = [e for _, _, e in world.seen if isinstance(e, MemberChanged) and e.member.status is Status.SUSPECT]
    assert not suspected


def test_the_same_seed_gives_the_same_run():
    def trace(seed: int) -> list:
        world = World(seed, loss=0.1)
        mesh(world, 7)
        world.run(10 * S)
        return [world.sent, world.seen, world.dice.random()]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_load_per_node_does_not_grow_with_the_mesh():
    def pings_per_node_and_second(count: int) -> float:
        world = World(1)
        mesh(world, count)
        world.run(5 * S)
        return (world.sent["Ping"] + world.sent["Ack"]) / count / 5

    assert pings_per_node_and_second(5) == pytest.approx(pings_per_node_and_second(50), rel=0.1)


def test_strangers_confirm_no_suspicion():
    member = node(*range(1, 8))
    member.receive(THIRD, msg.Gossip((Claim(PEER, 0, Status.SUSPECT, THIRD),)), S)

    def accusers() -> int:
        return len(member._beliefs.suspicions[PEER].accusers)

    member.receive(THIRD, msg.Gossip(tuple(Claim(PEER, 0, Status.SUSPECT, key_of(number)) for number in range(20, 30))), S)
    assert accusers() == 1
    member.receive(key_of(3), msg.Gossip((Claim(PEER, 0, Status.SUSPECT, key_of(3)),)), S)
    assert accusers() == 2


def test_who_is_met_later_is_asked_once_and_heard():
    world = World(9)
    one, other = mesh(world, 2)
    stranger = Membership(record_of(2), Trust(), Random(2))
    world.add(THIRD, stranger)
    asked = one.meet([ME, THIRD], world.now_ns)
    assert [(type(effect.message), effect.peer) for effect in asked] == [(msg.Join, THIRD)]
    assert not one.is_joining
    world.settle(ME, asked)
    world.run(10 * S)
    for node_ in (one, other, stranger):
        assert set(statuses(node_).values()) == {Status.ALIVE}
        assert len(statuses(node_)) == 3


def test_who_is_met_while_nobody_has_let_it_in_is_asked_like_the_others():
    member = node()
    member.join([PEER], 0)
    asked = sends(member.meet([PEER, THIRD], 0), msg.Join)
    assert {effect.peer for effect in asked} == {PEER, THIRD}
    assert member.is_joining
