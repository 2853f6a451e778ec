"""Forced recovery as the operator orders it: when it is refused, what it gives up, that the shard lives on."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from peer_mesh import SHARDS, Asked, Node, PeerMesh

from golemp2p.drivers.administration.mesh_names import node_name
from golemp2p.errors import FrameMalformed, InvalidState, ShardNotFound
from golemp2p.model.node_status import ReplicaReport, Wanted
from golemp2p.model.replication import MAIN_BRANCH, Branch, Member
from golemp2p.wire.identity import SigningKey
from golemp2p.wire.notary import sign_branch
from golemp2p.wire.orders import encode_orders

OPERATOR = SigningKey(b"o" * 32)
ALL = list(range(SHARDS))


async def lost() -> PeerMesh:
    """Three nodes, of which the second and third are gone for good, and forgotten."""
    mesh = PeerMesh(3).grown()
    mesh.kill(1, 2)
    mesh.run(8)
    for number in (1, 2):
        await mesh[0].desk.forget(node_name(mesh[number].own), even_alive=True)
    mesh.run(1)
    return mesh


async def test_a_shard_with_its_majority_needs_none():
    mesh = PeerMesh(3).grown()
    assert await mesh[0].desk.recover() == ((), ())
    recovered, refused = await mesh[0].desk.recover([2, 2])
    assert recovered == ()
    assert refused == ((2, "a majority of its voters is there: it recovers by itself"),)
    mesh.kill(1)
    mesh.run(8)
    assert await mesh[0].desk.recover() == ((), ()), "two of three are a majority"


async def test_who_is_only_silent_may_be_there_all_the_same():
    mesh = PeerMesh(3).grown()
    mesh.kill(1, 2)  # nobody has noticed yet
    recovered, refused = await mesh[0].desk.recover()
    assert recovered == ()
    assert [shard for shard, _ in refused] == ALL
    assert all("may be there, though silent" in reason and "mesh forget" in reason for _, reason in refused)


async def test_who_could_come_back_must_be_forgotten_first():
    mesh = PeerMesh(3).grown()
    mesh.kill(1, 2)
    mesh.run(8)
    await mesh[0].desk.forget(node_name(mesh[1].own), even_alive=True)
    again = Node(mesh, 0, removals=mesh[0].removals())  # remembers the third only from its shards
    mesh.run(5)
    _, refused = await again.desk.recover([0])
    ((_, reason),) = refused
    assert node_name(mesh.keys[2].public_key)[:17] in reason
    assert node_name(mesh.keys[1].public_key)[:17] not in reason
    assert "could come back with the old history" in reason


async def test_the_survivor_goes_on_alone_and_says_what_is_uncertain():
    mesh = await lost()
    assert not any(mesh[0].peer.shards.is_serving(shard) for shard in ALL)
    commits = {shard: mesh[0].peer.shards[shard].commit_position for shard in ALL}
    recovered, refused = await mesh[0].desk.recover()
    assert refused == ()
    assert [one.shard for one in recovered] == ALL
    mesh.run(2)
    for one in recovered:
        replica = mesh[0].peer.shards[one.shard]
        assert replica.is_serving
        assert replica.log.branch.hex() == one.branch != MAIN_BRANCH.hex()
        assert (one.uncertain_from, one.last_position) == (commits[one.shard] + 1, commits[one.shard])
        assert set(one.lost) == {node_name(key.public_key) for key in mesh.keys[1:3]}
        assert not one.was_damaged
        assert (
            any(isinstance(entry.content, Branch) for entry in (*replica.log.entries,))
            or replica.log.base.branch != MAIN_BRANCH
        )
    assert len({one.branch for one in recovered}) == SHARDS
    assert await mesh[0].desk.recover() == ((), ()), "once is enough"


async def test_newcomers_join_what_was_recovered():
    mesh = await lost()
    await mesh[0].desk.recover()
    mesh.run(2)
    for number in (3, 4):
        Node(mesh, number)
    mesh.run(20)
    ring = await mesh[0].desk.ring()
    assert (sum(node.voting for node in ring.nodes), ring.unled) == (3 * SHARDS, ())


async def test_those_who_were_given_up_are_turned_away():
    mesh = await lost()
    await mesh[0].desk.recover()
    mesh.run(2)
    mesh.cut.clear()
    mesh.run(20)
    assert mesh[1].expelled.is_set()
    assert mesh[2].expelled.is_set()
    assert all(mesh[0].peer.shards[shard].is_serving for shard in ALL)


async def test_a_node_whose_store_is_another_now_holds_nothing_up():
    mesh = PeerMesh(3).grown()
    mesh.kill(1, 2)
    mesh.run(8)
    mesh.cut.clear()
    for number in (1, 2):
        Node(mesh, number, store=1)
    mesh.run(3)
    recovered, refused = await mesh[0].desk.recover()
    assert refused == ()
    assert [one.shard for one in recovered] == ALL
    mesh.run(20)
    ring = await mesh[0].desk.ring()
    assert (sum(node.voting for node in ring.nodes), ring.unled) == (3 * SHARDS, ())


async def test_it_is_recovered_where_most_of_it_is(monkeypatch: pytest.MonkeyPatch):
    mesh = await lost()
    node = mesh[0]
    other = Node(mesh, 3)
    mesh.run(3)
    own = node.directory.answer

    def boasting(question):
        answer = own(question)
        ahead = [further(report) for report in reports_of(node)] if question.wanted is Wanted.HELD else []
        return replace(answer, reports=tuple(ahead))

    monkeypatch.setattr(other.directory, "answer", boasting)
    recovered, refused = await node.desk.recover([1])
    assert recovered == ()
    assert refused == ((1, f"{node_name(other.own)[:17]} holds more of it: recover it there"),)


def reports_of(node: Node) -> list[ReplicaReport]:
    from golemp2p.drivers.administration.mesh_reports import reports_of as reported

    return reported(node.peer, Wanted.HELD)


def further(report: ReplicaReport) -> ReplicaReport:
    return replace(report, last_position=report.last_position + 1)


async def test_only_the_operator_orders_it_and_only_of_what_is_here():
    mesh = PeerMesh(2, operator=OPERATOR).grown()
    with pytest.raises(InvalidState, match=r"operator\.key"):
        await mesh[0].desk.recover()
    mesh[0].operator = OPERATOR
    with pytest.raises(ShardNotFound, match=f"0 to {SHARDS - 1}"):
        await mesh[0].desk.recover([SHARDS])
    newcomer = Node(mesh, 2)
    newcomer.operator = OPERATOR
    with pytest.raises(InvalidState, match="holds no replica of shard 1"):
        await newcomer.desk.recover([1])


async def test_the_order_is_the_operators():
    mesh = PeerMesh(3, operator=OPERATOR).grown()
    mesh[0].operator = OPERATOR
    mesh.kill(1, 2)
    mesh.run(8)
    for number in (1, 2):
        await mesh[0].desk.forget(node_name(mesh[number].own), even_alive=True)
    recovered, _ = await mesh[0].desk.recover([3])
    mesh.run(2)
    assert [one.shard for one in recovered] == [3]
    assert [shard for shard in ALL if mesh[0].peer.shards.is_serving(shard)] == [3]


async def test_a_mesh_of_one_goes_on_from_its_backup():
    """A restored store is another member (S9), and here the only one there is: the operator says that it is all that is left."""
    mesh = PeerMesh(1)
    mesh.run(1)
    mesh.kill(0)
    copies = {shard: deepcopy(durable) for shard, durable in mesh.disks[0, 0].items()}
    for copy in copies.values():
        copy.record = replace(copy.record, belonged=False)
    mesh.disks[0, 1] = copies
    restored = Node(mesh, 0, store=1)
    mesh.cut.clear()
    mesh.run(5)
    assert not any(restored.peer.shards.is_serving(shard) for shard in ALL)
    recovered, refused = await restored.desk.recover()
    assert refused == ()
    assert [one.shard for one in recovered] == ALL
    mesh.run(2)
    assert all(restored.peer.shards.is_serving(shard) for shard in ALL)


def restored(mesh: PeerMesh, number: int) -> Node:
    """What a backup of that node becomes: another store, with what the old one held."""
    copies = {shard: deepcopy(durable) for shard, durable in mesh.disks[number, 0].items()}
    for copy in copies.values():
        copy.record = replace(copy.record, belonged=False)
    mesh.disks[number, 1] = copies
    return Node(mesh, number, store=1)


async def test_a_mesh_goes_on_from_backups_of_all_its_nodes():
    mesh = PeerMesh(3).grown()
    mesh.kill(0, 1, 2)
    for number in range(3):
        restored(mesh, number)
    mesh.cut.clear()
    mesh.run(8)
    assert not any(mesh[number].peer.shards.is_serving(shard) for number in range(3) for shard in ALL)
    done: list[int] = []
    for node in (mesh[0], mesh[1], mesh[2]):
        node.operator = mesh.keys[0]
        recovered, _ = await node.desk.recover()
        done += [one.shard for one in recovered]
        mesh.run(2)
    assert sorted(done) == ALL
    mesh.run(30)
    ring = await mesh[0].desk.ring()
    assert (sum(node.voting for node in ring.nodes), ring.unled) == (3 * SHARDS, ())
    assert len({mesh[number].peer.shards[0].log.branch for number in range(3)}) == 1


async def test_who_holds_more_than_the_survivor_does_not_give_way():
    mesh = await lost()
    mesh.run(1)
    node = mesh[0]
    (one,), _ = await node.desk.recover([0])
    mesh.run(2)
    entries = node.peer.shards[0].log
    old = Branch(bytes(16), Member(mesh.keys[4].public_key, bytes(16)), 1, one.last_position, entries.last_hash, b"", b"")
    signed = sign_branch(mesh.keys[0], old, mesh_id=mesh.genesis.mesh_id, shard=0)
    with pytest.raises(InvalidState, match="holds more"):
        node.peer.give_way(0, signed, mesh.now_ns)
    with pytest.raises(InvalidState, match="not signed"):
        node.peer.give_way(1, signed, mesh.now_ns)
    with pytest.raises(InvalidState, match="holds no replica"):
        node.peer.give_way(SHARDS + 1, signed, mesh.now_ns)
    payload = encode_orders([(0, signed), (1, signed)])
    assert await node.desk.serve_overruled(Asked(mesh.keys[1].public_key, payload)) == b""
    assert node.peer.shards.is_serving(0)
    with pytest.raises(FrameMalformed):
        await node.desk.serve_overruled(Asked(mesh.keys[1].public_key, b"nonsense"))


async def test_the_survivor_is_not_overruled_by_its_own_order():
    mesh = await lost()
    node = mesh[0]
    log = node.peer.shards[2].log
    order = Branch(b"b" * 16, node.peer.shards.me, 1, log.last_position, log.last_hash, b"", b"")
    signed = sign_branch(mesh.keys[0], order, mesh_id=mesh.genesis.mesh_id, shard=2)
    with pytest.raises(InvalidState, match="not about this replica"):
        node.peer.give_way(2, signed, mesh.now_ns)
