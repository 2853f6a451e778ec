"""What a person asks of a node about its mesh, and orders: over real cores, without sockets."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from peer_mesh import SHARDS, Node, PeerMesh

from golemp2p.drivers.administration.mesh_admin import LEAVING, is_loopback
from golemp2p.drivers.administration.mesh_names import node_name
from golemp2p.errors import InvalidState, NodeNotFound
from golemp2p.model.membership import Status
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.invite import decode_invite

OPERATOR = SigningKey(b"o" * 32)


@pytest.fixture(scope="module")
def calm() -> PeerMesh:
    """Three nodes at rest; tests that change anything make their own."""
    return PeerMesh(3).grown()


def name(mesh: PeerMesh, number: int) -> str:
    return node_name(mesh.keys[number].public_key)


# -- looking ------------------------------------------------------------------------------------------------------------------


def test_a_founder_alone():
    mesh = PeerMesh(1)
    mesh.run(1)
    status = mesh[0].desk.status()
    assert (status.state, status.is_founder, status.keeps_operator_key) == ("alone", True, True)
    assert (status.shards_count, status.shards_voting, status.shards_leading, status.members_alive) == (
        SHARDS,
        SHARDS,
        SHARDS,
        1,
    )
    assert (status.version, status.http, status.addresses) == ("0.0", "http://10.0.0.1:9881", ("10.0.0.1:9882",))


def test_a_node_that_nobody_lets_in_is_joining():
    mesh = PeerMesh(1)
    mesh.kill(0)
    assert Node(mesh, 1).desk.status().state == "joining"


def test_members_and_those_who_hear_nobody(calm: PeerMesh):
    assert [calm[number].desk.status().state for number in range(3)] == ["member"] * 3
    assert not calm[1].desk.status().is_founder
    mesh = PeerMesh(2).grown()
    mesh.kill(0)
    mesh.run(5)
    assert mesh[1].desk.status().state == "lonely"


async def test_peers_tell_of_themselves(calm: PeerMesh):
    peers = await calm[1].desk.peers()
    assert [peer.is_self for peer in peers] == [True, False, False]
    assert [peer.node for peer in peers[1:]] == sorted([name(calm, 0), name(calm, 2)])
    by_name = {peer.node: peer for peer in peers}
    founder = by_name[name(calm, 0)]
    assert (founder.status, founder.version, founder.http, founder.weight) == ("alive", "0.0", "http://10.0.0.1:9881", 100)
    assert founder.rtt_s is not None
    assert {peer.shards_held for peer in peers} == {SHARDS}
    assert sum(peer.shards_leading or 0 for peer in peers) == SHARDS


async def test_the_silent_are_listed_with_what_is_known_of_them():
    mesh = PeerMesh(3).grown()
    mesh.kill(2)
    mesh.run(4)
    (dead,) = [peer for peer in await mesh[0].desk.peers() if peer.status == "dead"]
    assert (dead.node, dead.version, dead.rtt_s, dead.shards_held, dead.http) == (name(mesh, 2), None, None, None, "")
    assert 0 < dead.since_s < 4
    assert mesh[0].desk.status().members_dead == 1


async def test_shards_of_a_node(calm: PeerMesh):
    shards = await calm[2].desk.shards()
    assert [shard.shard for shard in shards] == list(range(SHARDS))
    for shard in shards:
        assert (shard.seen_by, len(shard.voters), shard.learners, shard.is_damaged) == (name(calm, 2), 3, (), False)
        assert shard.role == ("primary" if shard.primary == name(calm, 2) else "follower")
        assert shard.is_serving == (shard.role == "primary")
        assert shard.commit == shard.position > 0


async def test_all_shards_are_told_by_their_primaries(calm: PeerMesh):
    shards = await calm[2].desk.shards(everywhere=True)
    assert [shard.shard for shard in shards] == list(range(SHARDS))
    assert all(shard.seen_by == shard.primary and shard.is_serving for shard in shards)


async def test_a_shard_that_nobody_reports_is_listed_all_the_same():
    mesh = PeerMesh(1)
    newcomer = Node(mesh, 1)
    mesh.kill(0)
    shards = await newcomer.desk.shards(everywhere=True)
    assert [(shard.shard, shard.seen_by, shard.primary) for shard in shards] == [(n, "", "") for n in range(SHARDS)]
    assert await newcomer.desk.shards() == []


async def test_the_ring_adds_up(calm: PeerMesh):
    ring = await calm[1].desk.ring()
    assert sum(node.voting for node in ring.nodes) == 3 * SHARDS
    assert sum(node.leading for node in ring.nodes) == SHARDS
    assert [node.share for node in ring.nodes] == [float(SHARDS)] * 3
    assert (ring.unled, ring.silent, ring.shards_count) == ((), (), SHARDS)


async def test_the_ring_counts_what_a_dead_node_holds():
    mesh = PeerMesh(3).grown()
    mesh.kill(2)
    mesh.run(4)
    ring = await mesh[0].desk.ring()
    dead = next(node for node in ring.nodes if node.node == name(mesh, 2))
    assert (dead.status, dead.voting, dead.leading, dead.share) == ("dead", SHARDS, 0, 0.0)


async def test_the_ring_names_shards_without_a_primary():
    mesh = PeerMesh(2).grown()
    mesh.cut.add(mesh.keys[0].public_key)
    ring = await mesh[1].desk.ring()
    assert set(ring.unled) == {shard for shard in range(SHARDS) if not mesh[1].peer.shards.leads(shard)}
    assert ring.silent == (name(mesh, 0),)


# -- invites ------------------------------------------------------------------------------------------------------------------


def test_an_invite_names_this_node_first_and_then_others(calm: PeerMesh):
    made = calm[1].desk.invite()
    invite = decode_invite(made.text)
    assert invite.genesis == calm.genesis
    assert invite.contacts[0] == (calm[1].own, ("10.0.0.2:9882",))
    assert {contact.public_key for contact in invite.contacts} == set(calm.nodes)
    assert [node for node, _ in made.nodes] == [node_name(contact.public_key) for contact in invite.contacts]
    assert not made.is_local


def test_an_invite_names_other_failure_domains_before_more_of_one():
    mesh = PeerMesh(1)
    for number, domain in ((1, "a"), (2, "a"), (3, "b")):
        Node(mesh, number, domain=domain)
    mesh.run(3)
    contacts = decode_invite(mesh[0].desk.invite().text).contacts
    assert contacts[3].public_key in {mesh[1].own, mesh[2].own}


def test_who_is_dead_or_leaving_is_not_named():
    mesh = PeerMesh(3).grown()
    mesh.kill(2)
    mesh.run(4)
    assert {contact.public_key for contact in decode_invite(mesh[0].desk.invite().text).contacts} == {mesh[0].own, mesh[1].own}


def test_a_node_that_listens_for_nobody_invites_nobody():
    mesh = PeerMesh(1)
    with pytest.raises(InvalidState, match="--mesh"):
        Node(mesh, 0, addresses=()).desk.invite()


def test_an_invite_to_this_machine_says_so():
    mesh = PeerMesh(1)
    node = Node(mesh, 0, addresses=("127.0.0.1:9882", "[::1]:9882", "localhost:1"))
    assert node.desk.invite().is_local
    assert not is_loopback("10.0.0.1:9882")


# -- leaving ------------------------------------------------------------------------------------------------------------------


async def test_leaving_hands_over_and_stops_the_node(autojump_clock: trio.abc.Clock, nursery: trio.Nursery):
    mesh = PeerMesh(4).grown()
    node = mesh[1]
    nursery.start_soon(node.desk.run)
    status = await node.desk.leave()
    assert status.state == "leaving"
    assert await node.storage.get_meta(LEAVING) == b"1"
    assert (await node.desk.leave()).state == "leaving"
    mesh.run(10)
    assert (node.desk.status().state, node.desk.status().shards_voting) == ("left", 0)
    await trio.sleep(5)
    assert node.stopped == ["left"]
    assert not await node.storage.get_meta(LEAVING)
    ring = await mesh[0].desk.ring()
    assert (sum(one.voting for one in ring.nodes), ring.unled) == (3 * SHARDS, ())
    assert (await node.desk.leave()).state == "left"


async def test_who_stopped_while_leaving_goes_on_when_it_is_back(autojump_clock: trio.abc.Clock, nursery: trio.Nursery):
    mesh = PeerMesh(4).grown()
    await mesh[1].storage.put_meta(LEAVING, b"1")
    nursery.start_soon(mesh[1].desk.run)
    await trio.testing.wait_all_tasks_blocked()
    assert mesh[1].desk.status().state == "leaving"
    mesh.run(10)
    await trio.sleep(5)
    assert mesh[1].stopped == ["left"]


async def test_nobody_leaves_when_nobody_is_there_to_take_over():
    mesh = PeerMesh(1)
    mesh.run(1)
    with pytest.raises(InvalidState, match="nobody is there to take over"):
        await mesh[0].desk.leave()
    assert mesh[0].desk.status().state == "alone"
    pair = PeerMesh(2).grown()
    await pair[1].desk.leave()
    pair.run(0.5)
    with pytest.raises(InvalidState, match="nobody is there"):
        await pair[0].desk.leave()


# -- forgetting ---------------------------------------------------------------------------------------------------------------


async def test_a_dead_node_is_forgotten_everywhere_and_for_ever():
    mesh = PeerMesh(4).grown()
    mesh.kill(3)
    mesh.run(4)
    assert await mesh[0].desk.forget(name(mesh, 3)[:12]) == name(mesh, 3)
    assert await mesh[0].desk.forget(mesh.keys[3].public_key.hex()) == name(mesh, 3), "again is fine"
    mesh.run(10)
    for number in range(3):
        assert [removal.subject for removal in mesh[number].removals()] == [mesh.keys[3].public_key]
        assert name(mesh, 3) not in {peer.node for peer in await mesh[number].desk.peers()}
    ring = await mesh[1].desk.ring()
    assert sum(node.voting for node in ring.nodes) == 3 * SHARDS, "its replicas were replaced at once"
    mesh.cut.clear()
    mesh.run(10)
    assert mesh[3].expelled.is_set()
    assert mesh[3].desk.status().state == "removed"


async def test_a_removal_outlives_a_restart_of_everybody():
    mesh = PeerMesh(2).grown()
    mesh.kill(1)
    mesh.run(4)
    await mesh[0].desk.forget(name(mesh, 1), even_alive=True)
    again = Node(mesh, 0, removals=mesh[0].removals())
    back = Node(mesh, 1)
    mesh.cut.clear()
    mesh.run(5)
    assert back.expelled.is_set()
    assert back.own not in again.peer.membership.members


async def test_the_living_are_not_thrown_out_by_mistake(autojump_clock: trio.abc.Clock, nursery: trio.Nursery):
    mesh = PeerMesh(3).grown()
    nursery.start_soon(mesh[2].desk.run)
    with pytest.raises(InvalidState, match=r"is alive.*mesh leave"):
        await mesh[0].desk.forget(name(mesh, 2))
    await mesh[0].desk.forget(name(mesh, 2), even_alive=True)
    mesh.run(5)
    await trio.sleep(5)
    assert mesh[2].stopped == ["removed"]


async def test_who_hears_nobody_cannot_tell_who_is_dead():
    mesh = PeerMesh(3).grown()
    mesh.kill(1, 2)
    mesh.run(5)
    with pytest.raises(InvalidState, match=r"hears nobody.*--even-alive"):
        await mesh[0].desk.forget(name(mesh, 1))
    for number in (1, 2):
        await mesh[0].desk.forget(name(mesh, number), even_alive=True)
    assert mesh[0].desk.status().state == "alone"


async def test_a_node_does_not_forget_itself():
    mesh = PeerMesh(1)
    with pytest.raises(InvalidState, match="mesh leave"):
        await mesh[0].desk.forget(name(mesh, 0), even_alive=True)


@pytest.mark.parametrize("text", ["", "abc", "node:", "zzzz", "0" * 12, "node:0000000000"])
async def test_whom_nobody_knows(calm: PeerMesh, text: str):
    with pytest.raises(NodeNotFound):
        await calm[0].desk.forget(text)


async def test_only_who_has_the_operators_key_orders():
    mesh = PeerMesh(3, operator=OPERATOR).grown()
    mesh.kill(2)
    mesh.run(4)
    for node in (mesh[0], mesh[1]):
        assert not node.desk.status().keeps_operator_key
        with pytest.raises(InvalidState, match=r"operator\.key"):
            await node.desk.forget(name(mesh, 2))
    mesh[1].operator = SigningKey(b"x" * 32)
    with pytest.raises(InvalidState, match=r"operator\.key"):
        await mesh[1].desk.forget(name(mesh, 2))
    mesh[1].operator = OPERATOR  # a copy of the file is enough, wherever
    assert mesh[1].desk.status().keeps_operator_key
    await mesh[1].desk.forget(name(mesh, 2))
    mesh.run(1)
    assert mesh[0].peer.membership.members.removal(mesh.keys[2].public_key) is not None


def test_a_removal_that_the_operator_did_not_sign_is_nothing():
    from golemp2p.wire.messages_membership import sign_removal

    mesh = PeerMesh(3, operator=OPERATOR).grown()
    forged = sign_removal(mesh[2].own, mesh.genesis.mesh_id, mesh.keys[1])
    mesh[0].carry_out(mesh[0].peer.remove(forged, mesh.now_ns))
    member = mesh[0].peer.membership.members.get(mesh[2].own)
    assert member is not None
    assert member.status is Status.ALIVE
